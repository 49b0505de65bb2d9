"""Whether the things that this process needs are there. Told to anybody, so without details."""

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


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


@require_safe
@never_cache
def health(request: HttpRequest) -> JsonResponse:
    """503 without the database. Without the broker everything still works, only later."""
    database, broker = database_answers(), broker_answers()
    status = "error" if not database else "ok" if broker else "degraded"
    body = {
        "status": status,
        "database": "ok" if database else "error",
        "broker": "ok" if broker else "error",
    }
    return JsonResponse(body, status=200 if database else 503)
