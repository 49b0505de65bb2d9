"""`python -m tests.bench.filling`: a database with 100,000 moves and 1,000 configs, and who may
see them. Prints a token and a session for each of three people, and ids of rows with pages."""

import json
import os
import sys
import uuid
from datetime import timedelta
from typing import Any

import django

MOVES, CONFIGS, SWEEPS, ACTIVITIES, CONNECTIONS = 100_000, 1_000, 20_000, 100_000, 50
STEPS, SOURCES = 2_000, 100  # of one move, and of one sweep
BATCH = 2_000
SKIPPED = {"run": "run-1", "job": "train", "reason": "Cooldown", "message": "x" * 200}
SOURCE = {
    **{"connection": "Remote 0", "clusterId": "source", "workspaceId": "ws-1"},
    **{"seen": 50, "stuck": 20, "planned": 0, "skipped": {"Cooldown": 20}},
    **{"error": "", "message": "", "runs": [SKIPPED] * 20},
}


def fill() -> dict[str, Any]:
    """Nine tenths of it belong to one organization."""
    from django.contrib.auth.hashers import make_password
    from django.utils import timezone

    from accounts.models import Activity, ApiToken, Membership, Organization, User
    from config.base.redaction import keyed_hash
    from fallback.models import (
        Connection,
        Destination,
        FallbackConfig,
        Move,
        MoveStep,
        Relocation,
        Sweep,
    )
    from fallback.models.move import CLOSED

    now, nobody = timezone.now(), make_password(None)
    large, *small = (Organization.objects.create(name=f"Bench {n}") for n in range(3))
    places = [large] * 18 + small

    def saved(model: Any, rows: Any) -> Any:
        return model.objects.bulk_create(rows, batch_size=BATCH)

    def here(number: int) -> Any:
        return places[number % len(places)]

    remotes = saved(
        Connection,
        (
            Connection(organization=here(n), name=f"Remote {n}", base_url=f"https://tfy{n}.invalid")
            for n in range(CONNECTIONS)
        ),
    )
    of = {place.pk: next(r for r in remotes if r.organization_id == place.pk) for place in places}
    configs = saved(
        FallbackConfig,
        (
            FallbackConfig(
                connection=of[here(n).pk],
                source_cluster_id="source",
                source_workspace_id=f"ws-{n}",
                source_workspace_name=f"source:team-{n}",
                created_by_name=f"person{n % 7}",
            )
            for n in range(CONFIGS)
        ),
    )
    saved(
        Destination,
        (
            Destination(
                config=config,
                position=n,
                source_workspace_id=config.source_workspace_id,
                cluster_id="spare",
                workspace_id=f"spare-{n}",
                workspace_fqn=f"spare:{n}" if number % 100 else "",
            )
            for number, config in enumerate(configs)
            for n in range(2)
        ),
    )
    sweeps = saved(
        Sweep,
        (
            Sweep(
                organization=here(n),
                created_at=now - timedelta(minutes=5 * n),
                finished_at=now - timedelta(minutes=5 * n),
                sources=[SOURCE] * (1 if n else SOURCES),
            )
            for n in range(SWEEPS)
        ),
    )
    relocations = {
        pk: Relocation.objects.create(
            connection=remote,
            remote=remote.remote,
            source_workspace_id="ws",
            source_application_id="app",
            source_version="1",
            source_deployment_id="deployment",
            destination_workspace_id="spare-0",
            destination_workspace_fqn="spare:0",
            name="job-0123456789",
        )
        for pk, remote in of.items()
    }
    states = ["Succeeded"] * 90 + ["Failed"] * 5 + ["Cancelled"] * 4 + ["NeedsAttention"]
    reasons = {
        "Failed": "Rejected",
        "Cancelled": "SourceRecovered",
        "NeedsAttention": "AnswerLost",
    }
    hashed = keyed_hash("{}")

    def move(n: int) -> Any:
        place, at, state = here(n), now - timedelta(seconds=30 * n), states[n % len(states)]
        return Move(
            organization=place,
            connection=of[place.pk],
            config=configs[n % CONFIGS],
            sweep=sweeps[n % SWEEPS],
            remote=of[place.pk].remote,
            relocation=relocations[place.pk],
            state=state,
            resume_state="Triggering" if state == "NeedsAttention" else "",
            reason=reasons.get(state, ""),
            purge_mode="AfterAccept",
            statuses=["CREATED"],
            stuck_threshold_minutes=60,
            job_name=f"train-{n % 300}",
            source_cluster_id="source",
            source_workspace_id=f"ws-{n % CONFIGS}",
            source_application_id=f"app-{n % 300}",
            source_version="1",
            source_deployment_id=f"deployment-{n % 300}",
            source_run_id=f"run-{n}",
            source_run_name=f"train-{n % 300}-run-{n}",
            source_created_at=at - timedelta(hours=2),
            source_status="SCHEDULED",
            command='{"shard": "1"}',
            command_hash=hashed,
            destination_cluster_id="spare",
            destination_workspace_id="spare-0",
            destination_workspace_fqn="spare:0",
            destination_run_name=f"moved-{n}" if state == "Succeeded" else "",
            created_at=at,
            finished_at=at if state in CLOSED else None,
        )

    moves = saved(Move, (move(n) for n in range(MOVES)))
    steps = (
        MoveStep(move=moves[0], state="Creating", event="waiting", message=f"Look {n}.")
        for n in range(STEPS)
    )
    saved(MoveStep, steps)
    saved(
        Activity,
        (
            Activity(
                organization_id=here(n).pk,
                actor_kind="system",
                actor_name="sweep",
                verb=("move.planned", "move.succeeded")[n % 2],
                object_kind="move",
                object_id=str(uuid.uuid4()),
                object_name=f"train-{n}",
                created_at=now - timedelta(seconds=15 * n),
            )
            for n in range(ACTIVITIES)
        ),
    )
    tokens, sessions = {}, {}
    for name, organizations in (("one", [large]), ("three", [large, *small]), ("all", [])):
        person = User.objects.create(
            username=f"in-{name}",
            email=f"{name}@example.org",
            password=nobody,
            is_superuser=name == "all",
        )
        for organization in organizations:
            Membership.objects.create(user=person, organization=organization, role="admin")
        tokens[name] = ApiToken.objects.issue(person, "bench")[1]
        sessions[name] = session_of(person)
    shown = {"move": moves, "config": configs, "sweep": sweeps, "connection": remotes}
    rows = {name: str(found[0].pk) for name, found in shown.items()}
    return {"tokens": tokens, "sessions": sessions, "rows": rows}


def session_of(person: Any) -> str:
    """The key of a session in which `person` has signed in."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY

    from accounts.backends import EmailOrUsernameBackend
    from accounts.sessions import SessionStore

    backend = f"{EmailOrUsernameBackend.__module__}.{EmailOrUsernameBackend.__qualname__}"
    session = SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session[BACKEND_SESSION_KEY] = backend
    session[HASH_SESSION_KEY] = person.get_session_auth_hash()
    session.create()
    return str(session.session_key)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    sys.stdout.write(json.dumps(fill()))
