"""A day of a shop's clicks, for whatever is measured."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Final

FILES: Final = 8
DAY: Final = 1_704_153_600_000  # 2024-01-02T00:00:00Z
BATCH: Final = "2024-01-02"
AS_OF: Final = "2024-01-03"
MAPPING: Final = """
[source]
format = "json"
schema = "visitor STRING, user STRING, action STRING, at BIGINT, sku STRING, price DOUBLE, device STRING"
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


def write_shop(folder: Path, records: int, share: float = 0.0) -> None:
    """Write the mapping `shop.toml` and the log `raw/`: JSON lines of which about 1 % is refused, for three reasons.

    Args:
        folder: where they go; it must be there.
        records: how many lines, of one visitor for every 20.
        share: how much of them is one visitor's.
    """
    chance = random.Random(7)  # noqa: S311 - the same records every time
    (folder / "shop.toml").write_text(MAPPING)
    (folder / "raw").mkdir()
    visitors = max(records // 20, 1)
    for number in range(FILES):
        with (folder / "raw" / f"log{number}.jsonl").open("w") as file:
            file.writelines(_line(chance, visitors, share) for _ in range(records // FILES))


def _line(chance: random.Random, visitors: int, share: float) -> str:
    visitor, fault = 0 if chance.random() < share else chance.randrange(visitors), chance.random()
    if fault < 0.004:
        return '{"broken\n'
    user = "null" if visitor % 3 else f'"u{visitor}"'
    at = "null" if fault < 0.008 else DAY + int(chance.random() * 86_400_000)
    sku = "x" * 300 if fault > 0.996 else f"sku{int(chance.random() * 50_000)}"
    action, price = chance.choice(("view", "cart", "buy", "ping")), chance.choice(("null", "9.5", "19.9"))
    return (
        f'{{"visitor": "v{visitor}", "user": {user}, "action": "{action}", "at": {at}, "sku": "{sku}", '
        f'"price": {price}, "device": "{chance.choice(("ios", "android", "web"))}"}}\n'
    )
