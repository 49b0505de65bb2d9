"""Real processes that start in a fifth of a second: forked where the libraries are loaded already.

Each has an environment, a database connection and an end of its own, as `python manage.py …` has;
only what takes a second and is the same for all, importing Django, Celery and the rest, is done.
"""

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Nothing of ours and nothing that reads settings: those are each process's own.
LIBRARIES = [
    "daphne.server",
    "celery.app.trace",
    "channels_redis.core",
    "cryptography.fernet",
    "django.contrib.postgres.fields",
    "django.core.management",
    "django.template.loader",
    "environ",
    "psycopg",
    "requests",
    "rich.progress",
    "structlog",
]
PR_SET_PDEATHSIG = 1

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(LIBRARIES)


def start(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
) -> ForkServerProcess:
    """Run `module.main()` as if it had been started with these arguments and this environment."""
    process = _context.Process(
        target=_run, args=(module, list(arguments), dict(environment), out, err)
    )
    process.start()
    return process


def _run(
    module: str, arguments: list[str], environment: dict[str, str], out: Path, err: Path
) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for stream, path in ((sys.stdout, out), (sys.stderr, err)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream.fileno())
    sys.stdin = open(os.devnull)
    sys.argv = [f"{module}.py", *arguments]
    importlib.import_module(module).main()
