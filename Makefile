# One command each for what one does here. `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# Processes that share the tests, each with a SparkSession of its own for two cores.
WORKERS ?= 2
# Of the simulated delivery, for `make simulate`.
SEEDS ?= 0:10000
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := .venv-airflow
# Older versions of Spark, each with an environment of its own. Spark 3.5 knows no later ones of these packages.
OF_SPARK35 := 'pyspark[sql]>=3.5,<3.6' 'pyarrow<20' 'numpy<2' 'pandas<3'
OF_SPARK41 := 'pyspark[sql]>=4.1,<4.2'
# What Spark itself does for us: its internals, expressions, the jobs from end to end, a real cluster, signals, executors.
TESTS_OF_OLD_SPARK := tests/jobs/test_spark_internals.py tests/jobs/cli/test_connect.py tests/jobs/cli/test_early_signals.py \
  tests/transforms tests/jobs/reading/test_mapping_check.py tests/jobs/test_build_events.py tests/jobs/test_deliveries.py \
  tests/jobs/cli/test_interruption.py tests/jobs/test_executors.py tests/jobs/reading/test_conversions.py \
  --ignore tests/transforms/test_incremental.py
# Spark's launchers look for `python3` and `java` on the path.
RUN = . $(VENV)/environment && PATH="$(CURDIR)/$(BIN):$$PATH"

.DELETE_ON_ERROR:
.PHONY: help setup demo simulate sweeps test test-long test-airflow test-spark35 test-spark41 kill-sweep soak bench bench-quick lint types format docs zip clean FORCE

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/installed ## make .venv with everything; find or install Java

demo: setup ## raw logs in, PutEvents out, every event accounted for
	@$(RUN) python -m demo $(ARGS)

test: $(VENV)/classes.jsa ## run the tests, in ten minutes on two cores; ARGS="-k sessions" for some
	@$(RUN) python -m pytest -n $(WORKERS) --dist loadfile --ignore=tests/dags $(ARGS)

test-long: $(VENV)/classes.jsa ## those that need long: clusters, spark-submit, kills, batch after batch
	@$(RUN) python -m pytest -n $(WORKERS) --dist loadfile --ignore=tests/dags -m long --timeout=1800 $(ARGS)

test-airflow: zip $(AIRFLOW)/installed $(VENV)/classes.jsa ## check and run the DAG in an Airflow of its own (.venv-airflow)
	@cd dags && MYPYPATH=. ../$(AIRFLOW)/bin/mypy --config-file ../pyproject.toml *.py
	@cd dags && PYTHONPATH=. ../$(AIRFLOW)/bin/python -m pytest -q -c /dev/null --rootdir=.. --confcutdir=../tests/dags \
	  -p no:cacheprovider --doctest-modules ../tests/dags/test_dag.py ../tests/dags/test_dag_job.py \
	  clickstream_batches.py clickstream_job.py clickstream_settings.py
	@$(RUN) python -m pytest tests/dags/test_dag_runs.py $(ARGS)

test-spark35: ## the tests of what rests on Spark, on Spark 3.5; ARGS="..." for others
test-spark41: ## the same on Spark 4.1
test-spark35 test-spark41: test-%: .venv-%/classes.jsa
	@. .venv-$*/environment && PATH="$(CURDIR)/.venv-$*/bin:$$PATH" \
	  python -m pytest -n $(WORKERS) --dist loadfile $(or $(ARGS),$(TESTS_OF_OLD_SPARK))
	$(if $(ARGS),,@. .venv-$*/environment && PATH="$(CURDIR)/.venv-$*/bin:$$PATH" \
	  python -m pytest -m long --timeout=1800 tests/jobs/test_cluster.py)

simulate: setup ## many seeds of the simulated delivery; ARGS="--seeds 0:1000000"
	@$(RUN) nice -n 10 python -m tests.simulation $(or $(ARGS),--seeds $(SEEDS))

sweeps: $(VENV)/classes.jsa ## the tests that try everything: each setting of Spark, ten ways of cutting a log
	@$(RUN) python -m pytest -m sweep --timeout=7200 tests $(ARGS)

kill-sweep: setup ## kill a build, a delivery and a replay at 40 places of each by SIGKILL and SIGTERM; POINTS=10 for fewer
	@$(RUN) KILL_POINTS=$(or $(POINTS),40) python -m pytest -q -s -m 'not sweep' tests/jobs/test_kill_sweep.py $(ARGS)

soak: setup ## a delivery of 1,000,000 requests on a cluster, a fault every 20 s; ARGS="--requests 20000" for fewer
	@$(RUN) python -m benchmarks.soak $(ARGS)

bench: setup ## what this costs against its peers, in half an hour, to docs/benchmarks.md; ARGS="--only send" for some
	@$(RUN) python -m benchmarks $(ARGS)

bench-quick: setup ## the same in four minutes, to see that it works: to build/bench-quick.md
	@$(RUN) python -m benchmarks --quick $(ARGS)

lint: setup ## style and import direction
	@$(RUN) ruff check . && $(RUN) ruff format --check . && $(RUN) lint-imports

types: setup ## mypy --strict
	@$(RUN) mypy

format: setup ## put style right
	@$(RUN) ruff check --fix . ; $(RUN) ruff format .

docs: setup ## write docs/rules.md from the rules
	@$(RUN) python -m expectations.reference > docs/rules.md

zip: setup ## dist/: the wheel, and the zip for spark-submit --py-files
	@rm -rf dist && $(RUN) && python -m hatchling build -t wheel \
	  && python tools/cluster_zip.py dist/*.whl dist/clickstream_events.zip && echo dist/clickstream_events.zip

clean: ## remove what the commands made
	rm -rf $(VENV) $(AIRFLOW) .venv-spark35 .venv-spark41 build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/installed: WANTED := --editable '.[dev]'
.venv-spark35/installed: WANTED := --editable '.[test]' $(OF_SPARK35)
.venv-spark41/installed: WANTED := --editable '.[test]' $(OF_SPARK41)
$(VENV)/installed .venv-spark35/installed .venv-spark41/installed: %/installed: %/made-for pyproject.toml .ci/setup .ci/java
	@bash .ci/setup $(@D) "$(PYTHON)" $(WANTED) && touch $@

# Another Python, or a Java that has gone since: what was set up is set up anew.
%/made-for: FORCE
	@mkdir -p $(@D); version="$$("$(PYTHON)" -V 2>&1)"; \
	  if [ "$$(cat $@ 2>/dev/null)" != "$$version" ] \
	    || { [ -e $(@D)/environment ] && ! (. $(@D)/environment; [ -x "$$JAVA_HOME/bin/java" ]); }; \
	  then echo "$$version" > $@; fi

# JVMs of tests find their classes in it, and start in half the time.
%/classes.jsa: %/installed tools/load_classes.py
	@. $(@D)/environment && PATH="$(CURDIR)/$(@D)/bin:$$PATH" \
	  SPARK_SUBMIT_OPTS="-XX:TieredStopAtLevel=1 -XX:+UseSerialGC \"-XX:ArchiveClassesAtExit=$(CURDIR)/$@\" -Xlog:disable" \
	  PYTHONPATH="$(CURDIR)" AWS_ACCESS_KEY_ID=AKIDEMULATOR AWS_SECRET_ACCESS_KEY=emulator-secret SPARK_LOCAL_IP=127.0.0.1 \
	  spark-submit --conf spark.ui.enabled=false --conf spark.log.level=ERROR tools/load_classes.py > $(@D)/classes.log 2>&1 \
	  || { cat $(@D)/classes.log >&2; exit 1; }

$(AIRFLOW)/installed: .ci/airflow
	@bash .ci/airflow $(AIRFLOW) $(PYTHON) && touch $@
