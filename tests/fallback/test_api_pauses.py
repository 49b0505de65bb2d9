"""/pauses."""

import pytest

from accounts.models import Activity
from fallback.models import Move
from tests.calling import NOBODYS, Caller, problem, results
from tests.factories import ConnectionFactory, UserFactory
from tests.fallback.factories import FallbackConfigFactory, PauseFactory

pytestmark = pytest.mark.django_db


class TestPauses:
    def test_a_connection_and_a_config(self, caller, away, owner):
        config = FallbackConfigFactory.create(connection=away)
        for body in ({"connectionId": str(away.pk)}, {"configId": str(config.pk)}):
            answer = caller.post("pauses", body | {"reason": "upgrade"})
            assert answer.status_code == 201
            told = answer.json()
            assert (told["reason"], told["by"]) == ("upgrade", owner.user.username)
            assert {name: told[name] for name in body} == body
            problem(caller.post("pauses", body | {"reason": "again"}), 409, "Paused")
            assert caller.get(f"pauses/{told['id']}").json() == told
            assert caller.delete(f"pauses/{told['id']}").status_code == 204
            problem(caller.delete(f"pauses/{told['id']}"), 404, "NotFound")
        assert Activity.objects.filter(verb="fallback.resumed").count() == 2

    def test_everything_is_for_superusers(self, caller, owner):
        everything = {"everything": True, "reason": "x"}
        problem(caller.post("pauses", everything), 403, "RoleTooLow")
        root = Caller(UserFactory.create(is_superuser=True))
        told = problem(root.post("pauses", {"reason": "x"}), 400, "Invalid")
        assert "everything" in told["detail"]  # a forgotten id is not taken for all there is
        pause = root.post("pauses", everything).json()
        assert pause["scope"] == "everything"
        assert [row["id"] for row in results(caller.get("pauses"))] == [pause["id"]]
        slug = owner.organization.slug
        assert len(results(caller.get("pauses", organization=slug))) == 1
        problem(caller.delete(f"pauses/{pause['id']}"), 403, "RoleTooLow")
        assert root.delete(f"pauses/{pause['id']}").status_code == 204

    def test_a_superusers_read_only_token_pauses_nothing(self, db):
        root = Caller(UserFactory.create(is_superuser=True), read_only=True)
        problem(root.post("pauses", {"everything": True, "reason": "x"}), 403, "ReadOnlyToken")

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"reason": ""}, "reason"),
            ({"reason": "x" * 501}, "reason"),
            ({"until": "2020-01-01T00:00:00Z"}, "until"),
            ({"until": "tomorrow"}, "until"),
            ({"until": "9999-12-31T23:59:59-14:00"}, "until"),
            ({"until": "0001-01-01T00:00:00+14:00"}, "until"),
            ({"until": 0}, "until"),
            ({"connectionId": NOBODYS}, "connectionId"),
            ({"connectionId": None, "configId": NOBODYS}, "configId"),
            ({"configId": NOBODYS}, "configId"),
        ],
    )
    def test_a_mistake_is_named(self, caller, away, change, field):
        body = {"connectionId": str(away.pk), "reason": "x"} | change
        told = problem(caller.post("pauses", body), 400, "Invalid")
        assert list(told["errors"]) == [field]

    def test_a_foreign_one_is_unknown(self, caller):
        foreign = PauseFactory.create(connection=ConnectionFactory.create())
        problem(caller.get(f"pauses/{foreign.pk}"), 404, "NotFound")
        problem(caller.delete(f"pauses/{foreign.pk}"), 404, "NotFound")
        body = {"connectionId": str(foreign.connection_id), "reason": "x"}
        problem(caller.post("pauses", body), 400, "Invalid")
        assert results(caller.get("pauses")) == []
        assert Move.objects.count() == 0
