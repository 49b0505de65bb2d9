"""From sealed activities to deliveries, and from deliveries to receivers.

A webhook's `position` is how far its organization's chain was looked at for it. Looking further
makes the deliveries and moves the position in one transaction. A delivery is claimed by a lease;
its attempt is counted before anything goes out and its outcome written right after, by one thread,
while others make the calls. What was acknowledged but not yet written when a process died is sent
again, with the same id: at least once.
"""

import time
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Subquery
from django.utils import timezone

from accounts import messages
from accounts.models import Activity, Chain, Delivery, Webhook
from accounts.outcomes import fail_what_is_too_old, write
from accounts.posting import Answer, Letter, send
from config.base import deadman

log = structlog.get_logger(__name__)
THREADS = 32
AT_ONCE = 4  # to one webhook, of all processes together; to one that fails, one
FAN_OUT = 500  # activities that are looked at in one transaction
LEASE = timedelta(seconds=60)
LATEST_SECONDS = 10.0  # after the claim nothing goes out; the call may then take 20 s more
GIVEN_UP_SECONDS = 35.0  # after the claim, a call that has no time limit of its own is left alone
POLL_SECONDS = 1.0
KEPT = timedelta(days=30)
PRUNED_AT_ONCE = 2000
STATES = Delivery.State


# From activities to deliveries


def fan_out(seconds: float = 10.0) -> int:
    """Make the deliveries of what was sealed since; answers how many.

    Stops after `seconds`: the next call goes on.
    """
    until = time.monotonic() + seconds
    head = Chain.objects.filter(organization_id=OuterRef("organization_id")).values("position")
    behind = (
        Webhook.objects.filter(organization__deleted_at=None)
        .exclude(state=Webhook.State.DISABLED)
        .annotate(head=Subquery(head[:1]))
        .filter(head__gt=F("position"))
        .select_related("organization")
    )
    return sum(_fan_out_to(webhook, webhook.head, until) for webhook in behind)


def _fan_out_to(webhook: Webhook, head: int, until: float) -> int:
    made = 0
    while webhook.position < head and time.monotonic() < until:
        end = min(head, webhook.position + FAN_OUT)
        found = Activity.objects.filter(
            organization_id=webhook.organization_id,
            position__gt=webhook.position,
            position__lte=end,
        ).order_by("position")
        with transaction.atomic():
            # Another process may be here, too: who moves the position makes the deliveries.
            ours = Webhook.objects.filter(pk=webhook.pk, position=webhook.position)
            if not ours.update(position=end):
                return made
            made += len(Delivery.objects.bulk_create(_deliveries(webhook, found)))
        webhook.position = end
    return made


def _deliveries(webhook: Webhook, found: Iterable[Activity]) -> list[Delivery]:
    now = timezone.now()
    return [
        Delivery(
            webhook=webhook,
            activity_id=activity.pk,
            event=messages.event_of(activity)[:60],
            body=messages.message(webhook, activity),
            created_at=now,
            next_attempt_at=now,
        )
        for activity in found
        if messages.wanted(webhook.events, messages.event_of(activity))
        and not messages.is_about(activity, webhook)
    ]


# From deliveries to receivers


@dataclass(frozen=True, slots=True)
class Trip:
    """An attempt under way. `lease` proves that it is ours to tell of."""

    delivery: Delivery
    lease: UUID
    give_up: float  # time.monotonic


def deliver(seconds: float) -> bool:
    """Make the attempts that are due, for `seconds`; whether some may be left.

    Those under way then still come to their end: that takes half a minute at most.
    """
    fail_what_is_too_old(timezone.now())
    with deadman.switch():
        return _Round(time.monotonic() + seconds).run()


class _Round:
    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._under_way: dict[Future[Answer], Trip] = {}

    @property
    def _expired(self) -> bool:
        return time.monotonic() >= self._deadline

    def run(self) -> bool:
        if not self._claim():
            return False
        pool = ThreadPoolExecutor(THREADS, thread_name_prefix="delivering")
        try:
            self._begin(pool)
            while self._under_way:
                self._collect()
                if not self._expired and self._claim():
                    self._begin(pool)
        finally:
            # Not waited for: a call without a time limit of its own must not hold the task.
            pool.shutdown(wait=False, cancel_futures=True)
        return self._expired

    def _claim(self) -> list[Trip]:
        """Take what is due, a few of each webhook: a slow receiver holds up nobody else."""
        now, busy = timezone.now(), _busy()
        room = THREADS - len(self._under_way)
        self._claimed: list[Trip] = []
        for webhook in _with_work(now) if room > 0 else ():
            most = 1 if webhook.failures_in_row else AT_ONCE
            free = min(most - busy.get(webhook.pk, 0), room)
            if free > 0:
                taken = _take(webhook, now, free)
                room -= len(taken)
                self._claimed += taken
        return self._claimed

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        for trip in self._claimed:
            latest = trip.give_up - GIVEN_UP_SECONDS + LATEST_SECONDS
            future = pool.submit(send, _letter(trip.delivery), latest)
            self._under_way[future] = trip
        self._claimed = []

    def _collect(self) -> None:
        done, _ = wait(self._under_way, POLL_SECONDS, FIRST_COMPLETED)
        for future in done:
            trip = self._under_way.pop(future)
            _write(trip, future.result())
        now = time.monotonic()
        for future in [one for one, trip in self._under_way.items() if trip.give_up < now]:
            trip = self._under_way.pop(future)
            _write(trip, Answer(error="It took too long."))


def _write(trip: Trip, answer: Answer) -> None:
    """Try hard: what is not written down is sent again."""
    for pause in (0.2, 1.0, 0.0):
        try:
            write(trip.delivery, trip.lease, answer)
            return
        except DatabaseError as error:
            log.warning("outcome_not_written", error=type(error).__name__)
            close_old_connections()
            time.sleep(pause)


def _busy() -> dict[UUID, int]:
    """How many attempts of each webhook are under way, in any process."""
    now = timezone.now()
    leased = Delivery.objects.filter(
        state=STATES.PENDING,
        lease__isnull=False,
        next_attempt_at__gt=now,
        next_attempt_at__lte=now + LEASE,
    )
    return dict(leased.order_by().values_list("webhook").annotate(n=Count("pk")))


def _with_work(now: datetime) -> list[Webhook]:
    """Webhooks with something to send now: the active ones, and others that are tested."""
    due = Delivery.objects.filter(webhook=OuterRef("pk"), state=STATES.PENDING).due(now)
    active = Q(Exists(due), state=Webhook.State.ACTIVE)
    found = Webhook.objects.filter(organization__deleted_at=None)
    found = found.defer("url", "secret", "old_secret")
    return list(found.filter(active | Q(Exists(due.filter(event=messages.TEST)))))


def _take(webhook: Webhook, now: datetime, limit: int) -> list[Trip]:
    """Claim up to `limit` of its deliveries, and write down that they are tried."""
    rows = Delivery.objects.filter(webhook=webhook, state=STATES.PENDING)
    if webhook.state != Webhook.State.ACTIVE:
        rows = rows.filter(event=messages.TEST)
    give_up = time.monotonic() + GIVEN_UP_SECONDS
    lease, won = rows.claim(now, LEASE, limit)
    if not won:
        return []
    mine = Delivery.objects.filter(lease=lease)
    mine.update(attempts=F("attempts") + 1, attempted_at=timezone.now())
    return [Trip(delivery, lease, give_up) for delivery in mine.select_related("webhook")]


def _letter(delivery: Delivery) -> Letter:
    webhook = delivery.webhook
    found = (webhook.secret, webhook.old_secret if webhook.has_two_secrets else "")
    return Letter(
        url=webhook.url,
        body=delivery.body,
        message_id=str(delivery.message_id),
        secrets=tuple(secret for secret in found if secret) if webhook.secret else (),
        notification=webhook.kind == Webhook.Kind.NOTIFICATION,
    )


def prune() -> int:
    """Deliveries are kept for 30 days; answers how many went."""
    old = Delivery.objects.filter(created_at__lt=timezone.now() - KEPT)
    gone = 0
    while keys := list(old.order_by("created_at").values_list("pk", flat=True)[:PRUNED_AT_ONCE]):
        gone += Delivery.objects.filter(pk__in=keys).delete()[0]
    return gone
