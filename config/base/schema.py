"""How the API describes itself: every answer that it can give, as OpenAPI 3.1."""

import re
from http import HTTPStatus
from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, AllowAny

from config.base.problems import CONTENT_TYPE

Json = dict[str, Any]
IDEMPOTENCY_KEY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "Makes it safe to send this again: for 24 hours the same key with the same body "
    "(byte for byte) gets the first answer again and nothing is done twice. With another body: "
    "422. While the first is under way: 409 RequestInProgress. Where the first never ended, so "
    "that it may have acted: 409 OutcomeUnknown. Where its answer held a secret: 409 "
    "SecretAlreadyShown. Kept are answers of success and conflicts; after any other answer the "
    "key may be used again.",
}
REPLAYED: Json = {
    "schema": {"type": "string", "enum": ["true"]},
    "description": "This is the first answer to this Idempotency-Key, once more.",
}


class Problem(serializers.Serializer[Any]):
    """What went wrong, as RFC 9457 has it."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField(help_text="Stable, for programs.")
    error = serializers.CharField(help_text="The same as `detail`, for older clients.")
    errors = serializers.DictField(  # type: ignore[assignment]
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="By field, on 400.",
    )


class Schema(AutoSchema):
    """Reads parameters from the view's `known_parameters`, and adds what every call may answer.

    A view tells which problems its actions have of their own: `problems = {"cancel": [409]}`.
    """

    def _get_filter_parameters(self) -> list[Json]:
        known = getattr(self.view, "known_parameters", None)
        found = [parameter.schema() for parameter in known()] if known else []
        return [*found, IDEMPOTENCY_KEY] if self._may_come_again() else found

    def _may_come_again(self) -> bool:
        """Whether an Idempotency-Key counts: who calls is known."""
        return self.method == "POST" and not self._is_public()

    def _is_public(self) -> bool:
        return any(isinstance(allowed, AllowAny) for allowed in self.view.get_permissions())

    def _get_pagination_parameters(self) -> list[Json]:
        return []  # among the known ones

    def get_operation_id(self) -> str:
        """`fallbackConfigs_repair` says more than `fallback_configs_repair_create`."""
        one = "retrieve" if self.path.endswith("}") else "get"
        action = getattr(self.view, "action", None) or self.method.lower().replace("get", one)
        tokens = [part for part in self._tokenize_path() if part != action]
        return f"{'_'.join(tokens)}_{action}".replace("-", "_").strip("_")

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """`ConfigShown` is told as `Config`, `ConfigBody` as `ConfigRequest`."""
        return type(serializer).__name__.removesuffix("Shown").removesuffix("Body")

    def _get_request_body(self, direction: Any = "request") -> Any:
        """Of a DELETE as well, which the library leaves out."""
        method, self.method = self.method, self.method.replace("DELETE", "POST")
        try:
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        finally:
            self.method = method

    def _get_response_bodies(self, direction: Any = "response") -> Json:
        found: Json = super()._get_response_bodies(direction)
        if self._may_come_again():
            for told, answer in found.items():
                if told.startswith("2"):
                    answer.setdefault("headers", {})["Idempotency-Replayed"] = REPLAYED
        component = self.resolve_serializer(Problem, "response")
        for status in self._problems():
            found.setdefault(
                str(status),
                {
                    "description": HTTPStatus(status).phrase,
                    "content": {CONTENT_TYPE: {"schema": component.ref}},
                },
            )
        return dict(sorted(found.items()))

    def _problems(self) -> list[int]:
        view = self.view
        action = getattr(view, "action", None) or self.method.lower()
        found = {400, 406, 503, *getattr(view, "problems", {}).get(action, ())}
        if not self._is_public():
            found |= {401, 403}
        if self._may_come_again():
            found |= {409, 422}
        if "{" in self.path:
            found.add(404)
        if self.method not in SAFE_METHODS:
            found |= {413, 415}
        return sorted(found)


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> Json:
        return {"type": "http", "scheme": "bearer", "description": "A Switchyard API token."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "accounts.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> Json:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "Signed in on the pages; writing also needs the header X-CSRFToken.",
        }


def one_of_each(endpoints: list[tuple[str, str, str, Any]], **_: Any) -> list[Any]:
    """A route answers under /api/ and /api/v1/, with and without a slash: told of once."""
    return [
        (re.sub(r"(?<=.)/$", "", path), regex, method, callback)
        for path, regex, method, callback in endpoints
        if path.startswith("/api/") and not path.startswith("/api/v1/")
    ]


def without_marks(result: Json, **_: Any) -> Json:
    """Enums stay where they are used; the mark that would give them names of their own goes.

    So do patterns that mean another thing to their readers.
    """
    _unmark(result)
    return result


def _unmark(node: Any) -> None:
    if isinstance(node, dict):
        node.pop("x-spec-enum-id", None)
        # In Python \w is a letter of any script, in OpenAPI one of ASCII: it would forbid Zürich.
        if "\\w" in str(node.get("pattern")).lower():
            del node["pattern"]
    for item in node.values() if isinstance(node, dict) else node:
        if isinstance(item, dict | list):
            _unmark(item)


def each_required_once(result: Json, **_: Any) -> Json:
    """Two spellings of one field are one field in camelCase; JSON Schema wants each name once."""
    for component in result["components"]["schemas"].values():
        if "required" in component:
            component["required"] = list(dict.fromkeys(component["required"]))
    return result
