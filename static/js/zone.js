// Tells the server the reader's time zone; pages are rendered in it from the next request on.
{
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const cookie = `zone=${encodeURIComponent(zone)}`;
  if (zone && !document.cookie.split("; ").includes(cookie)) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${cookie}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  }
}
