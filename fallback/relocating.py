"""Makes one version of a source job a deployment at its destination, and waits until it is active.

All moves of that version share it. Versions of one application are made one after the other, and
an answer that was lost is looked for before anything is sent again.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from config.base.showing import plain_duration
from fallback import naming
from fallback.driving import Call, Journey, Record, Shared
from fallback.looking import READY_SECONDS, Remotes
from fallback.models import Move, Relocation
from fallback.models.move import DRIVEN
from fallback.recording import Change, Outcome
from fallback.truefoundry import Answer, Application, Deployment, Missing, Rejected

LEASE = timedelta(seconds=120)
READY_LIMIT = timedelta(minutes=30)
ROLLED_OUT = {"DEPLOY_SUCCESS"}
ROLLOUT_FAILED = {"DEPLOY_FAILED", "BUILD_FAILED", "FAILED", "CANCELLED"}
R = Relocation.State


@dataclass(frozen=True, slots=True)
class Ready:
    """The deployment is active; `answer` is the call that made it, if that was just now."""

    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class NotYet:
    """Ask again after `seconds`. `rolling` tells a rollout under way from one not begun."""

    seconds: float
    reason: str
    message: str
    rolling: bool = False
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class Never:
    """It cannot be made: `person` where somebody may mend it, otherwise the move fails."""

    reason: str
    message: str
    person: bool = False


Result = Ready | NotYet | Never


def relocate(relocation: Relocation, remotes: Remotes) -> Journey:
    """Answers a `Result`. Raises what the client raises; then nothing is lost by asking again."""
    if relocation.state == R.ACTIVE:
        return Ready()
    if relocation.state == R.FAILED:
        return Never("RolloutFailed", relocation.message)
    if relocation.state == R.ROLLING_OUT:
        return (yield from _await_rollout(relocation, remotes))
    if relocation.state == R.CREATING:
        return (yield from _look_for_lost(relocation, remotes))
    return (yield from _create(relocation, remotes))


def _create(relocation: Relocation, remotes: Remotes) -> Journey:
    client = remotes.client(relocation.connection)
    # Not on the row before the intent is in: while we wait others may read the row again.
    manifest = relocation.manifest
    if manifest is None:
        version = relocation.source_version
        found = yield Call(
            lambda: client.deployments(
                relocation.source_application_id,
                relocation.tenant_name,
                int(version) if version.isdigit() else None,
            )
        )
        source = [d for d in found if d.id == relocation.source_deployment_id]
        if not source or not source[0].manifest:
            return Never("ManifestMissing", "The source deployment's manifest is gone.")
        manifest = source[0].manifest
    applications = yield from remotes.applications(relocation, ready=False)
    existing: Application | None = applications.get(relocation.name)
    if existing and not _ours(relocation, existing):
        return Never(
            "NameTaken",
            f"Somebody else's application {relocation.name} is at the destination.",
            person=True,
        )
    now = timezone.now()
    intent = Change(
        relocation,
        {"state": R.NEW},
        {
            "state": R.CREATING,
            "manifest": manifest,
            "version_before": existing.last_version if existing else 0,
            "asked_at": relocation.asked_at or now,
            "lease": uuid.uuid4(),
            "next_attempt_at": now + LEASE,
        },
    )
    outcome = yield Record(intent, intent=True)
    if outcome is Outcome.CONFLICT:
        yield from _see_to_the_one_in_the_way(relocation, remotes)
    if outcome is not Outcome.WON:
        reason = "RolloutUnderWay" if outcome is Outcome.CONFLICT else "PreparedElsewhere"
        relocation.refresh_from_db()
        return NotYet(1.0, reason, "Another version of this job is being prepared.")
    return (yield from _send(relocation, remotes))


def _see_to_the_one_in_the_way(relocation: Relocation, remotes: Remotes) -> Journey:
    """Another version is being made. Where its moves were cancelled nobody else sees to its end."""
    others = Relocation.objects.filter(
        remote=relocation.remote,
        destination_workspace_id=relocation.destination_workspace_id,
        name=relocation.name,
        state__in=[R.CREATING, R.ROLLING_OUT],
    )
    other = others.exclude(pk=relocation.pk).first()
    if other and not Move.objects.filter(relocation=other, state__in=DRIVEN).exists():
        other.connection = relocation.connection  # the token that we were given
        yield Shared(("relocation", other.pk), lambda: relocate(other, remotes))


def _send(relocation: Relocation, remotes: Remotes) -> Journey:
    """The intent is committed: ask for the deployment."""
    client = remotes.client(relocation.connection)
    manifest = naming.moved_manifest(
        relocation.manifest or {}, relocation.name, relocation.destination_workspace_fqn
    )
    workspace_id = relocation.destination_workspace_id
    try:
        answer: Answer = yield Call(
            lambda: client.deploy(manifest, workspace_id, relocation.tenant_name)
        )
    except Rejected as error:
        words = f"HTTP {error.status} {error.detail}"
        message = f"The destination refused the manifest: {words}"[:500]
        if error.status in (401, 403, 409):  # a token, a right or a rollout: these pass
            yield _update(relocation, R.CREATING, state=R.NEW, message=message)
            raise
        yield _update(relocation, R.CREATING, state=R.FAILED, message=message)
        return Never("CreateRejected", message)
    except Exception:
        # Lost, perhaps: whoever comes next looks before anything is sent again.
        yield _update(relocation, R.CREATING)
        raise
    return (yield from _made(relocation, remotes, answer.body, answer))


def _made(
    relocation: Relocation, remotes: Remotes, deployment: Deployment, answer: Answer | None
) -> Journey:
    remotes.forget_ready(relocation)
    active = deployment.status in ROLLED_OUT
    outcome = yield _update(
        relocation,
        R.CREATING,
        state=R.ACTIVE if active else R.ROLLING_OUT,
        deployment_id=deployment.id,
        application_id=deployment.application_id,
        asked_at=timezone.now(),  # from here on it rolls out, however long we had to ask for it
        attempts=0,
        message="",
    )
    if outcome is not Outcome.WON:  # our lease had run out, and somebody else got it done
        relocation.refresh_from_db()
        return NotYet(0.5, "PreparedElsewhere", "Another worker is preparing this deployment.")
    relocation.manifest = None  # in memory only: thousands of them are many megabytes
    delay = settings.JOB_FALLBACK_TRIGGER_DELAY_MS / 1000
    if active and not delay:
        return Ready(answer)
    return NotYet(delay or READY_SECONDS, "RollingOut", "The deployment rolls out.", True, answer)


def _look_for_lost(relocation: Relocation, remotes: Remotes) -> Journey:
    """Asked for, and no answer written down: find what came of it, or ask again."""
    now = timezone.now()
    free = {"state": R.CREATING, "next_attempt_at__lte": now}
    claim = Change(relocation, free, {"lease": uuid.uuid4(), "next_attempt_at": now + LEASE})
    if (yield Record(claim, intent=True)) is not Outcome.WON:
        relocation.refresh_from_db()
        return NotYet(1.0, "PreparedElsewhere", "Another worker is preparing this deployment.")
    client = remotes.client(relocation.connection)
    workspace_id, name = relocation.destination_workspace_id, relocation.name
    try:
        applications = yield Call(lambda: client.applications(workspace_id, name))
        deployments: list[Deployment] = []
        if applications:
            application_id = applications[0].id
            deployments = yield Call(
                lambda: client.deployments(application_id, relocation.tenant_name)
            )
    except Exception:
        yield _update(relocation, R.CREATING)
        raise
    wanted = naming.moved_manifest(
        relocation.manifest or {}, name, relocation.destination_workspace_fqn
    )
    for deployment in sorted(deployments, key=lambda d: d.version, reverse=True):
        later = deployment.version > relocation.version_before
        if later and naming.same_manifest(wanted, deployment.manifest):
            return (yield from _made(relocation, remotes, deployment, None))
    # None: a second request makes another version of the same manifest at worst, and no run.
    return (yield from _send(relocation, remotes))


def _await_rollout(relocation: Relocation, remotes: Remotes) -> Journey:
    applications = yield from remotes.applications(relocation, ready=True)
    application: Application | None = applications.get(relocation.name)
    if application is None:  # the listing may have begun before it was made
        application = yield from _by_id(relocation, remotes)
    status = ""
    if application and application.active_deployment_id == relocation.deployment_id:
        status = "DEPLOY_SUCCESS"
    elif application and application.last_deployment_id == relocation.deployment_id:
        status = application.last_deployment_status
    if application and not status:  # a later version has come, or an earlier one is shown
        client = remotes.client(relocation.connection)
        found = yield Call(
            lambda: client.deployments(relocation.application_id, relocation.tenant_name)
        )
        status = next((d.status for d in found if d.id == relocation.deployment_id), "")
    if status in ROLLED_OUT:
        yield _update(relocation, R.ROLLING_OUT, state=R.ACTIVE)
        return Ready()
    if status in ROLLOUT_FAILED or not application:
        message = f"The rollout ended as {status}." if application else "The application is gone."
        yield _update(relocation, R.ROLLING_OUT, state=R.FAILED, message=message)
        return Never("RolloutFailed", message)
    return (yield from _wait_for_rollout(relocation, timezone.now()))


def _by_id(relocation: Relocation, remotes: Remotes) -> Journey:
    client, application_id = remotes.client(relocation.connection), relocation.application_id
    try:
        return (yield Call(lambda: client.application(application_id)))
    except Missing:
        return None


def _wait_for_rollout(relocation: Relocation, now: datetime) -> Journey:
    waited = now - (relocation.asked_at or now)
    if waited > READY_LIMIT:
        message = f"The deployment has not rolled out in {plain_duration(waited)}."
        yield _update(relocation, R.ROLLING_OUT, state=R.FAILED, message=message)
        return Never("RolloutTimedOut", message)
    attempts = relocation.attempts + 1
    yield _update(relocation, R.ROLLING_OUT, attempts=attempts)
    message = f"The deployment has been rolling out for {plain_duration(waited)}."
    return NotYet(min(0.25 * 2 ** min(attempts, 6), 15.0), "RollingOut", message, rolling=True)


def _ours(relocation: Relocation, application: Application) -> bool:
    """Whether this installation made the application, for whichever organization."""
    same_name = Relocation.objects.filter(
        remote=relocation.remote,
        destination_workspace_id=relocation.destination_workspace_id,
        name=relocation.name,
    )
    # One that was asked for when no version existed made it, even if the answer was lost.
    made = Q(application_id=application.id) | Q(asked_at__isnull=False, version_before=0)
    # The relocation goes with its connection; moves that came as far as its runs stay.
    moved = Move.objects.filter(
        remote=relocation.remote,
        destination_workspace_id=relocation.destination_workspace_id,
        source_workspace_id=relocation.source_workspace_id,
        source_application_id=relocation.source_application_id,
    ).exclude(destination_deployment_id="")
    return same_name.filter(made).exists() or moved.exists()


def _update(relocation: Relocation, expected: str, **fields: object) -> Record:
    """Changes the row if it is still in `expected`, and gives it free."""
    free: dict[str, object] = {"lease": None, "next_attempt_at": timezone.now()}
    return Record(Change(relocation, {"state": expected}, free | fields))
