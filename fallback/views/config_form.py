"""The form of a config: its fields, its destinations in order, and what there is to choose from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from config.base.forms import PageForm
from fallback import external, picking
from fallback.match import OPTIONAL_STATUSES, STUCK_STATUSES
from fallback.models import Connection, Destination, FallbackConfig, Mode, PurgeMode
from fallback.models.config import LONGEST_THRESHOLD, NOT_YET, REMOTE_ID, REMOTE_ID_PATTERN
from fallback.picking import Offer, Waiting

MOST_DESTINATIONS = 20
PROMISES = {
    Mode.OBSERVE: "Records what would move. Touches nothing.",
    Mode.APPROVE: "Waits for a person, then moves.",
    Mode.AUTO: "Moves as soon as a sweep finds a stuck run.",
    PurgeMode.AFTER_ACCEPT: "Terminated once the new run is accepted. The usual choice.",
    PurgeMode.DIRECTLY: "Terminated first. Never two copies, but no way back.",
    PurgeMode.GRACEFULLY: "Terminated once the new run is RUNNING.",
    PurgeMode.NEVER: "Left alone. You clean up.",
}
MINUTES = {"required": "Enter a number of minutes."}
MODES = [Mode.OBSERVE, Mode.APPROVE, Mode.AUTO]
SOURCE = ("source_cluster_id", "source_workspace_id", "source_job_id")
PLAIN = (
    *("stuck_threshold_minutes", "statuses", "mode", "purge_mode", "enabled", "max_hops"),
    "cooldown_minutes",
)


@dataclass(slots=True)
class Place:
    """One row of the destinations, as it was typed; `name` is shown until the remote is asked."""

    cluster_id: str = ""
    workspace_id: str = ""
    enabled: bool = True
    limit: str = ""
    name: str = ""
    clusters: Offer = field(default_factory=Offer)
    workspaces: Offer = field(default_factory=Offer)

    @property
    def names(self) -> dict[str, str]:
        return {self.workspace_id: self.name}


class ConfigForm(PageForm):
    """The plain fields. Source and destinations are read beside it: their choices are remote."""

    stuck_threshold_minutes = forms.IntegerField(
        label="Stuck after", min_value=1, max_value=LONGEST_THRESHOLD, error_messages=MINUTES
    )
    statuses = forms.MultipleChoiceField(
        label="In status",
        choices=[(status, status) for status in [*STUCK_STATUSES, *OPTIONAL_STATUSES]],
        error_messages={"required": "Choose at least one status."},
    )
    mode = forms.ChoiceField(choices=[(mode, mode) for mode in Mode.values])
    purge_mode = forms.ChoiceField(choices=[(mode, mode) for mode in PurgeMode.values])
    enabled = forms.BooleanField(required=False)
    max_hops = forms.IntegerField(label="Moves of one job", min_value=1, max_value=20)
    cooldown_minutes = forms.IntegerField(
        label="Rest between them", min_value=0, max_value=LONGEST_THRESHOLD, error_messages=MINUTES
    )

    def clean(self) -> dict[str, Any]:
        for name in ("mode", "purge_mode"):
            if (value := self.cleaned_data.get(name)) in NOT_YET:
                self.add_error(name, f"“{value}” is not supported yet.")
        return self.cleaned_data

    def assign(self, config: FallbackConfig) -> None:
        for name in PLAIN:
            if name in self.cleaned_data:
                setattr(config, name, self.cleaned_data[name])


def choices(values: Sequence[Any]) -> list[dict[str, Any]]:
    """Modes with their promises; those that are not supported yet are seen and cannot be taken."""
    return [
        {"value": str(value), "promise": PROMISES[value], "not_yet": value in NOT_YET}
        for value in values
    ]


@dataclass(slots=True)
class Draft:
    """A config as it is being written: from a row, or from what was sent."""

    connection: Connection | None
    source: dict[str, str]
    places: list[Place]
    names: dict[str, str] = field(default_factory=dict)  # of ids that the row knows
    errors: dict[str, list[str]] = field(default_factory=dict)
    clusters: Offer = field(default_factory=Offer)
    workspaces: Offer = field(default_factory=Offer)
    jobs: Offer = field(default_factory=Offer)
    waiting: Waiting = field(default_factory=Waiting)

    @classmethod
    def of(cls, config: FallbackConfig) -> "Draft":
        rows = [] if config._state.adding else list(config.destinations.all())
        places = [
            Place(
                row.cluster_id,
                row.workspace_id,
                row.enabled,
                str(row.max_open_moves or ""),
                row.workspace_fqn,
            )
            for row in rows
        ]
        names = {
            config.source_workspace_id: config.source_workspace_name,
            config.source_job_id: config.source_job_name,
        }
        source = {name: getattr(config, name) for name in SOURCE}
        return cls(config.connection, source, places or [Place()], names)

    @classmethod
    def sent(cls, connection: Connection | None, data: QueryDict) -> "Draft":
        def column(name: str) -> list[str]:
            return [text.replace("\0", "").strip()[:128] for text in data.getlist(name)]

        clusters, workspaces = column("cluster_id"), column("workspace_id")
        enabled, limits = column("place_enabled"), column("max_open_moves")
        places = [
            Place(
                cluster,
                workspaces[n] if n < len(workspaces) else "",
                (enabled[n] if n < len(enabled) else "yes") != "no",
                limits[n] if n < len(limits) else "",
            )
            for n, cluster in enumerate(clusters[:MOST_DESTINATIONS])
        ]
        source = {name: data.get(name, "").replace("\0", "").strip()[:128] for name in SOURCE}
        return cls(connection, source, places or [Place()])

    def rearrange(self, verb: str) -> None:
        """`add`, `up-N`, `down-N`, `remove-N`; whatever else there is changes nothing."""
        what, _, number = verb.partition("-")
        if what == "add" and len(self.places) < MOST_DESTINATIONS:
            self.places.append(Place())
        if not number.isdigit() or int(number) >= len(self.places):
            return
        at = int(number)
        to = {"up": at - 1, "down": at + 1}.get(what, at)
        if what == "remove":
            del self.places[at]
            self.places = self.places or [Place()]
        elif 0 <= to < len(self.places):
            self.places[at], self.places[to] = self.places[to], self.places[at]

    def forget(self, changed: str) -> None:
        """Another connection or cluster was chosen: what hung on the old one is taken back."""
        if changed == "connection":
            self.source = dict.fromkeys(SOURCE, "")
            self.places = [Place()]
        elif changed == "source-cluster":
            self.source |= {"source_workspace_id": "", "source_job_id": ""}
        elif changed == "source-workspace":
            self.source["source_job_id"] = ""
        elif changed.startswith("cluster-") and changed[8:].isdigit():
            at = int(changed[8:])
            if at < len(self.places):
                self.places[at].workspace_id = ""

    def look(self, *, ask: bool) -> None:
        """Fill in what there is to choose from: from the cache, and from the remote where `ask`."""
        if self.connection is None:
            return
        cluster, workspace = self.source["source_cluster_id"], self.source["source_workspace_id"]
        own = (("clusters",), ("workspaces", cluster), ("jobs", workspace))
        waiting = ("waiting", cluster, workspace)
        there = [("workspaces", place.cluster_id) for place in self.places]
        found = picking.offers(self.connection, [*own, waiting, *there], ask=ask)
        self.clusters, self.workspaces, self.jobs = (found[key] for key in own)
        self.waiting = found[waiting]
        for place, key in zip(self.places, there, strict=True):
            place.clusters, place.workspaces = self.clusters, found[key]

    @property
    def problem(self) -> str:
        """Why there is nothing to choose from, so that ids have to be typed."""
        return self.clusters.problem

    def check(self) -> None:
        """Raises ValidationError, by field, for what cannot be an id: nobody is asked for that."""
        errors: dict[str, list[str]] = {}
        for name, value in self.source.items():
            if not value and name != "source_job_id":
                errors[name] = ["Choose one."]
            elif value and not re.match(REMOTE_ID_PATTERN, value):
                errors[name] = [f"{REMOTE_ID.message}"]
        for number, place in enumerate(self.places, start=1):
            if not (place.cluster_id and place.workspace_id):
                told = f"Destination {number}: choose a cluster and a workspace."
            elif not all(
                re.match(REMOTE_ID_PATTERN, x) for x in (place.cluster_id, place.workspace_id)
            ):
                told = f"Destination {number}: {REMOTE_ID.message}"
            else:
                continue
            errors.setdefault("destinations", []).append(told)
        if errors:
            raise ValidationError(errors)

    def destinations(self) -> list[Destination]:
        """Raises ValidationError for what cannot be an id, and for a limit that is no number."""
        self.check()
        found = []
        for number, place in enumerate(self.places, start=1):
            if place.limit and not (place.limit.isdigit() and 0 < int(place.limit) < 10**6):
                text = f"Destination {number}: at most 999,999 open moves, at least 1, or nothing."
                raise ValidationError({"destinations": [text]})
            found.append(
                Destination(
                    cluster_id=place.cluster_id,
                    workspace_id=place.workspace_id,
                    enabled=place.enabled,
                    max_open_moves=int(place.limit) if place.limit else None,
                )
            )
        return found


def connect(connection: Connection) -> external.Caller:
    """Saving asks the remote, too, and has ten seconds for it."""
    return external.caller_of(connection)
