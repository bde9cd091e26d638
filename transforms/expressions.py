"""A user's Spark SQL expressions: parsed, guarded, and tried out. Catalyst does all three, but shows no public face."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import DateTimeException, IllegalArgumentException, PySparkException, SparkUpgradeException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, DateType, MapType, NumericType, StringType, StructType, TimestampType

from transforms.bookkeeping import FAULT

_TIME_LITERAL: Final = re.compile(r"\b(date|timestamp\w*)\b", re.IGNORECASE)
_TIME_TYPE: Final = re.compile(r"date|timestamp")
_IN_DIGITS: Final = re.compile(r"['\"]\s*[+-]?\d[^'\"]*['\"]\s*\Z")


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


def functions_of(text: str, spark: SparkSession) -> frozenset[str]:
    """Name the functions that an expression calls, in lower case; of operators and other syntax there are no names."""
    called = [node for node in _nodes(parse(text, spark)) if node["class"].endswith(".UnresolvedFunction")]
    return frozenset(".".join(_name_parts(node["nameParts"])).lower() for node in called)


def has_star(text: str, spark: SparkSession) -> bool:
    """Whether an expression names all columns at once: those of the job would be among them."""
    return any(node["class"].endswith(".UnresolvedStar") for node in _nodes(parse(text, spark)))


def leaves_of(plan: Any) -> frozenset[str]:
    """Name the classes of Catalyst that the one expression of an analysed Project begins with."""
    nodes = _nodes(plan.projectList().head())
    return frozenset(str(node["class"]).rpartition(".")[2] for node in nodes if node["num-children"] == 0)


def has_time_word(text: str, plan: Any, spark: SparkSession) -> bool:
    """Whether an expression holds a word that Spark takes for a time of the run: `TIMESTAMP 'now'`, `DATE('today')`.

    Args:
        text: the expression.
        plan: the Project of it, analysed.
        spark: parses it.
    """
    rules: Any = spark._jvm.org.apache.spark.sql.catalyst.optimizer  # type: ignore[union-attr]
    replaced = rules.ReplaceExpressions.apply(plan)
    if not rules.SpecialDatetimeValues.apply(replaced).fastEquals(replaced):  # Spark's own rule for texts that are cast
        return True
    # A literal's word is gone once it is parsed; its place in the text is not.
    return _TIME_LITERAL.search(text) is not None and any(map(_is_time_word, _literals(parse(text, spark))))


def _nodes(tree: Any) -> list[dict[str, Any]]:
    """List all nodes of one of Catalyst's trees, by one call to the JVM."""
    nodes: list[dict[str, Any]] = json.loads(tree.toJSON())
    return nodes


def _name_parts(parts: object) -> list[str]:
    return [str(part) for part in parts] if isinstance(parts, list) else str(parts).strip("[]").split(", ")


def _literals(tree: Any) -> Iterator[Any]:
    children = tree.children()
    if tree.getClass().getSimpleName() == "Literal":
        yield tree
    for place in range(children.size()):
        yield from _literals(children.apply(place))


def _is_time_word(literal: Any) -> bool:
    """Whether a literal is a DATE or TIMESTAMP of which the text does not begin as a year does."""
    origin = literal.origin()
    if not origin.startIndex().isDefined() or not _TIME_TYPE.match(literal.dataType().typeName()):
        return False
    text = str(origin.sqlText().get())[origin.startIndex().get() : origin.stopIndex().get() + 1]
    return not _IN_DIGITS.search(text)


def sample(records: DataFrame) -> DataFrame:
    """Make one record of the same columns without a null in it, to try expressions on."""
    columns = [_sample(field.dataType).alias(field.name) for field in records.schema.fields]
    return records.sparkSession.sql("SELECT 1").select(*columns)


def folds(selected: DataFrame) -> bool:
    """Whether Spark can fold all of some expressions over a `sample`; where it cannot, `trial` tells why, of each."""
    query: Any = selected._jdf.queryExecution()
    try:
        query.optimizedPlan()
    except (PySparkException, Py4JJavaError):
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
    except Py4JJavaError:  # PySpark knows no such exception: the sample's value is at fault, e.g. as JSON
        return None
    return None


def in_words(error: PySparkException | Py4JJavaError) -> str:
    """Reduce Spark's message to what a user needs: without class and state codes, on one line."""
    if isinstance(error, Py4JJavaError):
        lines = _lines(str(_root(error.java_exception).getMessage()))
        return lines[0]
    lines = _lines(str(error))
    # Spark's second line tells the fault where the first one only tells of an upgrade.
    words = lines[1] if isinstance(error, SparkUpgradeException) and len(lines) > 1 else lines[0]
    words = words.split("] ", 1)[1] if words.startswith("[") and "] " in words else words
    return words.split(" SQLSTATE: ")[0].rstrip(". ")


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()] or ["Spark says no more"]


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
