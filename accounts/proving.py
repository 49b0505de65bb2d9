"""Proving an organization's chain of activities, from its anchor to its head."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Min, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts import activity
from accounts.models import Activity, Chain, Organization
from accounts.models.records import NONE
from accounts.sealing import (
    ANCHOR,
    HEAD,
    ROWS,
    digest_of,
    rows_of,
    signature_of,
    signed,
    unsealed,
    values,
)
from config.base.actor import Actor

CHANGED, MISSING, SWAPPED, INSERTED = "changed", "missing", "swapped", "inserted"
HEAD_CUT_OFF, SIGNATURE_WRONG = "head cut off", "signature wrong"
TRIES = 5  # while others prune


@dataclass(frozen=True)
class Fault:
    """The first place where a chain does not hold. `row_id` is None where no row is there."""

    row_id: int | None
    position: int
    why: str
    message: str


@dataclass(frozen=True)
class Proof:
    """What was found of one chain. `rows` were proved; `unsealed` wait for their place in it."""

    chain: uuid.UUID
    name: str  # the organization's slug, or '' for the chain of what belongs to none
    rows: int
    position: int
    digest: str
    fault: Fault | None
    unsealed: int
    unsealed_since: datetime | None


def chains(organization: Organization | None = None) -> list[tuple[uuid.UUID, str]]:
    """`(chain, slug)` of all there are, or of one organization."""
    if organization:
        return [(organization.pk, organization.slug)]
    ids = {
        pk or NONE for pk in ROWS.order_by().values_list("organization_id", flat=True).distinct()
    }
    ids |= set(Chain.objects.values_list("pk", flat=True))
    slugs = dict(Organization.objects.filter(pk__in=ids).values_list("pk", "slug"))
    named = [(pk, slugs.get(pk, "" if pk == NONE else str(pk))) for pk in ids]
    return sorted(named, key=lambda one: one[1])


def prove(pk: uuid.UUID, name: str = "", *, signatures: bool = True) -> Proof:
    """Walk one chain, in bounded memory. Sealing and pruning may go on meanwhile."""
    tries = TRIES
    while True:
        chain = Chain.objects.filter(pk=pk).first() or Chain(pk=pk)
        rows, fault = _walk(chain, signatures)
        pruned = Chain.objects.filter(pk=pk, anchor_position__gt=chain.anchor_position)
        tries -= 1
        if fault is None or not tries or not pruned.exists():
            break  # otherwise what is missing was cut off rightly
    waiting = unsealed() & rows_of(pk)
    tail = waiting.aggregate(count=Count("pk"), since=Min("created_at"))
    return Proof(pk, name, rows, chain.position, chain.digest, fault, tail["count"], tail["since"])


def sign_again(pk: uuid.UUID, actor: Actor) -> bool:
    """Sign both ends with today's SECRET_KEY; whether the rows hold, which is proved first."""
    if prove(pk, signatures=False).fault:
        return False
    with transaction.atomic():
        chain = Chain.objects.select_for_update().filter(pk=pk).first()
        if chain is None:
            return True  # nothing is sealed yet
        head = signature_of(HEAD, pk, chain.position, chain.digest)
        anchor = signature_of(ANCHOR, pk, chain.anchor_position, chain.anchor_digest)
        Chain.objects.filter(pk=pk, position=chain.position).update(
            signature=head,
            anchor_signature=anchor if chain.anchor_position else "",
            updated_at=timezone.now(),
        )
        change = {"position": chain.position}
        activity.record(actor, "chain.signed", chain, None if pk == NONE else pk, change)
    return True


def _walk(chain: Chain, signatures: bool) -> tuple[int, Fault | None]:
    """How many rows hold, and the first fault."""
    if signatures and not signed(ANCHOR, chain):
        text = "The anchor that pruning has left is not signed by this installation."
        return 0, Fault(None, chain.anchor_position, SIGNATURE_WRONG, text)
    held, position, digest = 0, chain.anchor_position, chain.anchor_digest
    rows = rows_of(chain.pk).filter(position__lte=chain.position).order_by("position")
    for row in values(rows):
        if fault := _fault(chain, position + 1, digest, row):
            return held, fault
        held, position, digest = held + 1, position + 1, row["digest"]
    return held, _fault_of_head(chain, position, digest, signatures)


def _fault(chain: Chain, position: int, digest: str, row: dict[str, Any]) -> Fault | None:
    if row["position"] <= chain.anchor_position:
        text = "It lies before the anchor, where everything was pruned."
        return Fault(row["id"], row["position"], INSERTED, text)
    if row["position"] != position:
        found = f"Position {position} is empty; the next row is at {row['position']}."
        return Fault(None, position, MISSING, found)
    if digest_of(digest, row) == row["digest"]:
        return None
    if other := _belongs_here(chain, digest, row):
        text = f"The row at position {other} belongs here."
        return Fault(row["id"], position, SWAPPED, text)
    return Fault(row["id"], position, CHANGED, "Its digest does not fit its fields.")


def _belongs_here(chain: Chain, digest: str, row: dict[str, Any]) -> int | None:
    """The position of the row that continues the chain after `digest`, where there is one."""
    others = rows_of(chain.pk).filter(position__isnull=False).exclude(pk=row["id"])
    for other in values(others.order_by("position")):
        if digest_of(digest, other) in (other["digest"], row["digest"]):
            return int(other["position"])
    return None


def _fault_of_head(chain: Chain, position: int, digest: str, signatures: bool) -> Fault | None:
    if position < chain.position:
        text = f"The rows from here to {chain.position}, the newest, are gone."
        return Fault(None, position + 1, HEAD_CUT_OFF, text)
    # One statement: what is sealed at this moment moves the head as well.
    head = Chain.objects.filter(pk=chain.pk).values("position")
    behind = rows_of(chain.pk).filter(position__gt=Coalesce(Subquery(head), 0))
    beyond: Activity | None = behind.order_by("position").first()
    if beyond:
        text = "It comes after the head of the chain, which was set back or removed."
        return Fault(beyond.pk, beyond.position or 0, HEAD_CUT_OFF, text)
    if digest != chain.digest or (signatures and chain.position and not signed(HEAD, chain)):
        text = "The head of the chain is not signed by this installation."
        return Fault(None, chain.position, SIGNATURE_WRONG, text)
    return None
