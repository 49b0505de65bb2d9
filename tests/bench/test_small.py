"""The benches in small: what must hold on any machine, however slow. Never a time."""

import pytest

from tests.bench.bench_simulator import measure
from tests.bench.figures import Figure, report
from tests.bench.installation import swept
from tests.needs import on_postgres

pytestmark = pytest.mark.skipif(on_postgres(), reason="benches run on SQLite: make test")
# Asked once for a sweep, however many runs there are: listings, connected clusters.
ONCE = 6


@pytest.mark.faults
@pytest.mark.parametrize(("jobs", "a_move"), [(20, 4.2), (2, 2.3)])
def test_each_run_is_moved_once_with_few_requests(jobs: int, a_move: float) -> None:
    result = swept(jobs, 20)
    assert (result.code, result.moved, result.mistakes) == (0, 20, 0), result.verdict
    assert result.told["succeeded"] == result.told["planned"] == 20
    assert result.stats["requests"] <= 20 * a_move + ONCE, result.stats


def test_a_missed_target_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    figures = [Figure("a", 2, "moves/s", least=3), Figure("b", 1.234, most=1.5), Figure("c", 1e4)]
    assert report(figures) == 1
    out = capsys.readouterr().out
    assert "MISSED" in out and "≤ 1.5" in out and "10,000" in out and "1 missed" in out
    assert report(figures[1:]) == 0
    assert str(figures[0]) == "a: 2 moves/s (target ≥ 3: MISSED)"


def test_the_driver_of_the_simulator_moves_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.bench_simulator.RUNS_PER_JOB", 3)
    told = {figure.what: figure for figure in measure()}
    assert told["simulator: answered with 200"].met and told["simulator: runs moved"].met
