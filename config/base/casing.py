"""Names on the wire are camelCase, in Python snake_case. What belongs to users keeps its keys."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from djangorestframework_camel_case.render import CamelCaseJSONRenderer
from djangorestframework_camel_case.settings import api_settings
from djangorestframework_camel_case.util import (
    camel_to_underscore,
    camelize_re,
    underscore_to_camel,
)
from rest_framework.renderers import JSONRenderer


@lru_cache(maxsize=4096)
def camel(name: str) -> str:
    """`source_cluster_id` as `sourceClusterId`."""
    return str(camelize_re.sub(underscore_to_camel, name))


@lru_cache(maxsize=4096)
def snake(name: str) -> str:
    """`sourceClusterId` as `source_cluster_id`; a name in snake_case stays."""
    return str(camel_to_underscore(name, **api_settings.JSON_UNDERSCOREIZE))


class Renderer(CamelCaseJSONRenderer):  # type: ignore[misc]
    """The library's, but that a list of 500 rows does not spell each of its names 500 times."""

    def render(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        kept = frozenset(self.json_underscoreize["ignore_fields"])
        return JSONRenderer.render(self, camelized(data, kept), *args, **kwargs)


def camelized(data: Any, kept: frozenset[str]) -> Any:
    """`data` with its names in camelCase, but for what lies under a name in `kept`."""
    if isinstance(data, Mapping):
        found = {}
        for key, value in data.items():
            name = camel(key) if isinstance(key, str) else key
            as_it_is = key in kept or name in kept
            found[name] = value if as_it_is else camelized(value, kept)
        return found
    if isinstance(data, list | tuple):
        return [camelized(item, kept) for item in data]
    return data
