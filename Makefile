# Two commands do all the set-up: `make demo` measures a real model on this machine, `make test` tests.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = .venv/bin
ENGINES = $(addprefix tests/engines/test_, real_engines.py real_doors.py live_servers.py studies.py local_gate.py)

.PHONY: demo test lint unit engines sdks test-engines reference bench prove clean

demo: .venv/.package
	$(BIN)/benchsuite run

test: lint unit

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two files at a time: more would make the client late on a small machine.
unit: .venv/.dev
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(addprefix --ignore=,$(ENGINES) tests/sdks)

# vLLM (CPU), MLX and transformers, each in an environment of its own in the user's cache: made once,
# then used again. It takes about 6 GB of disk.
engines: .venv/.dev
	$(BIN)/python scripts/engines.py

# The official SDKs, asked against the simulator: two environments in the user's cache, 0.3 GB.
sdks: .venv/.dev
	$(BIN)/python scripts/sdks.py

# Servers that can't be started here are measured where they run: what is skipped says what to set.
test-engines: engines sdks
	$(BIN)/pytest $(ENGINES) tests/sdks

# docs/reference is made from the code; a test fails while it is stale.
reference: .venv/.dev
	$(BIN)/python scripts/make_reference.py

# Figures of docs/performance.md: takes about ten minutes on a quiet machine.
bench: .venv/.dev
	$(BIN)/python -m tests.perf.bench docs/performance.md

# Do the promises hold? Error rates by simulation (docs/statistics.md), live gates on the simulator, and twenty
# capacity searches against a queue that is computed as well: about an hour on a quiet machine.
prove: .venv/.dev
	$(BIN)/python scripts/prove_statistics.py
	$(BIN)/python scripts/prove_gates.py
	$(BIN)/python scripts/prove_capacity.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.package: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# --group needs pip 25.1, so pip comes first.
.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@ .venv/.package

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
