"""/metrics for Prometheus. Everything is counted from rows at scrape: counters of worker processes
would never get here."""

import ipaddress
import secrets
from collections.abc import Iterator

from django.conf import settings
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from accounts.models import Organization, User
from config import heartbeats
from fallback.models import (
    Connection,
    ConnectionState,
    FallbackConfig,
    Move,
    MoveState,
    Pause,
    Sweep,
)


class Rows:
    """A collector: the figures as they are now."""

    def collect(self) -> Iterator[Metric]:
        yield from self._moves()
        yield from self._sweeps()
        yield self._by("switchyard_connections", "Connections by state.", "state", connections())
        yield self._by("switchyard_configs", "Configs by what they do.", "mode", configs())
        pauses = Pause.objects.active(timezone.now()).count()
        yield GaugeMetricFamily("switchyard_pauses", "Pauses in force.", pauses)
        people = User.objects.filter(is_active=True).count()
        yield GaugeMetricFamily("switchyard_users", "Active people.", people)
        organizations = Organization.objects.alive().count()
        yield GaugeMetricFamily("switchyard_organizations", "Organizations.", organizations)
        yield from self._heartbeats()

    def _by(self, name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
        family = GaugeMetricFamily(name, text, labels=[label])
        for value, count in counts.items():
            family.add_metric([value], count)
        return family

    def _moves(self) -> Iterator[Metric]:
        counted = Move.objects.order_by().values("state").annotate(count=Count("pk"))
        counts = dict.fromkeys(MoveState.values, 0) | {
            row["state"]: row["count"] for row in counted
        }
        yield self._by("switchyard_moves", "Moves by state.", "state", counts)
        now = timezone.now()
        due = Move.objects.open().filter(next_attempt_at__lte=now).count()
        yield GaugeMetricFamily("switchyard_moves_due", "Open moves that are due now.", due)
        first = (
            Move.objects.open().order_by("created_at").values_list("created_at", flat=True).first()
        )
        age = (now - first).total_seconds() if first else 0
        yield GaugeMetricFamily(
            "switchyard_oldest_open_move_seconds", "Age of the oldest open move.", age
        )

    def _sweeps(self) -> Iterator[Metric]:
        found = Sweep.objects.aggregate(
            last=Max("finished_at"), waiting=Count("pk", filter=Q(finished_at=None))
        )
        yield GaugeMetricFamily(
            "switchyard_sweeps_waiting", "Sweeps asked for that have not ended.", found["waiting"]
        )
        if found["last"]:
            yield GaugeMetricFamily(
                "switchyard_last_sweep_timestamp_seconds",
                "When the last sweep ended.",
                found["last"].timestamp(),
            )

    def _heartbeats(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "switchyard_heartbeat_age_seconds",
            "Seconds since a process last showed a sign of life.",
            labels=["process"],
        )
        for name, age in heartbeats.ages().items():
            if age is not None:
                family.add_metric([name], age)
        yield family


def connections() -> dict[str, int]:
    rows = Connection.objects.filter(enabled=True).order_by().values("state")
    counted = {row["state"]: row["count"] for row in rows.annotate(count=Count("pk"))}
    return dict.fromkeys(ConnectionState.values, 0) | counted


def configs() -> dict[str, int]:
    on, observe = Q(enabled=True), Q(mode="observe")
    return FallbackConfig.objects.aggregate(
        auto=Count("pk", filter=on & ~observe),
        observe=Count("pk", filter=on & observe),
        disabled=Count("pk", filter=~on),
    )


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(Rows())


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """For who knows `METRICS_TOKEN`, or asks from this machine."""
    if not (knows_token(request) or is_here(request)):
        headers = {"WWW-Authenticate": 'Bearer realm="metrics"'}
        text = "Send METRICS_TOKEN as a bearer token.\n"
        return HttpResponse(text, status=401, content_type="text/plain", headers=headers)
    return HttpResponse(generate_latest(REGISTRY), content_type=CONTENT_TYPE_LATEST)


def knows_token(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    wanted: str = settings.METRICS_TOKEN
    right = secrets.compare_digest(token.strip().encode(), wanted.encode())
    return bool(wanted) and scheme.lower() == "bearer" and right


def is_here(request: HttpRequest) -> bool:
    """Whether nobody stands between us and a caller on this machine: a proxy would say so."""
    if "Forwarded" in request.headers or "X-Forwarded-For" in request.headers:
        return False
    try:
        return ipaddress.ip_address(str(request.META.get("REMOTE_ADDR", ""))).is_loopback
    except ValueError:
        return False
