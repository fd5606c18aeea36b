# `make` says what there is. Everything that is needed is installed by scripts/setup.sh; see CONTRIBUTING.md.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab test lint unit hosts cluster soak bench clean-caches setup-unit setup-lab setup-test checks bundle

# The clone's own environment: provision, pytest, ruff, mypy, lint-imports and, where the machine has none, go.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
CACHE := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/provision
# What mypy knows of a file is by the file's content: all clones share it.
export MYPY_CACHE_DIR := $(CACHE)/mypy
ARGS ?=
INVENTORY ?= inventories/lab.yaml

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

lab: ## set up, build the bundle, start lab hosts, bring up a cluster on them and verify it (root)
	@scripts/lab.sh "$(INVENTORY)"

test: setup-test checks bundle ## set up, then lint, types, layers and all tests: unit, hosts, cluster (root)
	PROVISION_ALL_TIERS=1 pytest -n 2 --dist loadscope --no-loadscope-reorder $(ARGS)

lint: setup-unit checks ## ruff, import-linter, mypy, shellcheck

unit: setup-unit ## the tests that need no root; ARGS="-k spec" goes to pytest, here and below
	pytest --tier unit $(ARGS)

hosts: setup-test bundle ## the tests that need root: lab hosts, sshd, a registry
	pytest --tier hosts $(ARGS)

cluster: setup-test bundle ## the tests that bring up clusters on lab hosts (root)
	pytest --tier cluster $(ARGS)

soak: setup-test bundle ## the long tests, with full matrices (root)
	pytest -m soak $(ARGS)

bench: setup-test ## the measurements, one after the other (root)
	python -m bench.run $(ARGS)

clean-caches: ## remove everything that was built or fetched into the user's cache; not Go's own caches
	@! grep -qF "$(CACHE)/" /proc/mounts || { echo "a lab uses $(CACHE): take it down first" >&2; exit 1; }
	rm -rf "$(CACHE)"

setup-unit:
	@scripts/setup.sh unit

setup-lab:
	@scripts/setup.sh lab

setup-test:
	@scripts/setup.sh test

checks:
	ruff check
	ruff format --check
	lint-imports --no-cache
	mypy
	! command -v shellcheck >/dev/null || shellcheck .ci/run scripts/*.sh provisioner/shell/*.sh provisioner/shell/*.bash

bundle:
	provision bundle build
