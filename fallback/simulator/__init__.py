"""A TrueFoundry control plane in memory, for demos, tests and benchmarks.

world.py holds the state; deploying.py, running.py, arriving.py and seeding.py act upon it;
api.py is the vendor's surface, control.py ours; server.py puts both on HTTP. It imports no
Django: `python -m fallback.simulator` runs it alone, client.py starts it from a test.
"""
