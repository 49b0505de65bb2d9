"""Guarded calls to addresses that people enter.

A name is resolved once for each connection and the connection goes to just that address, so a
name cannot answer with a public address when checked and a private one when used. Loopback,
link-local and private ranges are refused unless `OUTBOUND_ALLOW_PRIVATE`.
"""

import heapq
import ipaddress
import itertools
import math
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError
from urllib3.util.retry import Retry

# IPv6 whose last 32 bits are the IPv4 address that a gateway makes of it.
EMBEDDING = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
# What is local, and public to Python 3.11.
LOCAL = (ipaddress.ip_network("64:ff9b:1::/48"), ipaddress.ip_network("fec0::/10"))
DROP_UNSENT = struct.pack("ii", 1, 0)  # close at once, waiting 0 s for what is not sent


class Refused(Exception):
    """We do not call this address. The message is fit for people."""


def check_url(
    url: str, schemes: tuple[str, ...] = ("https", "http"), *, secrets: bool = False
) -> None:
    """Refuse what can be told from the text alone. Raises Refused with a sentence.

    With `secrets` it may hold a user name with a password, and a query.
    """
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Refused("This is not a URL.") from None
    if parts.scheme.lower() not in schemes or not host:
        raise Refused(f"The URL must begin with {' or '.join(f'{s}://' for s in schemes)}.")
    if not secrets and (parts.username or parts.password):
        raise Refused("Leave user name and password out of the URL.")
    if parts.fragment or (parts.query and not secrets):
        raise Refused("The URL must end with its path: no '?' and no '#'.")
    if any(character.isspace() or not character.isprintable() for character in url.strip()):
        raise Refused("The URL holds spaces or control characters.")
    try:
        _check_address(host)
    except ValueError:
        return  # a name: its addresses are checked when it is called


def _check_address(text: str) -> None:
    """Raises Refused for a forbidden address and ValueError for what is none."""
    address = _meant(ipaddress.ip_address(text))
    public = address.is_global and not any(address in network for network in LOCAL)
    if not (public or settings.OUTBOUND_ALLOW_PRIVATE):
        raise Refused(f"{text} is not a public address.")
    if address.is_multicast or address.is_unspecified:
        raise Refused(f"{text} is not the address of one host.")


def _meant(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where a packet ends: of IPv6 that wraps IPv4, there."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def resolve(host: str, port: int) -> str:
    """The one address to use for `host`. Raises Refused if any of its addresses is forbidden."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        _check_address(address.partition("%")[0])
    return addresses[0]


_refused: ContextVar[list[Refused] | None] = ContextVar("refused", default=None)
_lookup = socket.getaddrinfo


def _checked_lookup(*args: Any, **kwargs: Any) -> Any:
    found = _lookup(*args, **kwargs)
    refused = _refused.get()
    if refused is not None:
        try:
            for entry in found:
                _check_address(str(entry[4][0]).partition("%")[0])
        except Refused as error:
            refused.append(error)
            raise
    return found


# In this one place every library looks up the name that it is about to connect to.
socket.getaddrinfo = _checked_lookup


@contextmanager
def lookups_checked() -> Iterator[None]:
    """For libraries that make connections of their own: every lookup meanwhile, also in threads
    that carry this context, is checked, and what was checked is what is connected to.

    Raises Refused at the end where one was forbidden, whatever the library made of that.
    """
    refused: list[Refused] = []
    token = _refused.set(refused)
    try:
        yield
    finally:
        _refused.reset(token)
    if refused:
        raise refused[0]


class TooLate(Exception):
    """The latest moment had passed when the request was about to go out; nothing was sent."""


_limit = threading.local()


@contextmanager
def not_after(latest: float, wall: float = math.inf) -> Iterator[None]:
    """Requests of this thread go out until `latest` (time.monotonic) and `wall` (time.time), or
    raise TooLate. The first does not count while the machine is suspended, and leases end by the
    second, which can be put back."""
    _limit.latest = latest, wall
    try:
        yield
    finally:
        del _limit.latest


def _too_late() -> bool:
    latest, wall = getattr(_limit, "latest", (math.inf, math.inf))
    return time.monotonic() > latest or time.time() > wall


class _Cutter:
    """Ends the connections of one thread, from another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self.over = self._done = False

    def note(self, sock: socket.socket) -> None:
        with self._lock:
            self._sockets.append(sock)
            if self.over:
                _shut(sock)

    def cut(self) -> None:
        with self._lock:
            if not self._done:
                self.over = True
                for sock in self._sockets:
                    _shut(sock)

    def done(self) -> None:
        """What it would have cut may be somebody else's from now on."""
        with self._lock:
            self._done = True
            self._sockets.clear()


def _shut(sock: socket.socket) -> None:
    with suppress(OSError):  # it has ended, or its descriptor went into a TLS socket
        socket.socket.shutdown(sock, socket.SHUT_RDWR)  # under TLS, too, without its good-bye


class _Reaper:
    """One thread that cuts when the time has come: a timer for each call would cost one each."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, _Cutter]] = []
        self._thread: threading.Thread | None = None
        self._count = itertools.count()

    def watch(self, cutter: _Cutter, until: float) -> None:
        with self._changed:
            heapq.heappush(self._due, (until, next(self._count), cutter))
            if self._thread is None or not self._thread.is_alive():  # a fork leaves it behind
                self._thread = threading.Thread(target=self._run, name="reaper", daemon=True)
                self._thread.start()
            elif self._due[0][2] is cutter:
                self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    heapq.heappop(self._due)[2].cut()
                self._changed.wait(self._due[0][0] - now if self._due else None)


_reaper = _Reaper()


@contextmanager
def within(seconds: float) -> Iterator[_Cutter]:
    """Requests of this thread are cut off after `seconds` in all; then `over` is true.

    A timeout of requests begins anew with each byte: who sends one now and then would hold us.
    """
    cutter = _limit.cutter = _Cutter()
    _reaper.watch(cutter, time.monotonic() + seconds)
    try:
        yield cutter
    finally:
        cutter.done()
        del _limit.cutter


def _note(sock: socket.socket | None) -> None:
    cutter: _Cutter | None = getattr(_limit, "cutter", None)
    if cutter and sock:
        cutter.note(sock)


class _Pinned(HTTPConnection):
    gathered: list[bytes] | None = None

    def request(self, *args: Any, **kwargs: Any) -> None:
        """Sends headers and body at once, or nothing: the process may stand still at any moment,
        and a body that follows its headers minutes later would still be carried out."""
        self.gathered = []
        try:
            super().request(*args, **kwargs)
            whole = b"".join(self.gathered)
        finally:
            self.gathered = None
        if self.sock is None:
            self.connect()
        _note(self.sock)  # one that is kept from an earlier call, or has become TLS
        if _too_late():
            raise TooLate
        self.sock.sendall(whole)

    def send(self, data: Any) -> None:
        if self.gathered is None:
            super().send(data)
        else:
            self.gathered.append(data)

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            self._dns_host = resolve(name, self.port or 0)
        except (OSError, UnicodeError) as error:  # the second: no name at all, as a..b
            raise NameResolutionError(name, self, socket.gaierror(str(error))) from None
        try:
            made = super()._new_conn()
            # Whoever gives up, or dies, takes back what its kernel still holds: that would be
            # sent whenever the other side reads or the network heals, minutes later perhaps.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, DROP_UNSENT)
            _note(made)
            return made
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
