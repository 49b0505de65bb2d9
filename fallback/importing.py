"""The old service's configs, from its JSON file: each good record whole, each bad one reported.

Needs the database only. Where a destination lacks its FQN the remote is asked afterwards; if it
does not answer, the config is there and needs repair.
"""

import json
import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.dateparse import parse_datetime

from config.base.actor import Actor
from config.base.parameters import EARLIEST, LATEST
from fallback import configuring
from fallback.looking import client_of
from fallback.models import Connection, Destination, FallbackConfig, Mode
from fallback.truefoundry import Rejected, TrueFoundryError, Unauthorized

MOST_BYTES, MOST_RECORDS = 16 * 2**20, 20_000
LONGEST_WHOLE_NUMBER = 18  # digits; Python takes seconds for very long ones
NEEDED, OPTIONAL = "needed", "optional"
# What a record may hold, by its own names; `stuckThresholdMinutes` is read apart.
TEXTS = {
    "id": NEEDED,
    "sourceClusterId": NEEDED,
    "sourceWorkspaceId": NEEDED,
    "sourceJobId": OPTIONAL,
    "destinationClusterId": NEEDED,
    "destinationWorkspaceId": NEEDED,
    "destinationWorkspaceFqn": OPTIONAL,
    "createdBy": OPTIONAL,
    "createdAt": NEEDED,
    "updatedAt": NEEDED,
}
KNOWN = {name.lower(): name for name in [*TEXTS, "stuckThresholdMinutes"]}
# The names that configuring.py gives the fields in its errors.
FIELDS = {
    "id": "id",
    "source_cluster_id": "sourceClusterId",
    "source_workspace_id": "sourceWorkspaceId",
    "source_job_id": "sourceJobId",
    "stuck_threshold_minutes": "stuckThresholdMinutes",
    "created_by_name": "createdBy",
    "destinations": "destinationWorkspaceId",
}
PLACE_FIELDS = {
    "cluster_id": "destinationClusterId",
    "workspace_id": "destinationWorkspaceId",
    "workspace_fqn": "destinationWorkspaceFqn",
}
UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.I)
FQN = re.compile(r"[!-~]{1,300}\Z")

Record = dict[str, Any]


class Unreadable(Exception):
    """The file is none that can be imported, said in one sentence."""


class _Bad(Exception):
    """A record cannot go in; the arguments say why, one sentence each."""


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that stayed out: its place in the file (from 1), its id if it has one, and why."""

    position: int
    id: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        named = f" (id {self.id})" if self.id else ""
        return f"record {self.position}{named}: {' '.join(self.reasons)}"


@dataclass(slots=True)
class Report:
    """What an import did. `notes` are worth a person's look and no failure."""

    imported: list[FallbackConfig] = field(default_factory=list)
    present: int = 0
    bad: list[BadRecord] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(path: Path) -> list[Any]:
    """The file's list, whatever is in it. Raises Unreadable."""
    name = shown(path.name)
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise Unreadable(f"There is no file {shown(str(path), 300)}.") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise Unreadable(f"{shown(str(path), 300)} cannot be read: {why}.") from None
    if len(raw) > MOST_BYTES:
        raise Unreadable(f"{name} is larger than {MOST_BYTES // 2**20} MiB.")
    try:
        found = json.loads(raw.decode("utf-8-sig"), parse_int=_whole_number)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is not UTF-8: see byte {error.start}.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Unreadable(f"{name} is not JSON: {error.msg} at {where}.") from None
    except RecursionError:
        raise Unreadable(f"{name} is nested too deeply.") from None
    if not isinstance(found, list):
        raise Unreadable(f"{name} holds {_kind(found)}, not a list of configs.")
    if len(found) > MOST_RECORDS:
        raise Unreadable(f"{name} holds {len(found)} records; {MOST_RECORDS} are the most.")
    return found


def import_records(
    records: list[Any], connection: Connection, actor: Actor, *, dry_run: bool = False
) -> Report:
    """Bring in what is good, each record in a transaction of its own. Raises nothing of a record.

    A dry run does the same and takes it back: so it sees duplicates and loops within the file.
    """
    report = Report()
    if dry_run:
        with transaction.atomic():
            _bring_in(records, connection, actor, report)
            transaction.set_rollback(True)
    else:
        _bring_in(records, connection, actor, report)
        _repair(connection, actor, report)
    return report


def shown(text: str, most: int = 60) -> str:
    """A text from outside, short and in plain ASCII, for a message."""
    plain = ascii(text[: most + 1])[1:-1]
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_WHOLE_NUMBER else float(digits)


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "nothing" if value is None else kinds.get(type(value), "a number")


def _bring_in(records: list[Any], connection: Connection, actor: Actor, report: Report) -> None:
    seen: dict[uuid.UUID, int] = {}
    strangers: set[str] = set()
    for position, record in enumerate(records, start=1):
        try:
            _take(position, record, connection, actor, report, seen)
        except _Bad as bad:
            found = record.get("id") if isinstance(record, dict) else None
            name = shown(found) if isinstance(found, str) else ""
            report.bad.append(BadRecord(position, name, bad.args))
        if isinstance(record, dict):
            strangers |= {shown(name) for name in record if name.lower() not in KNOWN}
    if strangers:
        names = ", ".join(sorted(strangers)[:10])
        report.notes.append(f"Fields that mean nothing here were left out: {names}.")


def _take(
    position: int,
    record: Any,
    connection: Connection,
    actor: Actor,
    report: Report,
    seen: dict[uuid.UUID, int],
) -> None:
    """Save one record, or find it there already. Raises _Bad."""
    if not isinstance(record, dict):
        raise _Bad(f"It is {_kind(record)}, not an object.")
    config, place = _rows(record, connection)
    if (first := seen.setdefault(config.pk, position)) != position:
        raise _Bad(f"id: record {first} has it, too.")
    known = FallbackConfig.objects.select_related("connection").defer("connection__token")
    if existing := known.filter(pk=config.pk).first():
        if existing.organization_id != connection.organization_id:
            raise _Bad("id: it is taken.")  # and names nobody
        report.present += 1
        if not _same(existing, config, place):
            report.notes.append(
                f"record {position} (id {config.pk}) is here already and differs: left as it is."
            )
        return
    try:
        with transaction.atomic():
            configuring.save_config(config, [place], actor, look_up=False, reason="Imported.")
    except ValidationError as error:
        raise _Bad(*_in_words(error)) from None
    except IntegrityError:
        raise _Bad("Somebody else saved this config, or one for this source, just now.") from None
    report.imported.append(config)


def _rows(record: Record, connection: Connection) -> tuple[FallbackConfig, Destination]:
    """The rows that a record asks for, not yet validated. Raises _Bad."""
    problems: list[str] = []
    for name in record:
        if (known := KNOWN.get(name.lower(), name)) != name:
            problems.append(f"{shown(name)}: this is spelled {known}.")
    texts = {name: _text(record, name, need, problems) for name, need in TEXTS.items()}
    threshold = record.get("stuckThresholdMinutes")
    if isinstance(threshold, float) and threshold.is_integer():
        threshold = int(threshold)  # JSON makes no difference between 60 and 60.0
    if threshold is not None and type(threshold) is not int:
        problems.append(f"stuckThresholdMinutes: {_kind(threshold)} is no whole number.")
    created_at = _moment(texts, "createdAt", problems)
    updated_at = _moment(texts, "updatedAt", problems)
    if texts["id"] and not UUID_TEXT.match(texts["id"]):
        problems.append("id: it is no UUID.")
    if texts["destinationWorkspaceFqn"] and not FQN.match(texts["destinationWorkspaceFqn"]):
        problems.append("destinationWorkspaceFqn: use at most 300 plain characters, no spaces.")
    if not texts["createdBy"].isprintable():
        problems.append("createdBy: it holds characters that cannot be shown.")
    if problems or created_at is None or updated_at is None:
        raise _Bad(*problems)
    config = FallbackConfig(
        id=uuid.UUID(texts["id"]),
        connection=connection,
        source_cluster_id=texts["sourceClusterId"],
        source_workspace_id=texts["sourceWorkspaceId"],
        source_job_id=texts["sourceJobId"],
        mode=Mode.AUTO,
        created_by_name=texts["createdBy"],
        created_at=created_at,
        updated_at=updated_at,
    )
    if threshold is not None:
        config.stuck_threshold_minutes = threshold
    place = Destination(
        cluster_id=texts["destinationClusterId"],
        workspace_id=texts["destinationWorkspaceId"],
        workspace_fqn=texts["destinationWorkspaceFqn"],
    )
    return config, place


def _text(record: Record, name: str, need: str, problems: list[str]) -> str:
    value = record.get(name)
    if value is None and need == OPTIONAL:
        return ""
    if value is None:
        problems.append(f"{name}: it is missing.")
    elif not isinstance(value, str):
        problems.append(f"{name}: it is {_kind(value)}, not a text.")
    elif not value and need == NEEDED:
        problems.append(f"{name}: it is empty.")
    else:
        return value
    return ""


def _moment(texts: dict[str, str], name: str, problems: list[str]) -> datetime | None:
    """In UTC; without an offset it is taken as UTC. Far from this age there is none."""
    text = texts[name]
    if not text:
        return None  # said already
    try:
        found = parse_datetime(text) if len(text) <= 64 else None
        if found is not None:
            found = found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
            if EARLIEST <= found <= LATEST:
                return found
    except (ValueError, OverflowError):
        pass
    problems.append(f"{name}: {shown(text)} is no date and time, as in 2025-01-31T12:00:00Z.")
    return None


def _same(existing: FallbackConfig, config: FallbackConfig, place: Destination) -> bool:
    """Whether what the record says of the way is what stands in the database."""
    names = ("connection_id", "source_cluster_id", "source_workspace_id", "source_job_id")
    places = [(p.cluster_id, p.workspace_id) for p in existing.destinations.all()]
    return (
        all(getattr(existing, name) == getattr(config, name) for name in names)
        and existing.stuck_threshold_minutes == config.stuck_threshold_minutes
        and places == [(place.cluster_id, place.workspace_id)]
    )


def _in_words(error: ValidationError) -> list[str]:
    """A sentence for each thing that is wrong, with the record's own names."""
    sentences = []
    for name, messages in error.message_dict.items():
        for message in messages:
            inner, colon, rest = message.partition(": ")
            if name == "destinations" and colon and inner in PLACE_FIELDS:
                sentences.append(f"{PLACE_FIELDS[inner]}: {rest}")
            else:
                sentences.append(f"{FIELDS.get(name, name)}: {message}")
    return sentences


def _repair(connection: Connection, actor: Actor, report: Report) -> None:
    """Look up the FQNs that the file did not have, if the remote can be reached."""
    lacking = [config for config in report.imported if config.needs_repair]
    if not lacking:
        return
    if why := _why_unreachable(connection, lacking[0]):
        report.notes.append(
            f"Imported without an FQN, and in need of repair: {len(lacking)}. {why}"
        )
        return
    _, problems = configuring.repair(actor, lacking)
    report.notes.extend(f"Needs repair: {problem}" for problem in problems)


def _why_unreachable(connection: Connection, config: FallbackConfig) -> str:
    """Asks for one workspace, so that a remote that is away costs one timeout and not hundreds."""
    if not connection.url or not connection.secret:
        return "The connection has no address or token."
    client = client_of(connection)
    try:
        client.workspace(config.destinations.all()[0].workspace_id)
    except Unauthorized:
        return "The control plane refuses the token."
    except Rejected:
        return ""  # it answers
    except TrueFoundryError as error:
        return f"{error}."
    finally:
        client.close()
    return ""
