"""/organizations: making, reading, renaming and deleting them, and joining by a code."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import PermissionDenied as Refused
from django.db.models import Model
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, NotAuthenticated, PermissionDenied
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import activity, belonging, joining
from accounts.api.bodies import (
    JoinedShown,
    OrganizationBody,
    OrganizationDeletionBody,
    OrganizationOwnShown,
    code_for,
)
from accounts.api.own import Own
from accounts.endpoints import Endpoint
from accounts.models import ApiToken, Organization
from accounts.permissions import RoleAllows, actor_of, allow, deny, verb_of
from accounts.roles import LEAST, Role, may
from config.base.actor import Actor
from config.base.api import ReasonBody, read, reason_of
from config.base.parameters import AnyOf, Filters

CODE = OpenApiParameter(
    "code", OpenApiTypes.STR, OpenApiParameter.PATH, description="An `inviteCode`."
)
HOME = OpenApiParameter(
    "organization", OpenApiTypes.UUID, OpenApiParameter.PATH, description="An organization's id."
)


class Over(APIException):
    """An invite that nobody joins by any more."""

    status_code = 410


@contextmanager
def refusals(actor: Actor, verb: str, subject: Model | None = None) -> Iterator[None]:
    """What a verb refuses, as the API tells it. That it was tried leaves an Activity."""
    try:
        yield
    except Refused as error:
        home = subject.pk if isinstance(subject, Organization) else None
        home = home or getattr(subject, "organization_id", None)
        activity.refused(actor, verb, home, subject, str(error))
        raise PermissionDenied(str(error), "RoleTooLow") from None
    except joining.Unusable as error:
        raise Over(str(error), error.code) from None
    except joining.Unknown:
        raise Http404 from None


class InOrganization(RoleAllows):
    """For views below an organization's address: first it is asked whether that is there."""

    def has_permission(self, request: Request, view: Any) -> bool:
        actor, verb = actor_of(request), verb_of(request, view)
        if actor.user_id is None:
            raise NotAuthenticated
        if verb is None:
            return True  # no such method here, which is told next
        home, noted = view.home, request.method not in SAFE_METHODS
        if actor.read_only and LEAST[verb] is not Role.VIEWER:
            if noted:
                activity.refused(actor, verb, home.pk)
            raise PermissionDenied("This token may only read.", "ReadOnlyToken")
        allow(actor, verb, home.pk, noted=noted)
        return True


class Below(Endpoint):
    """What belongs to the organization that the address names."""

    permission_classes = (InOrganization,)
    _home: Organization | None = None

    @property
    def home(self) -> Organization:
        """Raises Http404 where the caller sees no such organization."""
        if self._home is None:
            self._home = organization_of(self.actor, self.kwargs["organization"])
        return self._home

    def known_parameters(self) -> list[Any]:
        return self.list_parameters() if self.action == "list" else []


def organization_of(actor: Actor, key: str) -> Organization:
    try:
        found = Organization.objects.visible_to(actor).filter(pk=uuid.UUID(key)).first()
    except ValueError:
        found = None
    if found is None:
        raise Http404
    return found


class OrganizationFilters(Filters):
    name = AnyOf(lookup_expr="iexact")
    slug = AnyOf()


class Organizations(Endpoint):
    """The caller's own. Who is in an organization sees it, and nobody else does."""

    queryset = Organization.objects.all()
    serializer_class = OrganizationOwnShown
    organization_path = "pk"
    own = "organization"  # what it takes no role to make or to join
    verbs: ClassVar = {
        "partial_update": "organization.write",
        "destroy": "organization.delete",
        "rotate": "invite.write",
    }
    problems: ClassVar = {
        "create": (409,),
        "partial_update": (409,),
        "destroy": (409,),
        "join": (404, 409, 410),
        "rotate": (409,),
    }
    filters = OrganizationFilters
    search_fields = ("name", "slug")
    ordering = ("created_at", "id")
    ordering_fields: ClassVar = {name: name for name in ("name", "slug", "created_at")}

    def get_permissions(self) -> list[Any]:
        # To make one, or to join one, takes no role: there is none yet.
        return [Own()] if self.action in ("create", "join") else [*super().get_permissions()]

    def organization_id_of(self, row: Organization) -> uuid.UUID:
        return row.pk

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        found = OrganizationOwnShown(page, many=True, context=context(self.actor, page))
        return self.get_paginated_response(found.data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(shown(self.actor, self.get_object()))

    @extend_schema(request=OrganizationBody, responses={201: OrganizationOwnShown})
    def create(self, request: Request) -> Response:
        """The caller becomes its owner. 409 for a taken name."""
        refuse_bound(request, "organization.create")
        name = read(OrganizationBody(data=request.data))["name"]
        with refusals(self.actor, "organization.create"):
            made = belonging.create(name, self.actor)
        return Response(shown(now(request), made), status=201)

    @extend_schema(request=OrganizationBody, responses=OrganizationOwnShown)
    def partial_update(self, request: Request, pk: str) -> Response:
        """Its slug stays. 409 for a taken name."""
        found = self.get_object()
        data = read(OrganizationBody(data=request.data, partial=True))
        if "name" in data:
            belonging.rename(found, data["name"], self.actor)
        return Response(shown(self.actor, found))

    @extend_schema(request=OrganizationDeletionBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """It vanishes for everybody, and is purged after 30 days. 409 where something runs."""
        found = self.get_object()
        data = read(OrganizationDeletionBody(data=request.data))
        belonging.delete(found, self.actor, data["name"], data.get("reason", ""))
        return Response(status=204)

    @extend_schema(request=ReasonBody, responses=OrganizationOwnShown)
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """A new `inviteCode`; the one before works no more."""
        found = self.get_object()
        joining.rotate(found, self.actor, reason_of(request))
        return Response(shown(self.actor, found))

    @extend_schema(request=None, responses=JoinedShown, parameters=[CODE])
    @action(detail=False, methods=["post"], url_path=r"(?P<code>[^/]+)/join")
    def join(self, request: Request, code: str) -> Response:
        """404 for an unknown code, 410 for one that is over, 409 for who is a member already."""
        refuse_bound(request, "organization.join")
        with refusals(self.actor, "organization.join"):
            made = joining.join(code, self.actor)
        return Response(JoinedShown(made).data)


def refuse_bound(request: Request, verb: str) -> None:
    """A token that is bound to one organization has nothing to do with others."""
    if isinstance(request.auth, ApiToken) and request.auth.organization_id:
        text = "This token is bound to another organization."
        deny(actor_of(request), verb, text, "TokenBound")


def now(request: Request) -> Actor:
    """The caller, with the role that they have just been given."""
    token = request.auth
    found: Actor = token.actor() if isinstance(token, ApiToken) else request.user.actor()  # type: ignore[union-attr]
    return found


def shown(actor: Actor, row: Organization) -> Any:
    return OrganizationOwnShown(row, context=context(actor, [row])).data


def context(actor: Actor, rows: Iterable[Organization]) -> dict[str, Any]:
    """The actor, and the codes that they may see."""
    seen = [row.pk for row in rows if may(actor, "invite.read", row.pk)]
    found = joining.standing(seen).items()
    return {"actor": actor, "codes": {pk: code_for(actor, invite) for pk, invite in found}}
