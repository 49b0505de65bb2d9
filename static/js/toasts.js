// Toasts can be dismissed, and go by themselves after a while unless they are looked at.
{
  const SECONDS = 12;

  document.addEventListener("click", (event) => {
    event.target.closest("[data-dismiss]")?.closest(".toast").remove();
  });

  for (const toast of document.querySelectorAll(".toast:not([data-tone='bad'])")) {
    const leave = () => {
      if (toast.matches(":hover, :focus-within")) setTimeout(leave, 2000);
      else toast.remove();
    };
    setTimeout(leave, SECONDS * 1000);
  }
}
