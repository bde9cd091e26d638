"""The smallest Spark job: a session, and a count of an empty file.

spark-submit bare_session.py FILE
"""

import sys

from pyspark.sql import SparkSession


def main(file: str) -> None:
    """Count."""
    print(SparkSession.builder.appName("bare").getOrCreate().read.text(file).count())


if __name__ == "__main__":
    main(*sys.argv[1:])
