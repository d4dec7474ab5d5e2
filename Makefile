.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The tests start many a Python: what is compiled is kept, whatever the shell says.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
SPARK_35 := $(VENV)/spark-3.5
WORKER_PYTHON ?=
DEMO_RUN ?= demo-run
DEMO_FULL_RUN ?= demo-full-run
FUZZ_S ?= 600

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## install everything into .venv; needs Java 17 or newer (installed by apt-get if run as root)

$(READY): pyproject.toml constraints.txt conf/setup.sh
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "pairmill: error: environment_invalid: $(PYTHON) is not Python 3.11, 3.12 or 3.13; install one, or pass it: make PYTHON=... setup" >&2; exit 2; }
	@bash conf/java.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@bash conf/setup.sh $(BIN)/python
	@touch $(READY)

demo: setup ## run the whole pipeline on a small local web: crawl, corpus, training, filter, evaluation; 3 minutes
	$(BIN)/pairmill demo --run $(DEMO_RUN)

demo-full: setup ## the demo with three times larger corpora and longer training; 8 minutes
	$(BIN)/pairmill demo --full --run $(DEMO_FULL_RUN)

test: setup lint ## everything but the long matrices, a file at a time in three processes: many tests wait
	$(PYTEST) -m "not long and not cluster" -n 3 --dist loadfile --no-loadscope-reorder --durations=50

test-fast: setup ## what needs no Spark, no network and no torch: less than a minute
	$(PYTEST) -m "not long and not cluster" --fast -n 2 --dist loadfile --no-loadscope-reorder --durations=10

test-all: setup lint ## the long matrices too
	$(PYTEST) -m "not cluster" --durations=50

test-cluster: dist $(SPARK_35)/.ready ## a Spark 4 and a Spark 3.5 cluster on this machine, with a killed worker
	$(PYTEST) -rP -m cluster tests/cluster

$(SPARK_35)/.ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(SPARK_35) pyspark==3.5.9
	touch $@

dist: setup ## build dist/env.tar.gz: the environment of Spark tasks, for spark-submit --archives (docs/cluster.md)
	rm -f dist/pairmill-*.whl
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python conf/pack.py dist/pairmill-*.whl --output dist/env.tar.gz $(if $(WORKER_PYTHON),--worker-python $(WORKER_PYTHON))

lint: setup ## check format, ruff, mypy --strict and the import layers
	@$(BIN)/ruff format --quiet --check . || { echo "format: run .venv/bin/ruff format" >&2; exit 1; }
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports

fuzz: setup ## mutations of sound inputs against every reader, FUZZ_S=600 seconds; failures go to fuzz-found/
	$(BIN)/python tests/fuzz/fuzzing.py --seconds $(FUZZ_S)

bench: setup ## run every benchmark; each prints one JSON line
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## remove the environment, caches and the runs of both demos (other runs are kept)
	rm -rf $(VENV) demo-run demo-full-run build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.PHONY: help setup demo demo-full test test-fast test-all test-cluster dist lint fuzz bench clean
