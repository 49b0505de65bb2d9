"""Who is at the other end of a request, also where proxies stand in between."""

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def networks(text: str) -> list[Network]:
    """Of '10.0.0.0/8, 192.0.2.7, ::1'. Raises ValueError for what is none of these."""
    parts = (part.strip() for part in text.split(","))
    return [ipaddress.ip_network(part, strict=False) for part in parts if part]


def client(peer: str, forwarded: str, trusted: Iterable[Network]) -> str:
    """The address nearest to us that is no proxy of ours.

    Every proxy appends whom it heard from to X-Forwarded-For (`forwarded`), so it is read from
    its end, and only as far as addresses in `trusted` vouch for it: the rest anybody can write.
    """
    found = parsed(peer)
    if found is None:
        return peer[:64]
    ours = list(trusted)
    for part in reversed(forwarded.split(",")):
        if not any(found in network for network in ours):
            break
        before = parsed(part)
        if before is None:
            break
        found = before
    return str(found)


def neighbourhood(text: str) -> str:
    """Whom to count as one: of IPv6 the /64, which one customer has to choose from."""
    found = parsed(text)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return text


def parsed(text: str) -> Address | None:
    """An address, with or without a port; None for anything else. IPv4 in IPv6 is IPv4."""
    bare = text.strip().partition("%")[0]  # a zone is the sender's own affair
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
