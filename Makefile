# Everything works on a fresh clone with Python 3.11 or 3.12 and make.  PYTHON=python3.12 make ... picks another one.
PYTHON ?= python3
BIN := .venv/bin

PORT ?= 4200

# What takes an hour; "long" takes longer.
CAMPAIGNS := kill,faults,corrupt_input,corrupt_state,hostile,fuzz,soak

# uv installs several times faster than pip, from the same files with the same hashes.
UV := $(shell command -v uv)

.PHONY: help install run serve stop test test-lowest test-postgres chaos bench check check-platforms format docs lock audit clean

help: ## say what there is, and install nothing (this)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile

install: .venv/for-runs ## install what a user needs into .venv, without what only tests and docs need

run: .venv/for-runs ## make toy videos and run all five stages on them: a few minutes
	@$(BIN)/python flows/full.py

serve: .venv/for-runs ## start a Prefect server with deployments and workers; Ctrl-C ends it; PORT=4300 for another port
	@$(BIN)/python -m flows.server.serve start $(PORT)

stop: ## end what `make serve` has started
	@$(BIN)/python -m flows.server.serve stop $(PORT)

test: .venv/installed ## run the tests
	@$(BIN)/python -m pytest -n auto --no-loadscope-reorder

test-lowest: .venv/installed ## run the unit tests with the lowest versions that pyproject.toml allows, in .venv-lowest
	@$(BIN)/uv venv --quiet --allow-existing --no-managed-python --python "$$(command -v $(PYTHON))" .venv-lowest
	@$(BIN)/uv pip compile pyproject.toml --extra dev --resolution lowest-direct --python .venv-lowest/bin/python --no-emit-index-url \
		--quiet --output-file .venv-lowest/requirements.txt >/dev/null
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --only-binary :all: --requirement .venv-lowest/requirements.txt
	@$(BIN)/uv pip install --quiet --python .venv-lowest/bin/python --no-deps --no-build-isolation --editable .
	@.venv-lowest/bin/python -m pytest tests/unit -n 2 --no-loadscope-reorder

test-postgres: .venv/installed ## run a night with kills, end to end, on a Postgres of this machine (apt install postgresql)
	@$(BIN)/python -m pytest tests/pipeline/test_nightly.py --postgres -m "campaign or not campaign"

chaos: .venv/installed ## run the campaigns, an hour, and write docs/reliability.md; ONLY=kill,long for some kinds, SEED=7
	@$(BIN)/python -m pytest tests -m "campaign or short_campaign" --table docs/reliability.md --only $(or $(ONLY),$(CAMPAIGNS)) $(SEED:%=--seed %)

bench: .venv/installed ## measure everything side by side, an hour or more, and write docs/evidence/results.md; ONLY=index,cache TORCH=PYTHON
	@$(BIN)/python benchmarks/results.py $(ONLY:%=--only %) $(TORCH:%=--torch %)

check: .venv/installed ## run ruff, mypy and the contracts of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

# Every locked package has a wheel there; nothing is installed, and .venv stays as it is.
check-platforms: .venv/installed ## look for a wheel of every locked package, for Linux on x86-64 and aarch64, and macOS on arm64
	@for list in requirements-run.txt requirements-lock.txt; do for python in 3.11 3.12; do \
		for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do \
			said=$$(MACOSX_DEPLOYMENT_TARGET=14.0 $(BIN)/uv pip install --dry-run --target .venv/none --python $(BIN)/python \
				--python-version $$python --python-platform $$platform --only-binary :all: --no-deps --require-hashes \
				--requirement $$list 2>&1) || { echo "$$said"; echo "error: $$list, Python $$python, $$platform"; exit 1; }; \
			echo "$$list, Python $$python, $$platform: $$(echo "$$said" | grep -c '^ + ') wheels"; done; done; done

format: .venv/installed ## put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

docs: .venv/installed ## build the docs as a site in site/
	@$(BIN)/python docs/generate.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "python -m http.server --directory site 8000 shows it: http://127.0.0.1:8000"

# requirements-run.txt has the same versions as requirements-lock.txt, of what a user needs.
COMPILE = $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --quiet

lock: .venv/installed ## renew the versions and hashes in the two lists of requirements; ONLY=NAME for one package
	@$(COMPILE) --extra dev --extra docs --extra lock --output-file requirements-lock.txt \
		$(if $(ONLY),--upgrade-package $(ONLY),--upgrade)
	@$(COMPILE) --extra run --constraint requirements-lock.txt --upgrade --output-file requirements-run.txt

audit: .venv/installed ## look up known holes in what is locked
	@$(BIN)/python .ci/audit.py

.venv/for-runs: pyproject.toml requirements-run.txt
	$(call install,requirements-run.txt)
	@touch $@

.venv/installed: pyproject.toml requirements-lock.txt
	$(call install,requirements-lock.txt)
	@touch .venv/for-runs $@

define install
@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' \
	|| { echo "error: $$($(PYTHON) --version) does not do: name 3.11 or 3.12, PYTHON=python3.12 make ..."; exit 1; }
@echo "installing $(1) into .venv with $(if $(UV),uv,pip) (some 4 GB, a few minutes)"
@$(if $(UV),$(UV) venv --quiet --allow-existing --no-managed-python --python "$$(command -v $(PYTHON))" .venv,$(PYTHON) -m venv .venv)
@$(INSTALL) --only-binary :all: --require-hashes --no-deps --requirement $(1)
@PYTHONWARNINGS=ignore $(INSTALL) --no-deps --no-build-isolation --editable .
endef
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

clean: ## remove what was installed, built and computed, the workspace too
	rm -rf .venv .venv-lowest .serve workspace site build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
