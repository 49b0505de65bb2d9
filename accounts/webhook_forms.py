"""The form of a webhook or notification, with a picker of the events that there are."""

from dataclasses import dataclass
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from accounts import webhooks
from accounts.models import Organization, Webhook
from config.base import verbs
from config.base.actor import Actor
from config.base.forms import PageForm
from config.base.problems import Conflict

ALL, REFUSED = "*", "refused.*"
KINDS = {
    Webhook.Kind.WEBHOOK: ("A webhook", "JSON by HTTPS to a program of yours, signed."),
    Webhook.Kind.NOTIFICATION: ("A notification", "A message by mail, Slack, Teams or Discord."),
}


@dataclass(frozen=True, slots=True)
class Group:
    """The events about one kind of object. `whole` is the glob for all of them."""

    name: str
    whole: str
    events: list[tuple[str, str]]
    chosen: int


def groups_of(chosen: set[str]) -> list[Group]:
    """What the picker shows: every known verb with its sentence, by kind."""
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for verb in verbs.VERBS:
        by_kind.setdefault(verb.partition(".")[0], []).append((verb, verbs.told(verb)))
    return [
        Group(
            name=kind.replace("_", " "),
            whole=f"{kind}.*",
            events=events,
            chosen=len(chosen & {f"{kind}.*", *(verb for verb, _ in events)}),
        )
        for kind, events in by_kind.items()
    ]


def known_events() -> set[str]:
    """What has a box of its own."""
    wholes = {f"{verb.partition('.')[0]}.*" for verb in verbs.VERBS}
    return {ALL, REFUSED, *verbs.VERBS} | wholes


class WebhookForm(PageForm):
    """What is written. An address holds secrets: left empty, the stored one stays."""

    kind = forms.ChoiceField(choices=[(kind, name) for kind, (name, _) in KINDS.items()])
    name = forms.CharField(max_length=100, widget=forms.TextInput({"autocomplete": "off"}))
    url = forms.CharField(
        label="Address",
        max_length=webhooks.LONGEST_URL,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none"}),
        help_text="https://… for a webhook; mailtos://, slack://, workflows:// (Teams) or "
        "discord:// for a notification. Stored encrypted, passwords are not shown again.",
    )
    events = forms.MultipleChoiceField(required=False)
    globs = forms.CharField(
        label="More events",
        max_length=4000,
        required=False,
        widget=forms.TextInput({"autocomplete": "off", "autocapitalize": "none"}),
        help_text="Verbs, or patterns of them, with spaces between: *.deleted move.ne*",
    )

    def __init__(self, *args: Any, webhook: Webhook | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook = webhook
        choices = self.fields["events"]
        choices.choices = [(event, event) for event in sorted(known_events())]  # type: ignore[attr-defined]
        if webhook:
            del self.fields["kind"]
            self.fields["url"].required = False

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookForm":
        """As it is stored."""
        known = known_events()
        initial = {
            "name": webhook.name,
            "events": [event for event in webhook.events if event in known],
            "globs": " ".join(event for event in webhook.events if event not in known),
        }
        form = cls(initial=initial, webhook=webhook)
        form.describe()
        return form

    @property
    def chosen(self) -> set[str]:
        """The boxes that are ticked."""
        return {str(event) for event in self["events"].value() or ()}

    @property
    def groups(self) -> list[Group]:
        return groups_of(self.chosen)

    @property
    def picked_kind(self) -> str:
        return str(self["kind"].value() or Webhook.Kind.WEBHOOK)

    def create(self, actor: Actor, organization: Organization) -> tuple[Webhook, str] | None:
        """The new one and its secret, or None: then the form says why not."""
        if not self.is_valid():
            return None
        kind = self.cleaned_data["kind"]
        try:
            return webhooks.create(actor, organization, kind, self._fields())
        except (ValidationError, Conflict) as error:
            self._blame(error)
        return None

    def save(self, actor: Actor, reason: str) -> bool:
        """Whether it is saved; otherwise the form says why not."""
        if not (self.webhook and self.is_valid()):
            return False
        fields = self._fields()
        if not fields["url"]:
            del fields["url"]
        try:
            webhooks.change(self.webhook, actor, fields, reason)
        except (ValidationError, Conflict) as error:
            self._blame(error)
            return False
        return True

    def _fields(self) -> dict[str, Any]:
        given = self.cleaned_data
        events = [*given["events"], *given["globs"].replace(",", " ").split()]
        return {
            "name": given["name"],
            "url": given["url"],
            "events": list(dict.fromkeys(events)),
        }

    def _blame(self, error: ValidationError | Conflict) -> None:
        if isinstance(error, Conflict):
            self.add_error("name", str(error))
            return
        self.blame(error, events="globs")
