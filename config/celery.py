"""The Celery application: it carries "there is work" and nothing else."""

import os
import signal
from typing import Any

from celery import Celery
from celery.signals import (
    beat_init,
    before_task_publish,
    setup_logging,
    task_postrun,
    task_prerun,
    worker_process_init,
)
from django_structlog.celery.steps import DjangoStructLogInitStep

from config import broker, heartbeats
from config.processes import die_with_parent

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

broker.use()
app = Celery("switchyard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
# A task's log lines carry the request id of whoever sent it.
app.steps["worker"].add(DjangoStructLogInitStep)


@setup_logging.connect
def keep_our_logging(**_: Any) -> None:
    """With a receiver here Celery leaves logging as config.base.logs has set it."""


@worker_process_init.connect
def die_with_the_worker(**_: Any) -> None:
    """A pool process whose worker was killed would wait for it for ever."""
    die_with_parent(signal.SIGKILL)


@task_prerun.connect
@task_postrun.connect
def worker_lives(**_: Any) -> None:
    heartbeats.leave("worker")


@beat_init.connect
def watch_beat(**_: Any) -> None:
    """In beat's own process only: others send tasks, too."""
    before_task_publish.connect(beat_lives)


def beat_lives(**_: Any) -> None:
    heartbeats.leave("beat")
