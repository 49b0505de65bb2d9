"""Runs in the order of the listings: newest first by (createdAt, id), filtered by status."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import chain

from .records import Run

Key = tuple[int, str]


class RunIndex:
    """A sorted list of keys for each status, oldest first; pages are cut from the far end.

    Filters on several statuses merge those lists; a merge is kept until one of its statuses
    changes, so that paging through 10,000 stuck runs sorts them once.
    """

    def __init__(self) -> None:
        self._by_status: dict[str, list[Key]] = {}
        self._merged: dict[frozenset[str], list[Key]] = {}

    def add(self, run: Run) -> None:
        insort(self._by_status.setdefault(run.status, []), (run.created_at, run.id))
        self._forget(run.status)

    def remove(self, run: Run) -> None:
        keys = self._by_status[run.status]
        del keys[bisect_left(keys, (run.created_at, run.id))]
        self._forget(run.status)

    def page(self, statuses: Iterable[str], offset: int, limit: int) -> tuple[list[str], int]:
        """Ids of one page, newest first, and how many there are in all."""
        keys = self._keys(frozenset(statuses))
        end = max(len(keys) - offset, 0)
        return [key[1] for key in reversed(keys[max(end - limit, 0) : end])], len(keys)

    def newest(self, statuses: Iterable[str]) -> list[str]:
        """All ids, newest first."""
        return [key[1] for key in reversed(self._keys(frozenset(statuses)))]

    def _keys(self, statuses: frozenset[str]) -> list[Key]:
        if len(statuses) == 1:
            return self._by_status.get(next(iter(statuses)), [])
        if statuses not in self._merged:
            lists = self._by_status.items()
            wanted = [keys for status, keys in lists if not statuses or status in statuses]
            self._merged[statuses] = sorted(chain.from_iterable(wanted))
        return self._merged[statuses]

    def _forget(self, status: str) -> None:
        for statuses in [s for s in self._merged if not s or status in s]:
            del self._merged[statuses]
