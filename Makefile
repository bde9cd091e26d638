# One command each for what one does here. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# Processes that share the tests, each with a SparkSession of its own for two cores.
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
# Spark's launchers look for `python3` and `java` on the path.
RUN = . $(VENV)/environment && PATH="$(CURDIR)/$(BIN):$$PATH"

.PHONY: help setup demo test test-airflow lint types format docs clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/installed ## make .venv with everything; find or install Java

demo: setup ## raw logs in, PutEvents out, every event accounted for
	@$(RUN) python -m demo $(ARGS)

test: setup ## run all tests; ARGS="-k sessions" for some
	@$(RUN) python -m pytest -n $(WORKERS) --dist loadfile --ignore=tests/dags $(ARGS)

test-airflow: setup $(AIRFLOW)/installed ## check and run the DAG in an Airflow of its own (.venv-airflow)
	@cd dags && MYPYPATH=. ../$(AIRFLOW)/bin/mypy --config-file ../pyproject.toml *.py
	@cd dags && PYTHONPATH=. ../$(AIRFLOW)/bin/python -m pytest -q -c /dev/null --rootdir=.. --confcutdir=../tests/dags \
	  -p no:cacheprovider --doctest-modules ../tests/dags/test_dag.py ../tests/dags/test_dag_job.py \
	  clickstream_job.py clickstream_settings.py
	@$(RUN) python -m pytest tests/dags/test_dag_runs.py $(ARGS)

lint: setup ## style and import direction
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) lint-imports

types: setup ## mypy --strict
	@$(RUN) mypy

format: setup ## put style right
	@$(RUN) ruff check --fix . ; $(RUN) ruff format .

docs: setup ## write docs/rules.md from the rules
	@$(RUN) python -m expectations.reference > docs/rules.md

clean: ## remove what the commands made
	rm -rf $(VENV) $(AIRFLOW) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/installed: pyproject.toml .ci/java
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || { echo "setup: Python 3.11 or newer is needed: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@java_home=$$(bash .ci/java) && mkdir -p $(VENV) \
	  && if command -v uv >/dev/null; then \
	       uv venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV) \
	       && uv pip install --quiet --python $(BIN)/python --editable '.[dev]'; \
	     else \
	       $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --editable '.[dev]'; \
	     fi \
	  && echo "export JAVA_HOME='$$java_home'" > $(VENV)/environment && touch $@

$(AIRFLOW)/installed: .ci/airflow
	@bash .ci/airflow $(AIRFLOW) $(PYTHON) && touch $@
