"""docs/api.md as it stands there: its curl lines, in order, by curl, on the real processes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fallback.simulator.client import Simulator
from tests.e2e.yard import PASSWORD, ROOT, Yard, opened, until
from tests.needs import on_postgres

Json = dict[str, Any]
pytestmark = [
    pytest.mark.skipif(not shutil.which("curl"), reason="no curl: apt-get install curl"),
    pytest.mark.skipif(on_postgres(), reason="the journey runs on SQLite: make test"),
]
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
TO_KEEP = re.compile(r"^[A-Z_]+=….*\n", re.MULTILINE)
ENDED = ("Succeeded", "Failed", "Cancelled", "NeedsAttention")


class Shell:
    """Runs the lines of the document, with the variables that its reader would have set."""

    def __init__(self, yard: Yard, home: Path) -> None:
        (home / ".curlrc").write_text('silent\nshow-error\nmax-time = 20\nwrite-out = "\\n%{json}"')
        text = (ROOT / "docs" / "api.md").read_text()
        self.blocks = [TO_KEEP.sub("", block) for block in BLOCK.findall(text)]
        self.done: list[int] = []
        self.variables = {
            "CURL_HOME": str(home),
            "URL": yard.url,
            "EMAIL": "ada@example.org",
            "PASSWORD": PASSWORD,
            "TRUEFOUNDRY_API_URL": yard.simulator.url,
            "TF_SERVICE_API_TOKEN": yard.simulator.token,
        }

    def run(self, part: str, expected: int) -> Json:
        """Run the block whose line holds `part`, which is one of them; its answer."""
        [number] = [n for n, block in enumerate(self.blocks) if re.search(part, block)]
        self.done.append(number)
        done = subprocess.run(
            ["sh", "-euc", self.blocks[number]],
            env=self.variables | {"PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=25,
        )
        assert done.returncode == 0, done.stderr
        body, _, about = done.stdout.rpartition("\n")
        status = json.loads(about)["http_code"]
        assert status == expected, body
        found: Json = json.loads(body) if body else {}
        return found

    def keep(self, **variables: str) -> None:
        self.variables |= variables


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with Simulator.start(rollout_seconds=1) as simulator:
        simulator.seed(jobs=1, runsPerJob=1, destinations=1)
        with opened(simulator) as found:
            yield found


@pytest.fixture(scope="module")
def shell(yard: Yard, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(yard, tmp_path_factory.mktemp("curl"))


class TestJourney:
    """One story in order; each step stands on the one before."""

    def test_a_token_for_a_password(self, shell):
        answer = shell.run("/api/token", 200)
        assert answer["tokenType"] == "bearer"
        shell.keep(TOKEN=answer["accessToken"])

    def test_a_connection_that_works(self, shell, yard):
        answer = shell.run('/api/connections"', 201)
        assert answer["hasToken"] is True
        assert yard.simulator.token not in json.dumps(answer)
        shell.keep(CONNECTION=answer["id"])
        tested = shell.run("/test", 200)
        assert tested["works"] is True
        assert [finding["works"] for finding in tested["findings"]] == [True] * 5

    def test_a_stuck_run_is_seen(self, shell):
        listed = shell.run("/external/workspaces", 200)["data"]
        source = next(found for found in listed if found["fqn"].startswith("source"))
        spare = next(found for found in listed if found["fqn"].startswith("spare"))
        shell.keep(CLUSTER=source["clusterId"], WORKSPACE=source["id"])
        shell.keep(SPARE_CLUSTER=spare["clusterId"], SPARE_WORKSPACE=spare["id"])
        [run] = shell.run("/external/job-runs", 200)["data"]
        assert run["status"] == "SCHEDULED"
        shell.keep(STUCK=run["name"])

    def test_a_config(self, shell):
        answer = shell.run("/fallback-configs", 201)
        assert answer["source"]["workspaceId"] == shell.variables["WORKSPACE"]
        assert answer["destination"]["workspaceFqn"] == "spare-1:overflow"
        assert answer["mode"] == "auto"
        shell.keep(CONFIG=answer["id"])

    def test_a_sweep_and_the_steps_of_its_move(self, shell, yard):
        asked = shell.run('/api/sweeps"', 202)
        assert asked["state"] == "Waiting"
        shell.keep(SWEEP=asked["id"])

        def finished() -> Json | None:
            found = shell.run(r"/api/sweeps/", 200)
            return found if found["state"] == "Finished" else None

        swept = until(finished, 15, "the sweep is finished")
        assert (swept["seen"], swept["stuck"], swept["planned"], swept["errors"]) == (1, 1, 1, 0)
        assert [source["seen"] for source in swept["sources"]] == [1]
        [planned] = shell.run(r"/api/moves\?", 200)["results"]
        assert planned["source"]["runName"] == shell.variables["STUCK"]
        shell.keep(MOVE=planned["id"])

        def ended() -> Json | None:
            found = shell.run("/api/moves/", 200)
            return found if found["state"] in ENDED else None

        move = until(ended, 15, "the move has ended")
        entered = [step["state"] for step in move["steps"] if step["event"] == "entered"]
        usual = ["Creating", "AwaitingReady", "Triggering", "Terminating", "Succeeded"]
        assert entered == ["Planned", *usual]
        calls = [step["call"] for step in move["steps"] if step["event"] == "answered"]
        assert [call for call in calls if call.startswith("POST")] == [
            "POST /v1/jobs/trigger",
            "POST /v1/jobs/terminate",
        ]
        assert all(step["requestId"] for step in move["steps"] if step["call"])
        assert yard.simulator.verdict()["totals"] == {"moved": 1}

    def test_pause_and_resume(self, shell):
        answer = shell.run('/api/pauses"', 201)
        assert (answer["scope"], answer["reason"]) == ("config", "A new rack arrives")
        shell.keep(PAUSE=answer["id"])
        assert shell.run("-X DELETE", 204) == {}
        assert shell.run("-X DELETE", 404)["code"] == "NotFound"

    def test_every_line_of_the_document_was_run(self, shell):
        assert sorted(set(shell.done)) == list(range(len(shell.blocks)))
