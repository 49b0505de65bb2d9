// A link with [data-copy] copies what it leads to, and says so; without script it just leads there.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-copy]");
  if (!link) return;
  event.preventDefault();
  try {
    const answer = await fetch(link.href, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    await navigator.clipboard.writeText(JSON.stringify(await answer.json(), null, 2));
  } catch {
    location.assign(link.href);
    return;
  }
  sayCopied();
});

// A button with [data-copy-from] copies the text of the element of that id; without script it is hidden.
for (const button of document.querySelectorAll("button[data-copy-from]")) {
  const source = document.getElementById(button.dataset.copyFrom);
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      sayCopied();
    } catch {
      getSelection().selectAllChildren(source); // not allowed here: it is selected, to be copied by hand
    }
  });
}

function sayCopied() {
  const toast = document.createElement("div");
  const sentence = document.createElement("p");
  toast.className = "toast";
  toast.dataset.tone = "good";
  sentence.textContent = "Copied.";
  toast.append(sentence);
  document.querySelector(".toasts").append(toast); // outside of what a bell replaces
  setTimeout(() => toast.remove(), 4000);
}
