"""What the fallback keeps of an organization: asked before it is deleted, and when it is purged."""

import uuid

from django.db import transaction

from fallback.models import Connection, Move

TOLD, AT_ONCE = 20, 500


def running(organization_id: uuid.UUID) -> list[str]:
    """A sentence that names the open moves."""
    found = Move.objects.open().filter(organization=organization_id)
    names = list(found.values_list("source_run_name", flat=True)[: TOLD + 1])
    if not names:
        return []
    more = " and more" if len(names) > TOLD else ""
    return [f"Moves are open: {', '.join(names[:TOLD])}{more}."]


def purge(organization_id: uuid.UUID) -> None:
    """Moves and connections, some hundred at once; what hangs on them goes with them."""
    # Without reading their secrets: one whose key is lost must not keep the rest.
    for kept in (Move.objects.defer("command"), Connection.objects.defer("token")):
        rows = kept.filter(organization=organization_id)
        while ids := list(rows.values_list("pk", flat=True)[:AT_ONCE]):
            with transaction.atomic():
                rows.filter(pk__in=ids).delete()
