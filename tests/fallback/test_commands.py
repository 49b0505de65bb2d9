"""Exit codes that scripts rely on, where a command cannot even begin."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.config.test_environment import ROOT, child


@pytest.mark.parametrize("command", [("sweep", "--json"), ("import_fallback_configs", "x.json")])
def test_without_its_tables_it_could_not_run(command: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT,
        env=child({"DATA_DIR": str(tmp_path)}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("CommandError: The database cannot be used: ")
    assert done.stderr.count("\n") == 1
