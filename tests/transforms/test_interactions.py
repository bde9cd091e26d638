"""Events as an import's rows: whose they are, which column holds what, numbers that every reader takes for such."""

from __future__ import annotations

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from transforms.interactions import columns_of, interactions, name_users


def seen(spark: SparkSession, *rows: tuple[str, str, str | None, int]) -> DataFrame:
    schema = "eventId STRING, sessionId STRING, userId STRING, second INT"
    return spark.createDataFrame(rows, schema).selectExpr(
        "eventId", "sessionId", "userId", "timestamp_seconds(second) AS sentAt"
    )


def test_events_of_others_name_users_and_are_no_rows(spark: SparkSession) -> None:
    events = seen(spark, ("1", "s", None, 10), ("2", "s", None, 30), ("3", "t", None, 10), ("4", "u", "me", 10))
    others = seen(spark, ("5", "s", "before", 5), ("6", "s", "next", 20), ("7", "s", None, 25), ("8", "v", "x", 1))
    named = name_users(events, others).select("eventId", "userId")
    wanted = [("1", "next"), ("2", "next"), ("3", None), ("4", "me")]
    assert_df_equality(named, spark.createDataFrame(wanted, "eventId STRING, userId STRING"), ignore_row_order=True)


def test_keys_that_come_to_one_column_share_it_and_numbers_have_no_exponent(spark: SparkSession) -> None:
    events = spark.sql("""
        SELECT 'u' AS userId, 'i' AS itemId, timestamp_seconds(7) AS sentAt, 'view' AS eventType, value AS eventValue,
               properties FROM VALUES
        (1e7D, map('deviceOs', 'ios', 'itemId', 'lost')), (2.5D, map('deviceOS', 'IOS')),
        (NULL, map('deviceOS', 'first', 'deviceOs', 'second')) AS t(value, properties)
    """)
    found = interactions(events, columns_of(["deviceOs", "itemId", "deviceOS"], impressions=False))
    assert found.columns == ["USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE", "DEVICE_OS"]
    wanted = [("10000000.0", "ios"), ("2.5", "IOS"), (None, "first")]
    assert_df_equality(
        found.select("EVENT_VALUE", "DEVICE_OS"),
        spark.createDataFrame(wanted, "EVENT_VALUE STRING, DEVICE_OS STRING"),
        ignore_row_order=True,
    )


def test_columns_are_of_impressions_and_of_keys_whose_column_is_free(spark: SparkSession) -> None:
    keys = ["device", "numberOfRatings", "itemId", "impression"]
    assert list(columns_of(keys, impressions=True)) == ["IMPRESSION", "DEVICE", "NUMBER_OF_RATINGS"]
    assert list(columns_of(keys, impressions=False)) == ["DEVICE", "NUMBER_OF_RATINGS"]
