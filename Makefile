.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_RUN ?= demo-run

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(READY) ## .venv with everything; Java 17 or newer must be there (as root, apt-get installs it)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
		|| { echo "pairmill: error: environment_invalid: $(PYTHON) is no Python 3.11 or 3.12; install one, or name it: make PYTHON=... setup" >&2; exit 2; }
	@bash conf/java.sh
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(READY)

demo: setup ## serve a small web, crawl it, build a corpus, audit it, compare with the planted truth
	$(BIN)/pairmill demo --run $(DEMO_RUN)

test: setup lint ## everything but the long matrices
	$(BIN)/python -m pytest -m "not long"

test-all: setup lint ## the long matrices too
	$(BIN)/python -m pytest

lint: setup ## ruff, mypy on core and schemas, the layers
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports >/dev/null || $(BIN)/lint-imports

bench: setup ## every benchmark; prints one JSON line each
	@for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean: ## remove the environment, caches and demo-run; no other run
	rm -rf $(VENV) demo-run build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.PHONY: help setup demo test test-all lint bench clean
