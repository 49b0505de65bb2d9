"""Following links: one page of each route, and what is wrong with it."""

from collections.abc import Callable
from urllib.parse import urlsplit

from django.urls import Resolver404, resolve

from tests.e2e.yard import Reader

LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.href)"
NOT_OURS = ("/admin/", "/api/", "/static/", "/activity/export/")  # looked at elsewhere


def is_page(path: str) -> bool:
    return not path.startswith(NOT_OURS)


def route_of(path: str) -> str:
    """Its pattern among the URLs; the path itself where there is none."""
    try:
        return str(resolve(urlsplit(path).path).route)
    except Resolver404:
        return path


class Crawl:
    """Opens what it is given and whatever that leads to, each route once."""

    def __init__(self, reader: Reader, follow: Callable[[str], bool] = is_page) -> None:
        self.reader, self.follow = reader, follow
        self.routes: set[str] = set()
        self.wrong: list[str] = []
        self._ahead: dict[str, str] = {}  # a path for each route that was not opened yet

    def begin_at(self, *paths: str) -> "Crawl":
        for path in paths:
            self._open(path)
        while self._ahead:
            self._open(self._ahead.pop(next(iter(self._ahead))))
        return self

    def _open(self, path: str) -> None:
        page, here = self.reader.page, self.reader.yard.url
        page.goto(path)
        self.routes.add(route_of(path))
        self.wrong += self.reader.wrong_here()
        for link in page.evaluate(LINKS):
            path = link.removeprefix(here)
            if path.startswith("/") and self.follow(path) and route_of(path) not in self.routes:
                self._ahead.setdefault(route_of(path), path)
