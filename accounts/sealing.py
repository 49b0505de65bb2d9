"""The chain that proves an organization's activities: sealing it, proving it, pruning it.

Activities are inserted unchained: a chain at that moment would let one worker write at a time.
Seconds later they are sealed: each gets the next position, and a digest over the digest before it
and all of its own fields. So nothing can be changed, left out, put in or swapped unseen without
calculating every later digest anew, up to the head, which is signed with SECRET_KEY.

Any number may seal at once: the head moves by a conditional UPDATE in the transaction that numbers
the rows, so a chain never forks.
"""

import hashlib
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hmac import compare_digest
from typing import Any

import structlog
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import Min, QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.models import Activity, Chain
from accounts.models.records import NONE

log = structlog.get_logger(__name__)
# On PostgreSQL a row with a lower id may commit later. Whoever is later still comes later.
SETTLED = timedelta(seconds=2)
SEALED_AT_ONCE, PRUNED_AT_ONCE = 2000, 5000
HEAD, ANCHOR = "head", "anchor"
ROWS = Activity._base_manager  # the manager that people use only reads and inserts
SEALED = tuple(
    field.attname
    for field in Activity._meta.concrete_fields
    if field.name not in ("position", "digest")
)


class Broken(Exception):
    """A chain does not hold. Nothing is added to it or cut off it until somebody has looked."""


class Overtaken(Exception):
    """Somebody else has moved this chain in the meantime."""


# What is hashed


def digest_of(previous: str, row: dict[str, Any]) -> str:
    """Of a row, given as the values of `SEALED`: 64 hex digits."""
    told = {name: _plain(row[name]) for name in SEALED}
    return hashlib.sha256(f"{previous}\n{canonical(told)}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value) if isinstance(value, uuid.UUID) else value


def canonical(value: Any) -> str:
    """JSON in one way only, whatever database it comes from.

    PostgreSQL keeps no order of keys, and gives 1e16 back as 10000000000000000.
    """
    if isinstance(value, dict):
        items = sorted((str(name), item) for name, item in value.items())
        return f"{{{','.join(f'{json.dumps(name)}:{canonical(item)}' for name, item in items)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value)
    return json.dumps(value)


def _number(value: float) -> str:
    """'12' and 'E' and the power of ten: alike for 1200, 1200.0 and 1.2e3."""
    sign, digits, power = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return "0"
    return f"{'-' * sign}{kept}E{int(power) + len(text) - len(kept)}"


def signature_of(end: str, chain: uuid.UUID, position: int, digest: str) -> str:
    """Of one end of a chain, `HEAD` or `ANCHOR`: HMAC-SHA-256 with SECRET_KEY, in hex."""
    text = f"{chain}:{position}:{digest}"
    return salted_hmac(f"accounts.sealing.{end}", text, algorithm="sha256").hexdigest()


def signed(end: str, chain: Chain) -> bool:
    """Whether that end bears its signature. A chain that was never pruned has no anchor."""
    head = end == HEAD
    position = chain.position if head else chain.anchor_position
    digest = chain.digest if head else chain.anchor_digest
    signature = chain.signature if head else chain.anchor_signature
    if not (head or position or digest or signature):
        return True
    return compare_digest(signature, signature_of(end, chain.pk, position, digest))


# Which rows


def rows_of(chain: uuid.UUID) -> QuerySet[Activity]:
    """All activities that belong to a chain; those of no organization belong to `NONE`."""
    if chain == NONE:
        return ROWS.filter(organization_id__isnull=True)
    return ROWS.filter(organization_id=chain)


def unsealed() -> QuerySet[Activity]:
    return ROWS.filter(position__isnull=True).order_by()


def values(rows: QuerySet[Activity]) -> Iterator[dict[str, Any]]:
    """Row by row, as `digest_of` takes them, in bounded memory."""
    return rows.values(*SEALED, "position", "digest").iterator(chunk_size=1000)


# Sealing


def seal(seconds: float = 30.0, settled: timedelta = SETTLED) -> int:
    """Seal what is old enough, of every organization; answers how many rows.

    Stops after `seconds`: the next call goes on. A chain that does not hold is left as it is.
    """
    until, total = time.monotonic() + seconds, 0
    before = timezone.now() - settled
    waiting = unsealed().filter(created_at__lte=before)
    for organization_id in waiting.values_list("organization_id", flat=True).distinct():
        chain = organization_id or NONE
        try:
            while time.monotonic() < until:
                sealed = _seal(chain, before)
                total += sealed
                if sealed < SEALED_AT_ONCE:
                    break
        except Overtaken:
            continue  # another leader is at it
        except (Broken, IntegrityError) as error:  # a position that is taken already
            log.error("chain_broken", chain=str(chain), error=str(error).split("\n")[0])
    return total


def _seal(pk: uuid.UUID, before: datetime) -> int:
    """One batch. Hashed outside the transaction: rows do not change, and others want to write."""
    chain = _chain(pk)
    if not signed(HEAD, chain):
        raise Broken("The signature of its head is wrong.")
    rows = rows_of(pk).filter(position__isnull=True, created_at__lte=before).order_by("pk")
    position, digest, told = chain.position, chain.digest, []
    for row in rows.values(*SEALED)[:SEALED_AT_ONCE]:
        position, digest = position + 1, digest_of(digest, row)
        told.append((position, digest, row["id"]))
    if not told:
        return 0
    with transaction.atomic():
        moved = Chain.objects.filter(pk=pk, position=chain.position, digest=chain.digest).update(
            position=position,
            digest=digest,
            signature=signature_of(HEAD, pk, position, digest),
            updated_at=timezone.now(),
        )
        if not moved:
            raise Overtaken
        _number_rows(told)
        placed = rows_of(pk).filter(position__gt=chain.position, position__lte=position)
        if placed.count() != len(told):
            raise Overtaken
    # Kept elsewhere, the log is the witness of a head that somebody sets back.
    log.info("activities_sealed", chain=str(pk), position=position, digest=digest)
    return len(told)


def _number_rows(told: list[tuple[int, str, int]]) -> None:
    """By hand: the ORM writes one statement of a thousand cases, which takes ten times as long."""
    table = connection.ops.quote_name(Activity._meta.db_table)
    with connection.cursor() as cursor:
        cursor.executemany(
            f"UPDATE {table} SET position = %s, digest = %s WHERE id = %s AND position IS NULL",
            told,
        )


def _chain(pk: uuid.UUID) -> Chain:
    found = Chain.objects.filter(pk=pk).first()
    if found is None:
        new = {"signature": signature_of(HEAD, pk, 0, "")}
        found, _ = Chain.objects.get_or_create(pk=pk, defaults=new)
    return found


# Pruning


def prune(before: datetime) -> int:
    """Cut off what is older, oldest first and sealed only; answers how many rows.

    What is cut off is proved first. The chain then begins behind its anchor, which is signed.
    """
    total = 0
    for pk in list(Chain.objects.values_list("pk", flat=True)):
        try:
            while pruned := _prune(pk, before):
                total += pruned
        except Overtaken:
            continue
        except (Broken, DatabaseError) as error:
            log.error("chain_broken", chain=str(pk), error=str(error).split("\n")[0])
    return total


def _prune(pk: uuid.UUID, before: datetime) -> int:
    chain = Chain.objects.get(pk=pk)
    if not (signed(HEAD, chain) and signed(ANCHOR, chain)):
        raise Broken("A signature is wrong.")
    rows = rows_of(pk).filter(position__gt=chain.anchor_position)
    kept = rows.filter(created_at__gte=before).aggregate(first=Min("position"))["first"]
    last = min((kept or chain.position + 1) - 1, chain.anchor_position + PRUNED_AT_ONCE)
    cut = rows.filter(position__lte=last).order_by("position")
    position, digest = chain.anchor_position, chain.anchor_digest
    for row in values(cut):
        position, digest = position + 1, digest_of(digest, row)
        if (row["position"], row["digest"]) != (position, digest):
            raise Broken(f"Activity {row['id']} at position {row['position']} does not fit.")
    if position == chain.anchor_position:
        return 0
    with transaction.atomic():
        moved = Chain.objects.filter(pk=pk, anchor_position=chain.anchor_position).update(
            anchor_position=position,
            anchor_digest=digest,
            anchor_signature=signature_of(ANCHOR, pk, position, digest),
            updated_at=timezone.now(),
        )
        if not moved:
            raise Overtaken
        cut.filter(position__lte=position).order_by().delete()
    return position - chain.anchor_position
