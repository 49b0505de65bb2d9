"""Tokens, manifests and inputs stay where they belong, also when everything goes wrong.

A remote that refuses a call may repeat what it was sent. Nothing of it may come to rest in the
database in clear, or in a log.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from django.db import connection as database

from tests.faults import echoing
from tests.faults.conftest import Install
from tests.faults.world import Installation, Json

pytestmark = pytest.mark.faults
PIECE = 10  # that many characters of a secret are a leak


def secret() -> str:
    return secrets.token_hex(16)


def awkward() -> str:
    """What JSON, HTML or a shell would spell otherwise."""
    return f"""{secret()}"{secret()}\\{secret()}\n{secret()}ü{secret()}&<'{secret()}"""


class Job:
    """A job with secrets in its manifest, and two stuck runs with secrets in their inputs."""

    def __init__(self, world: Installation, workspace_id: str, number: int) -> None:
        self.name = f"secretive-{number:02d}"
        self.plain, self.awkward = [secret() for _ in range(5)], [awkward() for _ in range(3)]
        made = world.sim.add_application(workspace_id, self.name, manifest=self.manifest())
        self.runs = [
            world.sim.add_run(made["id"], command=command, ageMinutes=90)["name"]
            for command in (self.params(), f"python main.py --key {self.plain[0]}")
        ]

    def params(self) -> str:
        deep = {"list": [self.plain[1], self.awkward[0]]}
        return json.dumps({"password": self.plain[0], "deep": deep, "text": self.awkward[1]})

    def manifest(self) -> Json:
        image = {"type": "image", "image_uri": "registry.example.com/a:1"}
        image["command"] = f"python main.py --password {self.plain[2]}"
        env = {"API_TOKEN": self.plain[3], "MORE": self.awkward[2]}
        mounts = [{"type": "string", "mount_path": "/etc/key", "data": self.plain[4]}]
        trigger = {"type": "manual"}
        rest = {"env": env, "mounts": mounts, "trigger": trigger}
        return {"type": "job", "name": self.name, "image": image, **rest}


CALLS = {"create": "/apps", "trigger": "/jobs/trigger", "terminate": "/jobs/terminate"}
KINDS: dict[str, Callable[[str], echoing.Echo]] = {
    "400": lambda sent: echoing.refusing(400),
    "403": lambda sent: echoing.refusing(403),
    "409": lambda sent: echoing.refusing(409),
    "422": lambda sent: echoing.refusing(422),
    "500": lambda sent: echoing.refusing(500),
    "no JSON": lambda sent: echoing.nonsense,
    "cut off": lambda sent: echoing.cutting(400, sent, 12),
}


@dataclass
class Leaky:
    """All that an installation has printed and stored, and what must not be in it."""

    states: dict[str, int]
    printed: set[str]
    stored: set[str]
    token: str
    jobs: dict[tuple[str, str], Job]


@pytest.fixture(scope="module")
def leaky(install: Install) -> Iterator[Leaky]:
    with install() as world:
        seeded = world.sim.seed(jobs=0, destinations=1)
        (source,) = seeded["sources"]
        token = f"tok-{secret()}"
        world.sim.settings(tokens=[token])
        jobs, echoes = {}, {}
        for number, (call, kind) in enumerate((call, kind) for call in CALLS for kind in KINDS):
            jobs[call, kind] = job = Job(world, source["workspaceId"], number)
            sent = job.plain[3] if call == "create" else job.plain[0]
            for text in [job.name] if call == "create" else job.runs:
                echoes[CALLS[call], text] = KINDS[kind](sent)
        with echoing.proxy(world.sim.url.removesuffix("/api/svc"), echoes) as url:
            connection = world.connection(url=url)
            connection.token = token
            connection.save()
            world.config(source, *seeded["destinations"], connection=connection)
            for _ in range(2):
                world.sweep("-v", "2", timeout=3, LOG_LEVEL="DEBUG")
                world.hurry()
            states = world.states()
            world.sim.settings(tokens=["another"])
            world.sweep("-v", "2", timeout=1, LOG_LEVEL="DEBUG")
        printed, kept = world.words(), stored(world)
        assert "connection_state" in printed and all(job.name in kept for job in jobs.values())
        yield Leaky(states, pieces(printed), pieces(kept), token, jobs)


def stored(world: Installation) -> str:
    """The database as whoever steals it would read it."""
    if database.vendor == "sqlite":
        files = sorted(world.home.glob("switchyard.sqlite3*"))
        return b"".join(path.read_bytes() for path in files).decode(errors="replace")
    rows = []
    with database.cursor() as cursor:
        for table in database.introspection.table_names(cursor):
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            rows += [row[0] for row in cursor.fetchall()]
    return "\n".join(rows)


def pieces(text: str) -> set[str]:
    """Whatever in a text could be a piece of a secret: secrets are made of such digits."""
    runs = re.findall(rf"[0-9a-f]{{{PIECE},}}", text)
    return {run[at : at + PIECE] for run in runs for at in range(len(run) - PIECE + 1)}


def leaked(there: set[str], values: list[str]) -> set[str]:
    return there & pieces(" ".join(values))


def test_the_remote_has_refused_and_repeated(leaky: Leaky) -> None:
    assert leaky.states["Failed CreateRejected"] >= 4
    assert leaky.states["NeedsAttention TriggerRejected"] >= 4
    assert leaky.states["Succeeded"] >= 8


def test_the_token_stays_secret(leaky: Leaky) -> None:
    assert not leaked(leaky.printed | leaky.stored, [leaky.token])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("call", CALLS)
def test_what_was_sent_stays_secret(leaky: Leaky, call: str, kind: str) -> None:
    job = leaky.jobs[call, kind]
    assert not leaked(leaky.printed, job.plain + job.awkward)
    assert not leaked(leaky.stored, job.plain)
    assert not leaked(leaky.stored, job.awkward)
