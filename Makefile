# Everything works on a fresh clone with Python 3.10-3.12 and make.  PYTHON=python3.12 make ... picks another one.
PYTHON ?= python3
BIN := .venv/bin

PORT ?= 4200

.PHONY: run serve stop test chaos check format clean

run: .venv/installed
	@$(BIN)/python flows/full.py

serve: .venv/installed
	@$(BIN)/python -m flows.serve start $(PORT)

stop:
	@$(BIN)/python -m flows.serve stop $(PORT)

test: .venv/installed
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: .venv/installed
	@$(BIN)/python -m pytest tests/chaos

check: .venv/installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: .venv/installed
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
		|| { echo "error: $$($(PYTHON) --version) does not do: name one of 3.10 to 3.12, PYTHON=python3.11 make ..."; exit 1; }
	@echo "installing into .venv (some 4 GB, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf .venv .serve workspace build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
