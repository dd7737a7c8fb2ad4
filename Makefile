# Two commands are all the set-up on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OBJECTS := local_cloud/recognition/objects
.DEFAULT_GOAL := help

.PHONY: help run test check search fuzz prove format deploy destroy named clean

help:  ## what there is to do
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

$(VENV)/installed: requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, and $(PYTHON) is %d.%d: name another with make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# The detector of everyday objects runs in Node; without it the rest works, and `make run` says what is missing.
$(OBJECTS)/node_modules/installed: $(OBJECTS)/package-lock.json
	@if [ "$$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/')" -ge 18 ] 2>/dev/null && command -v npm >/dev/null; \
	then npm ci --prefix $(OBJECTS) --loglevel=error --no-fund --no-audit >/dev/null && touch $@ \
	|| echo "npm could not install the finder of everyday objects; all else works, and make tries again next time."; fi

run: $(VENV)/installed $(OBJECTS)/node_modules/installed  ## the whole loop on this machine, with sample pictures
	@$(BIN)/python -m local_cloud $(ARGS)

test: $(VENV)/installed $(OBJECTS)/node_modules/installed  ## the tests, but for those that take seconds or minutes each
	$(BIN)/python -m pytest -n auto --dist loadfile

check: $(VENV)/installed $(OBJECTS)/node_modules/installed  ## formatting, lint, types and tests, as CI runs them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile --thorough --cov --cov-report=term

search: $(VENV)/installed  ## orders of events, interleavings of two workers and moments to die, in full: a quarter of an hour
	$(BIN)/python -m pytest -n auto --dist worksteal --exhaustive tests/test_callback_faults.py tests/test_convergence.py tests/test_interleaving.py tests/test_quarantining.py tests/test_indexing.py tests/test_search.py tests/reliability

fuzz: $(VENV)/installed  ## 10,000 requests to the API, made up from its description: a quarter of an hour
	$(BIN)/python -m pytest --exhaustive tests/test_conformance.py

prove: $(VENV)/installed  ## storms, receivers that hang, 3,000 histories of a key, and 3,000 lives in which anything goes wrong, and nothing may be lost: some hours
	@$(BIN)/python -m bench.prove $(ARGS)

format: $(VENV)/installed  ## let ruff set the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# It stops at the first step that fails; run again, each step leaves alone what is done.
# S3 may not yet see the right to call a function that Chalice gave it a moment ago: so Chalice gets a second try,
# once its record has what the first one made.
deploy: named $(VENV)/installed  ## to AWS: make deploy STAGE=dev [ARGS="--alarm-email ..."]
	$(BIN)/python -m ops package --check --stage "$$STAGE"
	$(BIN)/python -m ops resources --stage "$$STAGE" $(ARGS)
	$(BIN)/chalice deploy --stage "$$STAGE" || { \
		echo "AWS may need a moment to see what is new: the same once more, in 15 seconds."; sleep 15; \
		$(BIN)/python -m ops resources --stage "$$STAGE" $(ARGS) && $(BIN)/chalice deploy --stage "$$STAGE"; }
	$(BIN)/python -m ops finish --stage "$$STAGE"

destroy: named $(VENV)/installed  ## a deployment, but for its data: make destroy STAGE=dev [ARGS=--delete-data]
	@$(BIN)/python -m ops destroy --stage "$$STAGE" $(ARGS)

named:
	@$(if $(STAGE),:,$(error Name the stage, as in: make $(firstword $(MAKECMDGOALS)) STAGE=dev))

clean:  ## what `make` made
	rm -rf $(VENV) $(OBJECTS)/node_modules
