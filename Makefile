# What a clone needs. `make help` lists the targets; PYTHON=… chooses another interpreter than python3,
# TEST_PROCESSES=… how many files of the suite run at a time, each process with servers of its own.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
CLIENTS := .venv-clients/.installed
AUDIT := .venv-audit/.installed
TEST_PROCESSES ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-clients fuzz fuzz-images faults soak up check bench audit-deps sbom licences clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## show the main job end to end with real portraits
	@$(VENV)/bin/rekollect demo

test: $(INSTALLED) ## run the whole test suite on real parts (REKOLLECT_TEST_FACES names a folder with more pictures)
	@$(VENV)/bin/pytest -m "not bench and not clients and not faults" -n $(TEST_PROCESSES) --dist loadfile

test-clients: $(INSTALLED) $(CLIENTS) ## run the unmodified AWS CLI and AWS SDK for JavaScript against the stack
	@$(VENV)/bin/pytest -m clients tests/clients

fuzz: $(INSTALLED) ## send 20,000 odd requests (REKOLLECT_FUZZ_REQUESTS, REKOLLECT_FUZZ_SEED)
	@REKOLLECT_FUZZ_REQUESTS=$${REKOLLECT_FUZZ_REQUESTS:-20000} $(VENV)/bin/pytest tests/contract/test_fuzz.py

fuzz-images: $(INSTALLED) ## decode odd pictures for a minute (REKOLLECT_FUZZ_SECONDS, REKOLLECT_FUZZ_SEED)
	@REKOLLECT_FUZZ_SECONDS=$${REKOLLECT_FUZZ_SECONDS:-60} $(VENV)/bin/pytest tests/vision/test_fuzz_images.py

faults: $(INSTALLED) ## let everything go wrong for long (REKOLLECT_FAULTS_SEED repeats a run; see docs/GUARANTEES.md)
	@REKOLLECT_FAULTS_JOBS=$${REKOLLECT_FAULTS_JOBS:-10000} REKOLLECT_FAULTS_RATE=$${REKOLLECT_FAULTS_RATE:-30} \
		REKOLLECT_FAULTS_AWAY=$${REKOLLECT_FAULTS_AWAY:-60} REKOLLECT_FAULTS_ROUNDS=$${REKOLLECT_FAULTS_ROUNDS:-3} \
		$(VENV)/bin/pytest -s -m "not bench" tests/faults

soak: $(INSTALLED) ## put 50,000 jobs through one generation of processes (REKOLLECT_SOAK_JOBS, REKOLLECT_SOAK_RATE)
	@REKOLLECT_SOAK_JOBS=$${REKOLLECT_SOAK_JOBS:-50000} $(VENV)/bin/pytest -s -m faults tests/faults/test_soak.py

up: $(INSTALLED) ## run the whole stack on http://127.0.0.1:8080 until Ctrl-C
	@exec $(VENV)/bin/rekollect up

check: $(INSTALLED) ## lint, formatting, types, architecture
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/mypy
	@$(VENV)/bin/pytest -q tests/test_architecture.py

bench: $(INSTALLED) ## run the benchmarks
	@$(VENV)/bin/pytest -m bench -s

audit-deps: $(AUDIT) ## ask OSV for known vulnerabilities of every pinned version; fails where it cannot be asked
	@.venv-audit/bin/python -m tests.supply_chain.vulnerabilities

sbom: $(AUDIT) ## write build/sbom.json: CycloneDX of what an image holds, models included
	@rm -rf build/runtime && mkdir -p build && $(PYTHON) -m venv build/runtime
	@build/runtime/bin/pip install --quiet --disable-pip-version-check -c constraints.txt .
	@.venv-audit/bin/python -m tests.supply_chain.sbom build/runtime/bin/python build/sbom.json
	@echo "build/sbom.json"

licences: $(INSTALLED) ## write docs/LICENCES.md anew
	@$(VENV)/bin/python -m tests.supply_chain.licences

clean: ## remove what was built; data in .rekollect and the cache of models stay
	@rm -rf $(VENV) .venv-clients .venv-audit tests/clients/javascript/node_modules build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is made last, so an interrupted installation is done again; pip itself is quiet unless something fails.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not: name another one with PYTHON=python3.12" >&2; exit 1; }
	@echo "installing into $(VENV), about a minute ..."
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The AWS CLI has a virtual environment of its own: it brings its own botocore and old docutils, and ours stays what users get.
$(CLIENTS): tests/clients/requirements.txt tests/clients/javascript/package.json
	@node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' 2>/dev/null && npm --version >/dev/null 2>&1 || { \
		echo "Node.js 18 or newer and npm are needed to test the AWS SDK for JavaScript (Debian: apt-get install nodejs npm)" >&2; exit 1; }
	@echo "installing the AWS CLI and the AWS SDK for JavaScript, about a minute ..."
	@$(PYTHON) -m venv .venv-clients
	@.venv-clients/bin/pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
	@cd tests/clients/javascript && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

$(AUDIT): tests/supply_chain/requirements.txt
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
