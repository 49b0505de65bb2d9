"""`python -m fallback.simulator`: the simulator without Django."""

from __future__ import annotations

import argparse

from .commandline import add_arguments, run

parser = argparse.ArgumentParser(prog="truefoundry-simulator", description=__doc__)
add_arguments(parser)
run(parser.parse_args())
