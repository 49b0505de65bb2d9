"""Rows for tests. Each factory makes the least that is valid."""

from typing import Any

import factory
from factory.django import DjangoModelFactory

from accounts.models import ApiToken, Invite, Membership, Organization, User
from accounts.roles import Role
from config.base.redaction import keyed_hash
from fallback.models import Connection

PASSWORD = "correct horse battery"


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User

    username = factory.Sequence("person{}".format)
    email = factory.LazyAttribute(lambda user: f"{user.username}@example.org")
    password = factory.django.Password(PASSWORD)


class OrganizationFactory(DjangoModelFactory[Organization]):
    class Meta:
        model = Organization

    name = factory.Sequence("Organization {}".format)


class MembershipFactory(DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    organization = factory.SubFactory(OrganizationFactory)
    role = Role.MEMBER


class InviteFactory(DjangoModelFactory[Invite]):
    class Meta:
        model = Invite

    organization = factory.SubFactory(OrganizationFactory)
    role = Role.MEMBER
    code = factory.Sequence("an-invite-code-of-a-test-{}".format)
    code_hash = factory.LazyAttribute(lambda invite: keyed_hash(invite.code))


class ConnectionFactory(DjangoModelFactory[Connection]):
    class Meta:
        model = Connection

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence("Connection {}".format)
    base_url = "https://tfy.example.org/api/svc"
    token = "tfy-token"


def issue_token(user: User, **options: Any) -> tuple[ApiToken, str]:
    """A token and its secret."""
    return ApiToken.objects.issue(user, "test", **options)


def alike(factory: Any, *names: str) -> None:
    """Two rows, then the second like the first in `names`, but for case: not allowed."""
    first, second = factory.create(), factory.create()
    values = {name: getattr(first, name) for name in names}
    upper = {n: v.upper() if isinstance(v, str) else v for n, v in values.items()}
    type(first)._default_manager.filter(pk=second.pk).update(**upper)
