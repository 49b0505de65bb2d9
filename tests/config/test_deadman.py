"""The dead man's switch, in real processes."""

import signal
import subprocess
import sys
import time

import pytest

SETUP = """
import threading, time
from config.base import deadman
deadman.STANDSTILL_SECONDS = 0.6
"""


def begin(script: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SETUP + script]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_stopped_process_ends_without_going_on() -> None:
    with begin("with deadman.switch():\n    print(1, flush=True)\n    time.sleep(30)\n") as process:
        assert process.stdout and process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        assert process.wait(timeout=10) == -signal.SIGKILL
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    "inside",
    [
        "until = time.monotonic() + 1.5\n    while time.monotonic() < until: pass",
        "time.sleep(1.5)",
        "with deadman.switch(): pass\n    time.sleep(1.5)",
        "threads = [threading.Thread(target=again) for _ in range(4)]\n"
        "    for one in threads: one.start()\n"
        "    for one in threads: one.join()",
    ],
    ids=["busy", "waiting", "nested", "threads"],
)
def test_one_that_lives_goes_on(inside: str) -> None:
    again = "def again():\n    for _ in range(50):\n        with deadman.switch(): pass\n"
    process = begin(f"{again}with deadman.switch():\n    {inside}\nprint('done')")
    assert process.communicate(timeout=20)[0] == "done\n"
    assert process.returncode == 0


def test_outside_it_may_stand_still() -> None:
    with begin("with deadman.switch(): pass\nprint(1, flush=True)\ntime.sleep(0.1)") as process:
        assert process.stdout and process.stdout.readline() == "1\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=10) == 0


FAILS_ONCE = """
make = deadman._Timer
def fails():
    deadman._Timer = make
    raise OSError
deadman._Timer = fails
try:
    with deadman.switch(): pass
except OSError:
    print(1, flush=True)
with deadman.switch():
    print(2, flush=True)
    time.sleep(30)
"""


def test_a_timer_that_was_not_to_be_had_is_made_the_next_time() -> None:
    with begin(FAILS_ONCE) as process:
        assert process.stdout
        assert [process.stdout.readline() for _ in range(2)] == ["1\n", "2\n"]
        process.send_signal(signal.SIGSTOP)
        try:
            assert process.wait(timeout=3) == -signal.SIGKILL
        finally:
            process.kill()
