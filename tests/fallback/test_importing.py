"""The old service's configs: good records go in whole, bad ones are told, nothing else happens."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts.models import Activity
from config.base.actor import Actor
from fallback import configuring, importing
from fallback.models import Connection, Destination, FallbackConfig, Mode, PurgeMode
from fallback.simulator.client import Simulator
from tests.factories import ConnectionFactory

Json = dict[str, Any]
ACTOR = Actor.system("test")
pytestmark = pytest.mark.django_db


def record(number: int = 1, **changes: Any) -> Json:
    """A good record; None takes a field out."""
    found = {
        "id": str(uuid.UUID(int=number)),
        "sourceClusterId": "cluster-a",
        "sourceWorkspaceId": f"ws-{number}",
        "destinationClusterId": "cluster-b",
        "destinationWorkspaceId": "ws-spare",
        "destinationWorkspaceFqn": "cluster-b:spare",
        "stuckThresholdMinutes": 45,
        "createdBy": "ada@example.org",
        "createdAt": "2024-05-01T12:00:00.000Z",
        "updatedAt": "2024-06-01T12:30:00.250Z",
    }
    return {name: value for name, value in (found | changes).items() if value is not None}


@pytest.fixture
def connection() -> Connection:
    # Nobody listens there: whoever asks the remote learns so at once.
    return ConnectionFactory.create(base_url="http://127.0.0.1:9/api/svc")


def take(connection: Connection, *records: Any, dry_run: bool = False) -> importing.Report:
    return importing.import_records(list(records), connection, ACTOR, dry_run=dry_run)


class TestRecords:
    def test_a_record_keeps_its_id_times_and_author(self, connection: Connection) -> None:
        report = take(connection, record(7, sourceJobId="job-1"))
        config = FallbackConfig.objects.get()
        assert [found.pk for found in report.imported] == [config.pk] == [uuid.UUID(int=7)]
        assert config.connection == connection
        assert (config.source_cluster_id, config.source_workspace_id) == ("cluster-a", "ws-7")
        assert (config.source_job_id, config.stuck_threshold_minutes) == ("job-1", 45)
        assert (config.mode, config.purge_mode) == (Mode.AUTO, PurgeMode.AFTER_ACCEPT)
        assert config.enabled and not config.needs_repair
        assert config.created_by_name == "ada@example.org"
        assert config.created_at == datetime(2024, 5, 1, 12, tzinfo=UTC)
        assert config.updated_at == datetime(2024, 6, 1, 12, 30, 0, 250_000, tzinfo=UTC)
        place = config.destinations.get()
        assert (place.cluster_id, place.workspace_id) == ("cluster-b", "ws-spare")
        assert place.workspace_fqn == "cluster-b:spare"
        activity = Activity.objects.get()
        assert (activity.verb, activity.reason) == ("config.created", "Imported.")

    def test_what_may_be_missing_has_its_default(
        self, connection: Connection, settings: Any
    ) -> None:
        settings.JOB_FALLBACK_STUCK_THRESHOLD_MINUTES = 33
        optional = ("sourceJobId", "destinationWorkspaceFqn", "stuckThresholdMinutes", "createdBy")
        take(connection, record(1, **dict.fromkeys(optional)), record(2) | dict.fromkeys(optional))
        configs = FallbackConfig.objects.all()
        assert [config.stuck_threshold_minutes for config in configs] == [33, 33]
        assert all(config.needs_repair and not config.source_job_id for config in configs)

    @pytest.mark.parametrize("threshold", [60, 60.0, 1, 525_600])
    def test_whole_numbers(self, connection: Connection, threshold: Any) -> None:
        assert not take(connection, record(stuckThresholdMinutes=threshold)).bad
        assert FallbackConfig.objects.get().stuck_threshold_minutes == threshold

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"id": None}, "id: it is missing."),
            ({"id": "42"}, "id: it is no UUID."),
            ({"id": "{00000000-0000-0000-0000-000000000001}"}, "id: it is no UUID."),
            ({"id": 42}, "id: it is a number, not a text."),
            ({"sourceClusterId": None}, "sourceClusterId: it is missing."),
            ({"sourceWorkspaceId": ""}, "sourceWorkspaceId: it is empty."),
            ({"sourceWorkspaceId": "ws 1"}, "sourceWorkspaceId: Use an id as"),
            ({"sourceWorkspaceId": "ws-\u0000"}, "sourceWorkspaceId: Use an id as"),
            ({"sourceWorkspaceId": "ws-🚂"}, "sourceWorkspaceId: Use an id as"),
            ({"sourceClusterId": "c" * 10_240}, "sourceClusterId: "),
            ({"sourceJobId": "x" * 10_240}, "sourceJobId: "),
            ({"sourceJobId": ["a"]}, "sourceJobId: it is a list, not a text."),
            ({"destinationClusterId": None}, "destinationClusterId: it is missing."),
            ({"destinationClusterId": "🚂"}, "destinationClusterId: Use an id as"),
            ({"destinationWorkspaceId": {}}, "destinationWorkspaceId: it is an object"),
            ({"destinationWorkspaceId": "d" * 10_240}, "destinationWorkspaceId: "),
            ({"destinationWorkspaceId": "ws-1"}, "Source and destination are the same."),
            ({"destinationWorkspaceFqn": "a b"}, "destinationWorkspaceFqn: use at most 300"),
            ({"destinationWorkspaceFqn": "x" * 301}, "destinationWorkspaceFqn: use at most 300"),
            ({"destinationWorkspaceFqn": "a\u0000"}, "destinationWorkspaceFqn: use at most 300"),
            ({"destinationWorkspaceFqn": True}, "destinationWorkspaceFqn: it is true or false"),
            ({"stuckThresholdMinutes": 0}, "stuckThresholdMinutes: "),
            ({"stuckThresholdMinutes": -1}, "stuckThresholdMinutes: "),
            ({"stuckThresholdMinutes": 10**9}, "stuckThresholdMinutes: "),
            ({"stuckThresholdMinutes": 1e300}, "stuckThresholdMinutes: "),
            ({"stuckThresholdMinutes": float("nan")}, "stuckThresholdMinutes: a number is no"),
            ({"stuckThresholdMinutes": 1.5}, "stuckThresholdMinutes: a number is no whole number."),
            ({"stuckThresholdMinutes": "x"}, "stuckThresholdMinutes: a text is no whole number."),
            ({"stuckThresholdMinutes": True}, "stuckThresholdMinutes: true or false is no whole"),
            ({"stuckThresholdMinutes": [[]]}, "stuckThresholdMinutes: a list is no whole number."),
            ({"createdBy": "a\u0000b"}, "createdBy: it holds characters that cannot be shown."),
            ({"createdBy": "\ud800"}, "createdBy: it holds characters that cannot be shown."),
            ({"createdBy": "b" * 10_240}, "createdBy: "),
            ({"createdAt": None}, "createdAt: it is missing."),
            ({"createdAt": 1714564800000}, "createdAt: it is a number, not a text."),
            ({"createdAt": "yesterday"}, "createdAt: yesterday is no date and time"),
            ({"createdAt": "2024-02-30T00:00:00Z"}, "createdAt: 2024-02-30T00:00:00Z is no date"),
            ({"createdAt": "9999-12-31T23:59:59Z"}, "createdAt: 9999-12-31T23:59:59Z is no date"),
            ({"createdAt": "0001-01-01T00:00:00Z"}, "createdAt: 0001-01-01T00:00:00Z is no date"),
            ({"updatedAt": "0001-01-01T00:00:00+14:00"}, "updatedAt: 0001-01-01T00:00:00+14:00 is"),
            ({"updatedAt": "2" * 10_240}, "updatedAt: 2222"),
            ({"sourceJobID": "job-1"}, "sourceJobID: this is spelled sourceJobId."),
        ],
    )
    def test_a_bad_record_is_told_and_the_good_ones_go_in(
        self, connection: Connection, changes: Json, told: str
    ) -> None:
        report = take(connection, record(2), record(1, **changes), record(3))
        (bad,) = report.bad
        assert bad.position == 2
        assert told in str(bad)
        assert len(str(bad)) < 500
        str(bad).encode()  # no half of a surrogate pair in it
        assert sorted(found.pk.int for found in report.imported) == [2, 3]
        assert FallbackConfig.objects.count() == Destination.objects.count() == 2
        assert Activity.objects.count() == 2

    @pytest.mark.parametrize("entry", [None, 1, "text", True, [], [record()], 1e308])
    def test_an_entry_that_is_no_object(self, connection: Connection, entry: Any) -> None:
        report = take(connection, entry, record(2))
        assert str(report.bad[0]).startswith("record 1: It is ")
        assert len(report.imported) == 1

    def test_all_that_is_wrong_is_told_at_once(self, connection: Connection) -> None:
        (bad,) = take(connection, {"id": 1, "createdAt": "x"}).bad
        assert len(bad.reasons) == 7

    def test_duplicates_within_the_file(self, connection: Connection) -> None:
        same_id = record(2) | {"id": record(1)["id"].upper()}
        same_source = record(3, sourceWorkspaceId="ws-1")
        report = take(connection, record(1), same_id, same_source)
        assert [bad.position for bad in report.bad] == [2, 3]
        assert report.bad[0].reasons == ("id: record 1 has it, too.",)
        assert "There is a config for this source already." in str(report.bad[1])
        assert [found.pk.int for found in report.imported] == [1]

    def test_a_job_of_its_own_beside_the_generic_one(self, connection: Connection) -> None:
        job = record(2, sourceWorkspaceId="ws-1", sourceJobId="job-1")
        assert len(take(connection, record(1), job).imported) == 2

    def test_a_loop_is_spelled_out(self, connection: Connection) -> None:
        there = record(1, destinationWorkspaceFqn="b:two", destinationWorkspaceId="ws-2")
        back = record(2, destinationWorkspaceFqn="a:one", destinationWorkspaceId="ws-1")
        report = take(connection, there, back)
        assert "loop: b:two → a:one → b:two" in str(report.bad[0])
        assert FallbackConfig.objects.get().pk == uuid.UUID(int=1)

    def test_an_id_of_another_organization_is_taken_and_names_nobody(
        self, connection: Connection
    ) -> None:
        other = ConnectionFactory.create(organization__name="Rivals")
        take(other, record(1))
        (bad,) = take(connection, record(1)).bad
        assert bad.reasons == ("id: it is taken.",)
        assert FallbackConfig.objects.get().connection == other

    def test_unknown_fields_are_told_once(self, connection: Connection) -> None:
        report = take(connection, record(1, color="red", **{"🚂\ud800": 1}), record(2, color="red"))
        assert len(report.imported) == 2
        assert report.notes == [
            "Fields that mean nothing here were left out: \\U0001f682\\ud800, color."
        ]


class TestAgain:
    def test_a_second_import_changes_nothing(self, connection: Connection) -> None:
        records = [record(1), record(2, sourceJobId="job-1"), record(3, createdAt="never")]
        take(connection, *records)
        before = snapshot()
        report = take(connection, *records)
        assert (report.imported, report.present, len(report.bad)) == ([], 2, 1)
        assert snapshot() == before

    def test_what_was_changed_here_stays(self, connection: Connection) -> None:
        take(connection, record(1))
        FallbackConfig.objects.update(stuck_threshold_minutes=5)
        report = take(connection, record(1))
        assert report.present == 1
        assert "is here already and differs: left as it is." in report.notes[0]
        assert FallbackConfig.objects.get().stuck_threshold_minutes == 5

    def test_a_dry_run_writes_nothing_and_sees_the_same(self, connection: Connection) -> None:
        records = [record(1), record(1), record(2, destinationWorkspaceId="ws-2"), 5]
        dry = take(connection, *records, dry_run=True)
        assert snapshot() == ([], [], [])
        wet = take(connection, *records)
        assert [str(bad) for bad in dry.bad] == [str(bad) for bad in wet.bad]
        assert len(dry.imported) == len(wet.imported) == 1


class TestRepair:
    def test_fqns_are_looked_up_where_the_remote_answers(self) -> None:
        with Simulator.start() as simulator:
            seeded = simulator.seed(jobs=1, runsPerJob=0)
            source, place = seeded["source"], seeded["destinations"][0]
            connection = ConnectionFactory.create(base_url=simulator.url, token=simulator.token)
            there = {
                "sourceClusterId": source["clusterId"],
                "destinationClusterId": place["clusterId"],
                "destinationWorkspaceId": place["workspaceId"],
                "destinationWorkspaceFqn": None,
            }
            known = record(1, sourceWorkspaceId=source["workspaceId"], **there)
            unknown = record(2, **there | {"destinationWorkspaceId": "ws-nowhere"})
            report = take(connection, known, unknown)
            assert not report.bad
            assert "There is no workspace ws-nowhere." in report.notes[0]
            first, second = FallbackConfig.objects.order_by("pk")
            assert first.destinations.get().workspace_fqn == place["fqn"]
            assert first.updated_at == datetime(2024, 6, 1, 12, 30, 0, 250_000, tzinfo=UTC)
            assert second.needs_repair
            FallbackConfig.objects.all().delete()
            connection.token = "wrong"
            connection.save()
            assert take(connection, known).notes == [
                "Imported without an FQN, and in need of repair: 1. "
                "The control plane refuses the token."
            ]

    def test_a_remote_that_is_away_costs_one_look(self, connection: Connection) -> None:
        report = take(connection, *(record(n, destinationWorkspaceFqn="") for n in range(1, 9)))
        assert len(report.imported) == 8
        (note,) = report.notes
        assert note.startswith("Imported without an FQN, and in need of repair: 8. GET /v1/work")

    def test_without_a_token_nobody_is_asked(self, settings: Any) -> None:
        settings.TF_SERVICE_API_TOKEN = ""
        connection = ConnectionFactory.create(base_url="", token="", from_environment=True)
        (note,) = take(connection, record(1, destinationWorkspaceFqn=None)).notes
        assert note.endswith("The connection has no address or token.")


def test_somebody_else_was_quicker(connection: Connection, monkeypatch: Any) -> None:
    def validated(config: FallbackConfig, destinations: list[Destination]) -> Json:
        return {}  # as it was when they looked

    take(connection, record(1))
    monkeypatch.setattr(configuring, "_invalid", validated)
    (bad,) = take(connection, record(2, sourceWorkspaceId="ws-1")).bad
    assert "already" in str(bad)
    assert FallbackConfig.objects.count() == Destination.objects.count() == 1


def snapshot() -> tuple[list[Any], list[Any], list[Any]]:
    return (
        list(FallbackConfig.objects.order_by("pk").values()),
        list(Destination.objects.order_by("pk").values()),
        list(Activity.objects.order_by("pk").values()),
    )


# Anything that JSON can say, and records that are nearly good.

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
NEARLY_GOOD = st.builds(
    lambda number, changes: record(number) | changes,
    st.integers(1, 4),
    st.dictionaries(st.sampled_from(sorted(record(1, sourceJobId="j"))), JSON_VALUES, max_size=2),
)


@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
@given(records=st.lists(NEARLY_GOOD | JSON_VALUES, max_size=4), dry_run=st.booleans())
@example(records=[{"id": "\ud800"}, {"\ud800": 1}], dry_run=False)
def test_any_json_is_imported_whole_or_told(
    connection: Connection, monkeypatch: Any, records: list[Any], dry_run: bool
) -> None:
    monkeypatch.setattr(importing, "_why_unreachable", lambda *_: "not asked")
    with transaction.atomic():
        report = take(connection, *records, dry_run=dry_run)
        assert len(report.imported) + report.present + len(report.bad) == len(records)
        there = 0 if dry_run else len(report.imported)
        assert FallbackConfig.objects.count() == Destination.objects.count() == there
        assert Activity.objects.count() == there
        for told in [*map(str, report.bad), *report.notes]:
            told.encode()
        for config in FallbackConfig.objects.all():
            config.full_clean()
        transaction.set_rollback(True)
