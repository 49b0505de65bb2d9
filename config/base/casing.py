"""Names on the wire are camelCase, in Python snake_case. What belongs to users keeps its keys."""

from djangorestframework_camel_case.settings import api_settings
from djangorestframework_camel_case.util import (
    camel_to_underscore,
    camelize_re,
    underscore_to_camel,
)


def camel(name: str) -> str:
    """`source_cluster_id` as `sourceClusterId`."""
    return str(camelize_re.sub(underscore_to_camel, name))


def snake(name: str) -> str:
    """`sourceClusterId` as `source_cluster_id`; a name in snake_case stays."""
    return str(camel_to_underscore(name, **api_settings.JSON_UNDERSCOREIZE))
