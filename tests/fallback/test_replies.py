import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fallback import replies
from fallback.replies import (
    OVERLAP,
    PAGE,
    Unavailable,
    complete,
    is_whole,
    to_cluster,
    to_job_run,
    to_workspace,
)


class Shifting:
    """A list, newest first, that changes between pages."""

    def __init__(self, size: int, seed: int, most_gone: int, most_new: int) -> None:
        self.random = random.Random(seed)
        self.items = [{"id": f"old-{n}"} for n in range(size)]
        self.gone: set[str] = set()
        self.new = 0
        self.most_gone, self.most_new = most_gone, most_new

    def fetch(self, offset: int) -> tuple[list[dict[str, str]], bool]:
        page = self.items[offset : offset + PAGE]
        more = offset + PAGE < len(self.items)
        for _ in range(self.random.randint(0, self.most_gone)):
            if self.items:
                self.gone.add(self.items.pop(self.random.randrange(len(self.items)))["id"])
        for _ in range(self.random.randint(0, self.most_new)):
            self.new += 1
            self.items.insert(0, {"id": f"new-{self.new}"})
        return page, more


@given(
    size=st.integers(0, 450),
    seed=st.integers(0, 10**6),
    most_gone=st.integers(0, 60),
    most_new=st.integers(0, 150),
)
def test_nothing_that_stays_is_missed_or_doubled(
    size: int, seed: int, most_gone: int, most_new: int
) -> None:
    shifting = Shifting(size, seed, most_gone, most_new)
    stayed = {item["id"] for item in shifting.items}
    try:
        found = [item["id"] for item in complete(shifting.fetch)]
    except Unavailable:
        assert most_gone + most_new > OVERLAP  # only a list in turmoil may be given up on
        return
    assert len(found) == len(set(found))
    assert stayed - shifting.gone <= set(found)


def test_two_hundred_items_take_three_pages() -> None:
    shifting = Shifting(200, 0, 0, 0)
    offsets: list[int] = []

    def fetch(offset: int) -> tuple[list[dict[str, str]], bool]:
        offsets.append(offset)
        return shifting.fetch(offset)

    assert len(complete(fetch)) == 200
    assert offsets == [0, PAGE - OVERLAP, 2 * (PAGE - OVERLAP)]


def test_a_list_that_never_holds_still_is_given_up() -> None:
    def fetch(offset: int) -> tuple[list[dict[str, str]], bool]:
        return [{"id": str(random.random())} for _ in range(PAGE)], True

    with pytest.raises(Unavailable):
        complete(fetch)


@pytest.mark.parametrize("body", [None, [], {}, {"data": 3}, {"data": [{}]}, {"data": None}, "x"])
def test_what_is_no_list_is_no_answer(body: object) -> None:
    with pytest.raises(Unavailable):
        replies.page_of(body, 0, "/x")


@given(st.dictionaries(st.text(), st.none() | st.text() | st.floats() | st.lists(st.integers())))
def test_a_run_can_be_read_whatever_the_remote_says(item: dict) -> None:
    fields = ["id", "name", "createdAt", "status", "command"]
    run = replies.to_job_run(
        {name: value for name, value in zip(fields, item.values(), strict=False)}
    )
    assert isinstance(run.created_at, int)
    assert isinstance(run.status, str)


WHOLE: dict[str, object] = {
    "id": "r1",
    "name": "run-1",
    "status": "SCHEDULED",
    "createdAt": 1_790_000_000_000,
    "applicationId": "a1",
    "deploymentId": "d1",
    "deploymentVersion": "3",
}


NO_VERSIONS: list[object] = [None, "", [], "9" * 33]
NO_TIMES: list[object] = [None, "2026-01-01T00:00:00Z", 0, -1, 10**18, 1e9]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("deploymentVersion", version) for version in NO_VERSIONS),
        *(("createdAt", time) for time in NO_TIMES),
        *((name, text) for name in ("id", "name", "deploymentId") for text in (None, "a b")),
    ],
)
def test_a_run_is_acted_on_only_if_all_of_it_is_told(field: str, value: object) -> None:
    """Without a version it would share another's manifest; without a time it would look old."""
    assert is_whole(to_job_run(WHOLE))
    assert not is_whole(to_job_run(WHOLE | {field: value}))
    assert not is_whole(to_job_run({k: v for k, v in WHOLE.items() if k != field}))


@pytest.mark.parametrize(
    "name", ["a\nb", "a\r\nX-Other: b", "a/b", " a", "a b", "\u00e4", "x" * 201]
)
def test_a_tenant_that_no_header_can_name_is_too_little_told(name: str) -> None:
    """What is done for a tenant is done in its name; a slash would make it another one's."""
    assert is_whole(to_job_run(WHOLE | {"tenantName": "acme-1.example"}))
    assert not is_whole(to_job_run(WHOLE | {"tenantName": name}))


@pytest.mark.parametrize("read", [to_cluster, to_workspace])
def test_a_place_is_named_as_its_fqn_ends_unless_it_says_more(read: Any) -> None:
    """The vendor's SDK knows no other name of it."""
    assert read({"id": "x", "fqn": "acme:gpu"}).name == "gpu"
    assert read({"id": "x", "fqn": "acme:gpu", "name": "GPUs"}).name == "GPUs"
    assert read({"id": "x"}).name == ""
