# Two commands are all the set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OBJECTS := local_cloud/recognition/objects
.DEFAULT_GOAL := help

.PHONY: help run test check format clean

help:  ## what there is to do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

$(VENV)/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, and $(PYTHON) is %d.%d: name another with make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: $(VENV)/installed objects  ## the whole loop on this machine, with sample pictures
	@$(BIN)/python -m local_cloud

test: $(VENV)/installed objects  ## every test
	$(BIN)/python -m pytest

check: $(VENV)/installed objects  ## formatting, lint, types and tests, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST_ARGS)

format: $(VENV)/installed  ## let ruff set the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## what `make` made
	rm -rf $(VENV) $(OBJECTS)/node_modules
