"""Every address of the API: under /api/ and /api/v1/, with and without a slash at the end."""

from functools import lru_cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import re_path
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView
from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer, TemplateHTMLRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.activity import Activities, Export
from accounts.api.invites import Invites
from accounts.api.members import Members
from accounts.api.organizations import Organizations
from accounts.api.signing import Me, Password, Token
from accounts.api.tokens import Tokens
from accounts.api.users import Users
from accounts.api.webhooks import Deliveries, Webhooks
from config.base import problems
from config.base.api import Router, Strict
from config.base.parameters import Parameter, one_of
from config.health import Health, Live, Ready
from fallback.api.configs import Configs
from fallback.api.connections import Connections
from fallback.api.external import (
    Cluster,
    Clusters,
    JobRuns,
    UserInfo,
    Workspace,
    Workspaces,
)
from fallback.api.moves import Moves, Sweeps
from fallback.api.pauses import Pauses


class PlainJson(JSONRenderer):
    """The description as it is: the API's own renderer would change its keys."""


class Description(Strict, SpectacularAPIView):
    """The API in OpenAPI 3.1, as JSON, or as YAML where that is accepted."""

    own = Parameter("format", one_of(["json"]))
    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (PlainJson, OpenApiJsonRenderer2, OpenApiYamlRenderer2)  # type: ignore[assignment]

    def known_parameters(self) -> list[Parameter]:
        return [self.own]

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        self.own.value(self.given)
        return Response(description())


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """Made once: it is the same for everybody, and takes a while."""
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


class Documentation(Strict):
    """Swagger, with files of our own and nothing inline: it works offline."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = (TemplateHTMLRenderer,)

    @extend_schema(exclude=True)
    def get(self, request: Request) -> Response:
        return Response(template_name="api/docs.html")


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """What no other address matches: told as the API tells everything."""
    return problems.not_found(request, Http404())


router = Router()
router.register("fallback-configs", Configs, "config")
router.register("connections", Connections, "connection")
router.register("pauses", Pauses, "pause")
router.register("moves", Moves, "move")
router.register("sweeps", Sweeps, "sweep")
router.register("activity", Activities, "activity")
router.register("webhooks", Webhooks, "webhook")
router.register(r"webhooks/(?P<webhook>[^/.]+)/deliveries", Deliveries, "delivery")
router.register("tokens", Tokens, "api-token")
router.register("organizations", Organizations, "organization")
router.register(r"organizations/(?P<organization>[^/.]+)/members", Members, "member")
router.register(r"organizations/(?P<organization>[^/.]+)/invites", Invites, "invite")

app_name = "api"
urlpatterns = [
    *router.urls,
    re_path(r"^activity/export/?$", Export.as_view({"get": "list"}), name="activity-export"),
    re_path(r"^token/?$", Token.as_view(), name="token"),
    re_path(r"^users/?$", Users.as_view(), name="users"),
    re_path(r"^users/me/?$", Me.as_view(), name="me"),
    re_path(r"^users/me/password/?$", Password.as_view(), name="password"),
    re_path(r"^external/clusters/?$", Clusters.as_view(), name="clusters"),
    re_path(r"^external/clusters/(?P<key>[^/]+)/?$", Cluster.as_view(), name="cluster"),
    re_path(r"^external/workspaces/?$", Workspaces.as_view(), name="workspaces"),
    re_path(r"^external/workspaces/(?P<key>[^/]+)/?$", Workspace.as_view(), name="workspace"),
    re_path(r"^external/user-info/?$", UserInfo.as_view(), name="user-info"),
    re_path(r"^external/job-runs/?$", JobRuns.as_view(), name="job-runs"),
    re_path(r"^health/?$", Health.as_view(), name="health"),
    re_path(r"^health/ready/?$", Ready.as_view(), name="ready"),
    re_path(r"^health/live/?$", Live.as_view(), name="live"),
    re_path(r"^schema/?$", Description.as_view(), name="schema"),
    re_path(r"^docs/?$", Documentation.as_view(), name="docs"),
    re_path(r"^.*$", unknown, name="unknown"),
]
