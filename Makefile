# Needs Python 3.11 (or 3.12) and make. All else goes into $(VENV).
#   make book   execute every chapter on the language model, then render the book
#   make html   render the committed outputs only: no model, about a minute
#   make course the student, instructor and nbgrader editions, after make html
#   make test   the tests
# Another interpreter: make PYTHON=/path/to/python3.11 book

VENV ?= .venv
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.entrack-installed
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup book html course test lint clean

help:
	@sed -n '2,6s/^# *//p' Makefile

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
	"$(BIN)/entrack" build --all

html: $(STAMP)
	"$(BIN)/entrack" build --html-only

course: $(STAMP)
	"$(BIN)/entrack" course

test: $(STAMP)
	"$(BIN)/python" -m pytest $(PYTEST_ARGS)

lint: $(STAMP)
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .

# Built pages and reruns; the environment and the model's cache stay.
clean:
	rm -rf _build runs .pytest_cache .ruff_cache
