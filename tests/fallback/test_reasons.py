"""Reasons are codes from closed lists: each is explained to people, and can be filtered by."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fallback.looking import RETRIED
from fallback.match import Reason, SourceProblem
from fallback.views.moves import REASONS

ROOT = Path(__file__).parents[2]
ENGINE = ("journey", "moving", "relocating", "terminating", "travelling", "triggering")
SAY_WHY = {"end", "stay", "wait", "NotYet", "Never"}
CODE = re.compile(r"[A-Z][A-Za-z]+\Z")


def said_by(module: str) -> Iterator[str]:
    """The codes that a module of the engine gives to moves."""
    for node in ast.walk(ast.parse((ROOT / "fallback" / f"{module}.py").read_text())):
        if isinstance(node, ast.Call) and name_of(node.func) in SAY_WHY:
            yield from codes(*node.args, *(keyword.value for keyword in node.keywords))
        elif isinstance(node, ast.Assign) and "reason" in map(name_of, node.targets):
            yield from codes(node.value)
        elif isinstance(node, ast.arguments):
            yield from codes(*node.defaults)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "reason":
                    yield from codes(value)
        elif isinstance(node, ast.keyword) and node.arg == "reason":
            yield from codes(node.value)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def codes(*nodes: ast.expr) -> Iterator[str]:
    for node in nodes:
        parts = (node.body, node.orelse) if isinstance(node, ast.IfExp) else (node,)
        for part in parts:
            value = part.value if isinstance(part, ast.Constant) else None
            if isinstance(value, str) and CODE.match(value):
                yield value


OF_MOVES = {code for module in ENGINE for code in said_by(module)}


def values(cls: type) -> set[str]:
    return {value for name, value in vars(cls).items() if name.isupper()}


def test_the_reader_of_codes_sees_what_is_there() -> None:
    assert {"RolloutUnderWay", "Unavailable", "InternalError", "NameTaken"} <= OF_MOVES
    assert RETRIED not in OF_MOVES


def test_each_is_explained() -> None:
    told = set(re.findall(r"`([A-Za-z]+)`", (ROOT / "docs" / "fallback.md").read_text()))
    assert OF_MOVES | values(Reason) | values(SourceProblem) <= told


def test_moves_can_be_filtered_by_each() -> None:
    assert set(REASONS) == OF_MOVES
