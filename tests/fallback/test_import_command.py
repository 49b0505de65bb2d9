"""`manage.py import_fallback_configs`: files, exit codes, and which connection it is for."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Organization
from fallback.models import Connection, FallbackConfig
from tests.factories import ConnectionFactory, OrganizationFactory
from tests.fallback.test_importing import record

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cluster-fallback-configs.json"


@pytest.fixture(autouse=True)
def connection() -> Connection:
    return ConnectionFactory.create()


def run(*arguments: Any) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("import_fallback_configs", *map(str, arguments), stdout=out, stderr=err)
    except SystemExit as end:
        return int(str(end.code)), out.getvalue(), err.getvalue()
    except CommandError as error:
        return error.returncode, out.getvalue(), str(error)
    return 0, out.getvalue(), err.getvalue()


def test_all_good(file: Path) -> None:
    file.write_text("\ufeff" + json.dumps([record(1), record(2)]), encoding="utf-8")
    assert run(file) == (0, "2 imported, 0 were here already, 0 bad.\n", "")
    assert run(file) == (0, "0 imported, 2 were here already, 0 bad.\n", "")


def test_some_bad(file: Path) -> None:
    file.write_text(json.dumps([record(1), record(2, stuckThresholdMinutes=0)]))
    code, out, err = run(file, "--dry-run")
    assert (code, out) == (1, "1 would be imported, 0 were here already, 1 bad.\n")
    assert err.startswith("record 2 (id 00000000-0000-0000-0000-000000000002): stuckThreshold")
    assert not FallbackConfig.objects.exists()
    assert run(file)[0] == 1
    assert FallbackConfig.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1."),
        (b"[{}", "is not JSON: "),
        (b"{}", "holds an object, not a list of configs."),
        (b"null", "holds nothing, not a list of configs."),
        (b"[\xff]", "is not UTF-8: see byte 1."),
        (b"[" * 200_000, "is nested too deeply."),
        (b"[" + b"0," * 20_000 + b"0]", "holds 20001 records; 20000 are the most."),
        (b" " * (16 * 2**20 + 1), "is larger than 16 MiB."),
    ],
)
def test_a_file_that_cannot_be_read(file: Path, content: bytes, told: str) -> None:
    file.write_bytes(content)
    code, out, err = run(file)
    assert (code, out) == (2, "")
    assert err.startswith(file.name) and told in err
    assert err.count("\n") == 0


def test_no_file(file: Path, tmp_path: Path) -> None:
    assert run(file)[::2] == (2, f"There is no file {file}.")
    assert run(tmp_path)[::2] == (2, f"{tmp_path} cannot be read: Is a directory.")


def test_very_long_numbers_spoil_one_record_only(file: Path) -> None:
    text = json.dumps([record(1, stuckThresholdMinutes=77), record(2)])
    file.write_text(text.replace("77", "7" * 100_000))
    assert run(file)[:2] == (1, "1 imported, 0 were here already, 1 bad.\n")


def test_which_organization_and_connection(file: Path, connection: Connection) -> None:
    file.write_text(json.dumps([record(1)]))
    home = connection.organization
    other = OrganizationFactory.create(name="Zeta")
    assert run(file)[::2] == (
        2,
        f"There are several organizations; add --organization: {home.slug}, zeta.",
    )
    assert "There is no organization nobody." in run(file, "--organization=nobody")[2]
    assert "Zeta has no connection." in run(file, "--organization=zeta")[2]
    second = ConnectionFactory.create(organization=home, name="Second")
    told = run(file, f"--organization={home.slug}")[2]
    assert f"add --connection: {connection.name}, Second." in told
    told = run(file, f"--organization={home.slug}", "--connection=third")[2]
    assert told == f"{home} has no connection third."
    code, _, _ = run(file, f"--organization={home.slug}", "--connection=second")
    assert code == 0
    assert FallbackConfig.objects.get().connection == second
    assert other.connections.count() == 0


def test_without_an_organization(file: Path, connection: Connection) -> None:
    connection.delete()
    Organization.objects.all().delete()
    assert "Run manage.py bootstrap first." in run(file)[2]
