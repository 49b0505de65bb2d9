"""`make bench`: all figures, each beside its target; exit code 1 where one is missed."""

import os
import sys
from itertools import chain

from tests.bench import (
    bench_activity,
    bench_api,
    bench_live,
    bench_moves,
    bench_pages,
    bench_simulator,
)
from tests.bench.figures import Figure, report

MODULES = (bench_simulator, bench_moves, bench_activity, bench_api, bench_pages, bench_live)
load, cores = os.getloadavg()[0], os.cpu_count() or 1
print(f"{cores} cores, load {load:.1f}", end="")
print(": not a quiet machine, so speeds will be too low." if load > cores / 4 else ".", flush=True)
found: list[Figure] = []
for figure in chain.from_iterable(module.measure() for module in MODULES):
    print(figure, flush=True)
    found.append(figure)
sys.exit(report(found))
