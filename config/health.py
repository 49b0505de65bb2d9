"""Whether the things that this process needs are there. Told to anybody, so without details."""

from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from config import heartbeats
from config.base.api import Strict
from config.management.commands.up import missing_migrations

OK, ERROR, DEGRADED, LATE, UNKNOWN = "ok", "error", "degraded", "late", "unknown"


def database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return False
    return True


def broker_answers() -> bool:
    timeout = settings.BROKER_TIMEOUT
    try:
        with redis.Redis.from_url(
            settings.REDIS_URL, socket_timeout=timeout, socket_connect_timeout=timeout, retry=None
        ) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def heartbeat(age: float | None) -> str:
    if age is None:
        return UNKNOWN
    return OK if age < heartbeats.LATE else LATE


class HealthShown(serializers.Serializer[Any]):
    status = serializers.ChoiceField([OK, DEGRADED, ERROR])
    database = serializers.ChoiceField([OK, ERROR])
    broker = serializers.ChoiceField([OK, ERROR])
    worker = serializers.ChoiceField([OK, LATE, UNKNOWN])
    beat = serializers.ChoiceField([OK, LATE, UNKNOWN])
    heartbeats = serializers.DictField(
        child=serializers.IntegerField(allow_null=True),
        help_text="Seconds since the last sign of life.",
    )


class StatusShown(serializers.Serializer[Any]):
    status = serializers.ChoiceField([OK, ERROR])
    reason = serializers.CharField(required=False)


class Public(Strict):
    """For whoever asks; the database is not needed to get here."""

    authentication_classes = ()
    permission_classes = (AllowAny,)

    def answer(self, body: dict[str, Any], status: int = 200) -> Response:
        headers = {"Cache-Control": "no-cache, no-store, max-age=0"}
        return Response(body, status=status, headers=headers)


class Health(Public):
    @extend_schema(responses={200: HealthShown, 503: HealthShown}, auth=[])
    def get(self, request: Request) -> Response:
        """503 without the database. Without the broker or a worker all still works, only later."""
        database, broker = database_answers(), broker_answers()
        ages = heartbeats.ages() if broker else dict.fromkeys(heartbeats.NAMES)
        told = {name: heartbeat(age) for name, age in ages.items()}
        well = broker and all(state == OK for state in told.values())
        body = {
            "status": ERROR if not database else OK if well else DEGRADED,
            "database": OK if database else ERROR,
            "broker": OK if broker else ERROR,
            **told,
            "heartbeats": {name: None if age is None else int(age) for name, age in ages.items()},
        }
        return self.answer(body, 200 if database else 503)


class Ready(Public):
    """Whether to send requests here."""

    migrated = False  # once they are there they stay

    @extend_schema(
        responses={200: StatusShown, 503: OpenApiResponse(StatusShown, "Not yet.")}, auth=[]
    )
    def get(self, request: Request) -> Response:
        """The database answers and has its migrations."""
        if not database_answers():
            return self.answer({"status": ERROR, "reason": "DatabaseAway"}, 503)
        if not Ready.migrated:
            Ready.migrated = not missing_migrations()
        if not Ready.migrated:
            return self.answer({"status": ERROR, "reason": "MigrationsMissing"}, 503)
        return self.answer({"status": OK})


class Live(Public):
    @extend_schema(responses=StatusShown, auth=[])
    def get(self, request: Request) -> Response:
        """The process answers."""
        return self.answer({"status": OK})
