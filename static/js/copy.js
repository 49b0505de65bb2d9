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
  const toast = document.createElement("div");
  const sentence = document.createElement("p");
  toast.className = "toast";
  toast.dataset.tone = "good";
  sentence.textContent = "Copied.";
  toast.append(sentence);
  document.querySelector(".toasts").append(toast); // outside of what a bell replaces
  setTimeout(() => toast.remove(), 4000);
});
