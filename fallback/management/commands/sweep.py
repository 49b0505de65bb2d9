"""`manage.py sweep`: one pass by hand. Needs the database only."""

import gc
import json
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError
from django.utils import timezone
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from accounts.models import Organization
from config.base import live
from config.base.actor import Actor
from config.base.leases import ClockApart
from fallback import moving
from fallback.models import Connection, Move, MoveState, Sweep
from fallback.sweep import sweep
from fallback.tasks import drive_tick

Figures = dict[str, Any]
LONGEST = 7 * 86_400


def seconds(text: str) -> float:
    """Raises ValueError for what is none, which argparse tells."""
    if 0 <= (value := float(text)) <= LONGEST:
        return value
    raise ValueError(text)


class Command(BaseCommand):
    help = (
        "Find what is stuck and plan its moves. Exit code 0: nothing failed; 1: something failed, "
        "needs attention, or time was up; 2: it could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="default: all")
        parser.add_argument("--dry-run", action="store_true", help="tell, and write nothing")
        parser.add_argument("--wait", action="store_true", help="drive every due move here")
        parser.add_argument("--timeout", type=seconds, default=60, help="seconds, with --wait")
        parser.add_argument("--json", action="store_true", help="print one object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            organizations = self._organizations(options["organization"])
        except CommandError as error:
            error.returncode = 2
            raise
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}", returncode=2) from None
        gc.freeze()  # what is imported stays: going through it took a tenth of a sweep's time
        begun, at = time.monotonic(), timezone.now()
        actor = Actor.system("manage.py sweep")
        sweeps = [
            sweep(organization, actor, by_person=True, dry_run=options["dry_run"])
            for organization in organizations
        ]
        timed_out = False
        if not options["dry_run"]:
            timed_out = self._go_on(organizations, options)
        figures = self._figures(organizations, sweeps, at, options["dry_run"])
        figures["seconds"] = round(time.monotonic() - begun, 2)
        self._print(figures, sweeps, options)
        if figures["failed"] or figures["needsAttention"] or figures["errors"] or timed_out:
            sys.exit(1)

    def _organizations(self, slug: str | None) -> list[Organization]:
        usable = Connection.objects.usable().values("organization_id")
        found = Organization.objects.alive().filter(pk__in=usable)
        if slug is None:
            if not found:
                raise CommandError(
                    "No organization has an enabled connection with address and token."
                )
            return list(found)
        named = Organization.objects.alive().filter(slug=slug).first()
        if named is None:
            raise CommandError(f"There is no organization {slug!r}.")
        if not found.filter(pk=named.pk).exists():
            raise CommandError(f"{named} has no enabled connection with address and token.")
        return [named]

    def _go_on(self, organizations: list[Organization], options: dict[str, Any]) -> bool:
        if not options["wait"]:
            live.nudge(drive_tick)
            return False
        one = organizations[0].pk if options["organization"] else None
        moves = Move.objects.filter(organization__in=organizations)
        total = moves.open().count()
        with Progress(
            TextColumn("moving"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=options["json"] or not sys.stderr.isatty(),
        ) as progress:
            bar = progress.add_task("moving", total=total)

            def show() -> None:
                if not progress.disable:
                    progress.update(bar, completed=total - moves.open().count())

            try:
                driven = moving.drive(
                    options["timeout"],
                    by_person=True,
                    organization_id=one,
                    wait=True,
                    on_progress=show,
                )
            except ClockApart as error:
                raise CommandError(str(error), returncode=2) from None
        moving.mail_those_that_need_a_person()
        return driven.timed_out

    def _figures(
        self, organizations: list[Organization], sweeps: list[Sweep], at: datetime, dry_run: bool
    ) -> Figures:
        moves = Move.objects.filter(organization__in=organizations)
        ended = moves.filter(finished_at__gte=at)
        waiting = moves.filter(state=MoveState.NEEDS_ATTENTION)
        return {
            "seen": sum(found.seen for found in sweeps),
            "stuck": sum(found.stuck for found in sweeps),
            "planned": sum(found.planned for found in sweeps),
            "succeeded": 0 if dry_run else ended.filter(state=MoveState.SUCCEEDED).count(),
            "failed": 0 if dry_run else ended.filter(state=MoveState.FAILED).count(),
            "needsAttention": 0 if dry_run else waiting.filter(updated_at__gte=at).count(),
            "open": moves.open().count(),
            "skipped": dict(sum((Counter(found.skipped) for found in sweeps), Counter[str]())),
            "errors": sum(found.errors for found in sweeps),
        }

    def _print(self, figures: Figures, sweeps: list[Sweep], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(figures))
            return
        verb = "would be planned" if options["dry_run"] else "planned"
        self.stdout.write(
            f"{figures['seen']} runs seen, {figures['stuck']} stuck, {figures['planned']} {verb}."
        )
        if options["wait"] and not options["dry_run"]:
            self.stdout.write(
                f"{figures['succeeded']} succeeded, {figures['failed']} failed, "
                f"{figures['needsAttention']} need attention, {figures['open']} open, "
                f"in {figures['seconds']} s."
            )
        for reason, count in sorted(figures["skipped"].items()):
            self.stdout.write(f"  left alone: {count} {reason}")
        for found in sweeps:
            for source in found.sources:
                self._print_source(source, options)

    def _print_source(self, source: dict[str, Any], options: dict[str, Any]) -> None:
        if source["error"]:
            name = f"{source['connection']}, workspace {source['workspaceId']}"
            self.stderr.write(f"  {name}: {source['error']}. {source['message']}")
        if options["dry_run"] or options["verbosity"] > 1:
            for run in source["runs"]:
                told = " ".join(part for part in (run["reason"], run["message"]) if part)
                self.stdout.write(f"  {run['run']} of {run['job']}: {told}")
