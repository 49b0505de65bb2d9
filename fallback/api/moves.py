"""/moves and /sweeps: what is moved, step by step, and the passes that decided it."""

from typing import Any, ClassVar

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import Endpoint
from accounts.permissions import organization_for
from config.base import live
from config.base.api import ReasonBody, read, reason_of
from config.base.problems import Conflict
from fallback import moving, sweep
from fallback.api.bodies import SweepBody
from fallback.filters import MoveFilters, SweepFilters
from fallback.models import Connection, Move, Sweep
from fallback.models.move import SEARCHED
from fallback.serializers import MoveShown, MoveWithSteps, SweepShown, SweepWithSources
from fallback.tasks import drive_tick, run_requested_sweeps


class Moves(Endpoint):
    """A move is one stuck run's way to another workspace. Its input is never told."""

    queryset = Move.objects.all()
    serializer_class = MoveShown
    verbs: ClassVar = {"retry": "move.retry", "cancel": "move.cancel"}
    problems: ClassVar = {"retry": (409,), "cancel": (409,)}
    filters = MoveFilters
    search_fields = SEARCHED
    ordering_fields: ClassVar = {
        name: name
        for name in ("created_at", "updated_at", "finished_at", "state", "reason", "job_name")
    }

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset().defer("command")
        return rows if self.action == "list" else rows.prefetch_related("steps")

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(MoveShown(page, many=True).data)

    @extend_schema(responses=MoveWithSteps)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(MoveWithSteps(self.get_object()).data)

    @extend_schema(request=ReasonBody, responses=MoveWithSteps)
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: str) -> Response:
        """Take it up where it broke. Only if it failed or needs attention."""
        move = self.get_object()
        moving.retry(move, self.actor, reason_of(request))
        live.nudge(drive_tick)
        return Response(MoveWithSteps(self.get_object()).data)

    @extend_schema(request=ReasonBody, responses=MoveWithSteps)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Before its trigger only: what runs at the destination already is finished."""
        move = self.get_object()
        moving.cancel(move, self.actor, reason_of(request))
        return Response(MoveWithSteps(self.get_object()).data)


class Sweeps(Endpoint):
    """A sweep is one pass over an organization's sources. One that was asked for runs in a worker,
    within seconds."""

    queryset = Sweep.objects.all()
    serializer_class = SweepShown
    verbs: ClassVar = {"create": "sweep.run"}
    problems: ClassVar = {"create": (409,)}
    filters = SweepFilters
    search_fields = ("by_name",)
    ordering_fields: ClassVar = {
        name: name for name in ("created_at", "finished_at", "seen", "stuck", "planned", "errors")
    }

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows.defer("sources") if self.action == "list" else rows

    def list(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response(SweepShown(page, many=True).data)

    @extend_schema(responses=SweepWithSources)
    def retrieve(self, request: Request, pk: str) -> Response:
        return Response(SweepWithSources(self.get_object()).data)

    @extend_schema(request=SweepBody, responses={202: SweepShown})
    def create(self, request: Request) -> Response:
        """Answers at once with the row that tracks it."""
        data = read(SweepBody(data=request.data))
        organization = organization_for(self.actor, "sweep.run", data.get("organization_id"))
        if not Connection.objects.usable().filter(organization=organization).exists():
            raise Conflict("There is no enabled connection with address and token.", "NoConnection")
        row = sweep.request(organization, self.actor, dry_run=data.get("dry_run", False))
        live.nudge(run_requested_sweeps)
        return Response(SweepShown(row).data, status=202)
