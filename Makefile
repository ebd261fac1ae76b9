# splinegeo: `make help` lists what can be made. Everything runs in .venv, which the first command creates.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# napari needs a screen, if only a virtual one; without any its tests are skipped.
SCREEN := $(shell test -z "$$DISPLAY" && command -v xvfb-run >/dev/null && echo xvfb-run -a -s "'-screen 0 1600x1000x24'")

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo reproduce gallery test test-long lint format bench clean

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("splinegeo needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed  ## create .venv with splinegeo in it
install-dev: $(VENV)/.installed-dev  ## the same, with what the tests need

demo: $(VENV)/.installed  ## train on the embedded MNIST subset and draw Figure 1 (about 3 minutes)
	$(BIN)/splinegeo figure 1 demo

gallery: $(VENV)/.installed-dev  ## draw docs/gallery (about 15 minutes; 5 when its runs are there)
	$(BIN)/python docs/draw_gallery.py demo

reproduce: $(VENV)/.installed-dev  ## the paper's figures and tables at its settings, into reproduction/ (many hours)
	for n in 2 3 4 7 10; do $(BIN)/splinegeo figure $$n reproduction || exit 1; done
	for n in 1 2; do $(BIN)/splinegeo table $$n reproduction || exit 1; done
	$(BIN)/splinegeo norm-minimisation reproduction

test: $(VENV)/.installed-dev  ## run the tests
	$(SCREEN) $(BIN)/python -m pytest -q -m "not long"

test-long: $(VENV)/.installed-dev  ## run the exhaustive suites too
	$(SCREEN) $(BIN)/python -m pytest -q

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev  ## measure the enumeration beside its peers (about 20 minutes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	$(BIN)/python benchmarks/enumeration.py

clean:  ## remove .venv, caches and the demo's output
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
