"""Signing in and out, and how pages look to a reader."""

from typing import Any

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts.scope import PageRequest

SECONDS_SIGNED_IN = 14 * 24 * 60 * 60
YEAR = 365 * 24 * 60 * 60


class SignInForm(AuthenticationForm):
    error_messages = {
        "invalid_login": "Email, user name or password is wrong.",
        "inactive": "This account is inactive.",
    }

    def __init__(self, request: Any = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        self.fields["username"].widget.attrs["maxlength"] = 254  # an email is longer than a name


class SignIn(auth_views.LoginView):
    authentication_form = SignInForm
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_valid(form)
        stay = "stay" in self.request.POST
        self.request.session.set_expiry(SECONDS_SIGNED_IN if stay else 0)
        return answer


class SignOut(auth_views.LogoutView):
    """POST only, as Django has it."""


@require_POST
def theme(request: PageRequest) -> HttpResponse:
    """Remember light, dark or "as the system" in a cookie, and go back."""
    answer = HttpResponseRedirect(way_back(request))
    wanted = request.POST.get("theme", "")
    if wanted in ("light", "dark"):
        answer.set_cookie(
            "theme", wanted, max_age=YEAR, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
        )
    else:
        answer.delete_cookie("theme", samesite="Lax")
    return answer


def way_back(request: PageRequest, default: str = "/") -> str:
    """`next` of a form, where it leads to this site."""
    wanted = request.POST.get("next", "")
    hosts, secure = {request.get_host()}, request.is_secure()
    ok = url_has_allowed_host_and_scheme(wanted, allowed_hosts=hosts, require_https=secure)
    return wanted if ok else default
