"""Who did what, as pages show it."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.utils.dateparse import parse_date

from accounts.exporting import CHUNKS, export
from accounts.listing import page_of
from accounts.models import Activity
from accounts.scope import PageRequest, page
from config.base.parameters import EARLIEST, LATEST
from config.base.verbs import VERBS

USUAL_DAYS, ALWAYS = "7", "all"
SPANS = {"1": "Last day", "7": "Last 7 days", "30": "Last 30 days", "all": "All time"}
KINDS = {"": "Everyone", "user": "People", "token": "Tokens", "system": "System"}
PARTS = {
    "": "All objects",
    "move": "Moves",
    "fallbackconfig": "Configs",
    "connection": "Connections",
    "sweep": "Sweeps",
    "pause": "Pauses",
    "organization": "Organizations",
    "membership": "Members",
    "invite": "Invites",
    "user": "People",
    "apitoken": "Tokens",
    "webhook": "Webhooks",
}
TEXTS = ("search", "who", "verb", "object_id", "from", "to")


@dataclass(frozen=True)
class Chosen:
    """What the reader asked for; nonsense counts as not asked for."""

    search: str
    who: str  # part of a person's or token's name
    actor: str  # one of KINDS
    verb: str  # in full, or as 'move.*'
    object: str  # one of PARTS
    object_id: str
    days: str  # one of SPANS
    since: date | None  # these two days are included, in the reader's time zone
    until: date | None
    refused: bool

    @classmethod
    def of(cls, query: QueryDict) -> "Chosen":
        texts = {name: query.get(name, "").replace("\0", "").strip()[:100] for name in TEXTS}
        since, until = _day(texts["from"]), _day(texts["to"])
        days = query.get("days", USUAL_DAYS) or ALWAYS
        actor, kind = query.get("actor", ""), query.get("object", "")
        return cls(
            texts["search"],
            texts["who"],
            actor if actor in KINDS else "",
            texts["verb"],
            kind if kind in PARTS else "",
            texts["object_id"],
            ALWAYS if since or until else days if days in SPANS else USUAL_DAYS,
            since,
            until,
            query.get("refused") == "1",
        )

    @property
    def more(self) -> bool:
        """Whether one of those is in use that are folded away."""
        rare = (self.who, self.verb, self.object_id, self.since, self.until, self.refused)
        return any(rare)

    @property
    def reads_rows(self) -> bool:
        """Whether no index finds them."""
        return bool(self.search or self.who or self.verb or self.refused)

    def rows(self, found: QuerySet[Activity]) -> QuerySet[Activity]:
        if self.search:
            found = found.filter(_matches(self.search))
        if self.who:
            found = found.filter(actor_name__icontains=self.who)
        if self.actor:
            found = found.filter(actor_kind=self.actor)
        if self.verb.endswith("*"):
            found = found.filter(verb__startswith=self.verb.rstrip("*"))
        elif self.verb:
            found = found.filter(verb=self.verb)
        if self.object:
            found = found.filter(object_kind=self.object)
        if self.object_id:
            found = found.filter(object_id=self.object_id)
        if self.refused:
            found = found.filter(refused=True)
        return self._in_time(found)

    def _in_time(self, found: QuerySet[Activity]) -> QuerySet[Activity]:
        if self.days != ALWAYS:
            span = timedelta(days=int(self.days))
            found = found.filter(created_at__gte=timezone.now() - span)
        if self.since:
            found = found.filter(created_at__gte=_begin(self.since))
        if self.until:
            found = found.filter(created_at__lt=_begin(self.until + timedelta(days=1)))
        return found


@page
def activity(request: PageRequest) -> HttpResponse:
    return render(request, "accounts/activity.html", _activities(request))


@page
def activity_rows(request: PageRequest) -> HttpResponse:
    """The table alone, fetched again when something has happened."""
    return render(request, "accounts/_activity_rows.html", _activities(request))


@page
def activity_export(request: PageRequest) -> Any:
    """What the filters select, as a file. Raises Http404 for an unknown `?format=`."""
    kind = request.GET.get("format", "csv")
    if kind not in CHUNKS:
        raise Http404
    chosen = Chosen.of(request.GET)
    return export(chosen.rows(Activity.objects.visible_to(request.reader)), kind)


def _activities(request: PageRequest) -> dict[str, Any]:
    chosen = Chosen.of(request.GET)
    found = chosen.rows(Activity.objects.visible_to(request.reader))
    return {
        "page": page_of(request, found, Activity.objects.all(), search=chosen.reads_rows),
        "chosen": chosen,
        "kinds": KINDS,
        "parts": PARTS,
        "spans": SPANS,
        "verbs": VERBS,
        "filtered": chosen != Chosen.of(QueryDict()),
    }


def _matches(text: str) -> Q:
    found = (
        Q(actor_name__icontains=text)
        | Q(object_name__icontains=text)
        | Q(verb__icontains=text)
        | Q(reason__icontains=text)
        | Q(request_id=text)
        | Q(object_id=text)
        | Q(address=text)
    )
    try:
        return found | Q(actor_id=UUID(text))
    except ValueError:
        return found


def _day(text: str) -> date | None:
    try:
        found = parse_date(text)
    except ValueError:  # 31 February
        return None
    return found if found and EARLIEST.year <= found.year <= LATEST.year else None


def _begin(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))
