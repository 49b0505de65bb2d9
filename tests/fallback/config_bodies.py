"""What a config is made of, as the API takes it."""

from typing import Any

Json = dict[str, Any]


def place(found: Json) -> Json:
    return {"clusterId": found["clusterId"], "workspaceId": found["workspaceId"]}


def body_of(seeded: Json, **more: Any) -> Json:
    return {
        "source": place(seeded["source"]),
        "destination": place(seeded["destinations"][0]),
        **more,
    }


def plain(source: str = "a", destination: str = "b", **more: Any) -> Json:
    """For a control plane that is not asked."""
    return {
        "source": {"clusterId": "one", "workspaceId": source},
        "destination": {"clusterId": "two", "workspaceId": destination},
        **more,
    }
