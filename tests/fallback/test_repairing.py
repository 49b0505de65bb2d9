"""Configs while the remote is asked, which takes seconds: others may change or delete them."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Activity
from config.base.actor import Actor
from fallback import configuring
from fallback.looking import hurried_client_of
from fallback.models import Connection, Destination, FallbackConfig
from fallback.truefoundry import TrueFoundry
from tests.fallback.factories import FallbackConfigFactory

Json = dict[str, Any]
ACTOR = Actor.system("test")
pytestmark = pytest.mark.django_db


def broken(connection: Connection, seeded: Json, **fields: Any) -> FallbackConfig:
    """A config whose destinations have no FQN yet."""
    found: FallbackConfig = FallbackConfigFactory.create(
        connection=connection,
        source_cluster_id=seeded["source"]["clusterId"],
        source_workspace_id=seeded["source"]["workspaceId"],
        source_workspace_name="named",
        destinations=[
            {
                "cluster_id": there["clusterId"],
                "workspace_id": there["workspaceId"],
                "workspace_fqn": "",
            }
            for there in seeded["destinations"]
        ],
        **fields,
    )
    return found


def meanwhile(deed: Callable[[], Any]) -> configuring.Connect:
    """Clients of a real remote; `deed` is done while they are asked for a destination."""

    class Slow(TrueFoundry):
        def workspace(self, workspace_id: str) -> Any:
            found = super().workspace(workspace_id)
            deed()
            return found

    return lambda connection: Slow(connection.url, connection.secret)


def other_destination() -> None:
    Destination.objects.update(workspace_id="another", workspace_fqn="spare:another")


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(lambda: FallbackConfig.objects.all().delete(), id="config deleted"),
        pytest.param(lambda: Destination.objects.all().delete(), id="destinations deleted"),
    ],
)
def test_what_is_gone_is_not_repaired(
    connection: Connection, seeded: Json, deed: Callable[[], Any]
) -> None:
    config = broken(connection, seeded)
    assert configuring.repair(ACTOR, [config], meanwhile(deed)) == (0, [])
    assert not Destination.objects.exists() and not Activity.objects.exists()


def test_another_destination_keeps_its_own_name(connection: Connection, seeded: Json) -> None:
    seeded["destinations"] = seeded["destinations"][:1]
    config = broken(connection, seeded)
    assert configuring.repair(ACTOR, [config], meanwhile(other_destination)) == (0, [])
    assert config.destinations.get().workspace_fqn == "spare:another"


def test_a_control_plane_that_is_away_is_asked_once(
    connection: Connection, away: Connection, seeded: Json
) -> None:
    """A time-out for each config would take as long as a page may take, many times over."""
    at_away = [broken(away, seeded, source_job_id=f"job-{number}") for number in range(5)]
    asked: list[str] = []

    class Counting(TrueFoundry):
        def workspace(self, workspace_id: str) -> Any:
            asked.append(workspace_id)
            return super().workspace(workspace_id)

    def connect(to: Connection) -> TrueFoundry:
        return Counting(to.url, to.secret, read_retries=0) if to == away else hurried_client_of(to)

    there = broken(connection, seeded)
    repaired, problems = configuring.repair(ACTOR, [*at_away, there], connect)
    assert (repaired, len(problems), len(asked)) == (2, 10, 1)
    assert all("no connection" in problem for problem in problems)
    assert not there.needs_repair


def test_a_config_that_is_deleted_meanwhile_does_not_come_back(
    connection: Connection, seeded: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = broken(connection, seeded)
    look_up = configuring.look_up_names

    def looked_up(*args: Any) -> configuring.LookUp:
        FallbackConfig.objects.filter(pk=config.pk).delete()
        return look_up(*args)

    monkeypatch.setattr(configuring, "look_up_names", looked_up)
    places = list(config.destinations.all())
    with pytest.raises(FallbackConfig.DoesNotExist):
        configuring.save_config(config, places, ACTOR)
    assert not FallbackConfig.objects.exists()
