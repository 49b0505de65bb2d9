"""Sockets on which nothing happens stay open, and still hear the first bell."""

import asyncio
import json
import urllib.request

import aiohttp
import pytest

from tests.e2e.yard import PASSWORD, Yard
from tests.needs import on_postgres

pytestmark = pytest.mark.skipif(on_postgres(), reason="the sockets run on SQLite: make test")


def token(yard: Yard) -> str:
    body = json.dumps({"email": "ada@example.org", "password": PASSWORD}).encode()
    headers = {"Content-Type": "application/json"}
    asked = urllib.request.Request(f"{yard.url}/api/token", body, headers)
    with urllib.request.urlopen(asked, timeout=10) as reply:
        return str(json.load(reply)["accessToken"])


async def idle(yard: Yard, secret: str, number: int, seconds: float) -> tuple[int, int]:
    """How many are open after all that time, and how many then hear a bell within 2 s."""
    headers = {"Authorization": f"Bearer {secret}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as http:
        sockets = [await http.ws_connect(f"{yard.url}/ws/live") for _ in range(number)]
        closed = [asyncio.create_task(until_closed(socket)) for socket in sockets]
        await asyncio.sleep(seconds)
        open_still = sum(not task.done() for task in closed)
        for task in closed:
            task.cancel()
        await asyncio.gather(*closed, return_exceptions=True)
        await asyncio.to_thread(yard.manage, "pause", "--reason", "a rack")
        heard = await asyncio.gather(*(hears(socket) for socket in sockets))
        return open_still, sum(heard)


async def until_closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


async def hears(socket: aiohttp.ClientWebSocketResponse) -> bool:
    try:
        message = await socket.receive_json(timeout=2)
    except (TimeoutError, TypeError):
        return False
    return bool(message["type"] == "changed")


@pytest.mark.parametrize(
    ("number", "seconds"),
    [
        # Longer than the 5 and the 30 s after which a client of the broker may give up.
        (20, 35),
        pytest.param(200, 600, marks=pytest.mark.soak),
    ],
)
def test_they_stay_open(yard: Yard, number: int, seconds: float) -> None:
    assert asyncio.run(idle(yard, token(yard), number, seconds)) == (number, number)
