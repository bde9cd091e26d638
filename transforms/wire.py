"""The JSON that goes over the wire, made by Spark's own expressions."""

from pyspark.sql import Column
from pyspark.sql import functions as F


def properties_json(properties: Column) -> Column:
    """Render a MAP<STRING, STRING> as the API's `properties`: the text of a JSON object.

    Examples:
        >>> df = spark.sql("SELECT map('device', 'ios', 'rating', '5') AS p")
        >>> df.select(properties_json(F.col("p")).alias("json")).first().json
        '{"device":"ios","rating":"5"}'
    """
    return F.to_json(properties)


def event_json(fields: dict[str, Column]) -> Column:
    """Render one event as a member of PutEvents' `eventList`; absent (null) members are left out.

    Args:
        fields: the columns of the `events` table by name; sentAt goes out as Unix seconds to the millisecond.

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
        "eventValue": fields["eventValue"].cast("double"),
        "itemId": fields["itemId"].cast("string"),
        "impression": fields["impression"].cast("array<string>"),
        "properties": properties_json(fields["properties"].cast("map<string,string>")),
        "recommendationId": fields["recommendationId"].cast("string"),
        "metricAttribution": F.when(source.isNotNull(), F.struct(source.alias("eventAttributionSource"))),
        "sentAt": (F.unix_millis(fields["sentAt"]) / F.lit(1000).cast("decimal(4,0)")).cast("decimal(17,3)"),
    }
    return F.to_json(F.struct(*[member.alias(name) for name, member in members.items()]))
