"""Every address that answers with a page, a part of one, or something done."""

import re
from collections.abc import Iterator
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

from tests.calling import NOBODYS


def pages(resolver: Any = None, above: str = "/") -> Iterator[str]:
    """An address for each pattern but the API's; ids in it are nobody's."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = above + re.sub(r"<uuid:\w+>", NOBODYS, str(pattern.pattern))
        route = re.sub(r"<int:\w+>", "1", route)
        route = re.sub(r"<(?:\w+:)?\w+>", "x", route)
        if isinstance(pattern, URLResolver):
            if pattern.namespace not in ("api", "api-v1"):
                yield from pages(pattern, route)
        elif isinstance(pattern, URLPattern) and not re.search(r"[\\^(*]", route):
            yield route


PAGES = sorted(set(pages()))
