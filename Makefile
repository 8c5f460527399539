# `make help` tells the targets. All of them make the environment first where it is missing or out of date.
#
# Each checkout has its own environment (VENV), made in half a minute from pip's cache: two checkouts never run each other's
# code. What takes minutes, building llama-server, happens once for all of them: pip keeps the built wheel.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The checkout's own path is part of the name: an environment that moved with its checkout is made again.
STAMP := $(VENV)/.installed-$(shell pwd | cksum | cut -d' ' -f1)

PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python3.14,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))

.DEFAULT_GOAL := help
.PHONY: help up test test-long test-portable lint format bench chaos soak schema docs screenshot clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

up: $(STAMP) ## Run the demo: three llama-servers from manifests/ (builds llama-server if there is none)
	@$(BIN)/python -m reconciler.demo.up

test: $(STAMP) ## Run all tests, the real llama-server's and the browser's too; ARGS are pytest's (one after the other: -n0)
	@$(BIN)/python -m reconciler.demo.binary
	@$(BIN)/python -m pytest -n 4 --dist worksteal $(if $(ARGS),$(ARGS),-m 'not long' --ignore=tests/browser)
ifeq ($(ARGS),)
	@# What a page looks at is set up once for each file: a file is not shared out.
	@$(BIN)/python -m pytest -n 4 --dist loadfile -m 'not long' tests/browser
endif

test-long: $(STAMP) ## Run what `make test` leaves out for its length: kills at sampled moments, memory of pages, a short soak
	@$(BIN)/python -m reconciler.demo.binary
	@$(BIN)/python -m pytest -n 3 --dist worksteal -m long $(ARGS)

test-portable: $(STAMP) ## Run the end-to-end tests without pidfd and /proc, as on macOS
	@$(BIN)/python -m reconciler.demo.binary
	@RECONCILER_HOST=portable $(BIN)/python -m pytest tests/e2e $(ARGS)

lint: $(STAMP) ## Check style, types and the rooms' imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict reconciler tests chaos benchmarks docs/generate.py docs/screenshot.py docs/dashboard_pictures.py
	$(BIN)/lint-imports

format: $(STAMP) ## Format, and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(STAMP) ## Measure, with a hundred real servers; ARGS are those of benchmarks
	@$(BIN)/python -m reconciler.demo.binary
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(STAMP) ## Play at length what is hard to survive: kills, full disks, fuzz; ARGS are those of chaos
	@$(BIN)/python -m reconciler.demo.binary
	@$(BIN)/python -m chaos $(ARGS)

TIME ?= 30m
soak: $(STAMP) ## Crash loops, edits and restarts for TIME (30m), and whether anything grows
	@$(BIN)/python -m reconciler.demo.binary
	@$(BIN)/python -m chaos.soak --time $(TIME) $(ARGS)

schema: $(STAMP) ## Write docs/schema/ from the models
	$(BIN)/python -m reconciler.manifests.schema

docs: $(STAMP) ## Write the generated parts of the documents
	$(BIN)/python docs/generate.py

screenshot: $(STAMP) ## Make the pictures in the documents from real runs
	@$(BIN)/python -m reconciler.demo.binary
	$(BIN)/python docs/screenshot.py
	$(BIN)/python docs/dashboard_pictures.py

clean: ## Remove the environment and the caches; manifests, models and state stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find reconciler tests benchmarks chaos -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: reconciler needs Python 3.11 or newer, and none is on PATH:" \
		"install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3"; exit 1; }
	@echo "making the environment in $(VENV) (half a minute from pip's cache, else a minute or two)"
	@test -e $(STAMP) || test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "error: $(PYTHON) -m venv failed;" \
		"Debian keeps it apart: apt-get install python3-venv"; exit 1; }
	@$(PIP) install -q -c constraints.txt hatchling editables
	@$(PIP) install -q -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $(STAMP)
