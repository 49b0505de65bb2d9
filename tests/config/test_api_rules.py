"""The rules that every endpoint of the API keeps."""

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import activity
from config.base.casing import camel, snake
from config.base.parsing import JSONParser
from tests.calling import NOBODYS, Caller, Stream, problem, results
from tests.factories import ConnectionFactory, MembershipFactory
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
    MoveStepFactory,
    PauseFactory,
    SweepFactory,
)

pytestmark = pytest.mark.django_db
OTHERS = ["users/me", "external/clusters", "health", "schema", "docs"]
LISTS = ["moves", "sweeps", "fallback-configs", "connections", "pauses", "activity"]


class TestAddresses:
    @pytest.mark.parametrize("path", ["moves", "moves/", "v1/moves", "v1/moves/"])
    def test_two_roots_with_and_without_a_slash(self, caller, path):
        assert results(caller.get(path)) == []

    @pytest.mark.parametrize("path", ["", "nothing", "v1/nothing", "moves/x/y/z", "v2/moves"])
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_what_is_nowhere_is_a_problem_too(self, db, path, method):
        problem(Caller().send(method, path), 404, "NotFound")

    def test_not_even_in_debug_mode_is_there_a_page(self, db, settings):
        settings.DEBUG = True
        problem(Caller().get("nothing"), 404, "NotFound")

    @pytest.mark.parametrize("key", ["x", NOBODYS, "%00", "'", "..%2f", "1" * 300])
    def test_an_id_that_is_nobodys_is_not_found(self, caller, key):
        for path in ("moves", "sweeps", "fallback-configs", "connections", "pauses"):
            problem(caller.get(f"{path}/{key}"), 404, "NotFound")

    @pytest.mark.parametrize("path", ["activity", "sweeps", "users/me/password", "health", "token"])
    def test_a_method_that_is_not_there(self, caller, path):
        answer = caller.patch(path, {})
        problem(answer, 405, "MethodNotAllowed")
        assert "PATCH" not in answer.headers["Allow"]


class TestSpelling:
    def test_camel_case_goes_out(self, caller, remote):
        FallbackConfigFactory.create(connection=remote)
        (row,) = results(caller.get("fallback-configs"))
        assert "_" not in "".join(row) + "".join(row["source"])

    def test_both_come_in(self, caller, remote):
        body = {
            "source": {"cluster_id": "c", "workspaceId": "a"},
            "destination": {"clusterId": "c", "workspace_id": "b"},
            "stuck_threshold_minutes": 7,
            "maxHops": 2,
        }
        answer = caller.post("fallback-configs", body)
        assert answer.status_code == 201
        assert (answer.json()["stuckThresholdMinutes"], answer.json()["maxHops"]) == (7, 2)

    def test_one_field_in_both_is_refused(self, caller):
        body = {"source": {"clusterId": "c", "cluster_id": "d"}}
        told = problem(caller.post("fallback-configs", body), 400, "Invalid")
        assert list(told["errors"]) == ["source.clusterId"]

    def test_what_is_the_users_goes_through_key_for_key(self, caller, owner):
        change = {"snake_case": 1, "camelCase": {"inner_part": 2}}
        actor = owner.user.actor()
        activity.record(actor, "x.y", owner.organization, owner.organization_id, change)
        (row,) = results(caller.get("activity"))
        assert row["change"] == change
        parsed = JSONParser().parse(Stream({"config": {"a_b": 1, "aB": 2}, "camelCase": 1}))
        assert parsed == {"config": {"a_b": 1, "aB": 2}, "camel_case": 1}

    @given(st.from_regex(r"[a-z]{1,6}(_[a-z]{1,6}){0,3}", fullmatch=True))
    def test_there_and_back(self, name):
        # Single letters run together on the wire: no name of ours has them.
        if all(len(part) > 1 for part in name.split("_")):
            assert snake(camel(name)) == name
        assert snake(name) == name
        assert camel(camel(name)) == camel(name)


class TestParameters:
    @pytest.mark.parametrize("path", [*LISTS, *OTHERS])
    def test_an_unknown_one_is_refused_by_name(self, caller, path):
        told = problem(caller.get(path, colour="red"), 400, "Invalid")
        assert "Unknown parameter. Known here: " in told["errors"]["colour"][0]

    def test_the_known_ones_are_named_in_camel_case(self, caller):
        told = problem(caller.get("moves", colour="red"), 400, "Invalid")
        assert "sourceRunId" in told["detail"]
        assert "limit" in told["detail"]

    def test_also_on_one_row_and_on_writes(self, caller, remote):
        move = MoveFactory.create(connection=remote)
        problem(caller.get(f"moves/{move.pk}?limit=1"), 400, "Invalid")
        problem(caller.post(f"moves/{move.pk}/cancel?force=1", {}), 400, "Invalid")
        move.refresh_from_db()
        assert move.state == "Planned"

    def test_either_spelling_and_repeated_means_or(self, caller, remote):
        for name in ("a", "b", "c"):
            MoveFactory.create(connection=remote, job_name=name)
        assert len(results(caller.get("moves?jobName=a&job_name=b"))) == 2
        assert len(results(caller.get("moves?state=Planned&state=Failed&jobName=c"))) == 1
        assert len(results(caller.get("moves?open=true&open=false"))) == 3

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("limit", "0"),
            ("limit", "501"),
            ("limit", "ten"),
            ("limit", "-1"),
            ("limit", "1e2"),
            ("limit", "٣"),
            ("offset", "-1"),
            ("offset", "99999999999999999999"),
            ("ordering", "password"),
            ("search", "a\0b"),
            ("search", "x" * 501),
            ("organization", "nobodys"),
            ("organization", NOBODYS),
            ("connectionId", "x"),
            ("connectionId", "\0"),
            ("state", "planned"),
            ("state", ""),
            ("open", "perhaps"),
            ("hop", "99999999999"),
            ("createdAfter", "yesterday"),
            ("createdAfter", "2026-13-01T00:00:00Z"),
            ("createdAfter", "0001-01-01T00:00:00+14:00"),
            ("createdAfter", "9999-12-31T23:59:59-14:00"),
        ],
    )
    def test_nonsense_is_told_with_the_parameters_name(self, caller, name, value):
        answer = caller.get("moves", **{name: value})
        assert list(problem(answer, 400, "Invalid")["errors"]) == [name]

    def test_a_parameter_that_is_one_thing_may_be_given_once(self, caller):
        told = problem(caller.get("moves?limit=1&limit=2"), 400, "Invalid")
        assert told["errors"] == {"limit": ["Give it once."]}

    def test_too_many_are_refused(self, caller):
        query = "&".join(f"jobName={n}" for n in range(101))
        problem(caller.get(f"moves?{query}"), 400, "Invalid")
        problem(caller.get("moves?" + "&".join(f"a{n}=1" for n in range(1100))), 400, "BadRequest")

    def test_times_may_come_without_an_offset_or_a_time(self, caller, remote):
        MoveFactory.create(connection=remote)
        today = timezone.now().date()
        for value in (today.isoformat(), f"{today}T00:00:00", f"{today}T00:00:00+00:00"):
            assert len(results(caller.get("moves", createdAfter=value))) == 1
            assert results(caller.get("moves", createdBefore=value)) == []


class TestLists:
    def test_pages(self, caller, remote):
        for _ in range(5):
            MoveFactory.create(connection=remote)
        seen = []
        url: str | None = "moves?limit=2"
        for expected in (2, 2, 1):
            page = caller.get(str(url)).json()
            assert (page["count"], len(page["results"])) == (5, expected)
            seen += [row["id"] for row in page["results"]]
            url = page["next"] and page["next"].partition("/api/")[2]
        assert len(set(seen)) == 5
        assert url is None
        assert "limit=2" in caller.get("moves?limit=2&offset=2").json()["previous"]
        assert caller.get("moves?offset=99").json()["results"] == []

    def test_newest_first_and_never_shuffled(self, caller, remote):
        now = timezone.now()
        for _ in range(30):
            MoveFactory.create(connection=remote, created_at=now)
        whole = [row["id"] for row in results(caller.get("moves"))]
        parts = [
            row["id"]
            for offset in range(0, 30, 7)
            for row in results(caller.get("moves", offset=offset, limit=7))
        ]
        assert parts == whole

    def test_ordering(self, caller, remote):
        for name in ("b", "a", "c"):
            MoveFactory.create(connection=remote, job_name=name)
        for order, names in (("jobName", "abc"), ("-job_name", "cba"), ("state,-jobName", "cba")):
            rows = results(caller.get("moves", ordering=order))
            assert "".join(row["jobName"] for row in rows) == names

    def test_search(self, caller, remote):
        MoveFactory.create(connection=remote, job_name="train-resnet", source_run_name="r-1")
        MoveFactory.create(connection=remote, job_name="train-bert", source_run_name="r-2")
        assert len(results(caller.get("moves", search="TRAIN"))) == 2
        assert len(results(caller.get("moves", search="train r-2"))) == 1
        assert len(results(caller.get("moves?search=bert&search=resnet"))) == 2
        assert results(caller.get("moves", search="100%")) == []

    def test_organization_by_id_or_slug(self, caller, owner, remote):
        other = MembershipFactory.create(user=owner.user)
        MoveFactory.create(connection=remote)
        MoveFactory.create(connection=ConnectionFactory.create(organization=other.organization))
        assert len(results(caller.get("moves"))) == 2
        for name in (owner.organization_id, owner.organization.slug):
            (row,) = results(caller.get("moves", organization=name))
            assert row["organizationId"] == str(owner.organization_id)
        both = f"organization={owner.organization.slug}&organization={other.organization.slug}"
        assert len(results(caller.get(f"moves?{both}"))) == 2

    def test_a_foreign_id_in_a_filter_is_as_unknown_as_a_random_one(self, caller):
        foreign = MoveFactory.create(sweep=SweepFactory.create())
        names = {
            "connectionId": foreign.connection_id,
            "sweepId": foreign.sweep_id,
            "lineage": foreign.lineage,
            "sourceRunId": foreign.source_run_id,
        }
        for name, value in names.items():
            assert results(caller.get("moves", **{name: value})) == []
        answers = [
            caller.get("moves", organization=value).json()
            for value in (foreign.organization_id, uuid.uuid4(), foreign.organization.slug)
        ]
        assert answers[0] == answers[1] == answers[2]

    @pytest.mark.parametrize("path", LISTS)
    def test_how_many_rows_there_are_does_not_change_how_many_queries(
        self, caller, owner, remote, path
    ):
        def count() -> int:
            with CaptureQueriesContext(connection) as queries:
                assert caller.get(path).status_code == 200
            return len(queries)

        def fill(times: int) -> None:
            for _ in range(times):
                config = FallbackConfigFactory.create(connection=remote, destinations=2)
                sweep = SweepFactory.create(organization=owner.organization)
                move = MoveFactory.create(connection=remote, config=config, sweep=sweep)
                MoveStepFactory.create(move=move)
                PauseFactory.create(connection=None, config=config)
                ConnectionFactory.create(organization=owner.organization)
                actor = owner.user.actor()
                activity.record(actor, "x.y", move, owner.organization_id)

        fill(10)
        caller.get(path)  # the token's last use is noted now, and not again for a minute
        few = count()
        fill(50)
        assert count() == few <= 9
