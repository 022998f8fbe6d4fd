# `make demo` and `make test` are all that a newcomer needs; `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
RUN := $(UV) run --frozen --no-sync
SETUP := .venv/.set-up

ROUNDS ?= 200
SEED ?= 20261124
ONLY ?=
ROWS ?=
CASES ?= 300

.PHONY: help setup demo demo-bad test test-fast contract load chaos fuzz lint golden bench new-component wheel try-wheel clean

help: ## Show what can be made
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.tools/bin/uv:
	$(PYTHON) scripts/get_uv.py .tools

$(SETUP): pyproject.toml uv.lock | $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	$(UV) sync --frozen --extra all --compile-bytecode --python $(PYTHON)
	@$(RUN) python -m compileall -q chandlery
	@touch $(SETUP)

setup: $(SETUP) ## Install uv and the locked environment

demo: $(SETUP) ## A model's whole life: train a champion, then release a better one by canary
	$(RUN) chandlery demo

demo-bad: $(SETUP) ## The same with a model trained on corrupted labels: rolled back by itself
	$(RUN) chandlery demo --bad

test: $(SETUP) lint ## The whole test suite
	$(RUN) pytest -n 2 --dist loadfile --ignore tests/fuzz

test-fast: $(SETUP) ## Tests that start no server and import no TensorFlow
	$(RUN) pytest -m "not slow and not network" --ignore tests/fuzz

contract: $(SETUP) ## Embedded and real systems side by side, behaviour by behaviour
	$(RUN) pytest -n 2 --dist loadfile -q --contract-table tests/contract/data tests/contract/search \
	  tests/contract/resources tests/contract/registry tests/contract/deployments

load: $(SETUP) ## 1,000 weight changes, 20 rolling updates, 20 rollbacks under load: nothing fails
	CHANDLERY_TEST_LOAD=1000/20/20 $(RUN) pytest -s tests/contract/deployments/test_load.py

chaos: $(SETUP) ## Kill, fill and cut a laptop platform at random moments: ROUNDS=200 SEED=20261124
	$(RUN) python -m tests.chaos --rounds $(ROUNDS) --seed $(SEED) --only "$(ONLY)"

fuzz: $(SETUP) ## Fuzz what faces a user or a network: CASES=10000 SEED=20261124
	CHANDLERY_FUZZ_CASES=$(CASES) CHANDLERY_FUZZ_SEED=$(SEED) $(RUN) pytest -n 2 --timeout 900 tests/fuzz

lint: $(SETUP) ## Style, types, and golden files up to date
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) python -m chandlery.compiler --check

golden: $(SETUP) ## Refresh compiled YAML and generated READMEs
	$(RUN) python -m chandlery.compiler

bench: $(SETUP) ## Measure side by side with others, into benchmarks/ (ROWS="canary search" for some)
	$(RUN) python -m benchmarks $(ROWS)

new-component: $(SETUP) ## A working component with test: FAMILY=data NAME=verb_noun
	$(RUN) python scripts/new_component.py "$(FAMILY)" "$(NAME)"
	$(MAKE) golden

wheel: $(SETUP) ## Build the wheel
	$(UV) build --wheel

try-wheel: wheel ## Install the wheel with pip elsewhere, as an ordinary user, and run the demo from it
	scripts/try_wheel.sh dist/chandlery-*.whl $(PYTHON)

clean: ## Stop the platform, remove everything that was made here
	-test -d .venv && $(RUN) chandlery down
	rm -rf .venv .tools .chandlery dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
