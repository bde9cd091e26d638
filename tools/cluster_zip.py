"""`make zip`: the packages of the wheel that a cluster needs, as one zip for `spark-submit --py-files`.

python tools/cluster_zip.py dist/clickstream_events-*.whl dist/clickstream_events.zip
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Final

PACKAGES: Final = ("delivery", "expectations", "jobs", "transforms")
"""The emulator is not included: it tests the product, and no cluster runs it."""
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest date in a zip, so that the same wheel gives the same bytes."""


def write_cluster_zip(wheel: Path, target: Path) -> None:
    """Write the packages of a wheel, with their data files, into a zip that Python imports from.

    Args:
        wheel: of this project.
        target: of the zip; an existing file is replaced.
    """
    with zipfile.ZipFile(wheel) as built, zipfile.ZipFile(target, "w") as made:
        for name in sorted(built.namelist()):
            if name.partition("/")[0] in PACKAGES:
                entry = zipfile.ZipInfo(name, _WHEN)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = 0o644 << 16
                made.writestr(entry, built.read(name))


if __name__ == "__main__":
    write_cluster_zip(Path(sys.argv[1]), Path(sys.argv[2]))
