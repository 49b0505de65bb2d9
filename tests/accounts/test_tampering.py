"""Whoever changes, removes, adds or swaps an activity is found; pruning leaves no gap for it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import proving, sealing, tasks
from accounts.models import Activity, Chain, Organization
from accounts.models.records import NONE
from tests.accounts.chains import NOW, ROWS, broken, verified, write
from tests.factories import OrganizationFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids(organization: Organization) -> list[int]:
    """Of ten sealed activities."""
    found = write(organization, 10)
    sealing.seal(settled=NOW)
    return found


FIELDS: dict[str, Any] = {
    "actor_kind": "user",
    "actor_id": NONE,
    "actor_name": "somebody else",
    "verb": "organization.deleted",
    "object_kind": "user",
    "object_id": "another",
    "object_name": "Another",
    "change": {"number": 4.5},
    "reason": "because",
    "request_id": "r-1",
    "address": "127.0.0.1",
    "refused": True,
    "created_at": datetime(2026, 1, 31, tzinfo=UTC),
    "digest": "0" * 64,
}


class TestWhoeverTampersIsFound:
    def test_all_fields_are_tried(self):
        names = {field.attname for field in Activity._meta.concrete_fields}
        assert names == {*FIELDS, "id", "organization_id", "position"}

    @pytest.mark.parametrize("name", FIELDS)
    def test_a_changed_field(self, organization, ids, name):
        ROWS.filter(position=4).update(**{name: FIELDS[name]})
        assert broken(organization) == (ids[3], 4, proving.CHANGED)

    def test_a_microsecond(self, organization, ids):
        row = ROWS.get(position=4)
        ROWS.filter(pk=row.pk).update(created_at=row.created_at + timedelta(microseconds=1))
        assert broken(organization) == (ids[3], 4, proving.CHANGED)

    def test_another_id(self, organization, ids):
        ROWS.filter(position=4).update(id=ids[-1] + 100)
        assert broken(organization) == (ids[-1] + 100, 4, proving.CHANGED)

    def test_a_change_with_a_digest_that_was_calculated_anew(self, organization, ids):
        ROWS.filter(position=4).update(reason="because")
        row = next(sealing.values(ROWS.filter(position=4)))
        forged = sealing.digest_of(ROWS.get(position=3).digest, row)
        ROWS.filter(position=4).update(digest=forged)
        assert broken(organization) == (ids[4], 5, proving.CHANGED)

    def test_the_newest_calculated_anew_with_its_head(self, organization, ids):
        ROWS.filter(position=10).update(reason="because")
        row = next(sealing.values(ROWS.filter(position=10)))
        forged = sealing.digest_of(ROWS.get(position=9).digest, row)
        ROWS.filter(position=10).update(digest=forged)
        assert broken(organization) == (None, 10, proving.SIGNATURE_WRONG)
        Chain.objects.update(digest=forged)
        assert broken(organization) == (None, 10, proving.SIGNATURE_WRONG)

    @pytest.mark.parametrize(
        ("position", "why"),
        [(1, proving.MISSING), (5, proving.MISSING), (10, proving.HEAD_CUT_OFF)],
    )
    def test_a_deleted_row(self, organization, ids, position, why):
        ROWS.filter(position=position).delete()
        assert broken(organization) == (None, position, why)

    def test_a_row_that_is_no_longer_sealed(self, organization, ids):
        ROWS.filter(position=5).update(position=None)
        assert broken(organization) == (None, 5, proving.MISSING)
        sealing.seal(settled=NOW)
        assert broken(organization) == (None, 5, proving.MISSING)

    @pytest.mark.parametrize(("one", "other"), [(4, 5), (1, 10), (9, 10)])
    def test_two_swapped_rows(self, organization, ids, one, other):
        ROWS.filter(position=one).update(position=99)
        ROWS.filter(position=other).update(position=one)
        ROWS.filter(position=99).update(position=other)
        assert broken(organization) == (ids[other - 1], one, proving.SWAPPED)
        digests = [ROWS.get(position=position).digest for position in (one, other)]
        ROWS.filter(position=one).update(digest=digests[1])
        ROWS.filter(position=other).update(digest=digests[0])
        assert broken(organization) == (ids[other - 1], one, proving.SWAPPED)

    def test_an_inserted_row(self, organization, ids):
        (new,) = write(organization)
        ROWS.filter(position__gte=5).update(position=None)
        for position, pk in enumerate([new, *ids[4:]], start=5):
            ROWS.filter(pk=pk).update(position=position)
        assert broken(organization) == (new, 5, proving.SWAPPED)

    def test_a_row_behind_the_head(self, organization, ids):
        (new,) = write(organization)
        ROWS.filter(pk=new).update(position=11, digest="1" * 64)
        assert broken(organization) == (new, 11, proving.HEAD_CUT_OFF)

    def test_a_head_that_was_set_back(self, organization, ids):
        Chain.objects.update(position=7, digest=ROWS.get(position=7).digest)
        assert broken(organization) == (ids[7], 8, proving.HEAD_CUT_OFF)
        ROWS.filter(position__gt=7).delete()
        assert broken(organization) == (None, 7, proving.SIGNATURE_WRONG)

    def test_a_head_that_is_gone(self, organization, ids):
        Chain.objects.all().delete()
        assert broken(organization) == (ids[0], 1, proving.HEAD_CUT_OFF)

    def test_a_row_that_was_moved_to_another_organization(self, organization, ids):
        other = OrganizationFactory.create()
        write(other, 3)
        sealing.seal(settled=NOW)
        ROWS.filter(pk=ids[4]).update(organization_id=other.pk)
        assert broken(organization) == (None, 5, proving.MISSING)
        assert broken(other) == (ids[4], 5, proving.HEAD_CUT_OFF)
        assert len([one for one in verified()[1]["chains"] if one["broken"]]) == 2

    def test_a_chain_of_another_organization(self, organization, ids):
        other = OrganizationFactory.create()
        write(other, 10)
        sealing.seal(settled=NOW)
        theirs = Chain.objects.values("digest", "signature").get(pk=other.pk)
        Chain.objects.filter(pk=organization.pk).update(**theirs)
        assert broken(organization) == (None, 10, proving.SIGNATURE_WRONG)


class TestPruning:
    @pytest.fixture
    def aged(self, organization: Organization) -> list[int]:
        """Ten rows, of which the first six are 40 days old."""
        found = write(organization, 10)
        ROWS.filter(pk__in=found[:6]).update(created_at=timezone.now() - timedelta(days=40))
        sealing.seal(settled=NOW)
        return found

    def test_old_rows_go_and_the_chain_holds(self, organization, aged, settings, monkeypatch):
        monkeypatch.setattr(sealing, "PRUNED_AT_ONCE", 4)
        tasks.prune()
        assert ROWS.count() == 10  # for ever, by default
        settings.ACTIVITY_KEPT_DAYS = 30
        tasks.prune()
        assert list(ROWS.order_by("position").values_list("pk", flat=True)) == aged[6:]
        chain = Chain.objects.get()
        assert (chain.anchor_position, chain.position) == (6, 10)
        code, told = verified()
        assert code == 0 and told["chains"][0]["rows"] == 4
        write(organization)
        sealing.seal(settled=NOW)
        assert broken(organization) is None

    def test_everything_may_go(self, organization, ids):
        assert sealing.prune(timezone.now() + timedelta(days=1)) == 10
        assert broken(organization) is None
        write(organization, 2)
        sealing.seal(settled=NOW)
        assert set(ROWS.values_list("position", flat=True)) == {11, 12}
        assert broken(organization) is None

    def test_only_the_oldest_and_only_what_is_sealed(self, organization, aged):
        ROWS.filter(pk=aged[2]).update(position=None)
        write(organization)
        ROWS.filter(position=None).update(created_at=timezone.now() - timedelta(days=40))
        assert sealing.prune(timezone.now() - timedelta(days=30)) == 0  # there is a gap: nothing
        assert ROWS.count() == 11

    def test_a_young_row_among_old_ones_keeps_those_behind_it(self, organization):
        found = write(organization, 5)
        ROWS.exclude(pk=found[2]).update(created_at=timezone.now() - timedelta(days=40))
        sealing.seal(settled=NOW)
        assert sealing.prune(timezone.now() - timedelta(days=30)) == 2
        assert broken(organization) is None

    def test_what_was_changed_is_not_cut_off(self, organization, aged):
        ROWS.filter(position=3).update(reason="because")
        assert sealing.prune(timezone.now() - timedelta(days=30)) == 0
        assert broken(organization) == (aged[2], 3, proving.CHANGED)

    @pytest.mark.parametrize("name", ["anchor_position", "anchor_digest", "anchor_signature"])
    def test_an_anchor_that_was_forged_is_found(self, organization, aged, name):
        sealing.prune(timezone.now() - timedelta(days=30))
        forged: Any = 7 if name == "anchor_position" else "0" * 64
        Chain.objects.update(**{name: forged})
        position = 7 if name == "anchor_position" else 6
        assert broken(organization) == (None, position, proving.SIGNATURE_WRONG)
        assert sealing.prune(timezone.now()) == 0

    def test_who_cuts_off_more_and_who_puts_back_is_found(self, organization, aged):
        before = ROWS.get(position=2)
        sealing.prune(timezone.now() - timedelta(days=30))
        before._state.adding = True
        before.save()
        assert broken(organization) == (before.pk, 2, proving.INSERTED)
        ROWS.filter(pk=before.pk).delete()
        ROWS.filter(position=7).delete()
        assert broken(organization) == (None, 7, proving.MISSING)
