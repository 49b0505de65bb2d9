// A link with [data-copy] copies what it leads to, and says so; without script it just leads there.
document.addEventListener("click", async (event) => {
  const link = event.target.closest("a[data-copy]");
  if (!link) return;
  event.preventDefault();
  const label = link.querySelector("span");
  const before = label.textContent;
  try {
    const answer = await fetch(link.href, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(answer.status);
    const text = JSON.stringify(await answer.json(), null, 2);
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    location.assign(link.href);
    return;
  }
  setTimeout(() => { label.textContent = before; }, 2000);
});
