# Presumed: make and Python 3.11 or later. Everything else goes into .venv (and .npm, for test
# servers, where Node is present), from the lock files. Every target may be run at any time.

# The first of these that is new enough; PYTHON=... on the command line decides otherwise.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$candidate && break; done)

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

# Tests mostly wait for servers and processes: two run at one time.  WORKERS=0 runs them in order.
WORKERS ?= 2

# Further arguments for demo, test and bench: make test ARGS="-k window"
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: bugs conformance help demo test test-slow test-container test-deploy test-ric lint format \
	bench lock clean

help:  ## Say what the targets do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## Run everything on this machine, with nothing to configure
	@$(BIN)/poller demo --for 20 $(ARGS)

test: $(VENV)/dev.stamp  ## Run all tests
	@$(BIN)/python -m tests.npm.install
	@$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-slow: $(VENV)/dev.stamp  ## Run the tests that really wait for minutes
	@$(BIN)/python -m tests.npm.install
	@$(BIN)/pytest -m slow $(ARGS)

test-container: $(VENV)/dev.stamp  ## Build the image and run it (minutes; as root, on Debian)
	@$(BIN)/pytest -m container tests/containers $(ARGS)

test-deploy: $(VENV)/dev.stamp  ## Check deploy/ with the tools it is for (minutes; needs Go)
	@$(BIN)/pytest -m deploy tests/deploy $(ARGS)

test-ric: $(VENV)/dev.stamp  ## Build AWS's runtime client for Node (minutes) and test with it
	@$(BIN)/python -m tests.npm.install
	@if $(BIN)/python -m tests.ric.install; then $(BIN)/pytest -k official_node \
		tests/targets/test_runtime_clients.py tests/outside/test_runtime_api.py $(ARGS); \
	else test $$? -eq 3; fi

lint: $(VENV)/dev.stamp  ## Check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## Bring the code into its style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/dev.stamp  ## Measure against the floor (a minute or two; best on an idle machine)
	@$(BIN)/python -m tests.bench $(ARGS)
	@$(BIN)/python -m tests.bench.memory

bugs: $(VENV)/dev.stamp  ## Plant bugs in the core and show which the tests catch (minutes)
	@$(BIN)/python -m tests.core.plant_bugs

conformance: $(VENV)/dev.stamp  ## Write the conformance tables of the README anew
	@$(BIN)/python -m tests.conformance

lock: $(VENV)/bin/python  ## Resolve the dependencies of pyproject.toml anew
	$(PIP) install 'uv>=0.8'
	$(COMPILE) pyproject.toml --extra demo --group build -o requirements.lock
	$(COMPILE) pyproject.toml --extra demo --extra tracing --group build --group dev \
		-c requirements.lock -o requirements-dev.lock
	$(COMPILE) --group pyproject.toml:build -c requirements-dev.lock -o deploy/image/build.lock
	$(COMPILE) pyproject.toml --extra tracing -c requirements-dev.lock \
		-o deploy/image/requirements.lock

clean:  ## Remove what the other targets made
	rm -rf $(VENV) .npm .emulator .ric .containers .deploy build dist .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed; none was found" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The locks hold hatchling and editables, so that installing poller itself fetches nothing more.
$(VENV)/demo.stamp: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@
