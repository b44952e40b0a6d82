# Needs Python 3.11 (or 3.12) and make. All else goes into $(VENV).
#   make book   execute every chapter in its quick sizes, then render them beside the published
#   make edition  execute the full sizes and publish them: hours on two cores; goes on where it was
#   make sweep  run chapters on several lineages and seeds (workflow/)
#   make html   render the committed outputs only: no model, about a minute
#   make course the student, instructor and nbgrader editions, after make html
#   make test   the tests
#   make paper-7b   every chapter on the paper's models, given their weights (FAMILY=my/family.json)
# Another interpreter: make PYTHON=/path/to/python3.11 book

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.entrack-installed
PYTEST_ARGS ?=
FAMILY ?= llama-7b
SWEEP_VENV := .venv-sweep
SWEEP_STAMP := $(SWEEP_VENV)/.installed
SWEEP_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup book edition sweep html course test lint paper-7b clean

help:
	@sed -n '2,9s/^# *//p' Makefile

setup: $(STAMP)

# pip runs only when the list of packages or their pinned versions changed.
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || { \
	  echo "entrack needs Python 3.11 or 3.12; $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch "$@"

book: $(STAMP)
	"$(BIN)/entrack" fetch
	"$(BIN)/entrack" build --edition quick

edition: $(STAMP)
	"$(BIN)/entrack" fetch
	"$(BIN)/entrack" build --edition full --publish

sweep: $(STAMP) $(SWEEP_STAMP)
	"$(BIN)/entrack" fetch
	ENTRACK_PYTHON="$(abspath $(BIN))/python" $(SWEEP_VENV)/bin/python workflow/sweep.py $(SWEEP_ARGS)

# Snakemake does not share the book's pins, so it has an environment of its own.
$(SWEEP_STAMP): workflow/constraints.txt
	"$(PYTHON)" -m venv $(SWEEP_VENV)
	$(SWEEP_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r workflow/constraints.txt
	@touch "$@"

html: $(STAMP)
	"$(BIN)/entrack" build --html-only

course: $(STAMP)
	"$(BIN)/entrack" course

test: $(STAMP)
	"$(BIN)/python" -m pytest $(PYTEST_ARGS)

paper-7b: $(STAMP)
	"$(BIN)/entrack" run-all --family "$(FAMILY)"

lint: $(STAMP)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

# Built pages and reruns; the environment and the model's cache stay.
clean:
	rm -rf _build runs .pytest_cache .ruff_cache
