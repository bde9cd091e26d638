"""The only place of the product that reaches into Spark's JVM."""
