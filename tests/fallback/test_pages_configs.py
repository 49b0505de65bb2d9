"""The pages of configs: the form with what a control plane offers, and what can be wrong."""

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache
from django.urls import reverse

from accounts.models import Activity
from fallback import picking
from fallback.models import Connection, Destination, FallbackConfig, Mode, Move
from tests.factories import MembershipFactory
from tests.fallback.factories import ConnectionFactory, FallbackConfigFactory, PauseFactory
from tests.fallback.pages import NOWHERE, Acme, text_of, told
from tests.fallback.simulating import serving

pytestmark = pytest.mark.django_db
FIELDS = {
    "stuck_threshold_minutes": "60",
    "statuses": ["CREATED", "SCHEDULED"],
    "mode": "observe",
    "purge_mode": "AfterAccept",
    "enabled": "yes",
    "max_hops": "3",
    "cooldown_minutes": "0",
    "verb": "save",
}


class World:
    """A control plane with stuck runs, and Acme's connection to it."""

    def __init__(self, simulator: Any) -> None:
        self.simulator = simulator
        self.seeded = simulator.seed(jobs=2, runsPerJob=2, destinations=2)
        self.acme = Acme()
        Move.objects.all().delete()
        FallbackConfig.objects.all().delete()
        Connection.objects.update(base_url=simulator.url, token=simulator.token)
        self.acme.connection.refresh_from_db()
        self.source = self.seeded["source"]
        self.places = self.seeded["destinations"]

    def sent(self, *places: int, **more: Any) -> dict[str, Any]:
        chosen = [self.places[number] for number in places or (0,)]
        return {
            **FIELDS,
            "connection": str(self.acme.connection.pk),
            "source_cluster_id": self.source["clusterId"],
            "source_workspace_id": self.source["workspaceId"],
            "source_job_id": "",
            "cluster_id": [place["clusterId"] for place in chosen],
            "workspace_id": [place["workspaceId"] for place in chosen],
            "place_enabled": ["yes"] * len(chosen),
            "max_open_moves": [""] * len(chosen),
        } | more

    def create(self, **more: Any) -> Any:
        client = self.acme.client("admin")
        return client.post(reverse("config-new"), self.sent(**more))

    def fields(self, trigger: str = "", **more: Any) -> Any:
        headers = {"HX-Request": "true", "HX-Trigger": trigger}
        sent = self.sent(verb="") | more
        return self.acme.client("admin").post(reverse("config-fields"), sent, headers=headers)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocMemCache]:
    found = LocMemCache("picking", {})
    monkeypatch.setattr(picking, "cache", found)
    yield found
    found.clear()


@pytest.fixture
def world() -> Iterator[World]:
    with serving() as simulator:
        yield World(simulator)


@pytest.fixture
def acme() -> Acme:
    return Acme()


class TestForm:
    def test_a_new_config_is_saved_with_its_destinations_in_order(self, world):
        response = world.create(**world.sent(1, 0, source_job_id=world.seeded["jobs"][0]["id"]))
        config = FallbackConfig.objects.get()
        assert response.url == reverse("config", args=[config.pk])
        assert (config.mode, config.created_by_name) == (Mode.OBSERVE, "admin")
        assert str(config) == f"{world.source['fqn']} / {world.seeded['jobs'][0]['name']}"
        fqns = [place.workspace_fqn for place in config.destinations.all()]
        assert fqns == [world.places[1]["fqn"], world.places[0]["fqn"]]
        assert Activity.objects.filter(verb="config.created", actor_name="admin").exists()

    def test_the_form_asks_nobody_and_looks_first(self, world):
        earlier = len(world.simulator.log())
        response = world.acme.client("admin").get(reverse("config-new"))
        assert response.context["value"]["mode"] == Mode.OBSERVE
        assert len(world.simulator.log()) == earlier
        assert 'hx-trigger="load"' in response.content.decode()

    def test_what_is_not_supported_yet_is_seen_and_refused(self, world):
        content = world.acme.client("admin").get(reverse("config-new")).content.decode()
        assert content.count("not yet") == 2
        response = world.create(mode="approve", purge_mode="Gracefully")
        assert response.status_code == 400
        assert text_of(response).count("is not supported yet") == 2

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"stuck_threshold_minutes": "0"}, "Enter 1 or more"),
            ({"stuck_threshold_minutes": "many"}, "Enter a whole number"),
            ({"statuses": []}, "Choose at least one status"),
            ({"statuses": ["FINISHED"]}, "is not offered"),
            ({"mode": "never"}, "is not offered"),
            ({"max_hops": "21"}, "Enter 20 or less"),
            ({"cooldown_minutes": "-1"}, "Enter 0 or more"),
            ({"source_cluster_id": "a b"}, "Use an id as TrueFoundry shows it"),
            ({"source_workspace_id": ""}, "Choose one."),
            ({"source_workspace_id": "nope"}, "There is no workspace nope"),
            ({"source_job_id": "nope"}, "There is no job nope in this workspace"),
            ({"workspace_id": ["nope"]}, "There is no workspace nope"),
            ({"workspace_id": [""]}, "Destination 1: choose a cluster"),
            ({"max_open_moves": ["0"]}, "Destination 1: at most 999,999 open moves"),
            ({"max_open_moves": ["x"]}, "Destination 1: at most 999,999 open moves"),
        ],
    )
    def test_what_is_wrong_is_said_at_its_field(self, world, wrong, sentence):
        response = world.create(**wrong)
        assert response.status_code == 400
        assert sentence in text_of(response)
        assert "problem" in text_of(response) and "to fix" in text_of(response)
        # The choices are there already: fetching them would take what is said away again.
        assert 'hx-trigger="load"' not in response.content.decode()
        assert world.places[0]["clusterId"] in response.content.decode()
        assert not FallbackConfig.objects.exists()

    def test_the_source_is_no_destination(self, world):
        place = world.source
        response = world.create(
            cluster_id=[place["clusterId"]], workspace_id=[place["workspaceId"]]
        )
        assert "Source and destination are the same" in text_of(response)

    def test_a_second_one_for_a_source_and_one_that_closes_a_loop(self, world):
        world.create()
        assert "There is a config for this source already" in text_of(world.create())
        back = {
            "source_cluster_id": world.places[0]["clusterId"],
            "source_workspace_id": world.places[0]["workspaceId"],
            "cluster_id": [world.source["clusterId"]],
            "workspace_id": [world.source["workspaceId"]],
        }
        assert "This closes a loop" in text_of(world.create(**back))

    def test_a_foreign_connection_is_not_there(self, world):
        foreign = ConnectionFactory.create()
        assert world.create(connection=str(foreign.pk)).status_code == 404

    def test_an_edit_keeps_what_it_does_not_show_and_says_what_changed(self, world):
        world.create(**world.sent(0, 1, max_open_moves=["5", ""], place_enabled=["yes", "no"]))
        config = FallbackConfig.objects.get()
        client, address = world.acme.client("admin"), reverse("config-edit", args=[config.pk])
        shown = client.get(address).content.decode()
        assert world.places[0]["fqn"] in shown and 'value="5"' in shown
        sent = world.sent(1) | {"stuck_threshold_minutes": "90", "enabled": ""}
        assert client.post(address, sent).url == reverse("config", args=[config.pk])
        config.refresh_from_db()
        assert (config.stuck_threshold_minutes, config.enabled) == (90, False)
        assert [place.workspace_fqn for place in config.destinations.all()] == [
            world.places[1]["fqn"]
        ]
        change = Activity.objects.get(verb="config.changed").change
        assert change["stuck_threshold_minutes"] == [60, 90]

    def test_with_the_control_plane_away_it_is_saved_and_needs_repair(self, world):
        Connection.objects.update(base_url=f"{NOWHERE}/api/svc")
        response = world.acme.client("admin").post(reverse("config-new"), world.sent(), follow=True)
        assert "may need repair" in told(response)[0]
        assert "Needs repair" in text_of(response)
        config = FallbackConfig.objects.get()
        repair = reverse("config-repair", args=[config.pk])
        failed = world.acme.client("admin").post(repair, follow=True)
        assert "no connection" in told(failed)[0]
        Connection.objects.update(base_url=world.simulator.url)
        mended = world.acme.client("admin").post(repair, follow=True)
        assert told(mended)[0] == f"Repaired {world.source['fqn']}."
        assert Destination.objects.get().workspace_fqn == world.places[0]["fqn"]


class TestPicking:
    def test_each_choice_narrows_the_next(self, world):
        nothing = {"source_cluster_id": "", "source_workspace_id": "", "cluster_id": [""]}
        first = text_of(world.fields(**nothing))
        assert "source-1" in first and "team-a" not in first
        second = text_of(world.fields("source-cluster", source_workspace_id="stale"))
        assert "team-a" in second and "stale" not in second
        third = text_of(world.fields("source-workspace"))
        assert world.seeded["jobs"][0]["name"] in third
        assert "Choices as of just now" in third

    def test_the_runs_that_wait_at_the_source_are_listed(self, world):
        response = world.fields()
        shown = text_of(response)
        assert "Waiting at the source 4" in shown
        run = world.seeded["stuckRuns"][0]
        assert run["name"] in shown and re.search("for 1 h (29|30) min", shown)
        assert 'id="waiting"' in response.content.decode()
        assert 'hx-swap-oob="true"' in response.content.decode()

    def test_lists_are_kept_for_a_minute(self, world, cache):
        world.fields()
        world.simulator.reset()
        assert world.seeded["jobs"][0]["name"] in text_of(world.fields())
        cache.clear()
        assert world.seeded["jobs"][0]["name"] not in text_of(world.fields())

    def test_no_input_of_a_run_is_kept(self, world, cache):
        world.fields()
        assert "shard" not in repr(cache._cache)

    @pytest.mark.parametrize(
        ("verb", "order"),
        [
            ("up-1", [1, 0]),
            ("down-0", [1, 0]),
            ("up-0", [0, 1]),
            ("down-1", [0, 1]),
            ("remove-0", [1]),
            ("remove-7", [0, 1]),
            ("up-x", [0, 1]),
            ("nonsense", [0, 1]),
        ],
    )
    @pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
    def test_destinations_are_rearranged(self, world, verb, order, script):
        sent = world.sent(0, 1) | {"verb": verb}
        name = "config-fields" if script else "config-new"
        response = world.acme.client("admin").post(reverse(name), sent)
        ids = [place.workspace_id for place in response.context["draft"].places]
        assert ids == [world.places[number]["workspaceId"] for number in order]
        assert not FallbackConfig.objects.exists()

    def test_there_is_an_end_to_adding(self, world):
        many = {"cluster_id": [""] * 30, "workspace_id": [""] * 30, "verb": "add"}
        response = world.fields(**many)
        assert len(response.context["draft"].places) == 20
        assert "Add destination" not in text_of(response)

    def test_another_connection_begins_anew(self, world):
        other = ConnectionFactory.create(
            organization=world.acme.organization, base_url=f"{NOWHERE}/api/svc"
        )
        response = world.fields("connection", connection=str(other.pk))
        assert world.source["workspaceId"] not in response.content.decode()

    def test_ids_can_be_typed_when_it_does_not_answer(self, acme):
        sent = {"connection": str(acme.connection.pk), "source_cluster_id": "typed"}
        response = acme.client("admin").post(reverse("config-fields"), sent)
        assert "no connection" in text_of(response)
        assert '<input id="source-cluster"' in " ".join(response.content.decode().split())
        assert 'value="typed"' in response.content.decode()

    def test_a_refused_token_is_said(self, world):
        Connection.objects.update(token="wrong")
        assert "refuses the token" in text_of(world.fields())

    def test_one_that_hangs_has_its_time_and_no_more(self, world, monkeypatch):
        monkeypatch.setattr("fallback.external.SECONDS", 0.3)
        world.simulator.settings(latencyMs=700)
        shown = text_of(world.fields())
        time.sleep(1)  # the calls end, so that nothing is left of them
        assert "did not answer" in shown or "in time" in shown


class TestRest:
    def test_filters(self, acme):
        def listed(query: str) -> int:
            response = acme.client("viewer").get(f"/configs/rows/?{query}")
            return len(response.context["page"].rows)

        job = FallbackConfigFactory.create(
            connection=acme.connection,
            source_job_id="j1",
            source_job_name="nightly",
            mode="observe",
        )
        PauseFactory.create(connection=None, config=job)
        FallbackConfigFactory.create(
            connection=acme.connection, enabled=False, destinations=[{"workspace_fqn": ""}]
        )
        found = {
            query: listed(query)
            for query in (
                *("", "search=NIGHT", "search=spare:spare", "mode=observe", "state=enabled"),
                *("state=disabled", "state=paused", "state=repair", "search=nothing"),
                *(f"connection={acme.connection.pk}", "connection=x"),
            )
        }
        assert list(found.values()) == [3, 1, 2, 1, 2, 1, 1, 1, 0, 3, 0]
        assert "1 config needs repair" in text_of(acme.client("viewer").get("/configs/"))

    def test_a_pause_of_everything_holds_every_config(self, acme):
        PauseFactory.create(connection=None, config=None, reason="a new rack")
        client = acme.client("viewer")
        assert len(client.get("/configs/rows/?state=paused").context["page"].rows) == 1
        assert "Paused" in text_of(client.get("/configs/rows/"))
        assert "a new rack" in text_of(client.get(acme.address("config")))

    def test_switch_and_delete(self, acme):
        client = acme.client("admin")
        client.post(acme.address("config-switch"), {"enabled": "no"})
        assert "Disabled" in text_of(client.get("/configs/"))
        client.post(acme.address("config-switch"), {"enabled": "yes"})
        acme.config.refresh_from_db()
        assert acme.config.enabled
        refused = client.post(acme.address("config-delete"), {"confirm": "x"}, follow=True)
        assert told(refused)[-1] == "Type acme:training to delete it."
        sent = {"confirm": "acme:training", "reason": "retired"}
        deleted = client.post(acme.address("config-delete"), sent, follow=True)
        assert "Its open moves go on" in told(deleted)[-1]
        assert Activity.objects.get(verb="config.deleted").reason == "retired"
        assert not FallbackConfig.objects.exists() and Move.objects.get().config is None

    def test_a_second_organization_of_the_admin_adds_its_connections(self, acme):
        other = ConnectionFactory.create(name="Other plane")
        user = acme.people["admin"]
        MembershipFactory.create(user=user, organization=other.organization, role="admin")
        content = acme.client("admin").get(reverse("config-new")).content.decode()
        assert "Other plane" in content and 'name="connection"' in content
