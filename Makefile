# Every target makes the development environment first; that takes seconds once and nothing afterwards.
PYTHON ?= python3
DEV := .venv-dev/bin
export PATH := $(CURDIR)/$(DEV):$(PATH)

# Tests of one file share a host or a server, so they stay together.
BESIDE := --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# Universal and hashed, with no index or download address in them; pins stay unless UPGRADE=--upgrade.
COMPILE := .venv-lock/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header --quiet $(UPGRADE)

.PHONY: help check lint lint-code lint-playbooks test fleet molecule bench unit faults lock environment

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

check: lint unit  ## lint and unit tests: under a minute, needs nothing

test: lint  ## everything CI runs: on real containers, on a bare machine too
	$(DEV)/python -m pytest $(BESIDE)

faults: environment  ## every fault, interruption, closed terminal and power cut, and the further cases of all tests: two hours; writes docs/faults.md
	$(DEV)/python -m pytest $(BESIDE) tests/faults
	$(DEV)/python -m pytest $(BESIDE) -m exhaustive

bench: environment  ## measure, and compare with the budgets (ONLY=ingest,deploy: these groups; QUICK=1: seconds each; BASE=commit: compare with it)
	$(DEV)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(BASE),--base $(BASE))

fleet: environment  ## many hosts over SSH: one at a time, shipped images, a registry
	$(DEV)/python -m pytest $(BESIDE) tests/fleet

molecule: environment  ## all scenarios of tests/molecule: half an hour
	$(DEV)/python -m tests.hosts.engine env --chdir=tests molecule test --all

unit: environment
	$(DEV)/python -m pytest -q tests/unit

lint:  ## formatting, types, playbooks, import rules
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint-code lint-playbooks

lint-code: environment
	ruff check .
	ruff format --check .
	lint-imports
	mypy

lint-playbooks: environment
	yamllint --strict .
	ansible-lint --offline --strict --profile production

lock:  ## compile requirements/*.txt from pyproject.toml (UPGRADE=--upgrade for newer versions)
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	for group in app deploy dev; do $(COMPILE) --group $$group -o requirements/$$group.txt || exit; done
	echo uv | $(COMPILE) - -o requirements/uv.txt
	rm -rf .venv-lock

environment:
	@$(PYTHON) -m deploy.bootstrap dev
