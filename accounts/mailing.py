"""Mails that a request sends: by threads of their own.

How long it takes tells nobody whether there was somebody to write to, and a mail server that
hangs keeps no page waiting.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

log = structlog.get_logger(__name__)
_threads = ThreadPoolExecutor(2, thread_name_prefix="mail")


def send(call: Callable[[], object]) -> None:
    """Do it soon. A mail that cannot be sent is told in the log alone."""
    _threads.submit(call).add_done_callback(_look)


def _look(done: Future[object]) -> None:
    if error := done.exception():
        log.error("mail_failed", error=type(error).__name__)
