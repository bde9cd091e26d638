"""The replay page's words are true: the plan that it shows is what the program says of such a range."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.replay.estimate import ReplayEstimate, describe_estimate

PAGE = (Path(__file__).parents[2] / "docs" / "replay.md").read_text("utf-8")
FOUND = ReplayEstimate(
    batches=36,
    waitingBatches=tuple(f"{year}-{month:02}" for year in (2023, 2024) for month in range(1, 13)),
    delivered=13_800_412,
    refused=12,
    waiting=27_499_576,
    requests=3_104_233,
    bytes=5_800_000_000,
    unimportable=1_204_551,
)


def test_the_plan_that_is_shown_is_what_is_said() -> None:
    (shown,) = re.findall(r"^```\n(batches.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)
    assert shown == "\n".join(describe_estimate(FOUND, 300.0))


@pytest.mark.parametrize("rate", [300.0, 3.0])
def test_what_no_event_lacks_is_not_spoken_of(rate: float) -> None:
    whole = ReplayEstimate(1, ("2024-01",), 0, 0, 1_000_000, 100_000, 1, unimportable=0)
    advice = describe_estimate(whole, rate)[-1]
    assert "userId" not in advice and not advice.endswith("()")
    assert ("is better" in advice) == (rate == 3.0)


def test_where_every_event_lacks_something_it_says_all() -> None:
    advice = describe_estimate(ReplayEstimate(1, ("2024-01",), 0, 0, 1_837, 200, 1, unimportable=1_837), 300.0)[-1]
    assert "(all events have no userId or no itemId of their own, which" in advice
