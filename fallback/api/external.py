"""/external: what a control plane says now. Lists are `{data, pagination}`."""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.endpoints import ORGANIZATION, organizations
from accounts.middleware import request_id_of
from accounts.permissions import actor_of
from config.base.api import Moment, Strict
from config.base.casing import camel
from config.base.parameters import ID, LARGEST, TEXT, Parameter, one_of, whole
from config.base.problems import Conflict
from fallback import external
from fallback.external import OWN_TOKEN, Caller
from fallback.looking import from_epoch_ms
from fallback.replies import JobRun, to_cluster, to_job_run, to_workspace

MOST = 500
STATUSES = [
    "CREATED",
    "SCHEDULED",
    "RUNNING",
    "FINISHED",
    "FAILED",
    "TERMINATION_REQUESTED",
    "TERMINATING",
    "TERMINATED",
    "UNKNOWN",
]
Json = dict[str, Any]
T = TypeVar("T")
CONNECTION = Parameter("connection_id", ID, "Which connection, where there are several.")
PAGE = [
    Parameter("limit", whole(1, MOST, 100), "How many at most."),
    Parameter("offset", whole(0, LARGEST, 0), "How many to leave out."),
]
HEADER = OpenApiParameter(
    OWN_TOKEN,
    str,
    OpenApiParameter.HEADER,
    description="Your own TrueFoundry token instead of the connection's.",
)


# What is told


class ClusterShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    fqn = serializers.CharField()


class WorkspaceShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    cluster_id = serializers.CharField()
    fqn = serializers.CharField()
    tenant_name = serializers.CharField()


class JobRunShown(serializers.Serializer[Any]):
    """Without its input."""

    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.CharField()
    application_id = serializers.CharField()
    application_name = serializers.CharField()
    deployment_id = serializers.CharField()
    deployment_version = serializers.CharField(source="version")
    tenant_name = serializers.CharField()
    created_at = serializers.SerializerMethodField()

    @extend_schema_field(Moment())
    def get_created_at(self, run: JobRun) -> Any:
        return Moment().to_representation(from_epoch_ms(run.created_at))


class PaginationShown(serializers.Serializer[Any]):
    total = serializers.IntegerField(required=False, help_text="Where the control plane knows it.")
    has_more = serializers.BooleanField(required=False)
    offset = serializers.IntegerField()
    limit = serializers.IntegerField()


class ClustersShown(serializers.Serializer[Any]):
    data = ClusterShown(many=True)  # type: ignore[assignment]
    pagination = PaginationShown()


class ClusterAlone(serializers.Serializer[Any]):
    data = ClusterShown()  # type: ignore[assignment]


class WorkspacesShown(serializers.Serializer[Any]):
    data = WorkspaceShown(many=True)  # type: ignore[assignment]
    pagination = PaginationShown()


class WorkspaceAlone(serializers.Serializer[Any]):
    data = WorkspaceShown()  # type: ignore[assignment]


class JobRunsShown(serializers.Serializer[Any]):
    data = JobRunShown(many=True)  # type: ignore[assignment]
    pagination = PaginationShown()


class UserInfoShown(serializers.Serializer[Any]):
    id = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField()
    tenant_name = serializers.CharField()


# Asking


class External(Strict):
    """Asks the organization's control plane with its stored connection, or with your own token."""

    problems: ClassVar = {"get": (404, 409, 502, 504)}
    own: ClassVar[tuple[Parameter, ...]] = ()

    def known_parameters(self) -> list[Parameter]:
        return [*self.own, ORGANIZATION, CONNECTION]

    def ask(self, question: Callable[[Caller], T]) -> T:
        caller = self._caller()
        try:
            return external.asked(lambda: question(caller))
        finally:
            caller.close()

    def _caller(self) -> Caller:
        actor, token = actor_of(self.request), self.request.headers.get(OWN_TOKEN, "")
        token = external.own_token_of(token)
        names = ORGANIZATION.values(self.given)
        chosen = organizations(actor, names) if names else None
        connection = external.connection_for(actor, chosen, CONNECTION.value(self.given))
        if connection:
            return external.caller_of(connection, token, request_id_of())
        caller = None if token else external.developers_caller(request_id_of())
        if caller is None:
            raise Conflict("The organization has no connection.", "NoConnection")
        return caller


class ExternalList(External):
    path: ClassVar[str]
    passed_on: ClassVar[dict[str, str]] = {}  # our parameter: theirs
    convert: ClassVar[Any]  # of one item
    shown: ClassVar[type[serializers.Serializer[Any]]]

    def known_parameters(self) -> list[Parameter]:
        return [*super().known_parameters(), *PAGE]

    def answer(self) -> Response:
        asked: Json = {
            parameter.name: parameter.value(self.given) or parameter.kind.schema["default"]
            for parameter in PAGE
        }
        page = dict(asked)
        for parameter in self.own:
            values = parameter.values(self.given)
            if values:
                asked[self.passed_on[parameter.name]] = values
        items, more = self.ask(lambda caller: caller.page(self.path, asked))
        return Response(
            {"data": [shown(self.shown, self.convert(item)) for item in items]}
            | {"pagination": rest_of(more, page, len(items))}
        )


def rest_of(theirs: Json, page: Json, count: int) -> Json:
    """What they said of the rest of a list, in our words."""
    told: Json = {"offset": page["offset"], "limit": page["limit"]}
    total, more = theirs.get("total"), theirs.get("hasMore")
    if isinstance(total, int):
        return {"total": total, **told}
    return {"has_more": more if isinstance(more, bool) else count >= page["limit"], **told}


def shown(serializer: type[serializers.Serializer[Any]], item: Any) -> Json:
    """In camelCase here: below `data` the renderer changes no key."""
    return {camel(name): value for name, value in serializer(item).data.items()}


CLUSTER_ID = Parameter("cluster_id", TEXT, "Only of this cluster.")


class Clusters(ExternalList):
    path, convert, shown = "/v1/clusters", staticmethod(to_cluster), ClusterShown

    @extend_schema(parameters=[HEADER], responses=ClustersShown)
    def get(self, request: Request) -> Response:
        return self.answer()


class Cluster(External):
    @extend_schema(parameters=[HEADER], responses=ClusterAlone)
    def get(self, request: Request, key: str) -> Response:
        found = self.ask(lambda caller: caller.one("/v1/clusters", key))
        return Response({"data": shown(ClusterShown, to_cluster(found))})


class Workspaces(ExternalList):
    path, convert, shown = "/v1/workspaces", staticmethod(to_workspace), WorkspaceShown
    own = (CLUSTER_ID,)
    passed_on: ClassVar = {"cluster_id": "clusterId"}

    @extend_schema(parameters=[HEADER], responses=WorkspacesShown)
    def get(self, request: Request) -> Response:
        return self.answer()


class Workspace(External):
    @extend_schema(parameters=[HEADER], responses=WorkspaceAlone)
    def get(self, request: Request, key: str) -> Response:
        found = self.ask(lambda caller: caller.one("/v1/workspaces", key))
        return Response({"data": shown(WorkspaceShown, to_workspace(found))})


class JobRuns(ExternalList):
    path, convert, shown = "/v1/x/job-runs", staticmethod(to_job_run), JobRunShown
    own = (
        Parameter("cluster_id", TEXT, required=True),
        Parameter("workspace_id", TEXT, required=True),
        Parameter("status", one_of(STATUSES), many=True),
    )
    passed_on: ClassVar = {
        "cluster_id": "clusterId",
        "workspace_id": "workspaceId",
        "status": "status",
    }

    @extend_schema(parameters=[HEADER], responses=JobRunsShown)
    def get(self, request: Request) -> Response:
        """Runs of a workspace, newest first, without their inputs."""
        return self.answer()


class UserInfo(External):
    @extend_schema(parameters=[HEADER], responses=UserInfoShown)
    def get(self, request: Request) -> Response:
        """Whose token it is."""
        found = self.ask(lambda caller: caller.user_info())
        names = {"id": "id", "name": "name", "email": "email", "tenant_name": "tenantName"}
        return Response({ours: str(found.get(theirs) or "") for ours, theirs in names.items()})
