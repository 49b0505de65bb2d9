from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.models.signals import post_migrate

# Name, task, seconds between two. A tick that waited longer than that has a successor.
TICKS = (
    ("sweep", "fallback.tasks.sweep_tick", 300),
    ("drive moves", "fallback.tasks.drive_tick", 5),
    ("prune", "fallback.tasks.prune", 3600),
    ("seal activities", "accounts.tasks.seal_tick", 5),
    ("prune accounts", "accounts.tasks.prune", 3600),
    ("deliveries", "accounts.tasks.deliver_tick", 5),
)


class ConfigConfig(AppConfig):
    name = "config"
    verbose_name = "Switchyard"

    def ready(self) -> None:
        # The signal is sent for apps with models only, and once for each.
        beat = apps.get_app_config("django_celery_beat")
        post_migrate.connect(make_ticks, sender=beat, dispatch_uid="config.make_ticks")


def make_ticks(using: str, **_: Any) -> None:
    """Make the system's ticks where they are missing; an administrator's change stays."""
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    if PeriodicTask._meta.db_table not in connections[using].introspection.table_names():
        return  # migrated back to nothing
    for name, task, seconds in TICKS:
        if PeriodicTask.objects.using(using).filter(name=name).exists():
            continue
        interval, _created = IntervalSchedule.objects.using(using).get_or_create(
            every=seconds, period=IntervalSchedule.SECONDS
        )
        PeriodicTask.objects.using(using).get_or_create(
            name=name,
            defaults={"task": task, "interval": interval, "expire_seconds": seconds},
        )
