# `make demo` and `make test` are all that a fresh machine needs; each sets up first.
# Without make: the recipes below are plain commands and can be typed as they stand.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A machine may have it set: then each of some hundred processes would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=
VENV := .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest
# Much of the suite waits, so five processes are quicker than two, also on two cores. Fixtures are
# shared within a file; tests/needs.py says in which order files are taken.
SUITE := $(PYTEST) --numprocesses 5 --dist loadfile --no-loadscope-reorder
# What PostgreSQL would show on pages, in the API and in tables of addresses, other tests show, too.
ALSO_SHOWN := pages or admin or routes or bodies or schemathesis or hardening or frame or api or memory
LOCK := requirements/dev.lock
SOURCES := config accounts fallback tests manage.py
# The environment of checks: no .env file, and nothing of theirs in ./var.
CHECKS := ENV_FILE=none PRODUCTION=false DATA_DIR=$(VENV)/checks

.PHONY: help setup lock test checks compiled test-postgres test-postgres-small demo lint format types migrations bench \
  soak coverage clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup:  ## install the locked dependencies into .venv (does nothing when they are there)
	@.ci/setup $(VENV) $(LOCK)

# 3.11.2 is the Python of Debian 12: some dependencies need a package more there.
lock: setup  ## compile requirements/*.in to hashed locks
	@for name in base dev tools; do \
	  PATH="$(CURDIR)/$(VENV)/tools/bin:$$PATH" uv pip compile --quiet --python-version 3.11.2 --generate-hashes \
	    --no-emit-index-url --no-header $(UPGRADE) requirements/$$name.in -o requirements/$$name.lock; \
	done

test: setup  ## lint, types, migrations, then every test that this machine can run
	@$(MAKE) --jobs=2 --output-sync checks
	$(SUITE)

checks: types lint migrations compiled

# So that the suite's processes, which all begin at once, do not each do it.
compiled: setup
	@told=$$($(PYTEST) --collect-only --quiet 2>&1) || { tail -50 <<<"$$told"; exit 1; }

test-postgres: setup  ## the tests that use the database, on a PostgreSQL of their own
	@.ci/with-postgres $(SUITE) -m "database or faults or postgres"

test-postgres-small: setup  ## the same without pages, API and tables of addresses: what the gate has time for
	@.ci/with-postgres $(SUITE) -m "database or faults or postgres" -k "not ($(ALSO_SHOWN))"

demo: setup  ## the whole application with a simulated control plane, on this machine
	@exec $(PY) manage.py demo

lint: setup  ## ruff and djlint
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	@if find templates -name '*.html' | grep -q .; then $(VENV)/bin/djlint --quiet --check --lint templates; fi

format: setup  ## rewrite the sources in the agreed form
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)
	@if find templates -name '*.html' | grep -q .; then $(VENV)/bin/djlint --quiet --reformat templates; fi

types: setup  ## mypy
	$(CHECKS) $(VENV)/bin/mypy

migrations: setup  ## fail where a model has changed and no migration says so
	$(CHECKS) $(PY) manage.py makemigrations --check --dry-run

bench: setup  ## the figures in the README
	$(PY) -m tests.bench

soak: setup  ## the heavy proofs in their full size (minutes)
	SOAK=1 $(SUITE) -m "soak or faults or browser" tests

coverage: setup  ## which lines no test reaches
	$(PYTEST) --cov --cov-report=term --cov-report=html

clean:  ## remove what was made here: the environment, caches and reports (not ./var: your data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
