"""Connections: what works at the remote and what does not, and remembering it."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import structlog
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import activity
from config.base import live
from config.base.actor import Actor
from config.base.problems import Conflict
from fallback.looking import hurried_client_of
from fallback.models import Connection, ConnectionState, Move
from fallback.truefoundry import TrueFoundry, TrueFoundryError, Unauthorized

log = structlog.get_logger(__name__)
STATES = ConnectionState


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried: its name, whether it worked, and a sentence."""

    name: str
    works: bool
    message: str


def mark(connection: Connection, state: str, message: str) -> bool:
    """Remember what became of the last call; a change is told once, however often it is seen.

    That a token was refused says nothing of another one which has been stored since.
    """
    row = Connection.objects.filter(pk=connection.pk)
    if state == STATES.UNAUTHORIZED:
        stored = row.first()
        if stored is None or stored.token != connection.token:
            return False
    fields = {"message": message[:300], "checked_at": timezone.now()}
    changed = row.exclude(state=state).update(state=state, **fields)
    if not changed:
        row.update(**fields)
    connection.state, connection.message = state, message[:300]
    if changed:
        actor = Actor.system("switchyard")
        verb = f"connection.{state}"
        activity.record(actor, verb, connection, connection.organization_id, reason=message)
        tell = log.info if state == STATES.CONNECTED else log.warning
        tell("connection_state", connection=str(connection.pk), state=state)
    return bool(changed)


def save(connection: Connection, actor: Actor, reason: str = "") -> Connection:
    """Validate and save. Raises ValidationError by field, and Conflict where open moves need the
    control plane that it led to.

    A host that is not among `TRUEFOUNDRY_ALLOWED_HOSTS` (where that is set) needs a superuser.
    """
    connection.full_clean()
    host = urlsplit(connection.base_url).hostname or ""
    allowed = [name.lower() for name in settings.TRUEFOUNDRY_ALLOWED_HOSTS]
    if connection.base_url and allowed and host not in allowed and not actor.sees_all:
        raise ValidationError({"base_url": f"{host} is not among the hosts that may be used."})
    created = connection._state.adding
    stored = None if created else Connection.objects.get(pk=connection.pk)
    before = _snapshot(stored) if stored else {}
    after = _snapshot(connection)
    if before.get("base_url") != after["base_url"] or before.get("token") != after["token"]:
        connection.state, connection.message = STATES.UNKNOWN, ""
    with transaction.atomic():
        if stored and stored.remote != connection.remote:
            _must_have_no_open_moves(connection)
        # Not the whole row: a sweep may mark its state in this very moment.
        connection.save(update_fields=None if created else [*after, "state", "message"])
        verb = "connection.created" if created else "connection.changed"
        change = activity.changed(before, after)
        activity.record(actor, verb, connection, connection.organization_id, change, reason)
        live.ring_on_commit(connection.organization_id)
    return connection


def _snapshot(connection: Connection) -> dict[str, object]:
    names = ("name", "base_url", "token", "assumed_user", "enabled")
    return {name: getattr(connection, name) for name in names}


def _must_have_no_open_moves(connection: Connection) -> None:
    """Their runs are at the control plane that it leads to now."""
    open_moves = Move.objects.open().filter(connection=connection)
    if names := list(open_moves.values_list("source_run_name", flat=True)[:20]):
        raise Conflict(f"Open moves use it: {', '.join(names)}.", "OpenMoves")


def delete(connection: Connection, actor: Actor, reason: str = "") -> None:
    """Its configs go with it, its ended moves stay. Raises Conflict, with the list, where moves
    are open."""
    _must_have_no_open_moves(connection)
    organization_id = connection.organization_id
    try:
        with transaction.atomic():
            change = _snapshot(connection)
            activity.record(
                actor, "connection.deleted", connection, organization_id, change, reason
            )
            connection.delete()
            live.ring_on_commit(organization_id)
    except IntegrityError:  # planned since: the database keeps an open move's connection
        raise Conflict("A move has just been planned with it.", "OpenMoves") from None


def test(
    connection: Connection,
    actor: Actor,
    connect: Callable[[Connection], TrueFoundry] = hurried_client_of,
) -> list[Finding]:
    """Try what a move needs that changes nothing, one by one; at most about 10 s each."""
    if not connection.url:
        return [Finding("address", False, "TRUEFOUNDRY_API_URL is not set.")]
    if not connection.secret:
        return [Finding("token", False, "There is no token.")]
    client = connect(connection)
    try:
        findings = [
            _try("token", lambda: _who(client)),
            _try("clusters", lambda: f"{len(client.clusters())} clusters can be seen."),
            _try("workspaces", lambda: f"{len(client.workspaces())} workspaces can be seen."),
            _try("job runs", lambda: _runs(client)),
        ]
        findings.append(_clock(client, any(finding.works for finding in findings)))
    finally:
        client.close()
    failed = next((finding for finding in findings if not finding.works), None)
    if failed is None:
        state, message = STATES.CONNECTED, "Everything works."
    else:
        refused = failed.name == "token" and "401" in failed.message
        state = STATES.UNAUTHORIZED if refused else STATES.UNREACHABLE
        message = f"{failed.name}: {failed.message}"
    mark(connection, state, message)
    activity.record(
        actor,
        "connection.tested",
        connection,
        connection.organization_id,
        {finding.name: finding.message for finding in findings},
    )
    return findings


def _clock(client: TrueFoundry, answered: bool) -> Finding:
    """The time comes with other answers. One that never tells it can be used, by our clock."""
    if not client.knows_the_clock:
        return Finding("clock", answered, "No answer told the time.")
    off = abs(client.skew.total_seconds())
    return Finding("clock", off <= 60, f"The remote's clock is {off:.0f} s off ours.")


def _try(name: str, probe: object) -> Finding:
    try:
        return Finding(name, True, probe())  # type: ignore[operator]
    except Unauthorized as error:
        return Finding(name, False, f"{error}: the token is refused. Store a valid one.")
    except TrueFoundryError as error:
        return Finding(name, False, str(error))


def _who(client: TrueFoundry) -> str:
    info = client.user_info()
    name = info.get("name") or info.get("email") or info.get("id") or "somebody"
    return f"The token belongs to {str(name)[:80]}."


def _runs(client: TrueFoundry) -> str:
    workspaces = client.workspaces()
    if not workspaces:
        return "There is no workspace to list the runs of."
    first = workspaces[0]
    client.job_runs(first.cluster_id, first.id, ["CREATED", "SCHEDULED"])
    return f"Job runs of {first.name[:60]} can be listed."
