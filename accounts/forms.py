"""Forms of the admin: signing in, people, and answers to its questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator
from django.utils import timezone
from unfold.forms import AuthenticationForm
from unfold.forms import UserChangeForm as BaseUserChangeForm
from unfold.forms import UserCreationForm as BaseUserCreationForm
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts.models import NAME, Organization, User
from accounts.signing import Guarded
from config.base.parameters import LATEST


class SignInForm(Guarded, AuthenticationForm):
    """The admin is for superusers, whatever else somebody is."""

    error_messages = {
        "invalid_login": "This is not the email or user name of a superuser, with its password.",
        "inactive": "This account is inactive.",
    }

    def confirm_login_allowed(self, user: Any) -> None:
        if not (user.is_active and user.is_superuser):
            raise self.get_invalid_login_error()


class EmailOnce:
    """Says at the field what the database would say to the whole form."""

    def clean_email(self) -> str:
        email = str(self.cleaned_data["email"])  # type: ignore[attr-defined]
        others = User.objects.exclude(pk=self.instance.pk)  # type: ignore[attr-defined]
        if others.filter(email__iexact=email).exists():
            raise ValidationError("This email is taken.")
        return email


SUPERUSER = "Sees and may do everything, and alone has the admin."


class UserCreationForm(EmailOnce, BaseUserCreationForm):
    usable_password = None

    class Meta:
        model = User
        fields = ("username", "email", "is_superuser")
        labels = {"is_superuser": "superuser"}
        help_texts = {"is_superuser": SUPERUSER}


class UserChangeForm(EmailOnce, BaseUserChangeForm):
    acting: User  # who is changing it

    class Meta:
        model = User
        fields = ("username", "email", "is_superuser", "password")
        labels = {"is_superuser": "superuser"}
        help_texts = {"is_superuser": SUPERUSER}

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"])
        if User.objects.exclude(pk=self.instance.pk).filter(username__iexact=name).exists():
            raise ValidationError("This user name is taken.")
        return name

    def clean_is_superuser(self) -> bool:
        """There is always one: whoever acts is one, and cannot give it up."""
        wanted = bool(self.cleaned_data["is_superuser"])
        if not wanted and self.instance.pk == self.acting.pk:
            raise ValidationError("You cannot take this from yourself: ask another superuser.")
        return wanted


class Answer(forms.Form):
    """What a question asks for. It knows the rows that it is about."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, rows: Sequence[Any] = ()) -> None:
        super().__init__(data)
        self.rows = rows
        for field in self.fields.values():
            if isinstance(field, forms.SplitDateTimeField):
                field.validators.append(MaxValueValidator(LATEST))
                zone = timezone.get_current_timezone_name()
                field.help_text = f"{field.help_text} Times are in {zone}."


def _reason(**options: Any) -> forms.CharField:
    return forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Why. Others read it in the activities.",
        **options,
    )


class ReasonForm(Answer):
    reason = _reason(required=False)


class NeededReasonForm(Answer):
    """Where others are affected, who will want to know."""

    reason = _reason()


class IssueTokenForm(Answer):
    """A token of the one user that `rows` holds."""

    name = forms.CharField(
        max_length=100,
        validators=[NAME],
        widget=UnfoldAdminTextInputWidget,
        help_text="What will use it.",
    )
    organization = forms.ModelChoiceField(
        Organization.objects.none(),
        required=False,
        empty_label="All of the user's organizations",
        widget=UnfoldAdminSelectWidget,
    )
    read_only = forms.BooleanField(required=False, widget=UnfoldBooleanSwitchWidget)
    expires_at = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: never.",
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, rows: Sequence[Any] = ()) -> None:
        super().__init__(data, rows=rows)
        theirs = Organization.objects.alive().filter(memberships__user=rows[0])
        self.fields["organization"].queryset = theirs  # type: ignore[attr-defined]
