"""Following links: one page of each route, and what is wrong with it."""

from collections.abc import Callable

from tests.addresses import is_page, route_of
from tests.e2e.yard import Reader

LINKS = "[...document.querySelectorAll('a[href]')].map(link => link.href)"
PARTS = "[...document.querySelectorAll('[hx-get]')].map(part => part.getAttribute('hx-get'))"


class Crawl:
    """Opens pages; `routes` are theirs, and those of the parts that they fetch."""

    def __init__(self, reader: Reader, follow: Callable[[str], bool] = is_page) -> None:
        self.reader, self.follow = reader, follow
        self.routes: set[str] = set()
        self.wrong: list[str] = []
        self._met: set[str] = set()  # routes that need not be followed any more
        self._ahead: list[str] = []

    def begin_at(self, *paths: str) -> "Crawl":
        """Opens these and whatever they lead to, each route once."""
        self._met |= set(map(route_of, paths))
        self._ahead += paths
        while self._ahead:
            self._open(self._ahead.pop(0))
        return self

    def _open(self, path: str) -> None:
        page, here = self.reader.page, self.reader.yard.url
        page.goto(path)
        shown = [page.url.removeprefix(here), *page.evaluate(PARTS)]
        self.routes |= set(map(route_of, shown))
        self.wrong += self.reader.wrong_here()
        for link in page.evaluate(LINKS):
            path = link.removeprefix(here)
            if self.follow(path) and route_of(path) not in self._met:
                self._met.add(route_of(path))
                self._ahead.append(path)
