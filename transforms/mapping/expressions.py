"""A mapping's Spark SQL expressions: which functions they may use, parsing, guards, a trial.

Every function that Spark 3.5 to 4.1 registers was read through. The list holds those whose value depends on their
arguments alone. All others are refused: aggregates, windows and generators, what reads a clock, chance, the session,
the file's place or the JVM, sketches, and functions that somebody has added to a session.
"""

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

from transforms.columns import FAULT

_BY_KIND: Final = {
    "Comparisons and logic": """
        ! < <= <=> = == > >= and equal_null ilike in isnan isnotnull isnull like not or regexp regexp_like
        rlike
    """,
    "Choices": """
        between coalesce if ifnull nanvl nullif nullifzero nvl nvl2 when zeroifnull
    """,
    "Types": """
        bigint binary boolean cast date decimal double float int smallint string time timestamp tinyint
    """,
    "Numbers": """
        % * + - / abs acos acosh asin asinh atan atan2 atanh bin bround cbrt ceil ceiling conv cos cosh cot
        csc degrees div e exp expm1 factorial floor greatest hex hypot least ln log log10 log1p log2 mod
        negative pi pmod positive pow power radians rint round sec sign signum sin sinh sqrt tan tanh try_add
        try_divide try_mod try_multiply try_subtract unhex width_bucket
    """,
    "Bits": """
        & << >> >>> ^ bit_count bit_get getbit shiftleft shiftright shiftrightunsigned | ~
    """,
    "Texts": """
        ascii base64 bit_length btrim char char_length character_length chr collate collation concat_ws
        contains decode elt encode endswith find_in_set format_number format_string initcap instr
        is_valid_utf8 lcase left len length levenshtein locate lower lpad ltrim luhn_check make_valid_utf8
        mask octet_length overlay position printf quote regexp_count regexp_extract regexp_extract_all
        regexp_instr regexp_replace regexp_substr repeat replace right rpad rtrim soundex space split
        split_part startswith substr substring substring_index to_binary to_char to_number to_varchar
        translate trim try_to_binary try_to_number try_validate_utf8 ucase unbase64 upper validate_utf8
    """,
    "Times": """
        add_months convert_timezone date_add date_diff date_format date_from_unix_date date_part date_sub
        date_trunc dateadd datediff datepart day dayname dayofmonth dayofweek dayofyear extract from_unixtime
        from_utc_timestamp hour last_day make_date make_dt_interval make_interval make_time make_timestamp
        make_timestamp_ltz make_timestamp_ntz make_ym_interval minute month monthname months_between next_day
        quarter second time_diff time_trunc timestamp_micros timestamp_millis timestamp_seconds to_date
        to_time to_timestamp to_timestamp_ltz to_timestamp_ntz to_unix_timestamp to_utc_timestamp trunc
        try_make_interval try_make_timestamp try_make_timestamp_ltz try_make_timestamp_ntz try_to_date
        try_to_time try_to_timestamp unix_date unix_micros unix_millis unix_seconds unix_timestamp weekday
        weekofyear year
    """,
    "Arrays": """
        aggregate array array_append array_compact array_contains array_distinct array_except array_insert
        array_intersect array_join array_max array_min array_position array_prepend array_remove array_repeat
        array_size array_sort array_union arrays_overlap arrays_zip cardinality concat element_at exists
        filter flatten forall get map_filter map_zip_with reduce reverse sequence size slice sort_array
        transform transform_keys transform_values try_element_at zip_with
    """,
    "Maps and structures": """
        map map_concat map_contains_key map_entries map_from_arrays map_from_entries map_keys map_values
        named_struct str_to_map struct
    """,
    "Formats": """
        from_csv from_json from_xml get_json_object is_variant_null json_array_length json_object_keys
        parse_json parse_url schema_of_variant to_csv to_json to_variant_object to_xml try_parse_json
        try_parse_url try_url_decode try_variant_get url_decode url_encode variant_get xpath xpath_boolean
        xpath_double xpath_float xpath_int xpath_long xpath_number xpath_short xpath_string
    """,
    "Hashes": """
        crc32 hash md5 sha sha1 sha2 xxhash64
    """,
    "Others": """
        aes_decrypt try_aes_decrypt typeof
    """,
}
FUNCTIONS: Final = {kind: tuple(names.split()) for kind, names in _BY_KIND.items()}
"""By kind. Versions of Spark that do not know one of them say so themselves."""
ALLOWED: Final = frozenset(name for names in FUNCTIONS.values() for name in names)
LEAVES: Final = frozenset(
    {
        "AttributeReference",
        "CommonExpressionRef",  # what NULLIF and BETWEEN name once and use twice, from Spark 4 on
        "Literal",
        "NamedLambdaVariable",
        "CreateArray",
        "CreateMap",
        "CreateNamedStruct",
        "Pi",
        "EulerNumber",
    }
)
"""Catalyst's classes that an expression's value may begin with: columns, constants, and what is made of nothing."""


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
