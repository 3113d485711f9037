# Two commands on a fresh machine: `make demo` and `make test`. PYTHON names the interpreter that makes .venv.
# While working: `make quick`, and `make gpu` on a machine with a CUDA device. Before a release: `make long`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test quick long gpu lint format

demo: .venv/installed
	$(BIN)/python -m jobs.demo

test: lint
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "not long"

# What `make test` leaves out because each takes minutes: kills at many moments, of groups of workers too.
long: .venv/installed
	$(BIN)/pytest -m long

# Format, lint, types, and the tests that need no Ray and are not slow, with few examples of each property.
quick: lint
	HYPOTHESIS_PROFILE=quick $(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder -m "not ray and not slow"

# What a CUDA device alone can show, in one process: the tests share the device.
gpu: .venv/installed
	$(BIN)/pytest -m gpu tests/gpu -n 0

lint: .venv/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/installed: pyproject.toml .constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --editable '.[dev]' --constraint .constraints.txt
	touch $@
