"""Who calls the API: a token in `Authorization: Bearer`, or the session of a page."""

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from accounts.middleware import address_of, request_id_of
from accounts.models import ApiToken, User

REALM = 'Bearer realm="Switchyard"'
USED_EVERY = timedelta(minutes=1)  # how exactly a token's last use is known


class TokenAuthentication(authentication.BaseAuthentication):
    """`request.user` is the token's user, `request.auth` the token, `request.actor` both."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        address = address_of(request._request)
        token = token_of(secret.strip(), address)
        actor = token.actor(request_id_of(), address)
        request._request.actor = actor  # type: ignore[attr-defined]
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return REALM


def token_of(secret: str, address: str = "") -> ApiToken:
    """The usable token of this secret, whose use from `address` is noted.

    Raises AuthenticationFailed, which says what is wrong. To be called outside of transactions:
    the note must neither wait for others' work nor be undone with it.
    """
    digest = ApiToken.digest_of(secret)
    token = ApiToken.objects.select_related("user").filter(digest=digest).first()
    now = timezone.now()
    if token is None:
        raise AuthenticationFailed("This token is unknown.", "TokenUnknown")
    if token.revoked_at:
        raise AuthenticationFailed("This token was revoked.", "TokenRevoked")
    if token.expires_at and token.expires_at <= now:
        raise AuthenticationFailed("This token has expired.", "TokenExpired")
    if not token.user.is_active:
        raise AuthenticationFailed("This account is inactive.", "AccountInactive")
    if token.last_used_at is None or token.last_used_at < now - USED_EVERY:
        unused = Q(last_used_at=None) | Q(last_used_at__lt=now - USED_EVERY)
        row = ApiToken.objects.filter(unused, pk=token.pk)
        row.update(last_used_at=now, last_used_address=address)
    return token


class SessionAuthentication(authentication.SessionAuthentication):
    """Pages that call the API. `request.actor` is the middleware's."""

    def enforce_csrf(self, request: Any) -> None:
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise PermissionDenied(str(error.detail), "CsrfFailed") from None
