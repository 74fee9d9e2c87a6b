# Two commands: `make demo` shows sipwatch at work, `make test` sets everything up and tests it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= auto
TESTS ?= tests

.PHONY: demo test golden check lint types bench docs clean packages

demo: $(VENV)/installed
	@$(BIN)/python pcaps/demo.py
	@$(BIN)/python deploy/demo

test: packages $(VENV)/installed-dev
	@# Tests with real programs share two processors here: what fails beside others must pass alone.
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(TESTS) \
	  || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(TESTS)

check: lint types

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy --strict sipwatch

bench: packages $(VENV)/installed-dev
	$(BIN)/python benchmarks/run.py
	$(BIN)/python benchmarks/correlation.py

docs: $(VENV)/installed-dev
	$(BIN)/python docs/make_outcomes.py
	$(BIN)/python docs/make_decoders.py
	$(BIN)/python docs/make_confusion.py

# The /metrics of each bundled capture that the tests compare with, checked against its truth.
golden: packages $(VENV)/installed-dev
	$(BIN)/python tests/daemon/golden.py

# Programs that the tests run beside us. Installed when they are missing and we may.
packages:
	@deploy/test-packages

$(VENV)/python:
	@echo "making $(VENV), once" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "sipwatch needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	  echo "python3-venv is missing; installing it" >&2; \
	  rm -rf $(VENV); apt-get update -q && apt-get install -qy python3-venv && $(PYTHON) -m venv $(VENV); }
	@touch $@

$(VENV)/installed: $(VENV)/python pyproject.toml
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/python pyproject.toml
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
