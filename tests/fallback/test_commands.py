"""Exit codes that scripts rely on, where a command cannot even begin."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_environment import ROOT, child


def run(data_dir: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=child({"DATA_DIR": str(data_dir)}),
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("command", [("sweep", "--json"), ("import_fallback_configs", "x.json")])
def test_without_its_tables_it_could_not_run(command: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path, *command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CommandError: The database cannot be used: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("sweep", "--help"), ("diffsettings", "--all")])
def test_who_reads_no_further_is_shown_no_trace(command: tuple[str, ...], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=child({"DATA_DIR": str(tmp_path)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stderr
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(60) == 128 + signal.SIGPIPE


def test_a_pause_asks_for_its_reason_by_name(tmp_path: Path) -> None:
    done = run(tmp_path, "pause")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "CommandError: Say why with --reason: others will read it.\n"


@pytest.mark.parametrize(
    ("minutes", "told"),
    [
        ("4000000000", "Choose a time before the year 9000."),
        ("5000000000", "--minutes is too large."),
        ("9" * 30, "--minutes is too large."),
        ("-5", "The end must lie in the future."),
    ],
)
def test_a_pause_ends_before_the_calendar_does(minutes: str, told: str, tmp_path: Path) -> None:
    done = run(tmp_path, "pause", "--reason", "a new rack", f"--minutes={minutes}")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"CommandError: {told}\n"


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "1e9", "soon"])
def test_a_time_that_is_none_is_refused_before_anything_is_done(text: str, tmp_path: Path) -> None:
    done = run(tmp_path, "sweep", "--wait", "--timeout", text)
    assert done.returncode == 2
    assert f"argument --timeout: invalid seconds value: '{text}'" in done.stderr
