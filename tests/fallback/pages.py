"""What the tests of pages share: an organization with one of everything, and its people."""

import re
from typing import Any

from django.test import Client
from django.urls import get_resolver, reverse

from accounts.models import Organization, User
from fallback.models import Connection, FallbackConfig, Move, Sweep
from tests.factories import MembershipFactory, OrganizationFactory, UserFactory
from tests.fallback.factories import (
    ConnectionFactory,
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    SweepFactory,
)

ROLES = ("viewer", "member", "admin", "owner")
NOWHERE = "http://127.0.0.1:9"  # nobody listens there, which is told at once


class Acme:
    """An organization with one of everything."""

    def __init__(self, url: str = NOWHERE) -> None:
        self.organization: Organization = OrganizationFactory.create(name="Acme")
        self.connection: Connection = ConnectionFactory.create(
            organization=self.organization, name="Acme plane", base_url=f"{url}/api/svc"
        )
        self.config: FallbackConfig = FallbackConfigFactory.create(
            connection=self.connection, source_workspace_name="acme:training"
        )
        self.sweep: Sweep = SweepFactory.create(
            organization=self.organization, seen=3, stuck=2, skipped={"ObserveOnly": 1}
        )
        self.move: Move = MoveFactory.create(
            connection=self.connection, config=self.config, sweep=self.sweep, job_name="acme-job"
        )
        MoveStepFactory.create(move=self.move, message="Stuck for 90 min of 60 min.")
        self.people = {"stranger": person("stranger"), "anonymous": None}
        for role in ROLES:
            self.people[role] = person(role, self.organization)

    def client(self, who: str) -> Client:
        client = Client()
        if user := self.people[who]:
            client.force_login(user)
        return client

    def address(self, name: str) -> str:
        things = {
            "move": self.move,
            "config": self.config,
            "sweep": self.sweep,
            "connection": self.connection,
        }
        takes_id = bool(get_resolver().reverse_dict.getlist(name)[0][0][0][1])
        return reverse(name, args=[things[name.partition("-")[0]].pk] if takes_id else [])

    def sent(self, name: str) -> dict[str, Any]:
        """What a form sends so that it does something."""
        return {
            "config-fields": {"connection": str(self.connection.pk)},
            "config-switch": {"enabled": "no"},
            "sweep-request": {"organization": self.organization.slug},
            "connection-rotate": {"token": "another"},
            "connection-switch": {"enabled": "no"},
            "pause": {"scope": f"connection:{self.connection.pk}", "reason": "a new rack"},
            "resume": {"scope": f"connection:{self.connection.pk}"},
        }.get(name, {"reason": "because"})


def person(name: str, organization: Organization | None = None) -> User:
    user: User = UserFactory.create(username=name)
    if organization:
        MembershipFactory.create(user=user, organization=organization, role=name)
    return user


def text_of(response: Any) -> str:
    """What a reader sees, without tags and with single spaces."""
    words = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", words.replace("\xa0", " "))


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]
