"""Catalyst: builds expressions that pyspark cannot, analyses users' expressions, and lists the files that a plan reads.

It needs classic Spark: a client of Spark Connect has no expressions and plans, only messages that describe them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import types as T
from pyspark.sql.types import DataType, DoubleType, FloatType

_LEAVES: Final = frozenset(
    {
        "AttributeReference",
        "CommonExpressionRef",  # a value that NULLIF and BETWEEN use twice, from Spark 4 on
        "Literal",
        "NamedLambdaVariable",
        "CreateArray",
        "CreateMap",
        "CreateNamedStruct",
        "Pi",
        "EulerNumber",
    }
)
"""The leaf classes that depend on columns and constants alone, with the constructors without arguments."""
_TIME_LITERAL: Final = re.compile(r"\b(date|timestamp\w*)\b", re.IGNORECASE)
_TIME_TYPE: Final = re.compile(r"date|timestamp")
_IN_DIGITS: Final = re.compile(r"['\"]\s*[+-]?\d[^'\"]*['\"]\s*\Z")


class CatalystExpressions:
    """Builds expressions that pyspark has no function for. `transforms` takes it as `SparkExpressions`."""

    def __init__(self, spark: SparkSession) -> None:
        self._spark = spark
        self._jvm: Any = spark._jvm
        self._is_spark_3 = spark.version.startswith("3.")

    def null_on_error(self, text: str) -> Column:
        """Parse a SQL expression; if its evaluation raises, its value is null.

        SQL has try_ variants of some functions, but not of all expressions.

        Raises:
            PySparkException: the text is not an expression.
        """
        expressions = self._jvm.org.apache.spark.sql.catalyst.expressions
        return self._to_column(expressions.TryEval(parse(text, self._spark)))

    def text_of(self, value: Column, kind: DataType) -> Column:
        """Write a single value as text; a DOUBLE or FLOAT as the shortest decimal that identifies it.

        A cast to STRING leaves numbers to the executor's Java, and before Java 19 that wrote 1.0E23 as
        9.999999999999999E22. The Jackson that comes with Spark has the algorithm of Java 19. The public `reflect`,
        which calls any static method, counts as not deterministic.
        """
        if not isinstance(kind, DoubleType | FloatType):
            return value.cast("string")
        writer = "DoubleToDecimal" if isinstance(kind, DoubleType) else "FloatToDecimal"
        types = self._jvm.org.apache.spark.sql.types
        java_string = types.ObjectType(self._find_java_class("java.lang.String"))
        java_writer = f"com.fasterxml.jackson.core.io.schubfach.{writer}"
        written = self._build_static_call(java_writer, "toString", self._to_expression(value), java_string)
        string, spark_string = types.DataTypes.StringType, "org.apache.spark.unsafe.types.UTF8String"
        return self._to_column(self._build_static_call(spark_string, "fromString", written, string))

    def _build_static_call(self, of: str, method: str, argument: Any, kind: Any) -> Any:
        """Build the call of a static Java method, null if its argument is null."""
        sequence = self._jvm.org.apache.spark.api.python.PythonUtils.toSeq
        call = self._jvm.org.apache.spark.sql.catalyst.expressions.objects.StaticInvoke
        more = [] if self._is_spark_3 else [self._jvm.scala.Option.empty()]  # no function of the catalog
        return call(
            self._find_java_class(of), kind, method, sequence([argument]), sequence([]), True, True, True, *more
        )

    def _find_java_class(self, name: str) -> Any:
        return self._jvm.java.lang.Class.forName(name)

    def _to_expression(self, column: Column) -> Any:
        java: Any = column._jc
        if self._is_spark_3:
            return java.expr()
        return self._jvm.org.apache.spark.sql.classic.ExpressionUtils.expression(java)

    def _to_column(self, expression: Any) -> Column:
        if self._is_spark_3:
            return Column(self._jvm.org.apache.spark.sql.Column(expression))
        from pyspark.sql.classic.column import Column as ClassicColumn  # noqa: PLC0415 - Spark 3 has no such module

        return ClassicColumn(self._jvm.org.apache.spark.sql.classic.ExpressionUtils.column(expression))


def parse_ddl(text: str) -> DataType:
    """Parse a type or a list of columns in DDL.

    The public `DataType.fromDDL` exists from Spark 4.0 on, not in 3.5; createDataFrame, which parses DDL too, plans a
    query.

    Raises:
        PySparkException: the text is not DDL.
    """
    return T._parse_datatype_string(text)


def parse(text: str, spark: SparkSession) -> Any:
    """Parse an expression without analysing it: Catalyst's tree.

    The public `expr` reports no fault before its columns are known, and does not show the tree.

    Raises:
        PySparkException: the text is not an expression.
    """
    session: Any = spark._jsparkSession
    return session.sessionState().sqlParser().parseExpression(text)


def functions_of(text: str, spark: SparkSession) -> frozenset[str]:
    """List the functions that an expression calls, in lower case; operators and other syntax are not among them."""
    called = [node for node in _list_nodes(parse(text, spark)) if node["class"].endswith(".UnresolvedFunction")]
    return frozenset(".".join(_split_name(node["nameParts"])).lower() for node in called)


def has_star(text: str, spark: SparkSession) -> bool:
    """Whether an expression contains `*`."""
    return any(node["class"].endswith(".UnresolvedStar") for node in _list_nodes(parse(text, spark)))


def is_row_by_row(selected: DataFrame, rows: DataFrame) -> bool:
    """Whether a selection gives one row for each row: without aggregates, windows and generators.

    Spark puts these into plan nodes of their own. No public API shows the parts of an expression.

    Args:
        selected: one expression of `rows`.
        rows: what it was selected from.
    """
    plan = _analyzed_plan(selected)
    return plan.getClass().getSimpleName() == "Project" and bool(plan.child().sameResult(_analyzed_plan(rows)))


def uses_columns_alone(selected: DataFrame) -> bool:
    """Whether the one expression of a selection has a value that depends on columns and constants alone.

    Catalyst knows which expressions are not deterministic. Those that read the clock, the session or the file's path
    are leaves of its tree. No public API shows either.

    Args:
        selected: one expression; `is_row_by_row`.
    """
    plan = _analyzed_plan(selected)
    nodes = _list_nodes(plan.projectList().head())
    leaves = {str(node["class"]).rpartition(".")[2] for node in nodes if node["num-children"] == 0}
    return bool(plan.deterministic()) and leaves <= _LEAVES


def has_time_word(text: str, selected: DataFrame, spark: SparkSession) -> bool:
    """Whether an expression has a word that Spark replaces by a time of the run: `TIMESTAMP 'now'`, `DATE('today')`.

    Spark's own rule decides, because only it knows which texts are cast to times.

    Args:
        text: the expression.
        selected: a selection of the expression alone.
        spark: parses it.
    """
    jvm: Any = spark._jvm
    rules = jvm.org.apache.spark.sql.catalyst.optimizer
    replaced = rules.ReplaceExpressions.apply(_analyzed_plan(selected))
    if not rules.SpecialDatetimeValues.apply(replaced).fastEquals(replaced):
        return True
    # The parser replaces a literal's word, but keeps its position in the text.
    return _TIME_LITERAL.search(text) is not None and any(map(_is_time_word, _list_literals(parse(text, spark))))


def fold_constants(selected: DataFrame) -> None:
    """Optimise a selection, which evaluates constant expressions, without running a job.

    The public `explain` optimises too, but prints, and plans the query as well.

    Raises:
        PySparkException: a constant expression raises.
        JavaError: it raises an error that pyspark has no class for.
    """
    plan: Any = selected._jdf
    plan.queryExecution().optimizedPlan()


def input_file_uris(frame: DataFrame) -> Sequence[str]:
    """List the files that a frame reads; each is fetched from the JVM on access.

    The public `DataFrame.inputFiles` fetches all of them one by one, even if only their number is needed.
    """
    plan: Any = frame._jdf
    files: Sequence[str] = plan.inputFiles()
    return files


def input_bytes(frame: DataFrame) -> int:
    """Sum up the sizes of the files that a frame reads, as Spark has listed them, without a new listing.

    No public API gives the sizes.
    """
    leaves = _analyzed_plan(frame).collectLeaves()
    relations = [leaf for leaf in map(leaves.apply, range(leaves.size())) if _is_relation(leaf)]
    return sum(int(leaf.relation().location().sizeInBytes()) for leaf in relations)


def _analyzed_plan(frame: DataFrame) -> Any:
    plan: Any = frame._jdf
    return plan.queryExecution().analyzed()


def _is_relation(leaf: Any) -> bool:
    return bool(leaf.getClass().getSimpleName() == "LogicalRelation")


def _list_nodes(tree: Any) -> list[dict[str, Any]]:
    """List all nodes of one of Catalyst's trees, by one call to the JVM."""
    nodes: list[dict[str, Any]] = json.loads(tree.toJSON())
    return nodes


def _split_name(parts: object) -> list[str]:
    return [str(part) for part in parts] if isinstance(parts, list) else str(parts).strip("[]").split(", ")


def _list_literals(tree: Any) -> Iterator[Any]:
    children = tree.children()
    if tree.getClass().getSimpleName() == "Literal":
        yield tree
    for place in range(children.size()):
        yield from _list_literals(children.apply(place))


def _is_time_word(literal: Any) -> bool:
    """Whether a literal is a DATE or TIMESTAMP with a text that does not begin with a digit."""
    origin = literal.origin()
    if not origin.startIndex().isDefined() or not _TIME_TYPE.match(literal.dataType().typeName()):
        return False
    text = str(origin.sqlText().get())[origin.startIndex().get() : origin.stopIndex().get() + 1]
    return not _IN_DIGITS.search(text)
