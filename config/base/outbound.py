"""Guarded calls to addresses that people enter.

A name is resolved once for each connection and the connection goes to just that address, so a
name cannot answer with a public address when checked and a private one when used. Loopback,
link-local and private ranges are refused unless `OUTBOUND_ALLOW_PRIVATE`.
"""

import ipaddress
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util.retry import Retry


class Refused(Exception):
    """We do not call this address. The message is fit for people."""


def check_url(url: str, schemes: tuple[str, ...] = ("https", "http")) -> None:
    """Refuse what can be told from the text alone. Raises Refused with a sentence."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Refused("This is not a URL.") from None
    if parts.scheme.lower() not in schemes or not host:
        raise Refused(f"The URL must begin with {' or '.join(f'{s}://' for s in schemes)}.")
    if parts.username or parts.password:
        raise Refused("Leave user name and password out of the URL.")
    if parts.query or parts.fragment:
        raise Refused("The URL must end with its path: no '?' and no '#'.")
    if any(character.isspace() or not character.isprintable() for character in url.strip()):
        raise Refused("The URL holds spaces or control characters.")
    try:
        _check_address(host)
    except ValueError:
        return  # a name: its addresses are checked when it is called


def _check_address(text: str) -> None:
    """Raises Refused for a forbidden address and ValueError for what is none."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if not address.is_global and not settings.OUTBOUND_ALLOW_PRIVATE:
        raise Refused(f"{text} is not a public address.")
    if address.is_multicast or address.is_unspecified:
        raise Refused(f"{text} is not the address of one host.")


def resolve(host: str, port: int) -> str:
    """The one address to use for `host`. Raises Refused if any of its addresses is forbidden."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        _check_address(address.partition("%")[0])
    return addresses[0]


class TooLate(Exception):
    """`latest` had passed when the request was about to go out; nothing was sent."""


_limit = threading.local()


@contextmanager
def not_after(latest: float) -> Iterator[None]:
    """Requests of this thread go out until `latest` (time.monotonic), or raise TooLate."""
    _limit.latest = latest
    try:
        yield
    finally:
        del _limit.latest


class _Pinned(HTTPConnection):
    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        # Here, where the first byte is about to go out: the process may have stood still until now.
        if time.monotonic() > getattr(_limit, "latest", math.inf):
            raise TooLate
        super().endheaders(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            self._dns_host = resolve(name, self.port or 0)
        except OSError as error:
            raise NameResolutionError(name, self, socket.gaierror(str(error))) from None
        try:
            return super()._new_conn()
        finally:
            self._dns_host = name  # TLS and the Host header are about the name


class _PinnedTLS(_Pinned, HTTPSConnection):
    pass


class _PinnedPool(HTTPConnectionPool):
    ConnectionCls = _Pinned


class _PinnedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _PinnedTLS


class GuardedAdapter(HTTPAdapter):
    """For `requests.Session.mount`: pools connections, each to an address that was checked."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": _PinnedPool,
            "https": _PinnedTLSPool,
        }


def adapter(pool: int = 10, retry: Retry | int = 0) -> GuardedAdapter:
    """An adapter with room for `pool` connections to one host."""
    return GuardedAdapter(pool_connections=4, pool_maxsize=pool, max_retries=retry)
