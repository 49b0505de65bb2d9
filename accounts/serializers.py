"""What the API tells of people, and takes from them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Activity, ApiToken, Membership, Organization, User
from accounts.roles import Role
from config.base.api import Moment, Shown


class SignInBody(serializers.Serializer[Any]):
    """A user name or an email. Fields of OAuth's password grant are understood and not needed."""

    username = serializers.CharField(max_length=254, required=False, help_text="Or an email.")
    email = serializers.CharField(max_length=254, required=False)
    password = serializers.CharField(max_length=1000, trim_whitespace=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not (attrs.get("username") or attrs.get("email")):
            raise serializers.ValidationError({"username": ["Give a user name or an email."]})
        return attrs


class TokenIssued(serializers.Serializer[Any]):
    """In the names of the API, and in those of OAuth."""

    accessToken = serializers.CharField()
    tokenType = serializers.CharField()
    expiresAt = Moment()
    access_token = serializers.CharField()
    token_type = serializers.CharField()


class OrganizationShown(Shown):
    """An organization, by its names."""

    class Meta:
        model = Organization
        fields = ("id", "name", "slug")


class MembershipShown(Shown):
    """Where somebody belongs, and as what."""

    organization = OrganizationShown()
    role = serializers.ChoiceField(Role.choices)

    class Meta:
        model = Membership
        fields = ("organization", "role", "created_at")


class TokenShown(Shown):
    """The token that was used, without its secret."""

    class Meta:
        model = ApiToken
        fields = ("id", "name", "read_only", "organization_id", "expires_at", "created_at")


class MeShown(Shown):
    """The caller, and the token that was used, where it was one."""

    memberships = MembershipShown(many=True)
    token = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ("id", "username", "email", "is_superuser", "memberships", "token", "created_at")

    @extend_schema_field(TokenShown(allow_null=True))
    def get_token(self, user: User) -> Any:
        token: ApiToken | None = self.context["token"]
        return TokenShown(token).data if token else None


class ActivityShown(Shown):
    """What somebody did, or tried and was refused.

    It has no id: its organization and `position`, which it gets within seconds, tell it apart.
    """

    change = serializers.DictField(help_text="What changed: key for key, secrets masked.")

    class Meta:
        model = Activity
        fields = (
            "organization_id",
            "actor_kind",
            "actor_id",
            "actor_name",
            "verb",
            "object_kind",
            "object_id",
            "object_name",
            "change",
            "reason",
            "request_id",
            "address",
            "refused",
            "position",
            "digest",
            "created_at",
        )
