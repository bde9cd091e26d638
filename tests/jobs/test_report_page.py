"""A run's page: what ended badly comes first; every number as given; text is text; nothing is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import pytest

from expectations.interval import batch_interval
from expectations.page import GateReport
from jobs.report.binning import MOST, rebin_timeline
from jobs.report.page import page
from jobs.report.report_input import (
    BatchGate,
    CallPoint,
    DeliveryTimeline,
    EventSeries,
    EventTimeline,
    ReportInput,
    SessionLengths,
    latency_class,
)

BEGAN = datetime(2024, 1, 3, 3, 14, tzinfo=UTC)
DAY = datetime(2024, 1, 2, tzinfo=UTC)
ENDS = {"runId": "20240103T031400000000Z-abc123", "seconds": 95.1, "exitCode": 0}
BUILD = {
    "job": "build_events",
    "batch": "2024-01-02",
    "read": 1000,
    "filtered": 200,
    "candidates": 800,
    "events": 731,
    "quarantined": 64,
    "duplicates": 5,
    "sessions": 90,
    "users": 40,
    "requests": 120,
    "anonymousSessions": 30,
    "merged": 2,
    "reasons": {"sentAt_missing": 60, "itemId_too_long": 9},
    "gate": "passed",
    **ENDS,
}
PUT = {
    "job": "put_events",
    "batch": "2024-01-02",
    "events": 4000,
    "alreadyDelivered": 100,
    "delivered": 3000,
    "deadLettered": 30,
    "pending": 870,
    "requests": 500,
    "requestsMinimum": 480,
    "attempts": 700,
    "throttled": 150,
    "retried": 160,
    "maxRate": 200.0,
    "achievedRate": 143.2,
    **ENDS,
}
LENGTHS = SessionLengths(
    (50, 20, 10, 5, 3, 1, 1, 0, 0), (50, 10, 10, 10, 5, 3, 1, 1, 0, 0, 0), largest=77, longest=5_000.0
)


def event_timeline(*series: tuple[str | None, tuple[int, ...]], **more: Any) -> EventTimeline:
    return EventTimeline(DAY, timedelta(minutes=30), tuple(EventSeries(*one) for one in series), **more)


def delivery_timeline(points: int = 5, **more: Any) -> DeliveryTimeline:
    each = CallPoint(1.0, 140, 32, 140, 30, 800, 150.0, {latency_class(50): 100, latency_class(400): 10})
    return DeliveryTimeline(BEGAN, 1.0, 200.0, (each,) * points, (("2024-01-02", 0.0),), **more)


class Text(HTMLParser):
    """What a reader sees, in order; every tag must be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, _attrs: Any) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)


def seen(text: str) -> str:
    return " ".join(" ".join(Text(text).words).split())


def told(summary: Mapping[str, Any], **more: Any) -> str:
    return page(ReportInput(summary, BEGAN, **more))


REPLAY = {**PUT, "job": "replay_events", "batch": "2024-01..2024-02", "batches": 3, "batchesDone": 1}
PLAN = {
    **REPLAY,
    "delivered": 0,
    "alreadyDelivered": 3100,
    "plan": {"bytes": 402_000_000, "hoursAtRate": 2.5, "hoursAtQuota": 0.5, "unimportable": 12, "bulkImport": False},
}
EXPORT = {
    **REPLAY,
    "delivered": 0,
    "alreadyDelivered": 3100,
    "bulkExport": {
        "exported": 800,
        "withoutUser": 60,
        "withoutItem": 10,
        "withSeparator": 7,
        "leftOut": ["eventValue", "itemId"],
    },
}

EVERYTHING: dict[str, str] = {
    "build": told(
        BUILD,
        event_timeline=event_timeline(("view", (5,) * 48), interval=batch_interval("2024-01-02")),
        lengths=LENGTHS,
    ),
    "put": told(
        PUT,
        delivery_timeline=delivery_timeline(refused={"InvalidInputException": 30}),
        docs={"2024-01-02"},
        others=("put_events-1.html",),
    ),
    "one bin": told(BUILD, event_timeline=event_timeline(("view", (5,)))),
    "plan": told(PLAN),
    "export": told(EXPORT),
    "one point": told(PUT, delivery_timeline=delivery_timeline(1)),
    "nothing was called": told(PUT, delivery_timeline=DeliveryTimeline(BEGAN, 1.0, 200.0, ())),
    "nothing at all": told({**BUILD, **dict.fromkeys(("read", "candidates", "events"), 0), "reasons": {}}),
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_it_needs_no_network_and_no_script(name: str) -> None:
    text = EVERYTHING[name]
    assert seen(text)
    assert not re.search(r"https?:|<script|<link|<img|@import|javascript|\son\w+=", text)
    assert all(
        target.startswith(("#", "../../quality/", "put_events-")) for target in re.findall(r'href="([^"]*)', text)
    )
    assert re.findall(r"url\((.)", text) in ([], ["#"] * text.count("url("))
    assert len(text) < 100_000


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_chart_has_words_and_names_of_its_own(name: str) -> None:
    text = EVERYTHING[name]
    names = re.findall(r'\sid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', text)) <= set(names)
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        assert re.search(r'role="img" aria-labelledby="(\w+)-title \1-desc"><title id="\1-title">\w', svg)
        assert "#0102" not in svg and "var(--faint)" in svg and "<text" in svg


def test_a_builds_numbers_stand_beside_their_names() -> None:
    text = seen(EVERYTHING["build"])
    for words in (
        "read records 1,000",
        "filtered not interactions, by the mapping's where 200 20 %",
        "candidates 800",
        "quarantined refused, with reasons 64 8 %",
        "duplicates repeat an event 5 0.6 %",
        "events valid 731 91.4 %",
        "sentAt_missing sentAt is missing, or could not be read as a time 60 7.5 %",
        "itemId_too_long itemId is longer than 256 characters 9 1.1 %",
        "view 240 100 %",
        "3 to 5 10 11.1 %",
        "more than 1,000",
    )[:-1]:
        assert words in text
    assert "more than 1,000" not in text  # no class after the last that holds a session
    assert "The largest has 77 events; the longest lasts 1 h 23 min." in text


def test_a_deliverys_numbers_stand_beside_their_names() -> None:
    text = seen(EVERYTHING["put"])
    for words in (
        "alreadyDelivered acknowledged in earlier runs 100 2.5 %",
        "delivered acknowledged in this run 3,000 75 %",
        "deadLettered refused for good 30 0.8 %",
        "pending not sent yet 870 21.8 %",
        "InvalidInputException 30 100 %",
        "700 calls",
        "160 of them repeated",
        "150 throttled",
        "limit, 200 a second",
        "Other runs of this batch put_events-1",
    ):
        assert words in text


def test_what_ended_badly_comes_first_with_what_to_do() -> None:
    error = "batch 2024-01-02: failed its gate: x <1>\nquality/batches/2024-01-02.html shows why; correct it, build"
    text = seen(told({**BUILD, "exitCode": 3, "gate": "failed", "error": error}))
    assert (
        text.index("gate failed")
        < text.index("exit code 3")
        < text.index("Nothing of this batch is sent.")
        < text.index("failed its gate: x <1>")
        < text.index("shows why; correct it, build")
        < text.index("What became of the records")
    )


@pytest.mark.parametrize(
    ("summary", "words"),
    [
        ({**BUILD, "read": 0, "exitCode": 2, "error": "no such file"}, "No record was counted before it ended."),
        ({**BUILD, "read": 0}, "The input holds no record."),
        ({**PUT, "events": 0, "exitCode": 2, "error": "no"}, "It ended before it was known what is to be sent."),
        ({**PUT, "events": 0}, "There is no event to be sent."),
        ({**PUT, "exitCode": 4}, "those in dead_letters were refused in earlier ones"),
        ({"job": "other", "batch": "b", **ENDS, "exitCode": 1, "error": "o"}, "A fault of this program"),
    ],
)
def test_a_run_that_came_not_far_has_a_page_too(summary: dict[str, Any], words: str) -> None:
    assert words in seen(told(summary))


def test_what_a_log_names_is_text_whatever_it_holds() -> None:
    name = '<script>alert("&")</script> $\\frac{1}{2}$ ]]>'
    text = told(
        {**BUILD, "error": name, "reasons": {name: 3}}, event_timeline=event_timeline((name, (1, 2)), (None, (3, 4)))
    )
    assert "<script" not in text and "alert" not in "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert seen(text).count("$\\frac{1}{2}$ ]]>") == 3


def test_bins_are_few_and_lose_nothing() -> None:
    counts = tuple(place % 7 for place in range(1_440))
    two_days = rebin_timeline(
        EventTimeline(DAY, timedelta(minutes=2), (EventSeries("a", counts), EventSeries(None, counts[::-1])))
    )
    assert two_days.bins <= MOST and [one.total for one in two_days.series] == [sum(counts)] * 2
    assert (two_days.since, two_days.width) == (DAY, timedelta(hours=1))


def test_bins_begin_where_events_do_but_show_the_labels_interval() -> None:
    counts = (0,) * 10 + (4,) + (0,) * 20 + (5,) + (0,) * 41  # at 00:50 and 02:35 of 6 hours
    six_hours = EventTimeline(DAY, timedelta(minutes=5), (EventSeries("a", counts),))
    shown = rebin_timeline(six_hours)
    assert (shown.since, shown.width) == (DAY + timedelta(minutes=50), timedelta(minutes=5))
    assert shown.series[0].counts[0] == 4 and shown.series[0].counts[-1] == 5 and shown.bins == 22
    hour = batch_interval("2024-01-02T00")
    assert hour is not None
    late = rebin_timeline(EventTimeline(DAY, timedelta(minutes=5), (EventSeries("a", counts),), interval=hour))
    assert late.since == hour.start and late.until >= DAY + timedelta(minutes=155)


def test_a_few_strays_are_told_and_not_shown() -> None:
    hour = batch_interval("2024-01-02T01")
    assert hour is not None
    counts = (3,) + (0,) * 11 + (100,) * 12 + (0,) * 11 + (20,)  # 00:00; 01:00 to 02:00; 02:55
    shown = rebin_timeline(
        EventTimeline(DAY, timedelta(minutes=5), (EventSeries("a", counts),), earlier=2, interval=hour)
    )
    assert (shown.earlier, shown.later, shown.total) == (5, 0, 1_220)
    assert (shown.since, shown.until) == (hour.start, DAY + timedelta(hours=3))


def test_a_plans_page_and_an_exports_say_so_and_tell_their_figures() -> None:
    plan, export = seen(EVERYTHING["plan"]), seen(EVERYTHING["export"])
    for words in (
        *("Nothing was sent: this was a plan.", "870 events to be sent", "402.0 MB of their bodies"),
        *("2 h 30 min at 200 calls a second", "30 min with the whole quota", "12 without a user or item of their own"),
        "A bulk import is not needed",
    ):
        assert words in plan
    for words in (
        *("Nothing was sent: pending events were written for a bulk import.", "800 events written"),
        *(
            "60 left out: nobody knows their user",
            "10 left out: without an item",
            "7 left out: | in",
            "taken: eventValue, itemId.",
        ),
    ):
        assert words in export
    failed = seen(told({**REPLAY, "exitCode": 2, "error": "no"}))
    assert "Nothing was sent" not in failed


def test_a_replays_sendings_lead_to_their_data_docs_and_begin_at_zero() -> None:
    starts = (("2024-01-02", -20.0), ("2024-01-03", 70.0), ("2024-01-04", 100.0))
    text = told(
        REPLAY, delivery_timeline=replace(delivery_timeline(), starts=starts), docs={"2024-01-02", "2024-01-04"}
    )
    links = re.findall(r'<a href="([^"]+)">(2024[^<]+)</a>', text)
    assert links == [(f"../../quality/batches/{batch}.html", batch) for batch in ("2024-01-02", "2024-01-04")]
    assert "2024-01-02 \N{EN DASH} 0 2024-01-03 \N{EN DASH} 1.5 2024-01-04 \N{EN DASH} 2" in seen(text)
    assert "The batch's page in the Data Docs" not in text


def test_one_sending_of_a_replay_is_listed_one_of_put_events_is_its_batch() -> None:
    assert "Sendings, one after another" in seen(told(REPLAY, delivery_timeline=delivery_timeline()))
    assert "Sendings" not in seen(told(PUT, delivery_timeline=delivery_timeline()))


def test_calls_that_nobody_answered_are_not_called_answered_and_have_no_latency() -> None:
    unanswered = CallPoint(1.0, 140, 32, 140, 0, 0, 150.0)
    text = seen(told(PUT, delivery_timeline=DeliveryTimeline(BEGAN, 1.0, 200.0, (unanswered,) * 5)))
    assert "calls, not throttled" in text and "limit, 200 a second" in text
    assert (
        "Latency of 0 calls \N{EN DASH} median \N{EN DASH} 95th percentile" in text and "Latency over time" not in text
    )


FEW: dict[int, str] = {
    1: "\N{EN DASH} median \N{EN DASH} 95th percentile \N{EN DASH} 99th percentile",
    2: "ms median \N{EN DASH} 95th percentile \N{EN DASH} 99th percentile",
    19: "ms median \N{EN DASH} 95th percentile \N{EN DASH} 99th percentile",
    20: "ms 95th percentile \N{EN DASH} 99th percentile",
    99: "ms 95th percentile \N{EN DASH} 99th percentile",
    100: "ms 99th percentile",
}


@pytest.mark.parametrize(("calls", "words"), FEW.items())
def test_a_percentile_stands_where_there_are_calls_enough_for_it_else_a_dash_and_why(calls: int, words: str) -> None:
    point = CallPoint(1.0, calls, 0, calls, 0, calls, 150.0, {latency_class(50): calls})
    text = told(PUT, delivery_timeline=DeliveryTimeline(BEGAN, 1.0, 200.0, (point,)))
    assert f"Latency of {calls} calls" in seen(text) and words in seen(text)
    reasons = re.findall(r'<abbr title="it needs ([\d,]+) calls, and there were (\d+)">.</abbr>', text)
    assert reasons == [(needed, str(calls)) for needed in ("2", "20", "100") if int(needed) > calls]
    assert "2 for the median, 20 for the 95th percentile, 100 for the 99th percentile" in seen(text)


def test_a_line_of_the_latency_chart_needs_a_point_with_calls_enough() -> None:
    def legend(*calls: int) -> list[str]:
        points = tuple(CallPoint(1.0, n, 0, n, 0, n, 9.0, {latency_class(50): n}) for n in calls)
        text = told(PUT, delivery_timeline=DeliveryTimeline(BEGAN, 1.0, 9.0, points))
        chart = text.partition("Latency over time</h3>")[2].partition("</ul>")[0]
        return re.findall(r"</i>([^<]+)</li>", chart)

    assert legend(5, 5, 5) == ["median"]
    assert legend(5, 20, 5) == ["median", "95th percentile"]
    assert legend(1, 1, 1) == []


def test_a_deliverys_page_names_its_tracker_endpoint_region_and_the_gate_of_its_batch() -> None:
    where = {"endpoint": "https://personalize-events.eu-west-1.amazonaws.com", "region": "eu-west-1"}
    lines = tuple(f"check_{number}: 3 of 9" for number in range(5))
    gates = {"2024-01-02": BatchGate("warned", "run-7", lines)}
    text = seen(told({**PUT, **where}, trackingId="shop-tracker", gates=gates))
    for words in (
        "Where events go tracker shop-tracker endpoint https://personalize-events.eu-west-1.amazonaws.com",
        "region eu-west-1 the batch's gate warned for the build of run run-7 check_0: 3 of 9 check_1: 3 of 9",
        "check_2: 3 of 9 and 2 more",
    ):
        assert words in text
    assert "Where events would go tracker shop" in seen(told({**PLAN, **where}, trackingId="shop"))


def test_a_replays_page_names_the_gate_of_each_batch_that_it_has_sent() -> None:
    starts = (("2024-01-02", 0.0), ("2024-01-03", 60.0))
    gates = {batch: BatchGate(word, "r") for (batch, _), word in zip(starts, ("passed", "warned"), strict=True)}
    gates["2024-01-04"] = BatchGate("passed", "r")
    timeline = replace(delivery_timeline(), starts=starts)
    summary = {**REPLAY, "endpoint": "http://x", "region": "r"}
    text = seen(told(summary, trackingId="t", gates=gates, delivery_timeline=timeline))
    assert "the batches' gates 2 passed 1 warned of those that this run has delivered" in text
    assert "2024-01-02 passed 0 2024-01-03 warned 1" in text


def test_a_builds_page_shows_how_many_events_have_each_field() -> None:
    filled = {"userId": 584, "itemId": 731, "properties.coupon": 0, "sessionId": 7}
    judged = GateReport("2024-01-02", "r", "passed", False, "", "", {"events": 731}, [], [], filled=filled)
    text = seen(told(BUILD, gate_report=judged))
    for words in (
        "How many events have each field field count of events userId 584 79.9 % itemId 731 100 %",
        "properties.coupon 0 0 % sessionId given by the log 7 1 %",
    ):
        assert words in text
    nothing = replace(judged, counts={"events": 0}, filled={"userId": 0})
    assert "have each field" not in seen(told({**BUILD, "events": 0}, gate_report=nothing))


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_table_has_a_header_for_each_column_and_row(name: str) -> None:
    text = EVERYTHING[name]
    assert '<html lang="en">' in text and re.findall(r"<th(?!ead| scope=)", text) == []
    for table in re.findall(r"<tbody>.*?</tbody>", text, flags=re.DOTALL):
        rows = table.split("<tr>")[1:]
        assert [row.count('<th scope="row">') for row in rows] == [1] * len(rows)


def test_a_limit_that_is_far_off_stands_neither_in_the_chart_nor_in_its_legend() -> None:
    text = seen(told(PUT, delivery_timeline=replace(delivery_timeline(), limit=1_000.0)))
    assert "limit, 1,000" not in text and "1,000 calls a second, the limit" in text


def test_the_fewest_requests_are_told_when_all_is_sent() -> None:
    assert "requests at the least" not in seen(told(PUT, delivery_timeline=delivery_timeline()))
    assert "480 requests at the least" in seen(told({**PUT, "pending": 0}, delivery_timeline=delivery_timeline()))


def test_dead_letters_are_sent_by_put_events_batch_by_batch() -> None:
    assert "put_events --retry-dead-letters --batch LABEL" in seen(told({**REPLAY, "exitCode": 4}))


def test_a_long_name_leaves_room_for_its_numbers() -> None:
    text = told(BUILD, event_timeline=event_timeline(("v" * 60, (5,))))
    assert re.search(r"\.names tbody th \{[^}]*overflow-wrap: anywhere", text)
    assert re.search(r'<table class="names">\s*<thead><tr><th scope="col">event type', text)


def test_a_build_that_ended_before_it_built_shows_whose_page_and_whose_events_the_batch_has() -> None:
    nothing = {
        **dict.fromkeys(BUILD, 0),
        "job": "build_events",
        "batch": "2024-01-02",
        "reasons": {},
        "gate": None,
        **ENDS,
    }
    text = seen(told({**nothing, "exitCode": 2, "kept": "run-1"}, docs={"2024-01-02"}, documentedRun="run-2"))
    assert "Somebody must correct something first. What run run-1 published stays as it is." in text
    assert "The batch's page in the Data Docs is that of run run-2: it shows every check" in text
    assert "that of run" not in seen(told(BUILD, docs={"2024-01-02"})), "it is this build's own"


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, as WCAG 2.2 defines it."""

    def luminance(colour: str) -> float:
        full = colour if len(colour) == 7 else "#" + "".join(2 * digit for digit in colour[1:])
        shares = [int(full[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in shares)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_lines_and_bars_stand_out_from_their_ground(dark: bool) -> None:
    rules = [
        re.findall(r":root \{(.*?)\}", (resources.files(package) / "templates" / name).read_text("utf-8"))[dark]
        for package, name in (("expectations", "style.css"), ("jobs.report", "report.css"))
    ]
    colours = dict(re.findall(r"--(\w+): (#\w+)", " ".join(rules)))
    lines = {name: colour for name, colour in colours.items() if re.fullmatch(r"c\d", name)}
    assert len(lines) == 8
    low = {name: colour for name, colour in lines.items() if contrast(colour, colours["paper"]) < 3.0}
    assert not low
    assert not {name for name in lines if contrast(lines[name], colours["track"]) < 3.0}
