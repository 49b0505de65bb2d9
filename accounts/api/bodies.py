"""What the API takes and tells of organizations, their members and invites, and of new people."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts import joining
from accounts.models import Invite, Membership, Organization, User
from accounts.roles import Role, reaches
from accounts.serializers import OrganizationShown
from config.base.api import Body, Moment, Shown

CODE = "Shown to admins and owners, and to no token that may only read."
ROLE = serializers.ChoiceField(Role.choices, allow_null=True)


class SignUpBody(Body):
    """Who signs up."""

    email = serializers.EmailField(max_length=254)
    username = serializers.CharField(max_length=64)
    password = serializers.CharField(max_length=1000, trim_whitespace=False, write_only=True)
    invite_code = serializers.CharField(
        max_length=joining.LONGEST_CODE,
        required=False,
        allow_blank=True,
        help_text="Where signing up takes an invite. Joining by it is a step of its own.",
    )


class SignedUpShown(Shown):
    """Who has signed up; in no organization yet."""

    class Meta:
        model = User
        fields = ("id", "username", "email", "created_at")


class OrganizationBody(Body):
    """What an organization is called."""

    told = frozenset({"id", "slug", "role", "invite_code", "created_at"})

    name = serializers.CharField(max_length=100)


class OrganizationDeletionBody(Body):
    """That this organization is meant, and why it goes."""

    name = serializers.CharField(max_length=100, help_text="Its name, typed, to confirm.")
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


class OrganizationOwnShown(Shown):
    """An organization, as one of its own people sees it."""

    role = serializers.SerializerMethodField(help_text="The caller's; none for superusers.")
    invite_code = serializers.SerializerMethodField(help_text=CODE)

    class Meta:
        model = Organization
        fields = ("id", "name", "slug", "role", "invite_code", "created_at")

    @extend_schema_field(ROLE)
    def get_role(self, row: Organization) -> Any:
        return self.context["actor"].roles.get(row.pk)

    @extend_schema_field(serializers.CharField(allow_null=True, help_text=CODE))
    def get_invite_code(self, row: Organization) -> Any:
        return self.context["codes"].get(row.pk)


class JoinedShown(Shown):
    """A membership, to the one who has just become a member."""

    organization = OrganizationShown()
    role = serializers.ChoiceField(Role.choices)

    class Meta:
        model = Membership
        fields = ("id", "organization", "role", "created_at")


class PersonShown(Shown):
    """Somebody in the caller's organization."""

    class Meta:
        model = User
        fields = ("id", "username", "email", "is_active")


class MemberShown(Shown):
    """Who belongs to an organization, and as what."""

    user = PersonShown()
    role = serializers.ChoiceField(Role.choices)

    class Meta:
        model = Membership
        fields = ("id", "organization_id", "user", "role", "created_at")


class MemberBody(Body):
    """What a member is to be."""

    told = frozenset({"id", "organization_id", "user", "created_at"})

    role = serializers.ChoiceField(Role.choices)
    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


class InviteShown(Shown):
    """A code that makes people members. Nobody is told that of a role above their own."""

    role = serializers.ChoiceField(Role.choices)
    state = serializers.SerializerMethodField()
    code = serializers.SerializerMethodField()

    class Meta:
        model = Invite
        fields = (
            "id",
            "organization_id",
            "role",
            "standing",
            "state",
            "code",
            "expires_at",
            "most_uses",
            "uses",
            "revoked_at",
            "created_by_name",
            "created_at",
        )

    @extend_schema_field(serializers.ChoiceField(["usable", "revoked", "expired", "used up"]))
    def get_state(self, row: Invite) -> Any:
        return joining.state_of(row)

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_code(self, row: Invite) -> Any:
        return code_for(self.context["actor"], row)


def code_for(actor: Any, row: Invite) -> str | None:
    """None where the actor must not see it, or no key opens it any more."""
    return (row.code or None) if reaches(actor, row.role, row.organization_id) else None


class InviteBody(Body):
    """As what people join by it, how many, and until when."""

    role = serializers.ChoiceField(Role.choices, required=False, default=Role.MEMBER)
    expires_at = Moment(required=False, allow_null=True, help_text="Without: it does not expire.")
    most_uses = serializers.IntegerField(
        min_value=1,
        max_value=joining.MOST_USES,
        required=False,
        allow_null=True,
        help_text="Without: as many as like.",
    )
