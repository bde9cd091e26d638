"""Builds the gate's Great Expectations suite from the checks, and runs it in a checkpoint.

Great Expectations sees one row of numbers that Spark has already computed: it starts no Spark job. Importing it takes
seconds; only `expectations.gate` imports it, when it judges a batch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pandas as pd

from expectations.thresholds import Limit


@contextmanager
def _without_spark_connect() -> Iterator[None]:
    """Make the import of Spark Connect fail, because Great Expectations tries it.

    Without grpc, pyspark 4.3 ends the process with exit code 0 if the main module has no file, as in `python -c` and in
    the workers of pytest-xdist.
    """
    connect = "pyspark.sql.connect"
    if connect in sys.modules:
        yield
    else:
        sys.modules[connect] = None  # type: ignore[assignment]  # the import system's mark for a missing module
        try:
            yield
        finally:
            del sys.modules[connect]


os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import; a batch job calls only its service

with _without_spark_connect():
    import great_expectations as gx
    from great_expectations.expectations.core.expect_column_max_to_be_between import ExpectColumnMaxToBeBetween
    from great_expectations.expectations.core.expect_column_min_to_be_between import ExpectColumnMinToBeBetween
    from great_expectations.expectations.metadata_types import FailureSeverity


def run_checkpoint(batch: str, facts: Mapping[str, float], limits: Sequence[Limit]) -> list[Limit]:
    """Validate a batch's facts.

    Args:
        batch: the label, which names the suite.
        facts: numbers by column.
        limits: on those columns.

    Returns:
        The limits that are exceeded, in their order.
    """
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    frame = pd.DataFrame([facts])
    asset = context.data_sources.add_pandas("lake").add_dataframe_asset("batch facts")
    suite = context.suites.add(
        gx.ExpectationSuite(name=batch, expectations=[_make_expectation(limit) for limit in limits])
    )
    definition = gx.ValidationDefinition(
        name=batch, data=asset.add_batch_definition_whole_dataframe("one row"), suite=suite
    )
    checkpoint = gx.Checkpoint(
        name="gate", validation_definitions=[context.validation_definitions.add(definition)], result_format="BASIC"
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": frame})
    (results,) = outcome.run_results.values()
    return [limit for result in results.results if (limit := _find_broken_limit(result)) is not None]


def _make_expectation(limit: Limit) -> Any:
    severity = FailureSeverity.CRITICAL if limit.key.startswith("fail") else FailureSeverity.WARNING
    meta = {"limit": limit._asdict()}
    if limit.key.endswith("below"):
        return ExpectColumnMinToBeBetween(column=limit.column, min_value=limit.value, severity=severity, meta=meta)
    return ExpectColumnMaxToBeBetween(column=limit.column, max_value=limit.value, severity=severity, meta=meta)


def _find_broken_limit(result: Any) -> Limit | None:
    if any(info.get("raised_exception") for info in _list_exceptions(result.exception_info)):
        raise RuntimeError("Great Expectations could not evaluate an expectation")
    return None if result.success else Limit(**result.expectation_config.meta["limit"])


def _list_exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """List the entries on raised exceptions: one, or one for each metric."""
    return [info] if "raised_exception" in info else list(info.values())
