"""Signing in and out, a forgotten password, and how pages look to a reader."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views as auth_views
from django.contrib.auth.forms import AuthenticationForm, PasswordResetForm
from django.core.exceptions import ValidationError
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST
from django.views.generic.base import ContextMixin

from accounts import mailing, passwords
from accounts.middleware import address_of, request_id_of
from accounts.scope import PageRequest
from accounts.signing import Guarded, too_many
from accounts.throttling import Attempt
from accounts.views.account import NewPasswordForm
from config.base.forms import Worded
from config.base.problems import Conflict

SECONDS_SIGNED_IN = 14 * 24 * 60 * 60
YEAR = 365 * 24 * 60 * 60


class SignInForm(Guarded):
    error_messages = {
        "invalid_login": "Email, user name or password is wrong.",
        "inactive": "This account is inactive.",
    }


class Described(ContextMixin):
    """Says at each field what is wrong with it."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        if form := context.get("form"):  # a link that does not work has none
            form.describe()
        return context


class SignIn(Described, auth_views.LoginView):
    authentication_form = SignInForm
    template_name = "accounts/sign_in.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        answer = super().form_valid(form)
        stay = "stay" in self.request.POST
        self.request.session.set_expiry(SECONDS_SIGNED_IN if stay else 0)
        return answer

    def get_success_url(self) -> str:
        """Not this page: to who has signed in Django would answer it with an error."""
        found = str(super().get_success_url())
        return self.get_default_redirect_url() if found == self.request.path else found


class SignOut(auth_views.LogoutView):
    """POST only, as Django has it."""


class ForgottenForm(Worded, PasswordResetForm):
    email = forms.EmailField(
        max_length=254, widget=forms.EmailInput({"autocomplete": "email", "autofocus": True})
    )

    def send_mail(self, *args: Any, **options: Any) -> None:
        mail = super().send_mail
        mailing.send(lambda: mail(*args, **options))


class Forgotten(Described, auth_views.PasswordResetView):
    """Asks for the email, and answers everybody alike."""

    form_class = ForgottenForm
    template_name = "accounts/password_forgotten.html"
    subject_template_name = "accounts/password_mail_subject.txt"
    email_template_name = "accounts/password_mail.txt"
    success_url = reverse_lazy("password-sent")

    def form_valid(self, form: Any) -> HttpResponse:
        attempt = Attempt(form.cleaned_data["email"], address_of(self.request), "reset")
        if wait := attempt.begin():
            self.request.try_again_after = wait  # type: ignore[attr-defined]
            form.add_error(None, too_many(wait))
            return self.form_invalid(form)
        return super().form_valid(form)


class Sent(auth_views.PasswordResetDoneView):
    template_name = "accounts/password_sent.html"


class NewForm(NewPasswordForm):
    def __init__(self, user: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


class NewPassword(Described, auth_views.PasswordResetConfirmView):
    """Where the link of the mail leads. Django moves its secret from the address to the session."""

    form_class: Any = NewForm
    template_name = "accounts/password_new.html"

    def get_user(self, uidb64: str) -> Any:
        user = super().get_user(uidb64)
        return user if user and user.is_active else None

    def form_valid(self, form: Any) -> HttpResponse:
        user: Any = self.user
        actor = user.actor(request_id_of(), address_of(self.request))
        try:
            passwords.reset(user, actor, form.cleaned_data["new_password"])
        except ValidationError as error:
            form.blame(error)
            return self.form_invalid(form)
        except Conflict as error:
            form.add_error(None, str(error))
            return self.form_invalid(form)
        self.request.session.pop(auth_views.INTERNAL_RESET_SESSION_TOKEN, None)
        messages.success(self.request, "The new password is set. Sign in with it.")
        return redirect("sign-in")


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
