"""`manage.py import_fallback_configs`: the configs of the service that this one replaces."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from accounts.models import Organization
from config.base.actor import Actor
from fallback import importing
from fallback.importing import Report
from fallback.models import Connection


class Command(BaseCommand):
    help = (
        "Bring in cluster-fallback-configs.json; ids and times are kept, and a second import "
        "changes nothing. Exit code 0: all of it is in; 1: some records were bad; "
        "2: it could not begin."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--organization", metavar="SLUG", help="default: the only one")
        parser.add_argument("--connection", metavar="NAME", help="default: the only one")
        parser.add_argument("--dry-run", action="store_true", help="tell, and write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            organization = self._organization(options["organization"])
            connection = self._connection(organization, options["connection"])
            records = importing.read(options["file"])
        except importing.Unreadable as error:
            raise CommandError(str(error), returncode=2) from None
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}", returncode=2) from None
        except CommandError as error:
            error.returncode = 2
            raise
        actor = Actor.system("manage.py import_fallback_configs")
        report = importing.import_records(records, connection, actor, dry_run=options["dry_run"])
        self._print(report, options["dry_run"])
        if report.bad:
            sys.exit(1)

    def _organization(self, slug: str | None) -> Organization:
        alive = Organization.objects.alive()
        found = list(alive if slug is None else alive.filter(slug=slug))
        if len(found) == 1:
            return found[0]
        if slug is not None:
            raise CommandError(f"There is no organization {importing.shown(slug)}.")
        if not found:
            raise CommandError("There is no organization. Run manage.py bootstrap first.")
        names = ", ".join(organization.slug for organization in found)
        raise CommandError(f"There are several organizations; add --organization: {names}.")

    def _connection(self, organization: Organization, name: str | None) -> Connection:
        all_of_it = Connection.objects.filter(organization=organization)
        found = list(all_of_it if name is None else all_of_it.filter(name__iexact=name))
        if len(found) == 1:
            return found[0]
        if name is not None:
            raise CommandError(f"{organization} has no connection {importing.shown(name)}.")
        if not found:
            raise CommandError(f"{organization} has no connection. Make one in the admin first.")
        names = ", ".join(connection.name for connection in found)
        raise CommandError(f"{organization} has several connections; add --connection: {names}.")

    def _print(self, report: Report, dry_run: bool) -> None:
        for bad in report.bad:
            self.stderr.write(str(bad))
        for note in report.notes:
            self.stdout.write(note)
        verb = "would be imported" if dry_run else "imported"
        self.stdout.write(
            f"{len(report.imported)} {verb}, {report.present} were here already, "
            f"{len(report.bad)} bad."
        )
