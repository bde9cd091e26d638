"""A user's Spark SQL expressions: parsed, guarded, and tried out. Catalyst does all three, but shows no public face."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import DateTimeException, IllegalArgumentException, PySparkException, SparkUpgradeException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DateType, MapType, NumericType, StringType, StructType, TimestampType

from transforms.bookkeeping import FAULT


def parse(text: str, spark: SparkSession) -> Any:
    """Parse an expression without analysing it: Catalyst's tree.

    Raises:
        PySparkException: it is no expression.
    """
    session: Any = spark._jsparkSession
    return session.sessionState().sqlParser().parseExpression(text)


def guarded(text: str) -> Column:
    """Build a user's expression so that no record can fail the job: where it raises, it is null.

    Even with ANSI mode off some functions raise, e.g. timestamp_millis on a number far beyond any time. The expression
    is evaluated for records without `_fault` alone; the condition also keeps Catalyst from computing what two
    expressions share ahead of both, where nothing would catch it.

    Examples:
        >>> df = spark.createDataFrame([(1000,), (99999999999999999,)], "at BIGINT").selectExpr("*", "NULL AS _fault")
        >>> [row[0] for row in df.select(guarded("timestamp_millis(at)").cast("string")).collect()]
        ['1970-01-01 00:00:01', None]
    """
    spark = SparkSession.active()
    jvm: Any = spark._jvm
    whole = parse(f"IF({FAULT} IS NULL, (\n{text}\n), NULL)", spark)  # on lines of its own: it may end in a comment
    tried = jvm.org.apache.spark.sql.catalyst.expressions.TryEval(whole)
    if spark.version.startswith("3."):
        return Column(jvm.org.apache.spark.sql.Column(tried))
    from pyspark.sql.classic.column import Column as ClassicColumn  # noqa: PLC0415 - Spark 3 has no such module

    return ClassicColumn(jvm.org.apache.spark.sql.classic.ExpressionUtils.column(tried))


def sample(records: DataFrame) -> DataFrame:
    """Make one record of the same columns without a null in it, to try expressions on."""
    columns = [_sample(field.dataType).alias(field.name) for field in records.schema.fields]
    return records.sparkSession.sql("SELECT 1").select(*columns)


def folds(selected: DataFrame) -> bool:
    """Whether Spark can fold all of some expressions over a `sample`; where it cannot, `trial` tells why, of each."""
    query: Any = selected._jdf.queryExecution()
    try:
        query.optimizedPlan()
    except PySparkException:
        return False
    return True


def trial(selected: DataFrame) -> str | None:
    """Fold expressions over a `sample`, without running a job, to find constants that no record could mend.

    Returns:
        What is wrong with a date pattern, a time zone or a regular expression, or None.
    """
    query: Any = selected._jdf.queryExecution()
    try:
        query.optimizedPlan()
    except (SparkUpgradeException, IllegalArgumentException, DateTimeException) as error:
        return in_words(error)
    except PySparkException as error:
        return in_words(error) if "INVALID_PARAMETER_VALUE" in str(error) else None
    return None


def in_words(error: PySparkException | Py4JJavaError) -> str:
    """Reduce Spark's message to what a user needs: without class and state codes, on one line."""
    if isinstance(error, Py4JJavaError):
        return str(_root(error.java_exception).getMessage()).split("\n")[0]
    lines = [line.strip() for line in str(error).strip().split("\n")]
    # Spark's second line tells the fault where the first one only tells of an upgrade.
    words = lines[1] if isinstance(error, SparkUpgradeException) and len(lines) > 1 else lines[0]
    words = words.split("] ", 1)[1] if words.startswith("[") and "] " in words else words
    return words.split(" SQLSTATE: ")[0].rstrip(". ")


def _root(error: Any) -> Any:
    while error.getCause() is not None:
        error = error.getCause()
    return error


def _sample(kind: DataType) -> Column:
    if isinstance(kind, StructType):
        return F.struct(*[_sample(field.dataType).alias(field.name) for field in kind.fields])
    if isinstance(kind, ArrayType):
        return F.array(_sample(kind.elementType))
    if isinstance(kind, MapType):
        return F.create_map(_sample(kind.keyType), _sample(kind.valueType))
    if isinstance(kind, NumericType):
        return F.lit(1).cast(kind)
    if isinstance(kind, StringType | DateType | TimestampType):
        return F.lit("2024-01-02").cast(kind)
    return F.lit(None).cast(kind)
