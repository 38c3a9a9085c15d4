# What a clone needs. `make help` lists the targets; PYTHON=… chooses another interpreter than python3.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test up check bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## show the main job end to end with real portraits
	@$(VENV)/bin/rekollect demo

test: $(INSTALLED) ## run the whole test suite on real parts (REKOLLECT_TEST_FACES names a folder with more pictures)
	@$(VENV)/bin/pytest -m "not bench"

up: $(INSTALLED) ## run the whole stack on http://127.0.0.1:8080 until Ctrl-C
	@exec $(VENV)/bin/rekollect up

check: $(INSTALLED) ## lint, formatting, types, architecture
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/pytest -q tests/test_architecture.py

bench: $(INSTALLED) ## run the benchmarks
	@$(VENV)/bin/pytest -m bench -s tests/benchmarks

clean: ## remove what was built; data in .rekollect and the cache of models stay
	@rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is made last, so an interrupted installation is done again; pip itself is quiet unless something fails.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: name another one with PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV), about a minute ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
