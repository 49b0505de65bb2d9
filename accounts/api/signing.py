"""/token and /users/me."""

import json
from datetime import timedelta
from typing import ClassVar

from django.contrib.auth import authenticate
from django.db import transaction
from django.db.models import Prefetch
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import activity
from accounts.authentication import REALM
from accounts.middleware import address_of, request_id_of
from accounts.models import ApiToken, Membership, User
from accounts.permissions import actor_of
from accounts.serializers import MeShown, SignInBody, TokenIssued
from accounts.throttling import Attempt
from config.base.api import Strict
from config.base.parsing import FormParser, JSONParser

TOKEN_NAME = "Signed in with a password"
TOKEN_HOURS = 12


class BadCredentials(APIException):
    status_code = 401
    default_detail = "The name or the password is wrong."
    default_code = "BadCredentials"
    auth_header = REALM


class Token(Strict):
    """Signs in with a password. Programs better use a token of their own."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    parser_classes = (JSONParser, FormParser)
    problems: ClassVar = {"post": (401, 429)}

    @extend_schema(request=SignInBody, responses=TokenIssued, auth=[])
    def post(self, request: Request) -> HttpResponse:
        body = SignInBody(data=request.data)
        body.is_valid(raise_exception=True)
        name = body.validated_data.get("username") or body.validated_data["email"]
        attempt = Attempt(name, address_of(request._request))
        if wait := attempt.begin():
            raise Throttled(wait, "Too many failed attempts.")
        password = body.validated_data["password"]
        user = authenticate(request._request, username=name, password=password)
        if not isinstance(user, User):
            raise BadCredentials
        attempt.succeeded()
        token, secret = issue(user, request)
        told = {
            "accessToken": secret,
            "tokenType": "bearer",
            "expiresAt": token.expires_at,
            "access_token": secret,
            "token_type": "bearer",
        }
        # Not by way of the renderer, which would make camelCase of OAuth's names.
        text = json.dumps(TokenIssued(told).data)
        headers = {"Cache-Control": "no-store"}
        return HttpResponse(text, content_type="application/json", headers=headers)


def issue(user: User, request: Request) -> tuple[ApiToken, str]:
    """A token for half a day; those of yesterday go."""
    now = timezone.now()
    with transaction.atomic():
        user.tokens.filter(name=TOKEN_NAME, expires_at__lt=now).delete()
        expires_at = now + timedelta(hours=TOKEN_HOURS)
        token, secret = ApiToken.objects.issue(user, TOKEN_NAME, expires_at=expires_at)
        actor = user.actor(request_id_of(), address_of(request._request))
        activity.record(actor, "token.issued", token, None)
    return token, secret


class Me(Strict):
    @extend_schema(responses=MeShown)
    def get(self, request: Request) -> Response:
        """Who calls, where they belong, and as what."""
        actor, user = actor_of(request), request.user
        assert isinstance(user, User)
        mine = Membership.objects.select_related("organization").filter(
            organization__in=actor.organizations
        )
        people = User.objects.prefetch_related(Prefetch("memberships", mine))
        found = people.get(pk=user.pk)
        token = request.auth if isinstance(request.auth, ApiToken) else None
        return Response(MeShown(found, context={"token": token}).data)
