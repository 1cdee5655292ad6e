# Everything works on a fresh clone with Python 3.10-3.12 and make.  PYTHON=python3.12 make ... picks another one.
PYTHON ?= python3
BIN := .venv/bin

PORT ?= 4200

.PHONY: help run serve stop test chaos check format docs clean

help: ## say what there is, and install nothing (this)
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

run: .venv/installed ## make toy videos and run all five stages on them: a few minutes
	@$(BIN)/python flows/full.py

serve: .venv/installed ## start a Prefect server with deployments and workers; Ctrl-C ends it; PORT=4300 for another port
	@$(BIN)/python -m flows.server.serve start $(PORT)

stop: ## end what `make serve` has started
	@$(BIN)/python -m flows.server.serve stop $(PORT)

test: .venv/installed ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

chaos: .venv/installed ## run the campaigns, an hour, and write docs/reliability.md; ONLY=kill for one kind, SEED=7 for its seed
	@$(BIN)/python -m pytest -m "campaign or short_campaign" --table docs/reliability.md $(ONLY:%=--only %) $(SEED:%=--seed %)

check: .venv/installed ## run ruff, mypy and the contracts of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: .venv/installed ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/installed-docs ## build the docs as a site in site/
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "python -m http.server --directory site 8000 shows it: http://127.0.0.1:8000"

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
		|| { echo "error: $$($(PYTHON) --version) does not do: name one of 3.10 to 3.12, PYTHON=python3.11 make ..."; exit 1; }
	@echo "installing into .venv (some 4 GB, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

.venv/installed-docs: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean: ## remove what was installed, built and computed, the workspace too
	rm -rf .venv .serve workspace site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
