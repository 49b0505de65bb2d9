"""/tokens: what lets programs act as the caller."""

from typing import Any, ClassVar

from django.db.models import Q, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import activity, tokens
from accounts.api.own import Own
from accounts.api.token_bodies import ApiTokenBody, ApiTokenIssuedShown, ApiTokenShown
from accounts.endpoints import Endpoint
from accounts.models import ApiToken
from config.base.api import ReasonBody, read, reason_of
from config.base.parameters import FLAG, ID, MOMENT, AnyOf, Filters


class Ended(AnyOf):
    """By whether a time is there (`revoked`) or has come (`expired`)."""

    def filter(self, qs: QuerySet[Any], value: Any) -> QuerySet[Any]:
        if not value or set(value) == {True, False}:
            return qs
        past = Q(**{f"{self.field_name}__lte": timezone.now()})
        return qs.filter(past) if value[0] else qs.exclude(past)


class TokenFilters(Filters):
    name = AnyOf()
    prefix = AnyOf()
    read_only = AnyOf(FLAG)
    revoked = Ended(FLAG, "revoked_at")
    expired = Ended(FLAG, "expires_at")
    organization_id = AnyOf(ID, description="The one that it is bound to.")
    created_after = AnyOf(MOMENT, "created_at", "gte")
    created_before = AnyOf(MOMENT, "created_at", "lt")
    expires_before = AnyOf(MOMENT, "expires_at", "lt")
    last_used_after = AnyOf(MOMENT, "last_used_at", "gte")
    last_used_before = AnyOf(MOMENT, "last_used_at", "lt")


class Tokens(Endpoint):
    """The caller's own tokens. A secret is told once, when its token is made."""

    queryset = ApiToken.objects.defer("digest")
    serializer_class = ApiTokenShown
    permission_classes = (Own,)
    own = "token"
    problems: ClassVar = {"destroy": (409,)}
    filters = TokenFilters
    search_fields = ("name", "prefix")
    ordering_fields: ClassVar = {
        name: name for name in ("name", "created_at", "expires_at", "last_used_at")
    }

    def visible(self) -> QuerySet[Any]:
        return tokens.of(self.actor).defer("digest")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(ApiTokenShown(page, many=True).data)

    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(ApiTokenShown(self.get_object()).data)

    @extend_schema(request=ApiTokenBody, responses={201: ApiTokenIssuedShown})
    def create(self, request: Request) -> Response:
        """With no more rights than the caller has: see `organizationId` and `readOnly`."""
        data = read(ApiTokenBody(data=request.data))
        try:
            token, secret = tokens.issue(self.actor, data.pop("name"), **data)
        except PermissionDenied as error:
            activity.refused(self.actor, "token.write", None, reason=str(error.detail))
            raise
        told = ApiTokenIssuedShown(token, context={"secret": secret}).data
        return Response(told, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(request=ReasonBody, responses={204: None})
    def destroy(self, request: Request, pk: str) -> Response:
        """Revoke it: it stops working at once, and stays in the list."""
        tokens.revoke(self.get_object(), self.actor, reason_of(request))
        return Response(status=204)
