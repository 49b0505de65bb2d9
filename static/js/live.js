// Elements with [data-live] hear "changed" on every bell and on every (re)connect, and htmx fetches
// them again. The bell carries nothing: what is shown comes from the server, with the reader's rights.
{
  const FIRST_DELAY = 1000;
  const LONGEST_DELAY = 30000;
  const FINAL = [4401, 4403, 4404]; // signed out, not allowed, no such thing: trying again is no use
  const path = document.body.dataset.socket;
  let delay = FIRST_DELAY;

  let missed = false; // a bell while nobody looked

  const ring = () => {
    missed = document.hidden;
    if (missed) return;
    for (const element of document.querySelectorAll("[data-live]")) {
      element.dispatchEvent(new Event("changed"));
    }
  };

  const show = (live) => {
    const stream = document.querySelector("[data-stream]");
    if (!stream) return;
    stream.hidden = false;
    stream.dataset.tone = live ? "good" : "warn";
    stream.classList.toggle("lost", !live);
  };

  const connect = () => {
    const socket = new WebSocket(location.origin.replace(/^http/, "ws") + path);
    socket.onopen = () => {
      delay = FIRST_DELAY;
      show(true);
      ring();
    };
    socket.onmessage = ring;
    socket.onclose = (event) => {
      show(false);
      if (FINAL.includes(event.code)) return;
      setTimeout(connect, delay * (0.5 + Math.random() / 2)); // not all pages at once
      delay = Math.min(delay * 2, LONGEST_DELAY);
    };
  };

  document.addEventListener("visibilitychange", () => {
    if (missed) ring();
  });
  if (path && document.querySelector("[data-live]")) connect();
}
