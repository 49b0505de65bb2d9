"""Every address that answers with a page, a part of one, or something done."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve

from tests.calling import NOBODYS

# Links to these are not followed: programs, files, and what has tests of its own.
NOT_OURS = ("/admin/", "/api/", "/static/", "/activity/export/")
# Neither a page nor a part of one: a file, and what Prometheus reads.
NO_PAGES = {"activity/export/", "metrics"}


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


def is_page(path: str) -> bool:
    return path.startswith("/") and not path.startswith(NOT_OURS)


def route_of(path: str) -> str:
    """Its pattern among the URLs; the path itself where there is none."""
    try:
        return str(resolve(urlsplit(path).path).route)
    except Resolver404:
        return path


def left_over(routes: set[str]) -> list[str]:
    """An address of each pattern that is not among `routes`; the admin has a table of its own."""
    shown = routes | NO_PAGES
    return [
        address
        for address in PAGES
        if not address.startswith("/admin/") and route_of(address) not in shown
    ]
