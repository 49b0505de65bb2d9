// Keeps "5 min ago" true while a page stays open. The words are those of config/base/showing.py.
{
  const SIZES = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const LONG_AGO = 30 * 86400;

  const told = (moment, now) => {
    const ahead = (moment - now) / 1000;
    const seconds = Math.floor(Math.abs(ahead));
    if (seconds >= LONG_AGO) return null; // the server wrote the day
    if (seconds < 5) return "just now";
    const [size, unit] = SIZES.find(([size]) => seconds >= size);
    const span = `${Math.floor(seconds / size)}\u00a0${unit}`;
    return ahead > 0 ? `in\u00a0${span}` : `${span}\u00a0ago`;
  };

  const update = () => {
    for (const element of document.querySelectorAll("time[data-relative]")) {
      const text = told(Date.parse(element.dateTime), Date.now());
      if (text !== null && element.textContent !== text) element.textContent = text;
    }
  };

  setInterval(update, 5000);
  document.addEventListener("visibilitychange", update);
}
