"""Secrets at rest and in what people see."""

import json
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command
from django.db import connection as database
from django.db import models
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from config import encrypted
from config.base.redaction import keyed_hash, mask, redact
from config.base.secrets import Undecryptable, decrypt, encrypt, rotate
from fallback.models import Connection
from tests.factories import ConnectionFactory

SECRET = "tfy-9f8e7d6c5b4a"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture
def keys(settings):
    """Two keys, the newest first; the settings hold only the older."""
    newer, older = (Fernet.generate_key().decode() for _ in range(2))
    settings.ENCRYPTION_KEYS = [older]
    return newer, older


def stored(row: models.Model, name: str = "token") -> str:
    """What the database holds, read past the ORM."""
    pk = row._meta.pk.get_db_prep_value(row.pk, database)
    with database.cursor() as cursor:
        cursor.execute(f"SELECT {name} FROM {row._meta.db_table} WHERE id = %s", [pk])
        return cursor.fetchone()[0]


class TestEncryption:
    @given(st.text())
    def test_what_goes_in_comes_out_and_does_not_show(self, text):
        token = encrypt(text)
        assert decrypt(token) == text
        assert len(text) < 4 or text not in token

    def test_the_same_text_looks_different_each_time(self):
        assert encrypt(SECRET) != encrypt(SECRET)

    def test_an_older_key_opens_and_rotation_leaves_it_behind(self, keys, settings):
        newer, older = keys
        token = encrypt(SECRET)
        settings.ENCRYPTION_KEYS = [newer, older]
        assert decrypt(token) == SECRET
        token = rotate(token)
        settings.ENCRYPTION_KEYS = [newer]
        assert decrypt(token) == SECRET

    @pytest.mark.parametrize("act", [decrypt, rotate])
    @pytest.mark.parametrize("bad", ["", "x", "gAAAAA", "ünïcode"])
    def test_what_no_key_opens_is_undecryptable(self, act, bad):
        with pytest.raises(Undecryptable) as caught:
            act(bad)
        assert caught.value.__cause__ is None

    def test_a_tampered_value_is_undecryptable(self):
        token = encrypt(SECRET)
        flipped = token[:-5] + ("A" if token[-5] != "A" else "B") + token[-4:]
        with pytest.raises(Undecryptable):
            decrypt(flipped)

    def test_a_field_is_encrypted_in_the_database(self, db):
        row = ConnectionFactory.create(token=SECRET)
        assert SECRET not in stored(row)
        row.refresh_from_db()
        assert row.token == SECRET


class TestRotation:
    def rotate_all(self) -> tuple[int, str]:
        out = StringIO()
        try:
            call_command("rotate_keys", stdout=out, stderr=out)
        except SystemExit as stop:
            return int(stop.code or 0), out.getvalue()
        return 0, out.getvalue()

    def test_everything_moves_to_the_newest_key_once(self, db, keys, settings):
        newer, older = keys
        rows = [ConnectionFactory.create(token=f"{SECRET}{n}") for n in range(3)]
        without = ConnectionFactory.create(token="")
        settings.ENCRYPTION_KEYS = [newer, older]

        status, out = self.rotate_all()
        assert status == 0
        assert "fallback.Connection.token: 3 rotated, 0 were current" in out
        settings.ENCRYPTION_KEYS = [newer]
        for number, row in enumerate(rows):
            row.refresh_from_db()
            assert row.token == f"{SECRET}{number}"
        without.refresh_from_db()
        assert without.token == ""

        before = [stored(row) for row in rows]
        status, out = self.rotate_all()
        assert status == 0
        assert "fallback.Connection.token: 0 rotated, 3 were current" in out
        assert [stored(row) for row in rows] == before

    def test_it_goes_through_all_batches(self, db, keys, settings, monkeypatch):
        newer, older = keys
        for _ in range(5):
            ConnectionFactory.create(token=SECRET)
        settings.ENCRYPTION_KEYS = [newer, older]
        monkeypatch.setattr(encrypted, "BATCH", 2)
        assert "fallback.Connection.token: 5 rotated" in self.rotate_all()[1]

    def test_what_no_key_opens_is_named_by_key_only_and_left(self, db, keys, settings):
        newer, older = keys
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        lost = ConnectionFactory.create(token=SECRET)
        before = stored(lost)
        settings.ENCRYPTION_KEYS = [older]
        kept = ConnectionFactory.create(token=SECRET)
        settings.ENCRYPTION_KEYS = [newer, older]

        status, out = self.rotate_all()

        assert status == 1
        assert f"fallback.Connection {lost.pk}: no key opens token\n" in out
        assert before not in out
        assert stored(lost) == before
        settings.ENCRYPTION_KEYS = [newer]
        kept.refresh_from_db()
        assert kept.token == SECRET

    def test_a_change_in_between_wins(self, db, keys, settings):
        row = ConnectionFactory.create(token=SECRET)
        old = stored(row)
        type(row)._base_manager.filter(pk=row.pk).update(token="changed")
        assert not encrypted.replace_stored(type(row), "token", row.pk, old, rotate(old))
        row.refresh_from_db()
        assert row.token == "changed"

    def test_every_encrypted_field_is_found(self):
        found = {f"{model._meta.label}.{name}" for model, name in encrypted.encrypted_fields()}
        assert {"fallback.Connection.token", "fallback.Relocation.manifest"} <= found
        assert "accounts.IdempotencyKey.answer" in found


class TestMasking:
    @given(st.text(min_size=1))
    def test_a_mask_tells_values_apart_and_not_the_value(self, text):
        assert mask(text) == mask(text) != mask(f"{text}.")
        assert len(mask(text)) == len("••• 12345678")

    def test_nothing_has_no_mask(self):
        assert mask("") == mask(None) == ""

    def test_rotation_does_not_change_a_keyed_hash(self, settings):
        before = keyed_hash(SECRET)
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        assert keyed_hash(SECRET) == before
        settings.SECRET_KEY = "another"
        assert keyed_hash(SECRET) != before

    @pytest.mark.parametrize(
        "value",
        [
            {"token": SECRET},
            {"apiToken": SECRET},
            {"Authorization": f"Bearer {SECRET}"},
            {"db_password": {"nested": SECRET}},
            {"env": {"ANY": SECRET}},
            {"component": {"env": {"ANY": {"value": SECRET}}}},
            {"env": [{"name": "ANY", "value": SECRET}]},
            [{"deep": [{"clientSecret": SECRET}]}],
            f"GET /x failed: Authorization was bearer {SECRET}, sorry",
            {"message": [f"Basic {SECRET}"]},
        ],
    )
    def test_a_secret_does_not_show(self, value):
        assert SECRET not in json.dumps(redact(value))

    @pytest.mark.parametrize(
        "value",
        [
            {"name": "x", "replicas": 3, "ready": None, "items": [True, 1.5]},
            {"idempotency_key": "abc"},
            {"environment": "staging"},
            "a bearer of news",
        ],
    )
    def test_what_is_harmless_stays_readable(self, value):
        assert redact(value) == value

    @given(json_values)
    def test_any_document_can_be_redacted_and_its_input_stays(self, value):
        before = json.dumps(value)
        json.dumps(redact(value))
        assert json.dumps(value) == before

    @given(json_values)
    def test_whatever_lies_in_env_is_masked(self, value):
        shown = redact({"env": {"ANY": value}})["env"]["ANY"]
        assert shown == "" or shown.startswith("•••")


@pytest.mark.django_db
def test_a_credential_whose_key_is_lost_is_kept_and_can_be_replaced(settings: Settings) -> None:
    connection = ConnectionFactory.create(token="t0ken")
    keys = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    lost = Connection.objects.get(pk=connection.pk)
    assert lost.token == ""
    lost.save()
    settings.ENCRYPTION_KEYS = keys
    assert Connection.objects.get(pk=connection.pk).token == "t0ken"
    lost.token = "another"
    lost.save()
    assert Connection.objects.get(pk=connection.pk).token == "another"
