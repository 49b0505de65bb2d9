"""Real processes that start in no time: forked where the project is loaded already.

Each has an environment, settings, a database connection and an end of its own, as `python manage.py
…` has; only what takes a second and is the same for all, importing everything, is done once.
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
PR_SET_PDEATHSIG = 1

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.preloaded"])


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
    sys.argv = [f"{module}.py", *arguments]
    _forget_settings()
    importlib.import_module(module).main()


def _forget_settings() -> None:
    """They are read again, from the environment that this process has now."""
    from django.conf import settings
    from django.db import connections
    from django.utils.functional import empty

    sys.modules.pop("config.settings", None)
    settings._wrapped = empty
    assert not any(one.connection for one in connections.all(initialized_only=True))
    vars(connections).clear()
    vars(connections).update(vars(type(connections)()))
