"""Configs in the admin: saved by the verb, whole or not at all, mistakes at their fields."""

from typing import Any

import pytest
from cryptography.fernet import Fernet

from accounts.models import Activity, User
from fallback.models import (
    Connection,
    Destination,
    FallbackConfig,
)
from tests.administering import act, messages, url
from tests.fallback.factories import (
    FallbackConfigFactory,
    MoveFactory,
)

Json = dict[str, Any]
pytestmark = pytest.mark.django_db


def config_form(remote: Connection, seeded: Json, /, *places: Json, **changes: Any) -> Json:
    """The form of a new config, as a browser sends it."""
    source = seeded["source"]
    data = {
        "connection": str(remote.pk),
        "source_cluster_id": source["clusterId"],
        "source_workspace_id": source["workspaceId"],
        "source_job_id": "",
        "stuck_threshold_minutes": "45",
        "cooldown_minutes": "0",
        "max_hops": "3",
        "statuses": ["CREATED", "SCHEDULED"],
        "mode": "auto",
        "purge_mode": "AfterAccept",
        "enabled": "on",
        "destinations-TOTAL_FORMS": str(len(places)),
        "destinations-INITIAL_FORMS": "0",
    }
    for number, place in enumerate(places):
        prefix = f"destinations-{number}-"
        data |= {
            f"{prefix}cluster_id": place["clusterId"],
            f"{prefix}workspace_id": place["workspaceId"],
            f"{prefix}workspace_fqn": place.get("workspaceFqn", ""),
            f"{prefix}enabled": "on",
            f"{prefix}max_open_moves": "",
            f"{prefix}position": str(number),
        }
    return data | changes


def errors(response: Any) -> dict[str, list[str]]:
    """Those of the form, and those of its destinations by `destinations.NUMBER.FIELD`."""
    assert response.status_code == 200
    found = {name: list(texts) for name, texts in response.context["adminform"].errors.items()}
    for inline in response.context["inline_admin_formsets"]:
        if above := inline.formset.non_form_errors():
            found["destinations"] = list(above)
        for number, form in enumerate(inline.formset.forms):
            for name, texts in form.errors.items():
                found[f"destinations.{number}.{name}"] = list(texts)
    return found


class TestSavingAConfig:
    def test_it_goes_through_the_verb_and_names_are_looked_up(self, root, connection, seeded):
        first, second = seeded["destinations"]
        response = root.post(
            url(FallbackConfig, "add"), config_form(connection, seeded, second, first), follow=True
        )
        assert response.redirect_chain, errors(response)
        config = FallbackConfig.objects.get()
        assert [place.workspace_fqn for place in config.destinations.all()] == [
            second["fqn"],
            first["fqn"],
        ]
        assert config.source_workspace_name
        assert config.created_by == User.objects.get(username="root")
        found = Activity.objects.get(verb="config.created")
        assert (found.actor_name, found.address) == ("root", "127.0.0.1")
        assert found.request_id and found.organization_id == connection.organization_id

    def test_it_is_edited_reordered_and_saved_whole(self, root, connection, seeded):
        first, second = seeded["destinations"]
        root.post(url(FallbackConfig, "add"), config_form(connection, seeded, first, second))
        config = FallbackConfig.objects.get()
        places = list(config.destinations.all())
        data = config_form(connection, seeded, first, second, mode="observe")
        del data["connection"]  # an organization's config does not wander
        data |= {"destinations-INITIAL_FORMS": "2"}
        for number, place in enumerate(places):
            data |= {
                f"destinations-{number}-id": str(place.pk),
                f"destinations-{number}-config": str(config.pk),
                f"destinations-{number}-workspace_fqn": place.workspace_fqn,
                f"destinations-{number}-position": str(1 - number),
            }
        response = root.post(url(FallbackConfig, "change", config.pk), data, follow=True)
        assert response.redirect_chain, errors(response)
        config.refresh_from_db()
        assert config.mode == "observe"
        assert [place.pk for place in config.destinations.all()] == [p.pk for p in places[::-1]]
        change = Activity.objects.get(verb="config.changed").change
        assert change["mode"] == ["auto", "observe"] and "destinations" in change

        for field in ("cluster_id", "workspace_id", "workspace_fqn"):  # each in the other's row
            names = [f"destinations-{number}-{field}" for number in (0, 1)]
            data[names[0]], data[names[1]] = data[names[1]], data[names[0]]
        response = root.post(url(FallbackConfig, "change", config.pk), data, follow=True)
        assert response.redirect_chain, errors(response)
        found = [place.workspace_fqn for place in config.destinations.all()]
        assert found == [first["fqn"], second["fqn"]]

        gone = {"destinations-0-DELETE": "on", "destinations-1-DELETE": "on"}
        response = root.post(url(FallbackConfig, "change", config.pk), data | gone)
        assert errors(response) == {"destinations": ["Give at least one destination."]}
        del gone["destinations-1-DELETE"]
        root.post(url(FallbackConfig, "change", config.pk), data | gone)
        assert [place.pk for place in config.destinations.all()] == [places[1].pk]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"source_workspace_id": "nowhere"}, "source_workspace_id"),
            ({"source_job_id": "nothing"}, "source_job_id"),
            ({"source_cluster_id": "elsewhere"}, "source_workspace_id"),
            ({"source_cluster_id": ""}, "source_cluster_id"),
            ({"source_workspace_id": "🚀"}, "source_workspace_id"),
            ({"source_workspace_id": "a" * 10_000}, "source_workspace_id"),
            ({"stuck_threshold_minutes": "0"}, "stuck_threshold_minutes"),
            ({"stuck_threshold_minutes": "-1"}, "stuck_threshold_minutes"),
            ({"stuck_threshold_minutes": "x"}, "stuck_threshold_minutes"),
            ({"stuck_threshold_minutes": str(10**9)}, "stuck_threshold_minutes"),
            ({"statuses": []}, "statuses"),
            ({"statuses": ["DONE"]}, "statuses"),
            ({"mode": "approve"}, "mode"),
            ({"purge_mode": "Gracefully"}, "purge_mode"),
            ({"max_hops": "0"}, "max_hops"),
            ({"connection": "00000000-0000-0000-0000-000000000000"}, "connection"),
            ({"destinations-0-workspace_id": "nowhere"}, "destinations.0.workspace_id"),
            ({"destinations-0-cluster_id": "elsewhere"}, "destinations.0.workspace_id"),
            ({"destinations-0-workspace_fqn": "of:another"}, "destinations.0.workspace_fqn"),
            ({"destinations-0-workspace_id": ""}, "destinations.0.workspace_id"),
            ({"destinations-0-workspace_id": "🚀"}, "destinations.0.workspace_id"),
            ({"destinations-0-max_open_moves": "0"}, "destinations.0.max_open_moves"),
            ({"destinations-TOTAL_FORMS": "0"}, "destinations"),
        ],
    )
    def test_a_mistake_is_shown_at_its_field(self, root, connection, seeded, changes, field):
        data = config_form(connection, seeded, seeded["destinations"][0], **changes)
        assert list(errors(root.post(url(FallbackConfig, "add"), data))) == [field]
        assert not FallbackConfig.objects.exists() and not Destination.objects.exists()

    def test_source_and_destination_differ(self, root, connection, seeded):
        source = seeded["source"]
        response = root.post(url(FallbackConfig, "add"), config_form(connection, seeded, source))
        assert errors(response) == {
            "destinations.0.workspace_id": ["Source and destination are the same."]
        }

    def test_a_destination_is_there_once(self, root, connection, seeded):
        place = seeded["destinations"][0]
        response = root.post(
            url(FallbackConfig, "add"), config_form(connection, seeded, place, place)
        )
        assert list(errors(response)) == ["destinations.1.workspace_id"]

    def test_one_generic_config_for_a_source(self, root, connection, seeded):
        data = config_form(connection, seeded, seeded["destinations"][0])
        root.post(url(FallbackConfig, "add"), data)
        assert errors(root.post(url(FallbackConfig, "add"), data)) == {
            "source_workspace_id": ["There is a config for this source already."]
        }

    def test_a_loop_is_spelled_out(self, root, connection, seeded):
        source, place = seeded["source"], seeded["destinations"][0]
        root.post(url(FallbackConfig, "add"), config_form(connection, seeded, place))
        back = {
            "source_cluster_id": place["clusterId"],
            "source_workspace_id": place["workspaceId"],
        }
        response = root.post(
            url(FallbackConfig, "add"), config_form(connection, seeded, source, **back)
        )
        (told,) = errors(response)["destinations"]
        assert "This closes a loop" in told and "→" in told
        assert FallbackConfig.objects.count() == 1

    def test_source_and_destination_can_be_swapped(self, root, connection, seeded):
        source, place = seeded["source"], seeded["destinations"][0]
        root.post(url(FallbackConfig, "add"), config_form(connection, seeded, place))
        config = FallbackConfig.objects.get()
        old = config.destinations.get()
        data = config_form(
            connection,
            seeded,
            source,
            source_cluster_id=place["clusterId"],
            source_workspace_id=place["workspaceId"],
        )
        data |= {
            "destinations-INITIAL_FORMS": "1",
            "destinations-0-id": str(old.pk),
            "destinations-0-config": str(config.pk),
            "destinations-0-workspace_fqn": old.workspace_fqn,  # forgotten: looked up anew
        }
        response = root.post(url(FallbackConfig, "change", config.pk), data, follow=True)
        assert response.redirect_chain, errors(response)
        assert config.destinations.get().workspace_fqn == source["fqn"]

    def test_without_the_remote_it_needs_repair_and_repair_mends_it(
        self, root, connection, seeded, simulator
    ):
        Connection.objects.update(base_url="http://127.0.0.1:9/api/svc")
        place = seeded["destinations"][0]
        response = root.post(
            url(FallbackConfig, "add"), config_form(connection, seeded, place), follow=True
        )
        assert any("needs repair" in text for text in messages(response))
        config = FallbackConfig.objects.get()
        assert config.needs_repair
        assert b"Needs repair" in root.get(url(FallbackConfig, "changelist")).content

        response = act(root, "repair", config, answered="1")
        assert any("no connection" in text for text in messages(response))
        Connection.objects.update(base_url=simulator.url)
        response = root.post(url(FallbackConfig, "repair_all"), {"answered": "1"}, follow=True)
        assert messages(response) == ["1\N{NO-BREAK SPACE}destination repaired."]
        assert config.destinations.get().workspace_fqn == place["fqn"]

    def test_a_refused_token_is_told_at_the_form(self, root, connection, seeded):
        connection.token = "wrong"
        connection.save()
        data = config_form(connection, seeded, seeded["destinations"][0])
        assert "connection" in errors(root.post(url(FallbackConfig, "add"), data))

    def test_wrong_keys_are_told_at_the_form(self, root, connection, seeded, settings):
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        data = config_form(connection, seeded, seeded["destinations"][0])
        (told,) = errors(root.post(url(FallbackConfig, "add"), data))["connection"]
        assert "ENCRYPTION_KEYS" in told

    def test_nothing_is_locked_while_the_remote_is_asked(
        self, root, connection, seeded, monkeypatch
    ):
        from django.db import connection as database

        from fallback import configuring

        depths = []
        look_up = configuring.look_up_names

        def looked_up(*args: Any) -> Any:
            depths.append(len(database.savepoint_ids))
            return look_up(*args)

        monkeypatch.setattr(configuring, "look_up_names", looked_up)
        before = len(database.savepoint_ids)  # the test's own transaction
        root.post(
            url(FallbackConfig, "add"), config_form(connection, seeded, seeded["destinations"][0])
        )
        assert depths == [before]
        assert FallbackConfig.objects.exists()

    def test_deleting_asks_first_and_leaves_moves_alone(self, root):
        config = FallbackConfigFactory.create()
        move = MoveFactory.create(config=config, connection=config.connection)
        page = url(FallbackConfig, "delete", config.pk)
        assert b"Keep config" in root.get(page).content
        assert FallbackConfig.objects.exists()
        root.post(page, {"answered": "1", "reason": "moved away"})
        assert not FallbackConfig.objects.exists()
        move.refresh_from_db()
        assert move.config is None
        assert Activity.objects.get(verb="config.deleted").reason == "moved away"
