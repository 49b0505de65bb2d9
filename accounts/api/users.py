"""POST /users: making an account for oneself."""

from typing import ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied, Throttled
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import signing_up
from accounts.api.bodies import SignedUpShown, SignUpBody
from accounts.middleware import address_of, request_id_of
from accounts.throttling import Attempt, TooMany
from config.base.api import Strict, read


class Users(Strict):
    """Whoever signs up belongs to no organization yet: joining or creating one comes next."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    problems: ClassVar = {"post": (403, 409, 429)}

    @extend_schema(request=SignUpBody, responses={201: SignedUpShown}, auth=[])
    def post(self, request: Request) -> Response:
        """409 for an email or user name that is taken, 403 where `SIGNUP` does not allow it."""
        data = read(SignUpBody(data=request.data))
        address = address_of(request._request)
        try:
            Attempt("", address, "sign-up").must_begin()
            user = signing_up.sign_up(
                data["email"],
                data["username"],
                data["password"],
                code=data.get("invite_code", ""),
                request_id=request_id_of(),
                address=address,
            )
        except TooMany as error:
            raise Throttled(error.wait, "Too many accounts were made from here.") from None
        except signing_up.NotOpen as error:
            raise PermissionDenied(str(error), "SignUpNotOpen") from None
        return Response(SignedUpShown(user).data, status=201)
