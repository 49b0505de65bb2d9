#!/usr/bin/env python
"""Django's command line."""

import os
import select
import signal
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
        sys.stdout.flush()
    except ImproperlyConfigured as error:
        sys.exit(f"Switchyard cannot start: {error}")
    except (BrokenPipeError, SystemExit):
        if nobody_reads_on():
            # Python itself writes what is left at the end, and would tell of what goes wrong.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)  # as shells say it
        raise


def nobody_reads_on() -> bool:
    """Whether standard output is a pipe whose reader has gone, as `… | head -1` has."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


if __name__ == "__main__":
    main()
