# Everything a newcomer needs. Only Python 3.11 or newer and make are assumed; the first call installs into .venv, later calls install nothing.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench

OUT ?= runs/demo
BIN := .venv/bin
MCP_SERVERS := $(addprefix @modelcontextprotocol/server-,filesystem memory everything)
SYSTEM := bubblewrap libseccomp2 chromium
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints/cpu.txt
PYTHON = $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)

help:  ## show the targets
	@sed -n 's/^\([a-z]*\):.*  ## /make \1|/p' Makefile | while IFS='|' read -r name text; do printf '%-12s%s\n' "$$name" "$$text"; done

demo: .venv/.installed-core  ## a tiny agent learns to research; the report ends up in runs/demo (OUT=... for another folder)
	@$(BIN)/spadework demo --out $(OUT) --resume

test: check .venv/.installed-system .venv/.installed-mcp-servers  ## all checks and all tests
	@OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -q -n auto --maxprocesses=4 --dist=loadfile

check: .venv/.installed-dev  ## style, types, layers, size budgets, public names
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "format: run .venv/bin/ruff format ." >&2; exit 1; }
	@$(BIN)/python scripts/size_budgets.py
	@$(BIN)/python scripts/public_names.py
	@$(BIN)/lint-imports --no-logo --show-timings >.venv/layers.log || { cat .venv/layers.log >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@echo "check: all good"

bench: .venv/.installed-bench  ## speed and memory beside other libraries; writes benchmarks/results.json
	@$(BIN)/python -m benchmarks.run

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: Python 3.11 or newer is needed; python3, python3.13, python3.12 and python3.11 are missing or older" >&2; exit 2; }
	@$(PYTHON) -m venv .venv

# A stamp is newer than the files that decide what is installed, so a second call does nothing.
.venv/.installed-core: pyproject.toml constraints/cpu.txt | $(BIN)/python
	@echo "installing (once, about 1.2 GB with torch for the CPU) ..." >&2
	@$(PIP) -e .
	@touch $@

# What tests want from the system. Installed by root on Debian and Ubuntu only; elsewhere those tests are skipped and say why at the end.
.venv/.installed-system: | $(BIN)/python
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! { command -v bwrap && command -v chromium; } >/dev/null; then \
		{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y $(SYSTEM); } >.venv/system.log 2>&1 || \
			echo "system packages were not installed ($(SYSTEM)); see .venv/system.log" >&2; \
	fi
	@touch $@

# The reference servers of the Model Context Protocol, for tests; without npm those are skipped.
.venv/.installed-mcp-servers: | $(BIN)/python
	@if command -v npm >/dev/null; then \
		npm install --silent --no-audit --no-fund --prefix .venv/mcp-servers $(MCP_SERVERS) >.venv/npm.log 2>&1 || \
			echo "the reference MCP servers were not installed; see .venv/npm.log" >&2; \
	fi
	@touch $@

.venv/.installed-dev: .venv/.installed-core
	@$(PIP) -e '.[dev]'
	@touch $@

.venv/.installed-bench: .venv/.installed-core
	@$(PIP) -e '.[bench]'
	@touch $@
