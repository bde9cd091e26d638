"""Describes the machine and the run of the figures."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import duckdb
import pyspark

from benchmarks.plan import Plan
from benchmarks.shop_log import ABOUT


def describe(plan: Plan, command: str) -> str:
    """Describe the run, the machine and the data."""
    run = "A quick run, whose figures prove little, of" if plan.quick else "A run of"
    pairs = "one pair" if plan.pairs == 1 else f"{plan.pairs} pairs"
    load = ", ".join(f"{each:.2f}" for each in os.getloadavg())
    return "\n".join(
        [
            f"{run} `{command}`: {pairs} of each unless it says otherwise, in turn, with the order reversed every",
            "round. A ratio is the median of the ratios of the pairs. Builds and deliveries are whole processes with",
            "their start-up: `spark-submit --master local[2] --driver-memory 4g`. Processor seconds (CPU s) are those",
            "of all processes of a contestant. The counts and the written rows were compared: all agree.",
            "",
            "| | |",
            "|---|---|",
            f"| cores | {os.cpu_count()} of {_value('/proc/cpuinfo', 'model name')} |",
            f"| memory | {int(_value('/proc/meminfo', 'MemTotal').split()[0]) / 2**20:.0f} GiB |",
            f"| Python, Java | {platform.python_version()}, {_java()} |",
            f"| Spark, DuckDB | {pyspark.__version__}, {duckdb.__version__} |",
            f"| load average at the start | {load} |",
            "",
            ABOUT,
        ]
    )


def _value(file: str, key: str) -> str:
    lines = (line.split(":", 1) for line in Path(file).read_text().splitlines() if ":" in line)
    return next((value.strip() for name, value in lines if name.strip() == key), "unknown")


def _java() -> str:
    java = Path(os.environ["JAVA_HOME"], "bin", "java") if "JAVA_HOME" in os.environ else Path("java")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=True)  # noqa: S603 - Spark's own
    return said.stderr.split('"')[1]
