"""A day of clicks of a shop, the data of all measurements."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

FILES: Final = 8
DAY: Final = 1_704_153_600_000  # 2024-01-02T00:00:00Z
HOURS_23: Final = 82_800_000
VISITS: Final = 4
HOURS_6: Final = 21_600_000
MINUTES_20: Final = 1_200_000
BATCH: Final = "2024-01-02"
AS_OF: Final = "2024-01-03"
SCHEMA: Final = "visitor STRING, user STRING, action STRING, at BIGINT, sku STRING, price DOUBLE, device STRING"
MAPPING: Final = f"""
[source]
format = "json"
schema = "{SCHEMA}"
[record]
where = "action <> 'ping'"
[event]
eventType  = "action"
sentAt     = "timestamp_millis(at)"
visitorId  = "visitor"
userId     = "user"
itemId     = "sku"
eventValue = "price"
[event.properties]
device = "device"
"""
ABOUT: Final = """\
The log is a day of a shop: JSON lines of about 123 bytes in 8 files, the same on every machine. Each visitor has 20
lines, and a third of the visitors is logged in. A quarter of the lines are pings that the mapping filters. 1.2 % are
refused for three reasons (torn JSON, no time, an item id of 300 characters). 0.5 % repeat the line before exactly. A
visitor comes about four times a day and clicks about five times in twenty minutes. So a call has 3.7 events on
average."""


def write_shop(folder: Path, records: int, share: float = 0.0) -> Path:
    """Write the mapping `shop.toml` and the log `raw/`: JSON lines, about 1 % of them refused, for three reasons.

    Args:
        folder: where they go; it must exist.
        records: the number of lines; every 20 have one visitor, and 0.5 % repeat the line before.
        share: the share of one visitor.

    Returns:
        The folder.
    """
    chance = random.Random(7)  # noqa: S311 - the same records every time
    (folder / "shop.toml").write_text(MAPPING)
    (folder / "raw").mkdir()
    visitors = max(records // 20, 1)
    for number in range(FILES):
        with (folder / "raw" / f"log{number}.jsonl").open("w") as file:
            line = ""
            for place in range(records // FILES):
                # A repeat draws no random number, so the other lines are those of a log without repeats.
                line = line if place % 200 == 199 else _line(chance, visitors, share)
                file.write(line)
    return folder


def _line(chance: random.Random, visitors: int, share: float) -> str:
    visitor, fault = 0 if chance.random() < share else chance.randrange(visitors), chance.random()
    if fault < 0.004:
        return '{"broken\n'
    user = "null" if visitor % 3 else f'"u{visitor}"'
    visit = (visitor * 7_919_000 + chance.randrange(VISITS) * HOURS_6) % HOURS_23
    at = "null" if fault < 0.008 else DAY + visit + int(chance.random() * MINUTES_20)
    sku = "x" * 300 if fault > 0.996 else f"sku{int(chance.random() * 50_000)}"
    action, price = chance.choice(("view", "cart", "buy", "ping")), chance.choice(("null", "9.5", "19.9"))
    return (
        f'{{"visitor": "v{visitor}", "user": {user}, "action": "{action}", "at": {at}, "sku": "{sku}", '
        f'"price": {price}, "device": "{chance.choice(("ios", "android", "web"))}"}}\n'
    )
