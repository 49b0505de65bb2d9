"""Saving configs: look up what they name at the remote, refuse loops, keep them whole."""

import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import activity
from accounts.models import Organization
from config.base.actor import Actor
from fallback import match
from fallback.looking import hurried_client_of
from fallback.match import Edge
from fallback.models import Connection, Destination, FallbackConfig
from fallback.truefoundry import (
    Missing,
    Rejected,
    TrueFoundry,
    TrueFoundryError,
    Unauthorized,
    Unavailable,
    Workspace,
)

FIELDS = (
    "source_cluster_id",
    "source_workspace_id",
    "source_job_id",
    "stuck_threshold_minutes",
    "statuses",
    "mode",
    "purge_mode",
    "enabled",
    "max_hops",
    "cooldown_minutes",
)
NO_ANSWER = (Unavailable, Unauthorized)  # so will be every other call
Connect = Callable[[Connection], TrueFoundry]


@dataclass(slots=True)
class LookUp:
    """What the remote knows of a config's ids: errors by field, and whether it could be asked."""

    errors: dict[str, list[str]]
    reached: bool = True


def ensure_environment_connection(organization: Organization) -> tuple[Connection | None, bool]:
    """The connection that reads its address and token from the environment, made where missing.

    Answers `(connection, created)`, or `(None, False)` where `TF_SERVICE_API_TOKEN` is not set.
    """
    if not settings.TF_SERVICE_API_TOKEN:
        return None, False
    if existing := Connection.objects.filter(from_environment=True).first():
        return existing, False
    connection = Connection(
        organization=organization,
        name="TrueFoundry",
        from_environment=True,
        assumed_user=settings.SFY_ASSUMED_USER,
    )
    connection.full_clean()
    with transaction.atomic():
        connection.save(force_insert=True)
        activity.record(
            Actor.system("bootstrap"), "connection.created", connection, organization.pk
        )
    return connection, True


def save_config(
    config: FallbackConfig,
    destinations: list[Destination],
    actor: Actor,
    *,
    look_up: bool = True,
    reason: str = "",
) -> FallbackConfig:
    """Validate and save a config with its destinations, in that order; all of it or nothing.

    Asks the remote for what the ids mean unless `look_up` is False; where it cannot be reached,
    destinations without an FQN are saved and need repair. Raises ValidationError by field:
    the config's own names, and `destinations` for those; DoesNotExist where it was deleted.
    """
    before = _snapshot(config)
    # Old names must not outlive a look-up that fails; who has looked already has set new ones.
    if look_up and before.get("source_workspace_id") != config.source_workspace_id:
        config.source_workspace_name = config.source_job_name = ""
    errors = _invalid(config, destinations)
    if not errors and look_up:
        errors = look_up_names(config, destinations).errors
    if errors:
        raise ValidationError(errors)
    try:
        _write(config, destinations, actor, before, reason)
    except IntegrityError:  # somebody else's config, saved in this very moment
        message = "There is a config for this source already."
        error = ValidationError(message, code="unique_together")
        raise ValidationError({"source_workspace_id": error}) from None
    return config


def _write(
    config: FallbackConfig,
    destinations: list[Destination],
    actor: Actor,
    before: dict[str, Any],
    reason: str,
) -> None:
    with transaction.atomic():
        created = config._state.adding
        # Two saves at once could close a loop together: one connection's configs are saved in turn.
        Connection.objects.select_for_update().only("pk").get(pk=config.connection_id)
        if not created:  # what was deleted in the meantime must not come back
            FallbackConfig.objects.only("pk").get(pk=config.pk)
        _refuse_loop(config, destinations)
        config.updated_at = timezone.now() if not created else config.updated_at
        config.save()
        config.destinations.all().delete()
        for position, destination in enumerate(destinations):
            destination.config, destination.position = config, position
            destination.source_workspace_id = config.source_workspace_id
            destination._state.adding = True
            destination.save(force_insert=True)
        config._prefetched_objects_cache = {}  # type: ignore[attr-defined]
        verb = "config.created" if created else "config.changed"
        change = activity.changed(before, _snapshot(config))
        activity.record(actor, verb, config, config.organization_id, change, reason)


def _snapshot(config: FallbackConfig) -> dict[str, Any]:
    if config._state.adding:
        return {}
    saved = FallbackConfig.objects.prefetch_related("destinations").get(pk=config.pk)
    found = {name: getattr(saved, name) for name in FIELDS}
    found["destinations"] = [_told(place) for place in saved.destinations.all()]
    return found


def _told(place: Destination) -> str:
    """A destination in an activity: where, and what holds it back."""
    limit = f", {place.max_open_moves} moves at most" if place.max_open_moves is not None else ""
    return f"{place.workspace_id}{limit}{'' if place.enabled else ', off'}"


def _invalid(config: FallbackConfig, destinations: list[Destination]) -> dict[str, list[Any]]:
    """What can be told without the remote, by field."""
    errors: dict[str, list[Any]] = {}
    try:
        config.full_clean()
    except ValidationError as error:
        errors.update(error.error_dict)
        if NON_FIELD_ERRORS in errors:
            errors.setdefault("source_workspace_id", []).extend(errors.pop(NON_FIELD_ERRORS))
    found: list[str] = [] if destinations else ["Give at least one destination."]
    seen: set[str] = set()
    for place in destinations:
        place.source_workspace_id = config.source_workspace_id
        try:
            place.full_clean(exclude={"config"}, validate_unique=False, validate_constraints=False)
        except ValidationError as error:
            found.extend(
                f"{name}: {' '.join(messages)}" for name, messages in error.message_dict.items()
            )
        if place.workspace_id in seen:
            found.append(f"workspace_id: {place.workspace_id[:128]} is there twice.")
        seen.add(place.workspace_id)
    if found:
        errors["destinations"] = found
    return errors


def look_up_names(
    config: FallbackConfig, destinations: list[Destination], connect: Connect = hurried_client_of
) -> LookUp:
    """Fill in names and FQNs from the remote; ids that it does not know are errors."""
    connection = config.connection
    result = LookUp({})
    if not connection.url or not connection.secret:
        result.reached = False
        return result
    client = connect(connection)
    try:
        _look_up_source(client, config, result.errors)
        for place in destinations:
            _look_up_destination(client, place, result.errors)
    except Rejected as error:
        result.errors.setdefault("connection", []).append(f"{error}.")
    except TrueFoundryError:
        result.reached = False
    finally:
        client.close()
    return result


def _workspace(
    client: TrueFoundry, workspace_id: str, cluster_id: str, field: str, errors: dict[str, Any]
) -> Workspace | None:
    try:
        workspace = client.workspace(workspace_id)
    except Missing:
        errors.setdefault(field, []).append(f"There is no workspace {workspace_id}.")
        return None
    if workspace.cluster_id != cluster_id:
        message = f"Workspace {workspace_id} is not in cluster {cluster_id}."
        errors.setdefault(field, []).append(message)
        return None
    return workspace


def _look_up_source(client: TrueFoundry, config: FallbackConfig, errors: dict[str, Any]) -> None:
    workspace = _workspace(
        client,
        config.source_workspace_id,
        config.source_cluster_id,
        "source_workspace_id",
        errors,
    )
    config.source_workspace_name = (workspace.fqn or workspace.name)[:200] if workspace else ""
    config.source_job_name = ""
    if not workspace or not config.source_job_id:
        return
    try:
        job = client.application(config.source_job_id)
    except Missing:
        job = None
    if job is None or job.workspace_id != config.source_workspace_id:
        message = f"There is no job {config.source_job_id} in this workspace."
        errors.setdefault("source_job_id", []).append(message)
    else:
        config.source_job_name = job.name[:200]


def _look_up_destination(client: TrueFoundry, place: Destination, errors: dict[str, Any]) -> None:
    workspace = _workspace(client, place.workspace_id, place.cluster_id, "destinations", errors)
    if workspace is None:
        return
    if place.workspace_fqn and place.workspace_fqn != workspace.fqn:
        message = f"workspace_fqn: {place.workspace_id} is {workspace.fqn}."
        errors.setdefault("destinations", []).append(message)
    place.workspace_fqn = workspace.fqn


def _refuse_loop(config: FallbackConfig, destinations: list[Destination]) -> None:
    """Raises ValidationError that spells the loop out."""
    # Values, not models: a connection may have a thousand configs, and each save asks.
    rows = (
        Destination.objects.filter(config__connection_id=config.connection_id)
        .exclude(config_id=config.pk)
        .order_by("config_id", "position")
        .values_list(
            "config__source_workspace_id",
            "config__source_job_id",
            "config__source_workspace_name",
            "workspace_id",
            "workspace_fqn",
        )
    )
    arrows: dict[tuple[str, str], list[str]] = {}
    names = {place.workspace_id: place.workspace_fqn for place in destinations}
    for source, job_id, source_name, workspace_id, workspace_fqn in rows:
        arrows.setdefault((source, job_id), []).append(workspace_id)
        names.setdefault(workspace_id, workspace_fqn)
        names.setdefault(source, source_name)
    edges = [Edge(source, job_id, tuple(to)) for (source, job_id), to in arrows.items()]
    new = Edge(
        config.source_workspace_id,
        config.source_job_id,
        tuple(place.workspace_id for place in destinations),
    )
    if loop := match.find_loop(edges, new):
        way = match.spelled_out(loop, names)
        raise ValidationError(
            {"destinations": ValidationError(f"This closes a loop: {way}.", code="Loop")}
        )


def repair(
    actor: Actor, configs: list[FallbackConfig] | None = None, connect: Connect = hurried_client_of
) -> tuple[int, list[str]]:
    """Look up every FQN that is missing in `configs` (all that `actor` sees, by default), and the
    names of their sources where these are missing, too.

    Answers how many destinations were repaired, and a sentence for each that could not be.
    """
    if configs is None:
        configs = list(
            FallbackConfig.objects.visible_to(actor)
            .filter(destinations__workspace_fqn="")
            .distinct()
            .select_related("connection")
        )
    repaired, problems = 0, []
    away: dict[
        uuid.UUID, TrueFoundryError
    ] = {}  # a control plane that does not answer is asked once
    for config in configs:
        at = config.connection_id
        with closing(connect(config.connection)) as client:
            if at not in away and (error := _name_source(client, config)):
                away[at] = error
            for place in config.destinations.filter(workspace_fqn=""):
                problem = away.get(at) or _problem_with(client, place)
                if isinstance(problem, NO_ANSWER):
                    away[at] = problem
                if problem:
                    problems.append(f"{config}: {problem}")
                else:
                    repaired += _write_fqn(config, place, actor)
    return repaired, problems


def _problem_with(client: TrueFoundry, place: Destination) -> TrueFoundryError | str:
    """Why its FQN cannot be looked up, or '' where it has been."""
    errors: dict[str, list[str]] = {}
    try:
        _look_up_destination(client, place, errors)
    except TrueFoundryError as error:
        return error
    return " ".join(errors.get("destinations", []))


def _write_fqn(config: FallbackConfig, place: Destination, actor: Actor) -> bool:
    """False where somebody has chosen other destinations while the remote was asked."""
    with transaction.atomic():
        same = Destination.objects.filter(pk=place.pk, workspace_id=place.workspace_id)
        if not same.filter(workspace_fqn="").update(workspace_fqn=place.workspace_fqn):
            return False
        change = {"workspaceFqn": ["", place.workspace_fqn]}
        activity.record(actor, "config.repaired", config, config.organization_id, change)
    return True


def _name_source(client: TrueFoundry, config: FallbackConfig) -> TrueFoundryError | None:
    """Its names are for people: where they cannot be told, the ids go on standing for them.

    Answers an error that any other call would have, too.
    """
    workspace, job = config.source_workspace_name, config.source_job_name
    if workspace and (job or not config.source_job_id):
        return None
    try:
        _look_up_source(client, config, {})
    except NO_ANSWER as error:
        return error
    except TrueFoundryError:
        pass
    config.source_workspace_name = config.source_workspace_name or workspace
    config.source_job_name = config.source_job_name or job
    # Somebody may have chosen another source in the meantime.
    same = FallbackConfig.objects.filter(
        pk=config.pk,
        source_workspace_id=config.source_workspace_id,
        source_job_id=config.source_job_id,
    )
    same.update(
        source_workspace_name=config.source_workspace_name, source_job_name=config.source_job_name
    )
    return None


def delete_config(config: FallbackConfig, actor: Actor, reason: str = "") -> None:
    """Always possible: open moves keep a snapshot and run on."""
    with transaction.atomic():
        activity.record(
            actor, "config.deleted", config, config.organization_id, _snapshot(config), reason
        )
        config.delete()
