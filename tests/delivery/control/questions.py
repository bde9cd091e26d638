"""A task's question to its driver, as tests ask it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from delivery.call_statistics import CallStatistics
from delivery.control.wire import Message


def question(**said: Any) -> Message:
    """Write the question of a task that has nothing to report, changed by what a test says."""
    plain = {
        "heard": 0,
        "from": 0,
        "ended": [],
        "wants": None,
        "ahead": 0.0,
        "calls": asdict(CallStatistics()),
        "idle": False,
        "gone": False,
        "complete": False,
        "ending": None,
        "unreachable": None,
        "refusal": None,
        "ready": True,
        "failing": [0, 0],
        "others": True,
    }
    return {**plain, **said}
