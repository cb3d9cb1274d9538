# Dari's few deeds for a fresh checkout. Needs Python 3.11 or newer and, where the system has no Asterisk 22, apt.
# Everything is put into .venv, .cache and .dari beside this file; nothing is installed into the system.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
ONCE ?=
WORKERS ?= 2
INSTANTS ?= 200
CALLS ?= 500
FAULTS ?= 20
FAULT_CALLS ?= 100
FAULT_SECONDS ?= 60
FAULT_RATE ?= 20
JOB_SEEDS ?= 1000
FUZZ_SECONDS ?= 600
SEED ?=
AGAINST ?=

export DARI_ASTERISK_FILES := $(CURDIR)/.cache/asterisk
READY := .venv/.ready

# An environment that was copied or moved here, or whose Python is gone, is made anew.
$(shell [ "$$(cat $(READY) 2>/dev/null)" = "$$(pwd -P)" ] && .venv/bin/python -c '' 2>/dev/null || rm -f $(READY))

.PHONY: help demo test bench bench-quick bench-parts chaos fuzz check prompts asterisk clean

help: ## Show this
	@echo "make demo         six real calls; then up until Ctrl-C (ONCE=1: exits, 0 if all did what they should)"
	@echo "make test         every test, those with a real Asterisk and PostgreSQL included (WORKERS=$(WORKERS))"
	@echo "make bench        real calls beside what Asterisk allows, side by side in one table (bench-quick: under three minutes)"
	@echo "make bench-parts  planning, routing's cache, real calls (AGAINST=another checkout: compares the calls)"
	@echo "make chaos        faults at 20 random instants under 100 calls; callers leave at 200 random instants of every step;"
	@echo "                  500 random calls against what explain says (FAULTS=, FAULT_CALLS=, FAULT_SECONDS=, SEED= …)"
	@echo "make fuzz         ten minutes of requests that nobody should send to the API (FUZZ_SECONDS=, SEED=)"
	@echo "make check        ruff, mypy --strict, import-linter"
	@echo "make prompts      makes the sounds in prompts/ anew from their texts"
	@echo "make clean        ends the demo and removes what these made: .venv .cache .dari"

demo: export DARI_HOME := $(CURDIR)/.dari
demo: $(READY) asterisk
	@.venv/bin/dari demo $(if $(ONCE),--once)

# The tests want SIPp and espeak-ng too, which come with Asterisk.
test: export ESPEAK := $(CURDIR)/.cache/asterisk/espeak-ng
test: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@tests/get-chromium .cache/chromium
	@.venv/bin/python -m pytest -n $(WORKERS) --dist loadfile

# tests/bench/README.md says how to measure well. bench takes about an hour and a half, bench-quick under three minutes.
bench: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@.venv/bin/python -m tests.bench.side_by_side --peers

bench-quick: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@.venv/bin/python -m tests.bench.side_by_side --quick

bench-parts: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@.venv/bin/python -m tests.bench.plan --calls 5000
	@.venv/bin/python -m tests.bench.routing_cache --numbers 20000
	@.venv/bin/python -m tests.bench.calls $(if $(AGAINST),--against "$(AGAINST)")

# On the real Asterisk, alone on its machine: about eight hours on two cores by estimate: most of it
# are twenty minutes of fault for each kind that lasts FAULT_SECONDS, and the minute in which all comes to rest.
# FAULTS=1 FAULT_SECONDS=10 takes about an hour. What goes wrong is told with its seed: the same again with SEED=, FAULTS=1.
chaos: export DARI_TEST_INSTANTS := $(INSTANTS)
chaos: export DARI_TEST_CALLS := $(CALLS)
chaos: export DARI_TEST_FAULTS := $(FAULTS)
chaos: export DARI_TEST_FAULT_CALLS := $(FAULT_CALLS)
chaos: export DARI_TEST_FAULT_SECONDS := $(FAULT_SECONDS)
chaos: export DARI_TEST_FAULT_RATE := $(FAULT_RATE)
chaos: export DARI_TEST_JOB_SEEDS := $(JOB_SEEDS)
chaos: export DARI_TEST_SEED := $(or $(SEED),0)
chaos: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@.venv/bin/python -m pytest -s tests/asterisk/calls/test_leaving.py tests/asterisk/calls/test_explain_agrees.py \
	    tests/chaos

fuzz: export DARI_TEST_FUZZ_SECONDS := $(FUZZ_SECONDS)
fuzz: export DARI_TEST_SEED := $(or $(SEED),0)
fuzz: $(READY)
	@.venv/bin/python -m pytest -s tests/integration/api/test_fuzz.py

check: $(READY)
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports

prompts: $(READY)
	@asterisk-conf/get-asterisk .cache/asterisk
	@.venv/bin/python prompts/make-prompts --espeak .cache/asterisk/espeak-ng

clean:
	@if [ -x .venv/bin/dari ] && [ -d .dari ]; then DARI_HOME="$(CURDIR)/.dari" .venv/bin/dari down; fi
	rm -rf .venv .cache .dari .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# The system's own if it is new enough, by the rule that `dari up` follows.
asterisk: $(READY)
	@.venv/bin/python -c 'from pathlib import Path; from engine.supervisor.asterisk import find_asterisk; \
	    find_asterisk("", Path("/nonexistent"))' 2>/dev/null || asterisk-conf/get-asterisk .cache/asterisk

# The stamp comes last and holds the path: an interrupted installation is repeated from the start.
$(READY): requirements.lock pyproject.toml
	@mkdir -p .cache
	@if command -v flock >/dev/null; then exec 9>.cache/environment.lock; flock 9; fi; \
	if [ $(READY) -nt requirements.lock ] && [ $(READY) -nt pyproject.toml ]; then exit 0; fi; \
	wanted='import sys; sys.version_info >= (3, 11) or sys.exit(1)'; found=; bare=; \
	for python in python3.13 python3.12 python3.11 python3; do \
	    $$python -c "$$wanted" 2>/dev/null || continue; \
	    if $$python -c 'import venv, ensurepip' 2>/dev/null; then found=$$python; break; fi; \
	    bare=$$python; \
	done; \
	if [ -z "$$found$$bare" ]; then \
	    echo "make: there is no Python 3.11 or newer; install one, such as the package python3" >&2; exit 1; fi; \
	if [ -z "$$found" ]; then \
	    echo "make: $$bare lacks the venv module; install the package python3-venv" >&2; exit 1; fi; \
	echo "1/2 environment of $$($$found --version) in .venv"; \
	$$found -m venv --clear .venv || exit; \
	echo "2/2 the locked packages"; \
	pip=".venv/bin/python -m pip --disable-pip-version-check --no-input -qq install"; \
	$$pip --require-hashes -r requirements.lock || exit; \
	$$pip --no-deps --no-build-isolation -e . || exit; \
	pwd -P >$(READY)
