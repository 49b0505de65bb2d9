"""/token and /users/me."""

import json
from typing import ClassVar

from django.contrib.auth import update_session_auth_hash
from django.db.models import Prefetch
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import APIException, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import passwords, renaming, signing, tokens
from accounts.api.own import Own
from accounts.api.token_bodies import MeBody, PasswordBody
from accounts.authentication import REALM
from accounts.middleware import address_of, request_id_of
from accounts.models import ApiToken, Membership, User
from accounts.permissions import actor_of, deny
from accounts.serializers import MeShown, SignInBody, TokenIssued
from accounts.throttling import TooMany
from config.base.api import Strict, read
from config.base.parsing import FormParser, JSONParser


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
        data = body.validated_data
        name = data.get("username") or data["email"]
        try:
            user = signing.check(name, data["password"], request._request)
        except TooMany as error:
            raise Throttled(error.wait, str(error)) from None
        if user is None:
            raise BadCredentials
        actor = user.actor(request_id_of(), address_of(request._request))
        token, secret = tokens.sign_in(user, actor)
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


class Me(Strict):
    permission_classes = (Own,)
    own = "account"
    problems: ClassVar = {"patch": (409,)}

    @extend_schema(responses=MeShown)
    def get(self, request: Request) -> Response:
        """Who calls, where they belong, and as what."""
        return self._told(request)

    @extend_schema(request=MeBody, responses=MeShown)
    def patch(self, request: Request) -> Response:
        """Change the email, the user name, or both. 409 for one that is taken."""
        given = read(MeBody(data=request.data))
        user = user_of(request)
        if isinstance(request.auth, ApiToken) and not tokens.is_whole(request.auth):
            # The email is the way to a new password, which opens everything and for good.
            text = (
                "A token that expires, or is bound to an organization, cannot change the account."
            )
            deny(actor_of(request), "account.write", text, "TokenTooNarrow")
        renaming.rename(user, actor_of(request), **given)
        return self._told(request)

    def _told(self, request: Request) -> Response:
        mine = Membership.objects.select_related("organization").filter(
            organization__in=actor_of(request).organizations
        )
        people = User.objects.prefetch_related(Prefetch("memberships", mine))
        found = people.get(pk=user_of(request).pk)
        token = request.auth if isinstance(request.auth, ApiToken) else None
        return Response(MeShown(found, context={"token": token}).data)


class Password(Strict):
    """Changes the caller's password."""

    permission_classes = (Own,)
    own = "account"
    problems: ClassVar = {"post": (409, 429)}

    @extend_schema(request=PasswordBody, responses={204: None})
    def post(self, request: Request) -> Response:
        """All other sessions end, and tokens of `POST /token`; other API tokens go on working."""
        data = read(PasswordBody(data=request.data))
        user = user_of(request)
        by_session = request.auth is None
        kept = request._request.session.session_key if by_session else None
        current, new = data["current_password"], data["new_password"]
        try:
            passwords.change(user, actor_of(request), current, new, kept)
        except TooMany as error:
            raise Throttled(error.wait, str(error)) from None
        if by_session:
            update_session_auth_hash(request._request, user)
        return Response(status=204)


def user_of(request: Request) -> User:
    user = request.user
    assert isinstance(user, User)  # the permission has seen to it
    return user
