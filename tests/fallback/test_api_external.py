"""/external against a real control plane, with everything that can go wrong there."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from accounts.models import Membership
from fallback import external
from fallback.models import Connection
from fallback.simulator.client import Simulator
from tests.calling import problem
from tests.factories import ConnectionFactory, MembershipFactory
from tests.fallback.simulating import serving

pytestmark = pytest.mark.django_db
Json = dict[str, Any]
OWN = "a-token-of-my-own"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with serving(latency_ms=0) as found:
        yield found


@pytest.fixture
def seeded(simulator: Simulator) -> Iterator[Json]:
    simulator.reset()
    yield simulator.seed(jobs=2, runsPerJob=3, destinations=2, healthyRuns=2)
    simulator.faults()


@pytest.fixture
def remote(owner: Membership, simulator: Simulator, seeded: Json) -> Connection:
    return ConnectionFactory.create(
        organization=owner.organization, base_url=simulator.url, token=simulator.token
    )


@pytest.fixture
def runs(seeded: Json) -> str:
    source = seeded["source"]
    return f"external/job-runs?clusterId={source['clusterId']}&workspaceId={source['workspaceId']}"


def asked(simulator: Simulator) -> list[str]:
    return [call["path"] for call in simulator.sim("GET", "stats").get("calls", [])]


class TestWhatIsTold:
    def test_clusters(self, caller, remote, seeded):
        told = caller.get("external/clusters").json()
        assert told["pagination"] == {"total": 3, "offset": 0, "limit": 100}
        assert {row["id"] for row in told["data"]} == {row["id"] for row in seeded["clusters"]}
        assert {frozenset(row) for row in told["data"]} == {frozenset({"id", "name", "fqn"})}
        assert {row["name"] for row in told["data"]} == {"source-1", "spare-1", "spare-2"}
        first = told["data"][0]
        assert caller.get(f"external/clusters/{first['id']}").json() == {"data": first}

    def test_pages(self, caller, remote):
        told = caller.get("external/clusters", limit=2, offset=2).json()
        assert told["pagination"] == {"total": 3, "offset": 2, "limit": 2}
        assert len(told["data"]) == 1

    def test_workspaces(self, caller, remote, seeded):
        there = seeded["destinations"][0]
        told = caller.get("external/workspaces", clusterId=there["clusterId"]).json()
        (row,) = told["data"]
        assert row["id"] == there["workspaceId"]
        assert set(row) == {"id", "name", "clusterId", "fqn", "tenantName"}
        assert caller.get(f"external/workspaces/{row['id']}").json() == {"data": row}
        assert caller.get("external/workspaces").json()["pagination"]["total"] == 3

    def test_who_the_token_belongs_to(self, caller, remote):
        told = caller.get("external/user-info").json()
        assert set(told) == {"id", "name", "email", "tenantName"}
        assert told["tenantName"]

    def test_job_runs_without_their_inputs(self, caller, remote, runs, seeded):
        answer = caller.get(f"{runs}&status=CREATED&status=SCHEDULED")
        told = answer.json()
        assert len(told["data"]) == 6
        assert told["pagination"] == {"hasMore": False, "offset": 0, "limit": 100}
        assert "command" not in answer.content.decode()
        row = told["data"][0]
        assert row["createdAt"].endswith("Z")
        assert row["applicationId"]
        assert caller.get(f"{runs}&limit=2").json()["pagination"]["hasMore"] is True

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("clusterId=x", "workspaceId"),
            ("workspaceId=x", "clusterId"),
            ("clusterId=x&workspaceId=y&status=stuck", "status"),
            ("clusterId=x&workspaceId=y&limit=0", "limit"),
            ("clusterId=x&workspaceId=y&connectionId=z", "connectionId"),
            ("clusterId=x&workspaceId=y&organization=z", "organization"),
            ("clusterId=x&clusterId=y&workspaceId=y", "clusterId"),
        ],
    )
    def test_a_mistake_is_named(self, caller, remote, query, field):
        answer = caller.get(f"external/job-runs?{query}")
        assert list(problem(answer, 400, "Invalid")["errors"]) == [field]

    @pytest.mark.parametrize("key", ["nobodys", "..", "%2e%2e", "a%20b", "%00", "x" * 200])
    def test_what_is_not_there(self, caller, remote, key):
        problem(caller.get(f"external/clusters/{key}"), 404, "UpstreamNotFound")
        problem(caller.get(f"external/workspaces/{key}"), 404, "UpstreamNotFound")


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "status", "code"),
        [
            ({"effect": "refuse"}, 502, "UpstreamFailed"),
            ({"effect": "lost"}, 502, "UpstreamFailed"),
            ({"effect": "garbage"}, 502, "UpstreamFailed"),
            ({"effect": "truncated"}, 502, "UpstreamFailed"),
            ({"effect": "status", "status": 500}, 502, "UpstreamFailed"),
            ({"effect": "status", "status": 503}, 502, "UpstreamFailed"),
            ({"effect": "status", "status": 429, "retryAfter": 60}, 502, "UpstreamFailed"),
            ({"effect": "status", "status": 302}, 502, "UpstreamFailed"),
            ({"effect": "status", "status": 400}, 502, "UpstreamRejected"),
            ({"effect": "status", "status": 401}, 401, "UpstreamUnauthorized"),
            ({"effect": "status", "status": 403}, 403, "UpstreamForbidden"),
            ({"effect": "status", "status": 404}, 404, "UpstreamNotFound"),
        ],
    )
    @pytest.mark.parametrize("path", ["clusters", "clusters/x", "user-info"])
    def test_each_has_its_code(self, caller, remote, simulator, path, fault, status, code):
        simulator.faults({"call": "*", **fault})
        begun = time.monotonic()
        answer = caller.get(f"external/{path}")
        assert time.monotonic() - begun < 4  # nothing is repeated, nor waited for
        told = problem(answer, status, code)
        assert simulator.token not in answer.content.decode()
        assert simulator.url not in told["detail"]
        if status == 401:
            assert "TrueFoundry" in answer.headers["WWW-Authenticate"]

    @pytest.mark.parametrize("path", ["clusters", "workspaces/x", "user-info"])
    def test_one_that_hangs(self, caller, remote, simulator, monkeypatch, path):
        monkeypatch.setattr(external, "SECONDS", 0.5)
        simulator.faults({"call": "*", "effect": "hang", "seconds": 1})
        problem(caller.get(f"external/{path}"), 504, "UpstreamTimeout")

    def test_calls_share_their_time(self, caller, remote, simulator, monkeypatch):
        """Two calls of which each would be quick enough."""
        monkeypatch.setattr(external, "SECONDS", 0.7)
        simulator.settings(latencyMs=400)
        client = external.Caller(simulator.url, simulator.token)
        client.user_info()
        with pytest.raises(external.TimeIsUp, match="no answer in time"):
            client.user_info()
        with pytest.raises(external.TimeIsUp, match="no time is left"):
            client.user_info()
        client.close()
        simulator.settings(latencyMs=0)

    def test_nobody_listens(self, caller, owner):
        ConnectionFactory.create(organization=owner.organization, base_url="http://127.0.0.1:9/x")
        problem(caller.get("external/clusters"), 502, "UpstreamFailed")

    @pytest.mark.parametrize(
        "body", [[], {}, {"data": None}, {"data": {}}, {"data": [1]}, {"data": [], "pagination": 1}]
    )
    def test_a_bad_answer(self, caller, owner, httpserver, body):
        httpserver.expect_request("/api/svc/v1/clusters").respond_with_json(body)
        httpserver.expect_request("/api/svc/v1/clusters/x").respond_with_json(body)
        url = httpserver.url_for("/api/svc")
        ConnectionFactory.create(organization=owner.organization, base_url=url)
        if body != {"data": {}}:
            problem(caller.get("external/clusters"), 502, "UpstreamFailed")
            problem(caller.get("external/clusters/x"), 502, "UpstreamFailed")

    def test_user_info_that_is_no_object(self, caller, owner, httpserver):
        httpserver.expect_request("/api/svc/v1/x/users/info").respond_with_json([1])
        url = httpserver.url_for("/api/svc")
        ConnectionFactory.create(organization=owner.organization, base_url=url)
        problem(caller.get("external/user-info"), 502, "UpstreamFailed")

    @pytest.mark.parametrize(
        ("data", "saved"),
        [
            (None, 201),  # nothing can be told of the workspace, and that is no reason to refuse
            (1, 201),
            ([], 201),
            ({"deployment": [1]}, 400),  # a workspace, and it is not in the cluster
            ({"clusterId": {}}, 400),
            ({"deployment": {"x": 1}}, 400),
        ],
    )
    def test_no_answer_breaks_saving_or_testing(self, caller, owner, httpserver, data, saved):
        answer = {"data": data, "pagination": {}}
        for path in ("clusters", "workspaces", "x/job-runs", "workspaces/a", "apps/j"):
            httpserver.expect_request(f"/api/svc/v1/{path}").respond_with_json(answer)
        httpserver.expect_request("/api/svc/v1/x/users/info").respond_with_json(data)
        url = httpserver.url_for("/api/svc")
        remote = ConnectionFactory.create(organization=owner.organization, base_url=url)
        body = {
            "source": {"clusterId": "None", "workspaceId": "a", "jobId": "j"},
            "destination": {"clusterId": "c", "workspaceId": "b"},
        }
        answer = caller.post("fallback-configs", body)
        assert answer.status_code == saved
        if saved == 400:
            wrong = {"source.workspaceId": ["Workspace a is not in cluster None."]}
            assert problem(answer, 400, "Invalid")["errors"] == wrong
        told = caller.post(f"connections/{remote.pk}/test").json()
        assert told["works"] is (data == [])  # nothing to see is no fault


class TestWhoseToken:
    def test_ones_own_goes_to_the_connections_host(self, caller, owner, httpserver):
        seen = []

        def note(request: Any) -> Any:
            from werkzeug import Response

            seen.append(dict(request.headers))
            return Response('{"data": [], "pagination": {"total": 0}}', mimetype="application/json")

        httpserver.expect_request("/api/svc/v1/clusters").respond_with_handler(note)
        url = httpserver.url_for("/api/svc")
        ConnectionFactory.create(organization=owner.organization, base_url=url, token="stored")
        caller.headers["X-Request-ID"] = "asked-1"
        assert caller.get("external/clusters").status_code == 200
        caller.headers["X-TrueFoundry-Token"] = OWN
        assert caller.get("external/clusters").status_code == 200
        assert [one["Authorization"] for one in seen] == ["Bearer stored", f"Bearer {OWN}"]
        assert {one["X-Request-Id"] for one in seen} == {"asked-1"}
        assert OWN not in str(seen[0])

    @pytest.mark.parametrize("token", ["a b", "x" * 8001, "ü"])
    def test_what_is_none(self, caller, remote, token):
        caller.headers["X-TrueFoundry-Token"] = token
        told = problem(caller.get("external/clusters"), 400, "Invalid")
        assert list(told["errors"]) == ["X-TrueFoundry-Token"]

    def test_ones_own_where_none_is_stored(self, caller, remote, simulator):
        Connection.objects.update(token="")
        problem(caller.get("external/clusters"), 409, "NoToken")
        caller.headers["X-TrueFoundry-Token"] = f"Bearer {simulator.token}"
        assert caller.get("external/clusters").status_code == 200

    def test_a_developers_where_nothing_else_is_given(self, caller, owner, simulator, settings):
        problem(caller.get("external/clusters"), 409, "NoConnection")
        settings.TF_USER_API_TOKEN = simulator.token
        problem(caller.get("external/clusters"), 409, "NoConnection")
        settings.TRUEFOUNDRY_API_URL = simulator.url
        assert caller.get("external/clusters").status_code == 200
        caller.headers["X-TrueFoundry-Token"] = OWN  # which belongs to no host
        problem(caller.get("external/clusters"), 409, "NoConnection")

    def test_the_stored_one_goes_before_the_developers(self, caller, remote, settings):
        settings.TF_USER_API_TOKEN = "refused"
        assert caller.get("external/clusters").status_code == 200

    def test_a_developers_goes_to_its_own_control_plane_only(
        self, caller, remote, simulator, settings
    ):
        Connection.objects.update(token="")
        settings.TF_USER_API_TOKEN = simulator.token
        problem(caller.get("external/clusters"), 409, "NoToken")
        settings.TRUEFOUNDRY_API_URL = "https://tfy.example.org"
        problem(caller.get("external/clusters"), 409, "NoToken")
        settings.TRUEFOUNDRY_API_URL = simulator.url
        assert caller.get("external/clusters").status_code == 200

    def test_without_an_address(self, caller, owner, settings):
        settings.TRUEFOUNDRY_API_URL, settings.TF_SERVICE_API_TOKEN = "", "x"
        Connection.objects.create(
            organization=owner.organization, name="Environment", from_environment=True
        )
        problem(caller.get("external/clusters"), 409, "NoUrl")
        problem(caller.post("sweeps", {}), 409, "NoConnection")


class TestWhichConnection:
    def test_of_several_one_has_to_be_named(self, caller, remote, owner):
        ConnectionFactory.create(organization=owner.organization, base_url="http://127.0.0.1:9")
        told = problem(caller.get("external/clusters"), 400, "Invalid")
        assert list(told["errors"]) == ["connectionId"]
        assert caller.get("external/clusters", connectionId=remote.pk).status_code == 200

    def test_an_enabled_one_goes_before(self, caller, remote, owner):
        ConnectionFactory.create(organization=owner.organization, enabled=False)
        assert caller.get("external/clusters").status_code == 200

    def test_in_several_organizations_one_has_to_be_named(self, caller, remote, owner):
        other = MembershipFactory.create(user=owner.user)
        ConnectionFactory.create(organization=other.organization)
        told = problem(caller.get("external/clusters"), 400, "Invalid")
        assert list(told["errors"]) == ["organization"]
        slug = owner.organization.slug
        assert caller.get("external/clusters", organization=slug).status_code == 200

    def test_a_foreign_one_is_as_unknown_as_a_random_one(self, caller, remote):
        foreign = ConnectionFactory.create()
        answers = [
            caller.get("external/clusters", connectionId=key).json()
            for key in (foreign.pk, uuid.uuid4())
        ]
        assert answers[0] == answers[1]
        assert answers[0]["errors"] == {"connectionId": ["There is no such connection."]}
