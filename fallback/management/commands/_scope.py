"""What `pause` and `resume` act on, from the command line."""

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from fallback.models import Connection, FallbackConfig


def add_scope(parser: ArgumentParser) -> None:
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--connection", metavar="ID")
    scope.add_argument("--config", metavar="ID")
    parser.add_argument("--reason", default="", help="why; others will read it")


def scope_of(options: dict[str, Any]) -> Connection | FallbackConfig | None:
    """The connection or config that was named, or None for everything."""
    try:
        if options["connection"]:
            return Connection.objects.get(pk=options["connection"])
        if options["config"]:
            return FallbackConfig.objects.get(pk=options["config"])
    except (Connection.DoesNotExist, FallbackConfig.DoesNotExist, ValidationError):
        raise CommandError("There is nothing of that id.", returncode=2) from None
    return None
