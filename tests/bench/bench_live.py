"""From a change in the database to the page that is open, with 100,000 moves and 200 pages open.

Another process commits the change; a reader hears the bell, as the page's script does, and fetches
the overview's fragment until the change is in it.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from tests.bench.bench_api import Served, served
from tests.bench.figures import Figure, report
from tests.bench.installation import ROOT

OPEN, CHANGES, MOST_SECONDS = 200, 20, 2.0
# Each line on its input is a reason to pause the first connection for; it answers with the time
# after the commit, and resumes before the next.
CHANGER = """
import sys, time, django
django.setup()
from config.base.actor import Actor
from fallback import pausing
from fallback.models import Connection
where, who = Connection.objects.first(), Actor.system("bench")
for number, line in enumerate(sys.stdin):
    if number:
        pausing.resume(where, who)
        time.sleep(1.5)
    pausing.pause(where, who, line.strip())
    print(time.time(), flush=True)
"""


@contextmanager
def changer(world: Served) -> Iterator["subprocess.Popen[str]"]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = world.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    with subprocess.Popen(
        [sys.executable, "-c", CHANGER],
        cwd=ROOT,
        env=environment,
        text=True,
        **pipes,  # type: ignore[call-overload]
    ) as process:
        yield process
        process.stdin.close()
        process.wait(timeout=30)


async def watched(world: Served, changing: "subprocess.Popen[str]") -> list[float]:
    """Seconds from each commit until the fragment showed it."""
    bearer = {"Authorization": f"Bearer {world.tokens['one']}"}
    cookie = {"Cookie": f"sessionid={world.sessions['one']}", "HX-Request": "true"}
    taken = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        sockets = [
            await http.ws_connect(f"{world.url}/ws/live", headers=bearer) for _ in range(OPEN)
        ]
        heard = asyncio.Event()

        async def listen(socket: aiohttp.ClientWebSocketResponse, first: bool) -> None:
            async for _ in socket:
                if first:
                    heard.set()

        listeners = [
            asyncio.create_task(listen(socket, number == 0))
            for number, socket in enumerate(sockets)
        ]
        for number in range(CHANGES):
            reason = f"change number {number}."
            assert changing.stdin and changing.stdout
            print(reason, file=changing.stdin, flush=True)
            answer = asyncio.to_thread(changing.stdout.readline)
            shown_at = asyncio.create_task(seen(http, world, cookie, heard, reason))
            committed = float(await answer)
            taken.append(await shown_at - committed)
        for listener in listeners:
            listener.cancel()
        still = sum(not socket.closed for socket in sockets)
        if still != OPEN:
            raise RuntimeError(f"{OPEN - still} sockets were closed")
    return taken


async def seen(
    http: aiohttp.ClientSession,
    world: Served,
    headers: dict[str, str],
    heard: asyncio.Event,
    reason: str,
) -> float:
    """Fetches at each bell, and at nothing else, until `reason` is shown; answers when."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        await asyncio.wait_for(heard.wait(), 30)
        heard.clear()
        async with http.get(f"{world.url}/now/", headers=headers) as answer:
            answer.raise_for_status()
            if reason in await answer.text():
                return time.time()
    raise RuntimeError("no bell brought the change")


def measure() -> Iterator[Figure]:
    with served() as world, changer(world) as changing:
        taken = sorted(asyncio.run(watched(world, changing)))
        name = f"a change is on a page, {OPEN} open"
        yield Figure(f"{name}: median", 1000 * taken[len(taken) // 2], "ms")
        yield Figure(f"{name}: slowest of {CHANGES}", taken[-1], "s", most=MOST_SECONDS)


if __name__ == "__main__":
    sys.exit(report(measure()))
