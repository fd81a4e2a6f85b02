# `make run` and `make test` need nothing but Python >= 3.11 and pip.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A worker per core; what shares fixtures shares a worker (tests/conftest.py).
WORKERS = -n logical --maxprocesses 8 --dist loadgroup

.PHONY: run test test-all style docs clean

run: $(VENV)/.run
	$(BIN)/femtobarn run gn1 --scale quick

test: $(VENV)/.test
	$(BIN)/python -m pytest -q -m "not slow" $(WORKERS)

test-all: $(VENV)/.test
	$(BIN)/python -m pytest -q $(WORKERS)

style: $(VENV)/.style
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

docs: $(VENV)/.docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site build dist

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.%: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRA_$*)]"
	touch $@

EXTRA_run = simulation
EXTRA_test = test
EXTRA_style = test,style
EXTRA_docs = docs
