"""The only place of the product that reaches into Spark: py4j, the JVM, private names of pyspark, Catalyst's classes.

Everything else uses pyspark's public API. What is here may break with any version of Spark, and works on classic Spark
alone: a client of Spark Connect has no JVM. So each use says why no public API serves, and
tests/jobs/test_spark_internals.py holds it to what it promises. All of it was tried on Spark 3.5.9, 4.1.4 and 4.3.0.

`gateway` is the connection to the JVM, and imports no pyspark; `context` starts, cancels and asks what runs there;
`errors` are Java's exceptions; `hadoop` is the file systems; `catalyst` is expressions and plans.
"""
