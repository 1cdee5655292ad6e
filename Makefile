# Everything works on a fresh clone with Python 3.10-3.12 and make.  PYTHON=python3.12 make ... picks another one.
PYTHON ?= python3
BIN := .venv/bin

PORT ?= 4200

.PHONY: help run serve stop test test-postgres chaos check format docs lock audit clean

help: ## say what there is, and install nothing (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

run: .venv/installed ## make toy videos and run all five stages on them: a few minutes
	@$(BIN)/python flows/full.py

serve: .venv/installed ## start a Prefect server with deployments and workers; Ctrl-C ends it; PORT=4300 for another port
	@$(BIN)/python -m flows.server.serve start $(PORT)

stop: ## end what `make serve` has started
	@$(BIN)/python -m flows.server.serve stop $(PORT)

test: .venv/installed ## run the tests
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-postgres: .venv/installed ## run a night with kills, end to end, on a Postgres of this machine (apt install postgresql)
	@$(BIN)/python -m pytest tests/pipeline/test_nightly.py --postgres -m "campaign or not campaign"

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

docs: .venv/installed ## build the docs as a site in site/
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "python -m http.server --directory site 8000 shows it: http://127.0.0.1:8000"

lock: .venv/installed ## renew the versions and hashes in requirements-lock.txt; ONLY=NAME for one package
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --extra lock --universal --python-version 3.10 \
		--generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' \
		$(if $(ONLY),--upgrade-package $(ONLY),--upgrade) --quiet --output-file requirements-lock.txt

audit: .venv/installed ## look up known holes in what is locked
	@$(BIN)/python .ci/audit.py

.venv/installed: pyproject.toml requirements-lock.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' \
		|| { echo "error: $$($(PYTHON) --version) does not do: name one of 3.10 to 3.12, PYTHON=python3.11 make ..."; exit 1; }
	@echo "installing into .venv (some 4 GB, a few minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes \
		--no-deps --requirement requirements-lock.txt
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $@

clean: ## remove what was installed, built and computed, the workspace too
	rm -rf .venv .serve workspace site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
