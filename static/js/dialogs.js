// Opening and closing dialogs by `commandfor`, for browsers that do not know it; "/" opens search.
if (!("commandForElement" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (!dialog) return;
    if (button.getAttribute("command") === "show-modal") dialog.showModal();
    else dialog.close();
  });
}

document.addEventListener("keydown", (event) => {
  const palette = document.getElementById("palette");
  const typing = event.target.closest("input, select, textarea, dialog, [contenteditable]");
  const slash = event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey;
  const chord = event.key === "k" && (event.ctrlKey || event.metaKey);
  if (!palette || palette.open || typing || !(slash || chord)) return;
  event.preventDefault();
  palette.showModal();
});

// A menu closes when one looks elsewhere.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target) || event.target.closest("button[commandfor]")) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});
