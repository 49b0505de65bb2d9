"""Signing up, and joining an organization by the link of an invite."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import Resolver404, resolve, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from accounts import belonging, joining, signing_up
from accounts.middleware import address_of, request_id_of
from accounts.models import Invite, User
from accounts.renaming import Taken
from accounts.roles import MEANINGS, Role
from accounts.scope import PageRequest
from accounts.throttling import Attempt
from accounts.views.account import password_field
from config.base import showing
from config.base.forms import PageForm
from config.base.problems import Conflict

BACKEND = "accounts.backends.EmailOrUsernameBackend"


class SignUpForm(PageForm):
    email = forms.EmailField(
        max_length=254, widget=forms.EmailInput({"autocomplete": "email", "autofocus": True})
    )
    username = forms.CharField(
        label="User name",
        max_length=64,
        widget=forms.TextInput({"autocomplete": "username", "autocapitalize": "none"}),
        help_text="Others see it. Letters, digits, '.', '_' and '-'.",
    )
    password = password_field("Password", "new-password", "8 characters or more.")

    def save(self, code: str, request: PageRequest) -> User | None:
        """The new person; None where the form says why not. Raises NotOpen."""
        if not self.is_valid():
            return None
        given, address = self.cleaned_data, address_of(request)
        if wait := Attempt("", address, "sign-up").begin():
            request.try_again_after = wait  # type: ignore[attr-defined]
            told = f"Too many accounts were made from here. Try again in {showing.duration(wait)}."
            self.add_error(None, told)
            return None
        try:
            return signing_up.sign_up(
                **given, code=code, request_id=request_id_of(), address=address
            )
        except Taken as error:
            self.add_error(error.field, str(error))
        except ValidationError as error:
            self.blame(error)
        return None


@sensitive_post_parameters("password")
@require_http_methods(["GET", "POST"])
def sign_up(request: PageRequest) -> HttpResponse:
    """Afterwards one is signed in, and goes on to where one came from."""
    onward = _onward(request)
    if request.user.is_authenticated:
        return redirect(onward)
    invite = _invite_of(onward)
    code = invite.code if invite else ""
    context: dict[str, Any] = {"next": onward, "invite": invite}
    try:
        signing_up.check(code)
        form = SignUpForm(request.POST if request.method == "POST" else None)
        user = form.save(code, request) if form.is_bound else None
    except signing_up.NotOpen as error:
        return render(request, "accounts/sign_up.html", context | {"why_not": error}, status=403)
    if user:
        login(request, user, BACKEND)
        request.session.set_expiry(0)
        return redirect(onward)
    form.describe()
    context["form"] = form
    status = 400 if form.is_bound and not hasattr(request, "try_again_after") else 200
    return render(request, "accounts/sign_up.html", context, status=status)


def _onward(request: PageRequest) -> str:
    """Where `next` leads, on this site; else to the organizations, for there is none yet."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    hosts, secure = {request.get_host()}, request.is_secure()
    ok = url_has_allowed_host_and_scheme(wanted, allowed_hosts=hosts, require_https=secure)
    return wanted if ok and wanted.startswith("/") else reverse("organizations")


def _invite_of(onward: str) -> Invite | None:
    """The invite whose page one came from."""
    try:
        match = resolve(onward.partition("?")[0])
        return joining.find(match.kwargs["code"]) if match.url_name == "join" else None
    except (Resolver404, joining.Unknown):
        return None


@require_http_methods(["GET", "POST"])
def join(request: PageRequest, code: str) -> HttpResponse:
    """Says which organization it is, and as what one joins; then joins."""
    try:
        invite = joining.find(code)
    except joining.Unknown:
        raise Http404 from None
    home = invite.organization
    if request.method == "POST":
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        try:
            made = joining.join(code, request.actor)
        except Conflict as error:
            messages.info(request, str(error))
            return redirect("organization", key=home.pk)
        except joining.Unusable:
            return _join_page(request, joining.find(code))
        messages.success(request, f"You are in {home} now, with the role {made.role}.")
        return redirect("organization", key=home.pk)
    return _join_page(request, invite)


def _join_page(request: PageRequest, invite: Invite) -> HttpResponse:
    mine = belonging.own(request.actor, invite.organization)
    context: dict[str, Any] = {"invite": invite, "mine": mine}
    context["may_sign_up"] = settings.SIGNUP != "closed"
    context["meaning"] = MEANINGS[Role(invite.role)]
    try:
        joining.check(invite)
    except joining.Unusable as error:
        if mine is None:
            return render(request, "accounts/join.html", context | {"why_not": error}, status=410)
    return render(request, "accounts/join.html", context)
