# make demo: from nothing to a populated dashboard.  make test: all tests.  make run: the site without demo data.
# make env: only what the tests and tools need, in .venv.
# Needs make and Python 3.11 or newer (with venv). PYTHON=… names another one; uv is used when it is there.
SHELL := /bin/sh
COSTGOV_STARTED_AT := $(shell date +%s)
export COSTGOV_STARTED_AT

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
INSTALL = $(if $(shell command -v uv 2>/dev/null),uv pip install -q --python .venv/bin/python --require-hashes --only-binary :all:,.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes --only-binary=:all:)
LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

.PHONY: demo run env test test-fast lint format locks clean

demo: .venv/.run
	@exec .venv/bin/python manage.py up --demo

run: .venv/.run
	@exec .venv/bin/python manage.py up

env: .venv/.test

test: .venv/.test
	@COSTGOV_CHROMIUM="$$(.venv/bin/python -m tests.browser.chromium)" || exit 1; export COSTGOV_CHROMIUM; \
	exec .venv/bin/python -m pytest -n auto --dist loadgroup

test-fast: .venv/.test
	@exec .venv/bin/python -m pytest -n auto --dist loadgroup -m "not browser and not fault and not tools"

lint: .venv/.test
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy . && .venv/bin/lint-imports

format: .venv/.test
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

locks:
	$(LOCK) requirements/run.in -o requirements/run.txt
	$(LOCK) requirements/test.in -o requirements/test.txt
	for tool in inspect node; do \
		$(LOCK) tests/importers/evals/tools/$$tool.in -o tests/importers/evals/tools/$$tool.txt || exit 1; done

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps depend on the locks: a pull with new dependencies installs them.
.venv/.run: requirements/run.txt
	@test -n "$(PYTHON)" || { echo "costgov needs Python 3.11 or newer with venv; found: $$(python3 --version 2>&1). Install it, or name it with PYTHON=/path/to/python."; exit 1; }
	@echo "Preparing .venv with $$($(PYTHON) --version) (first time: about a minute) …"
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@$(INSTALL) -r $< && touch $@

.venv/.test: requirements/test.txt .venv/.run
	@echo "Installing the test set …"
	@$(INSTALL) -r $< && touch $@
