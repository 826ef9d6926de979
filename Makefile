# Everything that a person or CI runs. Each target sets up what it needs by itself.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# What was made for an older Python than the machine has now finds nothing any more.
$(shell [ ! -e $(VENV)/.demo ] || $(BIN)/python -c 'import pip' 2>/dev/null || rm -rf $(VENV))
PIP    := $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo install-service test test-long test-faults test-docker test-homeassistant bench dashboards lint format lock clean

help:            ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(VENV)/.demo   ## a simulated heating house, broker, poller, bridge and (where installed) Prometheus
	@$(BIN)/python -m heating demo $(ARGS)

test: $(VENV)/.dev    ## the test suite; what needs a server that this machine lacks is skipped and counted
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "not long and not faults and not homeassistant and not docker" $(ARGS)

test-long: $(VENV)/.dev    ## the long tests: 100,000 reads with all faults, 2,000 over sockets and the like; some minutes
	@$(BIN)/python -m pytest -m "long and not docker" $(ARGS)

test-faults: $(VENV)/.dev  ## broker, Prometheus, poller and bridge killed, away, their disks full; HEATING_FAULTS=short for a part
	@$(BIN)/python -m pytest tests/faults -m faults $(ARGS)

test-docker: $(VENV)/.dev  ## the tests that need a Docker engine
	@$(BIN)/python -m pytest -m docker $(ARGS)

# Each release with the Python that it wants; HEATING_HOMEASSISTANT names interpreters of your own that have one.
RELEASES := 2025.4.4:3.13 2026.11.0:3.14
test-homeassistant: $(VENV)/.dev  ## the real Home Assistant with a simulated house, below .homeassistant; minutes per release
	@found=$$(tests/homeassistant/install $(RELEASES)) && HEATING_HOMEASSISTANT="$$found $$HEATING_HOMEASSISTANT" \
		$(BIN)/python -m pytest tests/homeassistant -m homeassistant $(ARGS)

bench: $(VENV)/.demo  ## what the parts cost, in eight minutes; ARGS="bridge disk" measures only these
	@$(BIN)/python -m bench $(ARGS)

dashboards: $(VENV)/.dev  ## write grafana/dashboards/*.json anew from grafana/source
	@$(BIN)/python -m grafana.source

lint: $(VENV)/.dev    ## ruff and mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/.dev  ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

install-service: ## poller and bridge as services of this machine, started at boot (sudo); again for a newer version
	@PYTHON=$(PYTHON) sh systemd/install.sh

# The locks hold every dependency with its hashes, for every platform and Python from 3.11 on.
LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url --no-annotate \
        --no-header --custom-compile-command "make lock" pyproject.toml
lock:            ## renew the locked dependencies (needs uv)
	@$(LOCK) --output-file requirements.lock
	@$(LOCK) --extra demo --output-file requirements-demo.lock
	@$(LOCK) --extra dev --output-file requirements-dev.lock

clean:           ## remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# ensurepip is what Debian leaves out of python3 and puts into python3-venv.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; PYTHON=... names another one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "python3-venv is missing: sudo apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: requirements-demo.lock | $(BIN)/python
	@$(PIP) --require-hashes -r requirements-demo.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(BIN)/python
	@$(PIP) --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.demo
