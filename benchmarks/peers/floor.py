"""Spark's own floor: what any build must do, and nothing else.

spark-submit floor.py RAW SCHEMA OUT
"""

import sys

from pyspark.sql import SparkSession


def main(raw: str, schema: str, out: str) -> None:
    """Read the files with a schema, bring visitors together, sort, write Parquet."""
    spark = SparkSession.builder.appName("floor").getOrCreate()
    records = spark.read.schema(schema).json(raw)
    records.repartition("visitor").sortWithinPartitions("visitor", "at").write.parquet(f"{out}/events")


if __name__ == "__main__":
    main(*sys.argv[1:])
