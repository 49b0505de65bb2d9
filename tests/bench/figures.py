"""A figure and its target, and the table of them all."""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. `least` and `most` bound it; without either it is only told."""

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        above = self.least is None or self.value >= self.least
        return above and (self.most is None or self.value <= self.most)

    @property
    def target(self) -> str:
        if self.least is not None:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.most is not None else ""

    @property
    def verdict(self) -> str:
        return ("met" if self.met else "MISSED") if self.target else ""

    def __str__(self) -> str:
        told = f"{self.what}: {shown(self.value)} {self.unit}".rstrip()
        return f"{told} (target {self.target}: {self.verdict})" if self.target else told


def shown(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"


def report(figures: Iterable[Figure]) -> int:
    """Print the table; answers the exit code."""
    figures = list(figures)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("figure", overflow="fold")
    table.add_column("measured", justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    table.add_column("")
    for figure in figures:
        table.add_row(figure.what, shown(figure.value), figure.unit, figure.target, figure.verdict)
    console = Console(width=110)
    console.print()
    console.print(table)
    missed = [figure for figure in figures if not figure.met]
    console.print(f"\n{len(missed)} missed" if missed else "\nall targets met")
    return 1 if missed else 0
