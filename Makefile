# Needs Python 3.11 (or 3.12) and make. All else goes into $(VENV).
#   make book   execute every chapter in its quick sizes, then render them beside the published
#   make edition  execute the full sizes and publish them: hours on two cores; goes on where it was
#   make sweep  run chapters on several lineages and seeds (workflow/)
#   make html   render the committed outputs only: no model, about a minute
#   make course the student, instructor and nbgrader editions and the slides, after make html
#   make classroom  a folder for machines without a network: packages, model, student notebooks
#   make lab    JupyterLab on the student notebooks
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
CLASSROOM ?= _build/classroom
LAB ?= jupyterlab

# In a folder that `make classroom` made, packages and model come from the folder, not the network.
ifneq ($(wildcard wheels/*.whl),)
FROM := --no-index --find-links wheels
export ENTRACK_CACHE ?= $(CURDIR)/cache
endif

.DEFAULT_GOAL := help
.PHONY: help setup book edition sweep html course classroom lab test lint paper-7b clean

help:
	@sed -n '2,11s/^# *//p' Makefile

setup: $(STAMP)

# pip runs only when the list of packages or their pinned versions changed.
$(STAMP): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || { \
	  echo "entrack needs Python 3.11 or 3.12; $(PYTHON) is $$("$(PYTHON)" -V 2>&1). Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; \
	  exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(FROM) -c constraints.txt -e '.[test]'
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

# What git has, the pinned packages as wheels, the default model, and the student edition.
classroom: $(STAMP)
	@test -d _build/course/student || { echo "no student edition in _build/course; run: make html course" >&2; exit 1; }
	rm -rf "$(CLASSROOM)"
	mkdir -p "$(CLASSROOM)"
	git archive HEAD | tar -x -C "$(CLASSROOM)"
	"$(BIN)/python" -m pip wheel --quiet --disable-pip-version-check -w "$(CLASSROOM)/wheels" -r constraints.txt 'setuptools>=77' $(LAB)
	ENTRACK_CACHE="$(abspath $(CLASSROOM))/cache" "$(BIN)/entrack" fetch
	cp -r _build/course/student "$(CLASSROOM)/student"
	@echo "copy $(CLASSROOM) to each machine; there: make lab"

lab: $(STAMP)
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check $(FROM) -c constraints.txt $(LAB)
	"$(BIN)/jupyter" lab $(firstword $(wildcard student _build/course/student))

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
