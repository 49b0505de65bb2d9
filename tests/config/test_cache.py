"""The cache: the broker's when it is there, a miss and no fault when it is away."""

import time

import pytest
from django.core.cache import caches

from config.base.cache import FailOpen
from tests.config.test_health import as_if_just_started, broker

__all__ = ["as_if_just_started", "broker"]


@pytest.fixture
def away(settings) -> FailOpen:
    location = "unix:///nowhere/valkey.sock"
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": location}}
    found = caches["default"]
    assert isinstance(found, FailOpen)
    return found


def test_what_is_set_is_there(broker):
    cache = caches["default"]
    cache.set("a", {"b": 1}, 60)
    assert cache.get("a") == {"b": 1}
    assert not cache.add("a", 2, 60)
    assert cache.add("n", 1, 60)
    assert cache.incr("n", 2) == 3
    assert cache.touch("n", 60)
    assert cache.get_many(["a", "n", "x"]) == {"a": {"b": 1}, "n": 3}
    assert cache.has_key("n")
    cache.set_many({"c": 1, "d": 2}, 60)
    cache.delete_many(["c"])
    assert (cache.get("c", "gone"), cache.get("d")) == ("gone", 2)
    assert cache.delete("d")
    cache.clear()
    assert cache.get("a") is None
    with pytest.raises(ValueError, match="n"):
        cache.incr("n")


def test_while_it_is_away_everything_is_a_miss(away):
    away.set("a", 1)
    assert away.get("a", "missing") == "missing"
    assert away.get_many(["a"]) == {}
    assert away.add("a", 1)
    assert away.incr("a") == 0
    assert not away.touch("a")
    assert not away.delete("a")
    assert not away.has_key("a")
    assert away.set_many({"a": 1}) == ["a"]
    away.delete_many(["a"])
    away.clear()


def test_it_is_not_tried_again_for_a_while(away, monkeypatch):
    tried = []

    def refuse(*_: object) -> None:
        tried.append(1)
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.cache.backends.redis.RedisCache.get", refuse)
    for _ in range(5):
        assert away.get("a") is None
    assert len(tried) == 1
    monkeypatch.setattr(FailOpen, "_away_until", time.monotonic() - 1)
    away.get("a")
    assert len(tried) == 2
