"""The simulator as a process: its start, its end, and what survives a kill."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from fallback.simulator.client import Simulator
from tests.fallback.simulating import Caller, wait_for


def test_a_killed_simulator_goes_on_where_it_was(tmp_path: Path) -> None:
    options = {"state": tmp_path / "world", "rollout_seconds": 0, "jobs": 2, "runs": 3}
    with Simulator.start(**options) as simulator, closing(Caller(simulator)) as api:
        before = simulator.verdict()
        source_id = api.get("workspaces", name="team-a")["data"][0]["id"]
        target = api.get("workspaces", name="overflow")["data"][0]
        where = {"workspaceId": target["id"], "fqn": target["fqn"]}
        moved = api.move(api.stuck(source_id)[0], where)
        simulator.kill()
        simulator.run()
        after = simulator.verdict()
        assert [run["name"] for run in after["runs"]] == [run["name"] for run in before["runs"]]
        assert after["totals"] == {"moved": 1, "waiting": 5}
        assert simulator.run_shown(moved["name"])["id"] == moved["id"]
        assert api.move(api.stuck(source_id)[0], where)["id"] != moved["id"]
        simulator.reset()
        simulator.kill()
        simulator.run()
        assert len(simulator.verdict()["runs"]) == 6  # seeded anew


def test_the_command_serves_until_a_signal(tmp_path: Path, capsys: Any) -> None:
    port_file, state = tmp_path / "port", tmp_path / "world"

    def end_it() -> None:
        wait_for(port_file.exists)
        os.kill(os.getpid(), signal.SIGTERM)

    def serve(**options: Any) -> Simulator:
        port_file.unlink(missing_ok=True)
        ender = threading.Thread(target=end_it)
        ender.start()
        call_command("truefoundry_simulator", port_file=port_file, state=state, **options)
        ender.join()
        return Simulator(port=int(port_file.read_text()))

    first = serve(jobs=2, arrivals_per_minute=60, latency_ms=1, rollout_seconds=0, token=["t"])
    second = serve()
    told = capsys.readouterr().out.splitlines()
    assert told == [f"TrueFoundry simulator on {s.url}" for s in (first, second)]
    assert state.stat().st_size


def test_it_runs_without_django() -> None:
    code = "import sys, fallback.simulator.commandline; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_tells_the_options(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["simulator", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module("fallback.simulator", run_name="__main__")
    assert "--arrivals-per-minute" in capsys.readouterr().out


def test_it_ends_with_the_process_that_started_it() -> None:
    code = """
from fallback.simulator.client import Simulator
print(Simulator.start().pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    wait_for(lambda: not runs(pid))


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return False


def test_one_that_cannot_start_says_so() -> None:
    with pytest.raises(RuntimeError, match="ended"):
        Simulator.start(port=-1)
    with pytest.raises(RuntimeError, match="does not run"):
        _ = Simulator().pid


def test_seed_random_repeats_the_ids() -> None:
    def ids() -> Any:
        with Simulator.start(seed_random=7) as simulator:
            return simulator.seed(jobs=1, runsPerJob=1)["stuckRuns"]

    assert ids() == ids()
