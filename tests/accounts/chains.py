"""What the tests of chains share: writing activities, and proving what became of them."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command

from accounts import activity
from accounts.models import Activity, Organization
from config.base.actor import Actor
from tests.factories import OrganizationFactory

ACTOR = Actor.system("tests")
ROWS = Activity._base_manager
NOW = timedelta(0)


def write(organization: Organization | None, count: int = 1, **change: Any) -> list[int]:
    """The ids of new activities, one after another."""
    subject = organization or OrganizationFactory.build()
    pk = organization.pk if organization else None
    return [
        activity.record(ACTOR, "organization.changed", subject, pk, {"number": n, **change}).pk
        for n in range(count)
    ]


def verified(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and what `--json` told."""
    out, code = StringIO(), 0
    try:
        call_command("verify_activity", "--json", *arguments, stdout=out)
    except SystemExit as end:
        code = int(end.code or 0)
    return code, json.loads(out.getvalue())


def broken(organization: Organization) -> tuple[int | None, int, str] | None:
    """`(id, position, why)` of the first row that does not hold."""
    code, told = verified("--organization", organization.slug)
    found = told["chains"][0]["broken"]
    assert code == (1 if found else 0) and told["sound"] is not bool(found)
    return (found["id"], found["position"], found["why"]) if found else None
