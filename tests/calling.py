"""Calls the API as a program does: a token, JSON, and nothing else."""

import json
from typing import Any

from django.test import Client

from accounts.models import User
from tests.factories import issue_token

RFC_9457 = {"type", "title", "status", "detail", "code", "error"}
NOBODYS = "6f1d2c3b-4a59-4e7f-8c6d-9b0a1f2e3d4c"  # an id; fixed, for it is in names of tests


class Caller:
    """`caller.get("moves", state="Failed")`; the answer has `.status_code` and `.json()`."""

    def __init__(self, user: User | None = None, secret: str = "", **token: Any) -> None:
        self.client = Client()
        self.user = user
        if user is not None and not secret:
            _, secret = issue_token(user, **token)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str, **query: Any) -> Any:
        return self.client.get(f"/api/{path}", query, headers=self.headers)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.generic(
            method,
            f"/api/{path}",
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers=self.headers | headers,
        )

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def put(self, path: str, body: Any = None) -> Any:
        return self.send("PUT", path, body)

    def patch(self, path: str, body: Any = None) -> Any:
        return self.send("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self.send("DELETE", path)


def results(answer: Any) -> list[Any]:
    """A list's rows."""
    assert answer.status_code == 200, answer.content
    found: list[Any] = answer.json()["results"]
    return found


def problem(answer: Any, status: int, code: str) -> Any:
    """The body of a problem, once it is known to be one."""
    assert answer.status_code == status, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() - {"errors"} == RFC_9457
    assert (body["status"], body["code"]) == (status, code)
    assert body["error"] == body["detail"]
    assert "Traceback" not in answer.content.decode()
    return body


class Stream:
    """A request's body as a parser reads it."""

    def __init__(self, content: Any) -> None:
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()

    def read(self, most: int) -> bytes:
        return self.content[:most]
