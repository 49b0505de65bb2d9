"""Notifications by apprise: mail, Slack, Teams and Discord, and nothing else.

apprise knows more than a hundred services, of which some run commands or read files, and options
that name files. So schemes and options are those listed here. It makes its own connections, to
addresses that `outbound` has checked.
"""

import logging
import re
import threading
import warnings
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from config.base import outbound

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
MAIL = {"to", "cc", "bcc", "from", "name", "smtp", "user", "pass", "mode", "reply"}
TEAMS = {"id", "pa", "powerautomate", "route", "routeid", "ver", "api-version", "sig", "wrap"}
# The options that each scheme may have. Not among them: templates, which are files.
SCHEMES: dict[str, set[str]] = {
    "mailto": MAIL,
    "mailtos": MAIL,
    "slack": {"to", "footer", "blocks"},
    "workflow": TEAMS,
    "workflows": TEAMS,
    "discord": {"thread", "footer"},
}
NAMES = {"mailto": "The mail server", "mailtos": "The mail server", "slack": "Slack"}
NAMES |= {"workflow": "Teams", "workflows": "Teams", "discord": "Discord"}
TEAMS_NOW = "Microsoft has ended these connectors: make a workflow and use workflows://."
STATUS = re.compile(r"error=(\d{3})\b")
_loading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Told:
    """What came of it; `error` is a sentence, '' where the service took it."""

    error: str = ""
    status: int | None = None


def check(url: str) -> None:
    """Raises Refused, with a sentence, for what cannot be a notification's address."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise outbound.Refused("This is not a URL.") from None
    scheme = parts.scheme.lower()
    if scheme == "msteams":
        raise outbound.Refused(TEAMS_NOW)
    if scheme not in SCHEMES:
        names = ", ".join(f"{name}://" for name in SCHEMES)
        raise outbound.Refused(f"The address must begin with one of {names}.")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise outbound.Refused("The address holds spaces or control characters.")
    for name in _options(url):
        if name.lower() not in SCHEMES[scheme]:
            known = ", ".join(sorted(SCHEMES[scheme]))
            raise outbound.Refused(f"The option {name[:40]} is not for use here. Known: {known}.")
    plugin = _plugin(url)
    for host, _ in _entered(plugin):
        outbound.check_url(f"https://{_bracketed(host)}")


def _options(url: str) -> list[str]:
    """Their names as apprise finds them: ';' parts them as '&' does, and no '#' ends them."""
    pairs = re.split("[&;]", url.partition("?")[2])
    return [unquote(pair.partition("=")[0]) for pair in pairs if pair]


def notify(url: str, text: str) -> Told:
    """Send `text`, whose first line is the title. Raises Refused for a forbidden host, and what
    sockets raise for an unknown one."""
    check(url)
    plugin = _plugin(url)
    for host, port in _entered(plugin):
        outbound.resolve(host, port)
    title, _, body = text.partition("\n")
    with outbound.lookups_checked():
        return _send(plugin, title, body, NAMES[urlsplit(url).scheme.lower()])


def _send(plugin: Any, title: str, body: str, name: str) -> Told:
    from apprise import Apprise, NotifyFormat, NotifyType

    service = Apprise(asset=plugin.asset)
    service.add(plugin)
    result = service.notify(
        body=body or title,
        title=title if body else "",
        notify_type=NotifyType.INFO,
        body_format=NotifyFormat.TEXT,
    )
    if result:
        return Told()
    logged = " ".join(str(entry.message) for entry in result.logs())
    if found := STATUS.search(logged):
        return Told(f"{name} answered {found[1]}.", int(found[1]))
    return Told(f"{name} could not be reached, or refused it.")


def _plugin(url: str) -> Any:
    """What apprise makes of it. Raises Refused where it can make nothing."""
    with _loading, warnings.catch_warnings():  # its plugins are imported when first asked for
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise import Apprise, AppriseAsset

        # Its log tells of addresses, which hold passwords. What is of use in it, `_send` reads.
        logging.getLogger("apprise").propagate = False
        asset = AppriseAsset(
            app_id="Switchyard", app_desc="Switchyard", app_url="", http_redirects=False
        )
        plugin: Any = Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise outbound.Refused("Something is missing in the address: see its form in the manual.")
    plugin.socket_connect_timeout = CONNECT_SECONDS
    plugin.socket_read_timeout = READ_SECONDS
    return plugin


def _entered(plugin: Any) -> list[tuple[str, int]]:
    """The hosts and ports that the address names; Slack's and Discord's are their own."""
    if hasattr(plugin, "smtp_host"):
        return [(plugin.smtp_host, plugin.port or 25)]
    if hasattr(plugin, "workflow") and plugin.host:
        return [(plugin.host, plugin.port or 443)]
    return []


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
