"""`manage.py bootstrap`: the first owner and organization. Safe to repeat."""

import re
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts import activity
from accounts.models import Membership, Organization, User
from accounts.roles import Role
from config.base.actor import Actor
from fallback.configuring import ensure_environment_connection

ACTOR = Actor.system("bootstrap")


class Command(BaseCommand):
    help = (
        "Make the owner (a superuser), the organization and, where TF_SERVICE_API_TOKEN is set, "
        "the connection from the environment. What is there already stays as it is."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--email", required=True)
        parser.add_argument(
            "--password",
            default=settings.BOOTSTRAP_PASSWORD,
            help="needed for a new person only; BOOTSTRAP_PASSWORD keeps it out of process lists",
        )
        parser.add_argument("--organization", required=True, metavar="NAME")
        parser.add_argument("--username", help="default: the part of the email before the @")

    def handle(
        self,
        *args: Any,
        email: str,
        password: str,
        organization: str,
        username: str | None,
        **options: Any,
    ) -> None:
        try:
            with transaction.atomic():
                owner = self._owner(email.strip(), password, username)
                home = self._organization(organization.strip())
                self._membership(owner, home)
        except ValidationError as error:
            raise CommandError(in_words(error)) from None
        connection, created = ensure_environment_connection(home)
        if connection is None:
            self.stdout.write("No connection: TF_SERVICE_API_TOKEN is not set.")
        else:
            self._say(created, f"connection {connection}")
            if not connection.url:
                self.stdout.write("It leads nowhere: TRUEFOUNDRY_API_URL is not set.")

    def _owner(self, email: str, password: str, username: str | None) -> User:
        user = User.objects.filter(email__iexact=email).first()
        if user is None:
            user = User(username=username or free_username(email), email=email)
            user.is_staff = user.is_superuser = True
            if not password:
                raise CommandError("A new person needs --password, or BOOTSTRAP_PASSWORD.")
            validate_password(password, user)
            user.set_password(password)
            user.full_clean()
            user.save(force_insert=True)
            activity.record(ACTOR, "user.created", user, None)
            self._say(True, f"owner {user} <{user.email}>")
            return user
        if not user.is_active:
            raise CommandError(f"{user} is deactivated. Activate the account first.")
        if not (user.is_superuser and user.is_staff):
            user.is_staff = user.is_superuser = True
            user.save(update_fields=["is_staff", "is_superuser"])
            activity.record(ACTOR, "user.promoted", user, None, {"is_superuser": [False, True]})
        self._say(False, f"owner {user} <{user.email}>")
        return user

    def _organization(self, name: str) -> Organization:
        organization = Organization.objects.filter(name__iexact=name).first()
        if organization is None:
            organization = Organization(name=name)
            organization.full_clean()
            organization.save(force_insert=True)
            activity.record(ACTOR, "organization.created", organization, organization.pk)
            self._say(True, f"organization {organization}")
            return organization
        if organization.deleted_at:
            raise CommandError(f"{organization} is deleted and waits to be purged.")
        self._say(False, f"organization {organization}")
        return organization

    def _membership(self, user: User, organization: Organization) -> None:
        membership, created = Membership.objects.get_or_create(
            user=user, organization=organization, defaults={"role": Role.OWNER}
        )
        before = None if created else membership.role
        if before == Role.OWNER:
            return
        Membership.objects.filter(pk=membership.pk).update(role=Role.OWNER)
        verb = "member.added" if created else "member.changed"
        change = {"role": [before, Role.OWNER.value]}
        activity.record(ACTOR, verb, membership, organization.pk, change)

    def _say(self, created: bool, what: str) -> None:
        self.stdout.write(f"{'Made' if created else 'Found'} the {what}.")


def free_username(email: str) -> str:
    """The local part in allowed letters, with a number where it is taken."""
    base = re.sub(r"[^A-Za-z0-9_.-]", "-", email.partition("@")[0]).lstrip(".-")[:56] or "owner"
    name, number = base, 1
    while User.objects.filter(username__iexact=name).exists():
        number += 1
        name = f"{base}{number}"
    return name


def in_words(error: ValidationError) -> str:
    """One line for each field."""
    if not hasattr(error, "error_dict"):
        return f"password: {' '.join(error.messages)}"
    return "\n".join(f"{name}: {' '.join(texts)}" for name, texts in error.message_dict.items())
