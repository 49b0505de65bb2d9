"""/organizations/{id}/members."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import activity, belonging
from accounts.api.bodies import MemberBody, MemberShown
from accounts.api.organizations import HOME, Below, refusals
from accounts.models import Membership
from accounts.permissions import allow
from accounts.roles import Role
from config.base.api import ReasonBody, read, reason_of
from config.base.parameters import ID, AnyOf, Filters, one_of


class MemberFilters(Filters):
    role = AnyOf(one_of(Role.values))
    user_id = AnyOf(ID)
    username = AnyOf(field_name="user__username", lookup_expr="iexact")
    email = AnyOf(field_name="user__email", lookup_expr="iexact")


@extend_schema(parameters=[HOME])
class Members(Below):
    """Who belongs to it, and as what. An owner who can act is always left."""

    queryset = Membership.objects.all()
    serializer_class = MemberShown
    # Ending one's own membership takes no role: the deed itself asks.
    verbs: ClassVar = {"partial_update": "member.write", "destroy": "read"}
    problems: ClassVar = {"partial_update": (409,), "destroy": (409,)}
    filters = MemberFilters
    search_fields = ("user__username", "user__email")
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {
        "username": "user__username",
        "role": "role",
        "created_at": "created_at",
    }

    def visible(self) -> QuerySet[Any]:
        return Membership.objects.filter(organization=self.home).select_related("user")

    def get_queryset(self) -> QuerySet[Any]:
        return self.visible()

    def list(self, request: Request, organization: str) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(MemberShown(page, many=True).data)

    def retrieve(self, request: Request, organization: str, pk: str) -> Response:
        return Response(MemberShown(self.get_object()).data)

    @extend_schema(request=MemberBody, responses=MemberShown)
    def partial_update(self, request: Request, organization: str, pk: str) -> Response:
        """409 for the last owner. Nobody gives or takes a role above their own."""
        found = self.get_object()
        data = read(MemberBody(data=request.data, partial=True))
        if "role" in data:
            with refusals(self.actor, "member.write", found):
                found = belonging.change_role(
                    found, data["role"], self.actor, data.get("reason", "")
                )
        return Response(MemberShown(found).data)

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, organization: str, pk: str) -> Response:
        """Removes somebody or, of one's own, leaves. 409 for the last owner."""
        found = self.get_object()
        if self.actor.read_only:
            activity.refused(self.actor, "member.write", self.home.pk, found)
            raise PermissionDenied("This token may only read.", "ReadOnlyToken")
        with refusals(self.actor, "member.write", found):
            if found.user_id == self.actor.user_id:
                belonging.leave(found, self.actor, reason_of(request))
            else:
                allow(self.actor, "member.write", self.home.pk, found)
                belonging.remove(found, self.actor, reason_of(request))
        return Response(status=204)
