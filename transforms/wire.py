"""The JSON of requests, made by Spark's own expressions."""

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

_SCIENTIFIC_NOTATION: Final = r"\A(-?)(\d)\.(\d+)E(-?\d+)\z"
_ZEROS: Final = "0" * 324  # more than the smallest DOUBLE has after its point


def properties_json(properties: Column) -> Column:
    """Render a MAP<STRING, STRING> as the API's `properties`: the text of a JSON object.

    Examples:
        >>> df = spark.sql("SELECT map('device', 'ios', 'rating', '5') AS p")
        >>> df.select(properties_json(F.col("p")).alias("json")).first().json
        '{"device":"ios","rating":"5"}'
    """
    return F.to_json(properties)


def write_plain_number(number: Column) -> Column:
    """Write a finite DOUBLE as a JSON number without an exponent: the same value, to the last bit.

    Spark writes 1.0E7 for ten million. That is JSON, but some readers do not accept it as a number. A fraction of 0 is
    kept, so that readers take the value for a floating-point number.

    Examples:
        >>> df = spark.sql("SELECT explode(array(19.9D, -0.0D, 1e7D, 1234567890.5D, -1.5e-5D, 2.5e21D)) AS n")
        >>> [row[0] for row in df.select(write_plain_number(F.col("n"))).collect()]
        ['19.9', '-0.0', '10000000.0', '1234567890.5', '-0.000015', '2500000000000000000000.0']
    """
    text = number.cast("string")
    sign, whole, fraction, exponent = (F.regexp_extract(text, _SCIENTIFIC_NOTATION, group) for group in (1, 2, 3, 4))
    digits, power = F.concat(whole, F.regexp_replace(fraction, r"0+\z", "")), exponent.cast("int")
    point = power + 1  # the position of the point in the digits; before them if not positive
    small = F.concat(F.lit("0."), _zeros(-point), digits)
    whole_number = F.concat(digits, _zeros(point - F.length(digits)), F.lit(".0"))
    between = F.concat(digits.substr(F.lit(1), point), F.lit("."), digits.substr(point + 1, F.length(digits)))
    large = F.when(F.length(digits) <= point, whole_number).otherwise(between)
    return F.when(~text.contains("E"), text).otherwise(F.concat(sign, F.when(point <= 0, small).otherwise(large)))


def _zeros(count: Column) -> Column:
    return F.lit(_ZEROS).substr(F.lit(1), count)


def event_json(fields: dict[str, Column]) -> Column:
    """Render one event as a member of PutEvents' `eventList`; null members are left out.

    Args:
        fields: the columns of the `events` table by name; sentAt is written as Unix seconds to the millisecond;
            sentAt and eventValue are written without an exponent.

    Examples:
        >>> df = spark.sql("SELECT 'e1' AS eventId, 'view' AS eventType, timestamp_millis(1704067200125) AS sentAt")
        >>> nothing = ["eventValue", "itemId", "impression", "properties", "recommendationId", "eventAttributionSource"]
        >>> absent = {name: F.lit(None) for name in nothing}
        >>> given = {name: F.col(name) for name in df.columns}
        >>> df.select(event_json({**given, **absent}).alias("json")).first().json
        '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
    """
    source = fields["eventAttributionSource"].cast("string")
    members = {
        "eventId": fields["eventId"],
        "eventType": fields["eventType"],
        "itemId": fields["itemId"].cast("string"),
        "impression": fields["impression"].cast("array<string>"),
        "properties": properties_json(fields["properties"].cast("map<string,string>")),
        "recommendationId": fields["recommendationId"].cast("string"),
        "metricAttribution": F.when(source.isNotNull(), F.struct(source.alias("eventAttributionSource"))),
        "sentAt": (F.unix_millis(fields["sentAt"]) / F.lit(1000).cast("decimal(4,0)")).cast("decimal(17,3)"),
    }
    json = F.to_json(F.struct(*[member.alias(name) for name, member in members.items()]))
    value = write_plain_number(fields["eventValue"].cast("double"))
    with_value = F.concat(F.lit('{"eventValue":'), value, F.lit(","), json.substr(F.lit(2), F.length(json)))
    return F.when(value.isNull(), json).otherwise(with_value)
