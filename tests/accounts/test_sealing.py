"""The chain of activities: sealing it, also by several at once, and telling of it."""

import threading
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.urls import reverse
from django.utils import timezone

from accounts import activity, proving, sealing, tasks
from accounts.models import Activity, Chain, Organization
from accounts.models.records import NONE, AppendOnly
from tests.accounts.at_once import at_once, shared
from tests.accounts.chains import ACTOR, NOW, ROWS, broken, verified, write
from tests.factories import OrganizationFactory, UserFactory

pytestmark = pytest.mark.django_db


# What PostgreSQL and SQLite give back in different ways.
AWKWARD: dict[str, Any] = {
    "z": 1,
    "a": {"y": 1.5, "b": [True, None, "ü🚀", {"d": 0.1, "c": 1e16}]},
    "large": 1e300,
    "zero": -0.0,
    "exact": 12345678901234567890,
}


@pytest.fixture
def ids(organization: Organization) -> list[int]:
    """Of ten sealed activities."""
    found = write(organization, 10)
    sealing.seal(settled=NOW)
    return found


class TestSealing:
    def test_rows_are_numbered_in_order_of_their_ids(self, organization, ids):
        rows = ROWS.order_by("id").values_list("id", "position")
        assert list(rows) == [(pk, n) for n, pk in enumerate(ids, start=1)]
        digests = list(ROWS.values_list("digest", flat=True))
        assert len(set(digests)) == 10 and {len(digest) for digest in digests} == {64}
        chain = Chain.objects.get()
        assert (chain.pk, chain.position) == (organization.pk, 10)
        assert chain.digest == ROWS.get(position=10).digest
        assert broken(organization) is None

    def test_the_next_batch_goes_on(self, organization, monkeypatch):
        monkeypatch.setattr(sealing, "SEALED_AT_ONCE", 3)
        write(organization, 7)
        assert sealing.seal(settled=NOW) == 7
        write(organization, 2)
        assert sealing.seal(settled=NOW) == 2
        assert sealing.seal(settled=NOW) == 0
        code, told = verified()
        assert code == 0 and told["chains"][0]["rows"] == 9

    def test_each_organization_has_a_chain_and_so_has_what_belongs_to_none(self, organization):
        other = OrganizationFactory.create()
        for one in (organization, other, None):
            write(one, 2)
        assert sealing.seal(settled=NOW) == 6
        chains = dict(Chain.objects.values_list("pk", "position"))
        assert chains == {organization.pk: 2, other.pk: 2, NONE: 2}
        assert verified()[0] == 0

    def test_what_was_just_written_waits_and_who_is_late_comes_later(self, organization):
        first, second, third = write(organization, 3)
        ROWS.filter(pk=first).update(created_at=timezone.now() + timedelta(seconds=1))
        ROWS.exclude(pk=first).update(created_at=timezone.now() - timedelta(seconds=3))
        tasks.seal_tick()
        ROWS.filter(pk=first).update(created_at=timezone.now() - timedelta(seconds=3))
        tasks.seal_tick()
        found = dict(ROWS.values_list("position", "pk"))
        assert found == {1: second, 2: third, 3: first}
        assert broken(organization) is None

    def test_the_unsealed_tail_is_told(self, organization, ids):
        write(organization, 3)
        since = ROWS.filter(position=None).order_by("created_at")[0].created_at
        _, told = verified()
        assert told["chains"][0]["unsealed"] == {"count": 3, "since": since.isoformat()}
        out = StringIO()
        call_command("verify_activity", stdout=out)
        assert f"sound, 10 rows up to position 10; 3 unsealed since {since}"[:40] in out.getvalue()

    def test_nothing_is_sealed_behind_a_head_that_was_forged(self, organization, ids):
        Chain.objects.update(position=5, digest=ROWS.get(position=5).digest)
        write(organization)
        assert sealing.seal(settled=NOW) == 0
        assert broken(organization)

    def test_a_head_that_was_set_back_with_its_signature_seals_nothing(self, organization):
        write(organization, 3)
        sealing.seal(settled=NOW)
        old = Chain.objects.values("position", "digest", "signature").get()
        write(organization, 3)
        sealing.seal(settled=NOW)
        Chain.objects.update(**old)
        write(organization)
        assert sealing.seal(settled=NOW) == 0
        assert broken(organization) == (ROWS.get(position=4).pk, 4, proving.HEAD_CUT_OFF)


class TestCanonical:
    def test_the_same_number_in_any_form_is_hashed_alike(self):
        forms: list[list[Any]] = [[1, 1.0], [10**16, 1e16], [10**300, 1e300], [0, 0.0, -0.0]]
        for numbers in forms:
            assert len({sealing.canonical(number) for number in numbers}) == 1
        different = [0, 1, -1, 10, 0.1, 1.5, 2**53, 2**53 + 1, "1", True, None, [1], {"1": 1}]
        assert len({sealing.canonical(value) for value in different}) == len(different)

    def test_keys_have_one_order(self):
        assert sealing.canonical({"b": 1, "a": [2]}) == sealing.canonical({"a": [2], "b": 1})

    def test_a_row_has_the_same_digest_on_any_database(self, organization):
        """The digest is written down here, so both databases must come to it."""
        fixed = datetime(2026, 1, 31, 12, 0, 0, 120, UTC)
        write(organization, **AWKWARD)
        row = sealing.values(ROWS.all()).__next__()
        row |= {"id": 7, "organization_id": None, "object_id": "x", "object_name": "y"}
        row |= {"created_at": fixed, "request_id": ""}
        assert sealing.digest_of("", row) == (
            "b9fe5afa7eda688e9bcf7997ad681f8520b86a500b47c9821e79bc465253270e"
        )

    def test_awkward_values_hold(self, organization):
        write(organization, 2, **AWKWARD)
        sealing.seal(settled=NOW)
        assert broken(organization) is None


def test_superusers_see_chains_and_change_nothing(client, organization, ids):
    client.force_login(UserFactory.create(is_superuser=True))
    chain = Chain.objects.get()
    page = reverse("admin:accounts_chain_change", args=[chain.pk])
    assert chain.digest in client.get(page).content.decode()
    assert str(chain.pk) in client.get(reverse("admin:accounts_chain_changelist")).content.decode()
    assert client.post(page, {"position": "3"}).status_code == 403
    row = reverse("admin:accounts_activity_change", args=[ids[3]])
    assert ROWS.get(pk=ids[3]).digest in client.get(row).content.decode()
    assert client.post(row, {"verb": "x"}).status_code == 403


class TestCommand:
    def test_an_unknown_organization_is_2(self, db):
        with pytest.raises(CommandError) as caught:
            call_command("verify_activity", "--organization", "nope")
        assert caught.value.returncode == 2 and "nope" in str(caught.value)

    def test_without_a_database_it_is_2(self, db, monkeypatch):
        def away(*_: Any) -> None:
            raise OperationalError("away")

        monkeypatch.setattr(proving, "chains", away)
        with pytest.raises(CommandError) as caught:
            call_command("verify_activity")
        assert caught.value.returncode == 2

    def test_people_read_what_is_wrong(self, organization, ids):
        ROWS.filter(position=4).update(reason="because")
        out = StringIO()
        with pytest.raises(SystemExit) as end:
            call_command("verify_activity", stdout=out)
        assert end.value.code == 1
        assert f"BROKEN at activity {ids[3]} at position 4: changed." in out.getvalue()

    def test_after_another_secret_key_the_chains_are_signed_again(
        self, organization, ids, settings
    ):
        settings.SECRET_KEY = "another"
        assert broken(organization) == (None, 10, proving.SIGNATURE_WRONG)
        write(organization)
        assert sealing.seal(settled=NOW) == 0
        assert verified("--sign-again")[0] == 0
        assert sealing.seal(settled=NOW) == 2
        assert ROWS.filter(verb="chain.signed").count() == 1
        assert broken(organization) is None

    def test_a_broken_chain_is_not_signed_again(self, organization, ids):
        ROWS.filter(position=4).update(reason="because")
        Chain.objects.update(signature="")
        assert verified("--sign-again")[0] == 1
        assert Chain.objects.get().signature == ""

    def test_it_reads_many_rows_in_little_memory(self, organization):
        Activity.objects.bulk_create(
            activity.build(ACTOR, "a.b", organization, organization.pk, {"text": "x" * 500})
            for _ in range(10_000)
        )
        assert sealing.seal(settled=NOW) == 10_000
        tracemalloc.start()
        proof = proving.prove(organization.pk)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (proof.rows, proof.fault) == (10_000, None)
        assert peak < 6_000_000  # all of them are 15 MB and more


class TestAppendOnly:
    TRIES: tuple[tuple[str, Callable[[Activity], Any]], ...] = (
        ("save", lambda row: row.save()),
        ("save a field", lambda row: row.save(update_fields=["reason"])),
        ("delete", lambda row: row.delete()),
        ("update", lambda row: Activity.objects.update(reason="x")),
        ("update some", lambda row: Activity.objects.filter(pk=row.pk).update(reason="x")),
        ("bulk update", lambda row: Activity.objects.bulk_update([row], ["reason"])),
        ("delete some", lambda row: Activity.objects.filter(pk=row.pk).delete()),
        ("update or create", lambda row: Activity.objects.update_or_create({}, pk=row.pk)),
        (
            "upsert",
            lambda row: Activity.objects.bulk_create(
                [row], update_conflicts=True, update_fields=["reason"], unique_fields=["id"]
            ),
        ),
    )

    @pytest.mark.parametrize("name", [name for name, _ in TRIES])
    def test_a_row_is_written_once(self, organization, name):
        write(organization)
        row = Activity.objects.get()
        row.reason = "changed my mind"
        with pytest.raises(AppendOnly):
            dict(self.TRIES)[name](row)
        assert Activity.objects.get().reason == ""


@pytest.mark.django_db(transaction=True)
def test_leaders_at_once_never_fork_a_chain(monkeypatch):
    monkeypatch.setattr(sealing, "SEALED_AT_ONCE", 20)
    written = threading.Event()

    def lead() -> None:
        while not written.is_set() or sealing.unsealed().exists():
            sealing.seal(20.0, NOW)

    def work() -> None:
        try:
            for _ in range(60):
                write(first, 3)
                write(second, 2)
        finally:
            written.set()

    with shared():
        first, second = OrganizationFactory.create(), OrganizationFactory.create()
        assert at_once([lead, lead, lead, lead, work]) == [None] * 5
        for organization, count in ((first, 180), (second, 120)):
            proof = proving.prove(organization.pk)
            assert (proof.rows, proof.position, proof.fault) == (count, count, None)


@pytest.mark.django_db(transaction=True)
def test_pruning_and_sealing_and_proving_at_once(monkeypatch):
    monkeypatch.setattr(sealing, "SEALED_AT_ONCE", 20)
    monkeypatch.setattr(sealing, "PRUNED_AT_ONCE", 15)
    written = threading.Event()
    faults: list[Any] = []

    def work() -> None:
        try:
            for _ in range(40):
                write(organization, 5)
                sealing.seal(20.0, NOW)
        finally:
            written.set()

    def cut() -> None:
        while not written.is_set():
            sealing.prune(timezone.now() - timedelta(milliseconds=200))

    def look() -> None:
        while not written.is_set():
            faults.append(proving.prove(organization.pk).fault)

    with shared():
        organization = OrganizationFactory.create()
        assert at_once([work, cut, cut, look]) == [None] * 4
        assert set(faults) == {None}
        assert proving.prove(organization.pk).fault is None
        assert Chain.objects.get().anchor_position > 0
