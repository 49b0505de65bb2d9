"""Forms of the admin: connections, configs with their destinations, answers to its questions."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import QuerySet
from unfold.forms import PaginationInlineFormSet
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSplitDateTimeWidget,
    UnfoldAdminTextareaWidget,
)

from accounts.forms import Answer
from accounts.models import Organization
from fallback import match, naming
from fallback.configuring import FIELDS
from fallback.models import Connection, Destination, FallbackConfig, Mode, PurgeMode
from fallback.models.config import NOT_YET

MOST_CHOICES = 500


class ConnectionForm(forms.ModelForm):
    """The token is written and never read: an empty input keeps what is stored."""

    new_token = forms.CharField(
        label="Token",
        required=False,
        strip=True,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "new-password"}),
    )

    class Meta:
        model = Connection
        fields = ("organization", "name", "base_url", "assumed_user", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_token" in self.fields:
            stored = getattr(self.instance, "token_stored", False)
            self.fields["new_token"].help_text = (
                "A token is stored, encrypted. Leave this empty to keep it."
                if stored
                else "No token is stored. It will be stored encrypted and never shown."
            )

    def clean_base_url(self) -> str:
        """Open moves began at the old address, and exactly-once holds for one address."""
        url = str(self.cleaned_data["base_url"])
        before = "" if self.instance._state.adding else self.instance.remote
        if before and url and naming.remote_of(url) != before:
            count = self.instance.moves.open().count()
            if count:
                raise ValidationError(f"{count} open moves are at {before}: let them end first.")
        return url

    def _post_clean(self) -> None:
        if token := self.cleaned_data.get("new_token"):
            self.instance.token = token
        super()._post_clean()  # type: ignore[misc]

    def _update_errors(self, errors: ValidationError) -> None:
        if hasattr(errors, "error_dict") and "token" in errors.error_dict:
            errors.error_dict["new_token"] = errors.error_dict.pop("token")
        super()._update_errors(errors)  # type: ignore[misc]


class ConnectionChoiceField(forms.ModelChoiceField):
    """Connections of several organizations may have one name."""

    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.organization}: {obj.name}"


def supported(choices: Any) -> list[tuple[str, str]]:
    return [(value, label) for value, label in choices if value not in NOT_YET]


class ConfigForm(forms.ModelForm):
    """Checks the fields one by one; `save_config` has the last word on the whole."""

    refusal: Mapping[str, Any] = {}  # what `save_config` said when this was tried

    statuses = forms.MultipleChoiceField(
        choices=[(status, status) for status in (*match.STUCK_STATUSES, *match.OPTIONAL_STATUSES)],
        initial=list(match.STUCK_STATUSES),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="Runs in one of these count as stuck when they are old enough.",
    )
    mode = forms.ChoiceField(
        choices=supported(Mode.choices), initial=Mode.OBSERVE, widget=UnfoldAdminSelectWidget
    )
    purge_mode = forms.ChoiceField(
        choices=supported(PurgeMode.choices),
        initial=PurgeMode.AFTER_ACCEPT,
        widget=UnfoldAdminSelectWidget,
        help_text="The fate of the source run.",
    )

    class Meta:
        model = FallbackConfig
        fields = ("connection", *FIELDS)

    def _update_errors(self, errors: ValidationError) -> None:
        """What is wrong with the whole is wrong with its source, as `save_config` has it."""
        if NON_FIELD_ERRORS in getattr(errors, "error_dict", {}):
            found = errors.error_dict.pop(NON_FIELD_ERRORS)
            errors.error_dict.setdefault("source_workspace_id", []).extend(found)
        super()._update_errors(errors)  # type: ignore[misc]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]
        for name, errors in self.refusal.items():
            if name in self.fields:
                self.add_error(name, errors)
            elif name != "destinations":
                texts = [text for error in errors for text in error.messages]
                self.add_error(None, [f"{name}: {text}" for text in texts])


class DestinationForm(forms.ModelForm):
    class Meta:
        model = Destination
        fields = (
            "cluster_id",
            "workspace_id",
            "workspace_fqn",
            "enabled",
            "max_open_moves",
            "position",
        )

    parent: FallbackConfig  # as it is being saved

    def clean_position(self) -> int:
        return self.cleaned_data["position"] or 0

    def _post_clean(self) -> None:
        # Not the source as it was: swapping source and destination is no mistake.
        self.instance.source_workspace_id = self.parent.source_workspace_id
        super()._post_clean()  # type: ignore[misc]

    def clean(self) -> dict[str, Any]:
        """Another workspace has another FQN, which is looked up unless it was given, too."""
        if "workspace_id" in self.changed_data and "workspace_fqn" not in self.changed_data:
            self.cleaned_data["workspace_fqn"] = ""
        return self.cleaned_data

    def _get_validation_exclusions(self) -> set[str]:
        """Destinations are unique within what will be saved, not beside what is there now."""
        return {*super()._get_validation_exclusions(), "config"}  # type: ignore[misc]


class DestinationFormSet(PaginationInlineFormSet):
    """Hands its rows to `save_config`, and shows what that said of them."""

    refusal: Mapping[str, Any] = {}

    def add_fields(self, form: Any, index: int | None) -> None:
        super().add_fields(form, index)
        form.parent = self.instance
        form.fields["position"].required = False

    def validate_unique(self) -> None:
        """Left to `save_config`."""

    def clean(self) -> None:
        texts = [text for error in self.refusal.get("destinations", []) for text in error.messages]
        if above := [text for text in texts if not self._blame(text)]:
            raise ValidationError(above)

    def _blame(self, text: str) -> bool:
        """Show a sentence at the destination that it is about, where it is about one."""
        field = "workspace_fqn" if text.startswith("workspace_fqn:") else "workspace_id"
        text = text.removeprefix("workspace_fqn: ").removeprefix("workspace_id: ")
        words = {word.strip(".,:") for word in text.split()}
        about = [form for form in self.kept() if form.instance.workspace_id in words]
        if not about or "loop" in words:
            return False
        about[-1].add_error(field, text)
        return True

    def kept(self) -> list[Any]:
        """The forms of what will be there, in their order."""
        kept = [
            form
            for form in self.forms
            if not self._should_delete_form(form)
            and (form in self.initial_forms or form.has_changed())
        ]
        return sorted(kept, key=lambda form: form.cleaned_data.get("position") or 0)


class PauseForm(Answer):
    reason = forms.CharField(
        max_length=500,
        widget=UnfoldAdminTextareaWidget({"rows": 2}),
        help_text="Why. Whoever wonders where the moves are will read it.",
    )
    until = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        label="End",
        help_text="Empty: until somebody resumes.",
    )


class SweepForm(Answer):
    organization = forms.ModelChoiceField(
        Organization.objects.none(), empty_label=None, widget=UnfoldAdminSelectWidget
    )

    def __init__(self, data: Mapping[str, Any] | None = None, *, rows: Sequence[Any] = ()) -> None:
        super().__init__(data, rows=rows)
        self.fields["organization"].queryset = sweepable()  # type: ignore[attr-defined]


def sweepable() -> QuerySet[Organization]:
    """Organizations that a sweep could do something for."""
    usable = Connection.objects.usable().values("organization_id")
    return Organization.objects.alive().filter(pk__in=usable).order_by("name")
