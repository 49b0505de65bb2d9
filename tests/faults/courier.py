"""A worker that delivers, tick after tick, until it is killed.

CRASH_AT and CRASH_HOW let it die at its n-th step, as tests/faults/crash.py says; NAIVE makes it a
plain loop that reads what is pending, sends it, and then writes that it has.
"""

import os
import time
from typing import Any

import django

IDLE_SECONDS = 0.02


def naive() -> None:
    """What one would write first: no lease, no intent, and it is done before it is sent."""
    from accounts import delivering
    from accounts.models import Delivery
    from accounts.posting import send

    delivering.fan_out()
    for delivery in Delivery.objects.filter(state="pending").select_related("webhook"):
        Delivery.objects.filter(pk=delivery.pk).update(state="delivered")
        send(delivering._letter(delivery), time.monotonic() + 10)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    django.setup()
    from accounts.tasks import deliver_tick
    from tests.faults.crash import Fuse, lay

    tick: Any = naive if "NAIVE" in os.environ else deliver_tick
    if "CRASH_AT" in os.environ:
        lay(Fuse(int(os.environ["CRASH_AT"]), os.environ["CRASH_HOW"]))
    rounds = int(os.environ.get("ROUNDS", "0"))
    while True:
        tick()
        rounds -= 1
        if rounds == 0:
            return
        time.sleep(IDLE_SECONDS)
