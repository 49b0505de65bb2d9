"""/organizations/{id}/invites."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import joining
from accounts.api.bodies import InviteBody, InviteShown
from accounts.api.organizations import HOME, Below, refusals
from accounts.models import Invite
from accounts.roles import Role
from config.base.api import ReasonBody, read, reason_of
from config.base.parameters import FLAG, AnyOf, Filters, one_of


class InviteFilters(Filters):
    role = AnyOf(one_of(Role.values))
    standing = AnyOf(FLAG)


@extend_schema(parameters=[HOME])
class Invites(Below):
    """Codes that make whoever has one a member. The standing one is the `inviteCode`."""

    queryset = Invite.objects.all()
    serializer_class = InviteShown
    verbs: ClassVar = {
        "list": "invite.read",
        "retrieve": "invite.read",
        "create": "invite.write",
        "destroy": "invite.write",
    }
    problems: ClassVar = {"destroy": (409,)}
    filters = InviteFilters
    search_fields = ("created_by_name",)
    ordering_fields: ClassVar = {
        name: name for name in ("role", "created_at", "expires_at", "uses")
    }

    def get_queryset(self) -> QuerySet[Any]:
        if self.action == "list":
            joining.standing([self.home.pk])  # older organizations get theirs
        return self.visible().filter(organization=self.home)

    def list(self, request: Request, organization: str) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = InviteShown(page, many=True, context={"actor": self.actor})
        return self.get_paginated_response(found.data)

    def retrieve(self, request: Request, organization: str, pk: str) -> Response:
        return Response(self._shown(self.get_object()))

    @extend_schema(request=InviteBody, responses={201: InviteShown})
    def create(self, request: Request, organization: str) -> Response:
        """Nobody invites above their own role."""
        data = read(InviteBody(data=request.data))
        with refusals(self.actor, "invite.write", self.home):
            made = joining.invite(self.home, self.actor, **data)
        return Response(self._shown(made), status=201)

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, organization: str, pk: str) -> Response:
        """Revokes it. 409 where it was revoked, and for the standing one, which is rotated."""
        joining.revoke(self.get_object(), self.actor, reason_of(request))
        return Response(status=204)

    def _shown(self, row: Invite) -> Any:
        return InviteShown(row, context={"actor": self.actor}).data
