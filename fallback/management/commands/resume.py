"""`manage.py resume`: take up again what `pause` stopped."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import pausing
from fallback.management.commands._scope import add_scope, scope_of


class Command(BaseCommand):
    help = "End a pause: of everything, or of one connection or config."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_scope(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pausing.resume(scope_of(options), Actor.system("manage.py resume"), options["reason"])
        except Conflict as error:
            raise CommandError(str(error)) from None
        self.stdout.write("Resumed.")
