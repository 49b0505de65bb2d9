"""`manage.py verify_activity`: proves that nobody has changed the record of what was done."""

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from accounts import proving
from accounts.models import Organization
from accounts.proving import Proof
from config.base.actor import Actor

ACTOR = Actor.system("manage.py verify_activity")


class Command(BaseCommand):
    help = (
        "Prove each organization's chain of activities, name the first row that does not hold, and "
        "what is not sealed yet. Exit code 0: all hold; 1: one is broken; 2: it could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", metavar="SLUG", help="default: all")
        parser.add_argument("--json", action="store_true", help="print one object")
        parser.add_argument(
            "--sign-again",
            action="store_true",
            help="after SECRET_KEY was changed: prove the rows, then sign the chains with the new "
            "key",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            proofs = self._proofs(options)
        except DatabaseError as error:
            raise CommandError(f"The database does not answer: {error}", returncode=2) from error
        broken = [proof for proof in proofs if proof.fault]
        if options["json"]:
            told = {"sound": not broken, "chains": [as_json(proof) for proof in proofs]}
            self.stdout.write(json.dumps(told))
        else:
            for proof in proofs:
                self._tell(proof)
            if not proofs:
                self.stdout.write("There are no activities yet.")
        if broken:
            sys.exit(1)

    def _proofs(self, options: dict[str, Any]) -> list[Proof]:
        organization = None
        if slug := options["organization"]:
            organization = Organization.objects.filter(slug=slug).first()
            if organization is None:
                raise CommandError(f"There is no organization {slug!r}.", returncode=2)
        found = proving.chains(organization)
        if options["sign_again"]:
            for pk, _ in found:
                proving.sign_again(pk, ACTOR)
        return [proving.prove(pk, name) for pk, name in found]

    def _tell(self, proof: Proof) -> None:
        name = proof.name or "no organization"
        if proof.fault is None:
            told = f"{name}: sound, {proof.rows} rows up to position {proof.position}"
        else:
            fault = proof.fault
            row = f"activity {fault.row_id} at " if fault.row_id else ""
            told = f"{name}: BROKEN at {row}position {fault.position}: {fault.why}. {fault.message}"
        tail = "nothing is unsealed"
        if proof.unsealed_since:
            tail = f"{proof.unsealed} unsealed since {proof.unsealed_since.isoformat()}"
        self.stdout.write(f"{told.rstrip('.')}; {tail}.")


def as_json(proof: Proof) -> dict[str, Any]:
    fault, since = proof.fault, proof.unsealed_since
    return {
        "organization": proof.name or None,
        "chain": str(proof.chain),
        "rows": proof.rows,
        "position": proof.position,
        "digest": proof.digest,
        "broken": fault
        and {
            "id": fault.row_id,
            "position": fault.position,
            "why": fault.why,
            "message": fault.message,
        },
        "unsealed": {"count": proof.unsealed, "since": since.isoformat() if since else None},
    }
