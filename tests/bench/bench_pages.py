"""The pages with 100,000 moves and 1,000 configs, over HTTP from a real server.

Opened by somebody in one organization (nine tenths of the rows), by somebody in three, and by a
superuser.
"""

import sys
from collections.abc import Iterator

import requests

from tests.bench.bench_api import MOST_MS, PEOPLE, p95, served
from tests.bench.figures import Figure, report

# {move} has 2,000 steps, {sweep} 100 sources.
PAGES = (
    "",
    "now/",
    "moves/",
    "moves/?page=1000",
    "moves/?state=person",
    "moves/?state=Failed",
    "moves/?search=train-17",
    "moves/?reason=AnswerLost",
    "moves/?workspace=source:team-7",
    "moves/?config={config}",
    "moves/rows/",
    "moves/{move}/",
    "configs/",
    "configs/?page=20",
    "configs/?search=team-77",
    "configs/?state=repair",
    "configs/{config}/",
    "configs/{config}/edit/",
    "configs/new/",
    "sweeps/",
    "sweeps/{sweep}/",
    "connections/",
    "connections/{connection}/",
    "activity/",
    "activity/?days=",
    "activity/?search=train-17",
)


def measure() -> Iterator[Figure]:
    with served() as world, requests.Session() as http:
        http.trust_env = False
        for who, name in PEOPLE.items():
            http.headers["Cookie"] = f"sessionid={world.sessions[who]}"
            for page in PAGES:
                taken = p95(http, f"{world.url}/{page.format(**world.rows)}", "</")
                yield Figure(f"{name}: /{page}: p95", taken, "ms", most=MOST_MS)


if __name__ == "__main__":
    sys.exit(report(measure()))
