from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback import match
from fallback.match import Edge, Place, Reason, Verdict

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def place(workspace: str = "w2", **more: object) -> Place:
    fields = {"cluster_id": "c", "workspace_id": workspace, "workspace_fqn": f"c:{workspace}"}
    return Place(**(fields | more))  # type: ignore[arg-type]


def connected(_cluster: str) -> bool:
    return True


def test_age_counts_from_creation_by_the_remotes_clock() -> None:
    created = int((NOW - timedelta(minutes=61)).timestamp() * 1000)
    assert match.age_of(created, NOW) == timedelta(minutes=61)


def test_the_jobs_own_config_comes_before_the_generic_one() -> None:
    assert match.config_key("j1", ["", "j1"]) == "j1"
    assert match.config_key("j2", ["", "j1"]) == ""
    assert match.config_key("j2", ["j1"]) is None
    assert match.config_key("", ["j1"]) is None


def test_the_first_usable_destination_is_taken() -> None:
    assert match.choose([place("a"), place("b")], frozenset(), connected).place == place("a")
    assert match.choose([place("a"), place("b")], frozenset({"a"}), connected).place == place("b")


@pytest.mark.parametrize(
    ("refused", "visited", "reason"),
    [
        (place(enabled=False), frozenset(), Reason.DESTINATION_OFF),
        (place(workspace_fqn=""), frozenset(), Reason.NEEDS_REPAIR),
        (place(limit=3, open_moves=3), frozenset(), Reason.DESTINATION_FULL),
        (place(), frozenset({"w2"}), Reason.LOOP),
    ],
)
def test_every_no_says_why(refused: Place, visited: frozenset[str], reason: str) -> None:
    choice = match.choose([refused], visited, connected)
    assert choice.place is None
    assert choice.reason == reason
    assert choice.message.endswith(".")


def test_a_disconnected_cluster_is_passed_over() -> None:
    far = place("far", cluster_id="down")
    choice = match.choose([far, place("near")], frozenset(), lambda cluster: cluster != "down")
    assert choice.place == place("near")
    alone = match.choose([far], frozenset(), lambda cluster: False)
    assert alone.reason == Reason.NOT_CONNECTED


@pytest.mark.parametrize(
    ("status", "statuses", "verdict"),
    [
        ("CREATED", match.STUCK_STATUSES, Verdict.GO),
        ("SCHEDULED", match.STUCK_STATUSES, Verdict.GO),
        ("SCHEDULED", ["CREATED"], Verdict.GO),
        ("RUNNING", match.STUCK_STATUSES, Verdict.RECOVERED),
        ("RUNNING", ["RUNNING"], Verdict.GO),
        ("FINISHED", ["RUNNING"], Verdict.RECOVERED),
        ("FAILED", match.STUCK_STATUSES, Verdict.GONE),
        ("TERMINATED", match.STUCK_STATUSES, Verdict.GONE),
        ("TERMINATION_REQUESTED", match.STUCK_STATUSES, Verdict.GONE),
        (None, match.STUCK_STATUSES, Verdict.GONE),
        ("UNKNOWN", match.STUCK_STATUSES, Verdict.WAIT),
        ("PAUSED_BY_A_NEW_FEATURE", match.STUCK_STATUSES, Verdict.WAIT),
    ],
)
def test_what_a_look_at_the_source_means(
    status: str | None, statuses: list[str], verdict: Verdict
) -> None:
    assert match.verdict(status, statuses) is verdict


def test_a_loop_is_spelled_out() -> None:
    edges = [Edge("a", "", ("b",)), Edge("b", "", ("c",))]
    loop = match.find_loop(edges, Edge("c", "", ("a",)))
    assert loop == ["c", "a", "b", "c"]
    assert match.spelled_out(loop, {"a": "north", "b": "south"}) == "c → north → south → c"


def test_a_config_for_one_job_begins_a_chain_and_closes_none_of_others() -> None:
    there = Edge("a", "job-1", ("b",))
    assert match.find_loop([there], Edge("b", "job-2", ("a",))) is None
    assert match.find_loop([there], Edge("b", "", ("a",))) == ["a", "b", "a"]


def test_saving_a_config_again_is_no_loop_with_itself() -> None:
    edge = Edge("a", "", ("b",))
    assert match.find_loop([edge], edge) is None


names = st.sampled_from("abcdef")
edges_of = st.builds(Edge, names, st.just(""), st.lists(names, min_size=1, max_size=3).map(tuple))


@given(st.lists(edges_of, max_size=8))
def test_configs_that_were_all_accepted_never_lead_back(wanted: list[Edge]) -> None:
    accepted: dict[str, Edge] = {}
    for edge in wanted:
        if edge.source in edge.destinations or edge.source in accepted:
            continue
        if match.find_loop(accepted.values(), edge) is None:
            accepted[edge.source] = edge
    for start in accepted:
        seen, queue = set(), list(accepted[start].destinations)
        while queue:
            here = queue.pop()
            assert here != start
            if here in accepted and here not in seen:
                seen.add(here)
                queue.extend(accepted[here].destinations)


def test_backoff_is_quick_first_then_doubles_up_to_five_minutes() -> None:
    delays = [match.backoff(n, 3, 3.0, None) for n in range(1, 14)]
    assert delays[:4] == [3.0, 3.0, 3.0, 6.0]
    assert delays == sorted(delays)
    assert delays[-1] == 300.0
    assert match.backoff(1, 3, 3.0, 40.0) == 40.0
    assert match.backoff(10**9, 3, 3.0, None) == 300.0
