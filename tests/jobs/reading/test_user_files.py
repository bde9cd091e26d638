"""Mappings and thresholds are read from the driver's disk or from wherever Spark reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.reading.mappings import find_mapping
from jobs.reading.user_files import read_user_file


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_file_is_read_without_its_byte_order_mark(spark: SparkSession, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "own.toml").write_bytes("\ufeffname = 'Käufe'\r\n".encode())
    where = f"{prefix}{tmp_path}/own.toml"
    assert read_user_file("--thresholds", where, spark).splitlines() == ["name = 'Käufe'"]
    assert find_mapping(where, spark).name == where


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_what_cannot_be_read_is_told_with_its_option(spark: SparkSession, tmp_path: Path, prefix: str) -> None:
    (tmp_path / "latin.toml").write_bytes("name = 'Käufe'".encode("latin-1"))
    with pytest.raises(
        ConfigurationError, match=r"^--thresholds \S+latin.toml: cannot be read as UTF-8 text \('utf-8'"
    ):
        read_user_file("--thresholds", f"{prefix}{tmp_path}/latin.toml", spark)
    with pytest.raises(ConfigurationError, match=r"^--mapping \S+nosuch.toml: "):
        find_mapping(f"{prefix}{tmp_path}/nosuch.toml", spark)
