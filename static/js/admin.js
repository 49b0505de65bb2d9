// What the admin's own pages leave out for screen readers: landmarks, and the names of controls.
const mend = () => {
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element?.setAttribute(name, value);
  };
  const main = document.getElementById("main");
  const text = (element) => element?.textContent.replace(/\s+/g, " ").trim() ?? "";
  set(document.getElementById("nav-sidebar"), { role: "navigation", "aria-label": "Sections" });
  set(main?.firstElementChild, { role: "banner" });
  set(document.getElementById("content")?.parentElement ?? document.getElementById("page"), { role: "main" });
  for (const bar of main?.children ?? []) {
    if (!bar.role && text(bar)) set(bar, { role: "region", "aria-label": "Actions" });
  }
  document.querySelectorAll(".simplebar-content-wrapper").forEach((part, index) => {
    set(part, { "aria-label": `Scrollable part ${index + 1}` });
  });
  // In a table of rows to edit, the heading of the column is the name.
  for (const control of document.querySelectorAll("td :is(input:not([type=hidden]), select, textarea)")) {
    const cell = control.closest("td");
    const heading = text(cell.closest("table").tHead?.rows[0]?.cells[cell.cellIndex]);
    if (!control.labels.length && !control.ariaLabel) set(control, { "aria-label": heading || control.title });
  }
  for (const heading of document.querySelectorAll("#content form th")) {
    if (!text(heading)) heading.textContent = "Delete"; // the last column of rows to edit
  }
  for (const drawn of document.querySelectorAll(".select2-selection")) {
    const select = drawn.closest(".select2").previousElementSibling;
    const name = text(select?.labels?.[0]) || select?.ariaLabel || "Choice";
    drawn.removeAttribute("aria-labelledby");
    set(drawn, { "aria-label": name });
    set(drawn.querySelector(".select2-selection__rendered"), { "aria-label": name });
  }
};
addEventListener("load", () => setTimeout(mend)); // after those who draw controls then
