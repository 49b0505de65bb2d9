"""Signing in and out, how pages look to a reader, and who did what."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm
from django.db.models import Q
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from accounts.listing import page_of
from accounts.models import Activity
from accounts.scope import PageRequest, page

SECONDS_SIGNED_IN = 14 * 24 * 60 * 60
YEAR = 365 * 24 * 60 * 60
SPANS = {"1": "Last day", "7": "Last 7 days", "30": "Last 30 days", "": "All time"}
KINDS = {"": "Everyone", "user": "People", "token": "Tokens", "system": "System"}
PARTS = {
    "": "All objects",
    "move": "Moves",
    "fallbackconfig": "Configs",
    "connection": "Connections",
    "sweep": "Sweeps",
    "pause": "Pauses",
    "membership": "Members",
}


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


@page
def activity(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/activity.html", _activities(request))


@page
def activity_rows(request: PageRequest) -> HttpResponse:
    """The table alone, fetched again when something has happened."""
    return render(request, "accounts/_activity_rows.html", _activities(request))


def _activities(request: PageRequest) -> dict[str, Any]:
    found = Activity.objects.visible_to(request.reader)
    params = request.GET
    chosen = {
        "search": params.get("search", "").replace("\0", "").strip()[:100],
        "actor": params.get("actor", ""),
        "object": params.get("object", ""),
        "days": params.get("days", "7"),
    }
    if text := chosen["search"]:
        found = found.filter(
            Q(actor_name__icontains=text)
            | Q(object_name__icontains=text)
            | Q(verb__icontains=text)
            | Q(reason__icontains=text)
            | Q(request_id=text)
            | Q(object_id=text)
        )
    if chosen["actor"] in KINDS and chosen["actor"]:
        found = found.filter(actor_kind=chosen["actor"])
    if chosen["object"] in PARTS and chosen["object"]:
        found = found.filter(object_kind=chosen["object"])
    if chosen["days"] in SPANS and chosen["days"]:
        since = timezone.now() - timedelta(days=int(chosen["days"]))
        found = found.filter(created_at__gte=since)
    rows = page_of(request, found, Activity.objects.all(), search=bool(text))
    return {"page": rows, "chosen": chosen, "kinds": KINDS, "parts": PARTS, "spans": SPANS}
