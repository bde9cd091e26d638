"""A mapping's Spark SQL expressions: which functions they may use, and how no record makes them fail.

Every function that Spark 3.5 to 4.1 registers was read through; what came later is refused. The list holds those whose
value depends on their arguments alone. All others are refused: aggregates, windows and generators, what reads a clock,
chance, the session, the file's place or the JVM, sketches, and functions that somebody has added to a session.
"""

from __future__ import annotations

from typing import Final, Protocol

from pyspark.sql import Column
from pyspark.sql.types import DataType

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


class SparkExpressions(Protocol):
    """Expressions that need Spark's JVM, which `transforms` does not reach into: whoever calls it hands them in."""

    def null_on_error(self, text: str) -> Column:
        """Parse a SQL expression; where it raises, its value is null."""
        ...

    def text_of(self, value: Column, kind: DataType) -> Column:
        """Write a single value as text, the same on each version of Java."""
        ...


def guarded(text: str, expressions: SparkExpressions) -> Column:
    """Build a user's expression so that no record can fail the job: where it raises, it is null.

    Even with ANSI mode off some functions raise, e.g. timestamp_millis on a number far beyond any time. The expression
    is evaluated for records without `_fault` alone; the condition also keeps Catalyst from computing what two
    expressions share ahead of both, where nothing would catch it.
    """
    # On lines of its own: it may end in a comment.
    return expressions.null_on_error(f"IF({FAULT} IS NULL, (\n{text}\n), NULL)")
