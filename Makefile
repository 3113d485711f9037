# Two commands on a fresh machine: `make demo` and `make test`. PYTHON names the interpreter that makes .venv.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint format

demo: .venv/installed
	$(BIN)/python -m jobs.demo

test: lint
	$(BIN)/pytest -n 2 --dist loadgroup

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
