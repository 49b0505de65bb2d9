"""What the API takes and tells of tokens, of the caller and of their password."""

from rest_framework import serializers

from accounts.models import ApiToken
from config.base.api import Body, Moment, Shown


class ApiTokenBody(Body):
    """What a new token may do, and until when."""

    name = serializers.CharField(max_length=100, help_text="What will use it.")
    expires_at = Moment(required=False, allow_null=True, help_text="Without one: never.")
    read_only = serializers.BooleanField(required=False, default=False)  # type: ignore[assignment]
    organization_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="The one that it is to see; else all of yours."
    )


class ApiTokenShown(Shown):
    """Without its secret, which nobody can tell any more."""

    class Meta:
        model = ApiToken
        fields: tuple[str, ...] = (
            "id",
            "name",
            "prefix",
            "read_only",
            "organization_id",
            "expires_at",
            "revoked_at",
            "last_used_at",
            "last_used_address",
            "created_at",
        )


class ApiTokenIssuedShown(ApiTokenShown):
    """With `token`, the secret: this once."""

    token = serializers.SerializerMethodField(help_text="What goes into the header. Store it.")

    class Meta(ApiTokenShown.Meta):
        fields = (*ApiTokenShown.Meta.fields, "token")

    def get_token(self, row: ApiToken) -> str:
        return str(self.context["secret"])


class MeBody(Body):
    """Who the caller is to be from now on."""

    email = serializers.EmailField(required=False, max_length=254)
    username = serializers.CharField(required=False, max_length=64)


class PasswordBody(Body):
    """The password of now, and the one to come."""

    current_password = serializers.CharField(max_length=1000, trim_whitespace=False)
    new_password = serializers.CharField(max_length=1000, trim_whitespace=False)
