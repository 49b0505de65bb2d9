"""`manage.py pause`: start nothing new."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from config.base.actor import Actor
from config.base.problems import Conflict
from fallback import pausing
from fallback.management.commands._scope import add_scope, scope_of


class Command(BaseCommand):
    help = "Move nothing new: everywhere, or for one connection or config."

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_scope(parser)
        parser.add_argument("--minutes", type=int, help="end by itself; default: until resumed")

    def handle(self, *args: Any, **options: Any) -> None:
        minutes = options["minutes"]
        if not options["reason"].strip():
            raise CommandError("Say why with --reason: others will read it.", returncode=2)
        actor = Actor.system("manage.py pause")
        try:
            until = timezone.now() + timedelta(minutes=minutes) if minutes is not None else None
            found = pausing.pause(scope_of(options), actor, options["reason"], until)
        except ValidationError as error:
            raise CommandError("; ".join(error.messages), returncode=2) from None
        except OverflowError:
            raise CommandError("--minutes is too large.", returncode=2) from None
        except Conflict as error:
            raise CommandError(str(error)) from None
        end = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        self.stdout.write(f"Paused {found}{end}.")
