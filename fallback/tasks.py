"""Beat ticks. The rows are the queue, so a lost or doubled tick costs nothing."""

import uuid
from datetime import timedelta

import structlog
from celery import shared_task
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from accounts.models import Organization
from config.base import live
from config.base.actor import Actor
from fallback import moving, sweep
from fallback.models import Connection, Move, Sweep

log = structlog.get_logger(__name__)
DRIVE_SECONDS = 30.0  # the calls under way then need up to 13 s more; a task may take 60
SWEEPS_KEPT = timedelta(days=90)
TOLD_SECONDS = 86_400
_WORKER = uuid.uuid4().hex  # made before a worker forks, so all processes of its pool share it
_told = ""  # by this process, should there be no cache


def why_idle() -> str:
    """Why automation starts nothing new, in a sentence, or ''."""
    if not settings.JOB_FALLBACK_ENABLED:
        return "JOB_FALLBACK_ENABLED is off."
    if not Connection.objects.usable().exists():
        return "There is no enabled connection with address and token."
    return ""


def tell_once(idle: str) -> None:
    """Not at every tick, and not by every process of a worker's pool."""
    global _told
    key = f"idle:{_WORKER}"
    known = cache.get(key, _told)
    _told = idle
    cache.set(key, idle, TOLD_SECONDS)
    if idle != known:
        log.warning("automation_idle", why=idle) if idle else log.info("automation_active")


@shared_task
def sweep_tick() -> None:
    """One pass of every organization that has a usable connection, each in a task of its own."""
    idle = why_idle()
    tell_once(idle)
    if idle:
        return
    usable = Connection.objects.usable().values("organization_id")
    for organization in Organization.objects.alive().filter(pk__in=usable):
        live.nudge(sweep_organization, str(organization.pk))


@shared_task(expires=60)
def sweep_organization(pk: str) -> None:
    organization = Organization.objects.alive().filter(pk=pk).first()
    if organization and sweep.sweep(organization, Actor.system("sweep")).planned:
        live.nudge(drive_tick)


@shared_task(expires=60)
def run_requested_sweeps() -> None:
    if sweep.run_requested():
        live.nudge(drive_tick)


@shared_task
def drive_tick() -> None:
    """Take due moves further, and come again while there are more."""
    if Sweep.objects.filter(finished_at=None).due(timezone.now()).exists():
        live.nudge(run_requested_sweeps)
    moving.mail_those_that_need_a_person()
    moving.drive(DRIVE_SECONDS)
    more = Move.objects.drivable(moving.held(by_person=False)).due(timezone.now())
    if more.exists():
        live.nudge(drive_tick)


@shared_task
def prune() -> None:
    Sweep.objects.filter(created_at__lt=timezone.now() - SWEEPS_KEPT).delete()
