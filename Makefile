# make run    sets up .venv once and runs a comparison: CONFIG=configs/...[:smoke] ARGS="--config.seeds=20"
# make docs   writes the pages to build/docs/html
# make test   the same set-up, then lint, import rules and the tests; make test-all adds the wide comparisons with peers
PYTHON ?= python3
VENV ?= .venv
CONFIG ?= configs/continual/continual_baselines_class.py:quick
ARGS ?=
TESTS ?=
# More extras for make test: EXTRAS=,bench also compares with transformers, PEFT and TRL (brings PyTorch)
EXTRAS ?=
# COSTS=1 also counts what each file of tests costs, in benchmarks/test_costs.csv
COSTS ?=

PROJECT := setup.cfg pyproject.toml constraints.txt
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: run test test-all docs list clean

run: $(VENV)/.run
	$(VENV)/bin/python -m experiments.run --config=$(CONFIG) $(ARGS)

test: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports
	JAXLAB_TEST_COSTS=$(COSTS) $(VENV)/bin/python -m pytest -n 2 --dist loadfile -m "not wide" $(TESTS)

test-all: $(VENV)/.dev $(VENV)/.docs
	$(VENV)/bin/python -m pytest -n 2 --dist loadfile $(TESTS)
	JAX_DISABLE_MOST_OPTIMIZATIONS=0 $(VENV)/bin/python -m pytest -n 2 --dist loadfile -k golden

docs: $(VENV)/.docs
	$(VENV)/bin/python docs/site/build.py

list: $(VENV)/.run
	$(VENV)/bin/python -m experiments.run --list

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "jaxlab needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 run")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python $(PROJECT)
	$(PIP) --editable ".[data,tensorboard]"
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python $(PROJECT)
	$(PIP) --editable ".[data,tensorboard,language,dev$(EXTRAS)]"
	@touch $@ $(VENV)/.run

$(VENV)/.docs: $(VENV)/bin/python $(PROJECT)
	$(PIP) --editable ".[data,docs]"
	@touch $@
