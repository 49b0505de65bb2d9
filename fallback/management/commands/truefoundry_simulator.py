"""A TrueFoundry control plane in memory, for demos and tests."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from fallback.simulator import commandline


class Command(BaseCommand):
    help = __doc__
    requires_system_checks = ()  # it needs no database

    def add_arguments(self, parser: CommandParser) -> None:
        commandline.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        commandline.run(Namespace(**options))
