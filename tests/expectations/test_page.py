"""A batch's page: what broke comes first, and nothing of a record is taken for HTML."""

from __future__ import annotations

import re
from dataclasses import replace

from expectations.checks import CHECKS
from expectations.facts import RefusedSample
from expectations.gate import judge_batch, outcome
from expectations.interval import batch_interval
from expectations.observations import Observation
from expectations.page import (
    BuildEntry,
    DeliveryEntry,
    GateReport,
    IndexRow,
    StandingPublication,
    batch_page,
    index_page,
    run_time,
)
from expectations.thresholds import Thresholds

SIZES = {"records": 10_000, "candidates": 10_000, "events": 6_900, "sessions": 500}


BUILT = "20240103T031500000000Z-aaaaaa"
SENT = "20240103T041600000000Z-bbbbbb"
COUNTS = {"read": 100_000, "filtered": 5_010, "events": 92_320, "quarantined": 1_170, "duplicates": 1_500}


def delivery(**more: object) -> DeliveryEntry:
    usual = DeliveryEntry("shop", "eu-west-1", "https://x.example", SENT, BUILT, 92_320, 92_320, 0, 0, "../runs/p.html")
    return replace(usual, **more)  # type: ignore[arg-type]


ROWS = [
    IndexRow(
        "2024-01-04",
        "failed",
        batch_interval("2024-01-04"),
        BuildEntry(BUILT, "failed", COUNTS, "../runs/2024-01-04/b.html", StandingPublication("run-0", "warned", 2_000)),
        [delivery(source="run-0", events=2_000, delivered=1_980, deadLettered=20)],
    ),
    IndexRow(
        "2024-01-03",
        "warned",
        batch_interval("2024-01-03"),
        BuildEntry(BUILT, "warned", COUNTS, "../runs/2024-01-03/b.html"),
        [
            delivery(trackingId="first", delivered=90_000, pending=2_320),
            delivery(trackingId="second", region="us-east-1", source="another build"),
        ],
    ),
    IndexRow(
        "2024-01-02",
        "passed",
        batch_interval("2024-01-02"),
        BuildEntry(BUILT, "passed", COUNTS, "../runs/2024-01-02/b.html"),
        [delivery()],
    ),
    IndexRow("first-try", "passed"),
]


def judged(
    observed: dict[str, int], *samples: RefusedSample, overruled: bool = False, kept: StandingPublication | None = None
) -> GateReport:
    findings = judge_batch("2024-01-02", {k: Observation(v) for k, v in observed.items()}, SIZES, Thresholds())
    gate = "warned" if overruled else outcome(findings)
    counts = {"candidates": 10_000}
    return GateReport("2024-01-02", "run-1", gate, overruled, "2024-01-03", "abc", counts, findings, samples, kept)


def visible(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[1]))


def test_the_first_lines_say_what_broke() -> None:
    text = visible(batch_page(judged({"sentAt_missing": 3_012, "itemId_too_long": 200, "merged": 3})))
    assert (
        text.index("failed")
        < text.index("Nothing of this batch is sent")
        < text.index("sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %")
        < text.index("itemId_too_long: 200 of 10,000 candidates (2 %), warns above 1 %")
        < text.index("Every check")
    )


def test_a_build_that_failed_over_a_good_one_says_what_stays() -> None:
    told = replace(judged({"sentAt_missing": 3_012}), kept=StandingPublication("run-0", "warned", 2_000))
    text = visible(batch_page(told))
    assert "Nothing of this build is sent: the batch stays as it was." in text
    assert "What run run-0 published (warned, 2,000 events) is still what put_events sends." in text
    assert "Nothing of this batch is sent" not in text


def test_a_record_is_text_whatever_it_holds() -> None:
    record = RefusedSample("sentAt_missing", '<script>alert("&")</script>', cut=True, sourceFile='"><img src=x>')
    page = batch_page(judged({"sentAt_missing": 3_012}, record))
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert(&#34;&amp;&#34;)&lt;/script&gt; …" in page


def test_the_page_needs_no_network() -> None:
    page = batch_page(judged({})) + index_page(ROWS)
    assert not re.search(r"(src|href)=.?(https?:)?//|@import|url\(", page)


def test_what_was_overruled_says_so() -> None:
    text = visible(batch_page(judged({"sentAt_missing": 3_012}, overruled=True)))
    assert "Failed, and let pass by --on-gate-failure warn" in text


def test_every_check_is_in_the_table_also_without_a_violation() -> None:
    page = batch_page(judged({}))
    assert page.count('<th scope="row"><code>') == len(CHECKS) == 48 and "Nothing unusual." in page


def test_warnings_for_whoever_goes_on_are_the_findings_and_that_they_were_overruled() -> None:
    found = judged({"sentAt_missing": 3_012, "itemId_too_long": 200}, overruled=True).warnings()
    assert found == [
        "failed its gate, and passed because of --on-gate-failure warn",
        "sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %",
        "itemId_too_long: 200 of 10,000 candidates (2 %), warns above 1 %",
    ]
    assert judged({}).warnings() == []


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of the last table of a page, by their header, as a reader sees their cells."""
    body = re.split("<tbody[^>]*>", page)[-1].partition("</tbody>")[0]
    found: dict[str, list[str]] = {}
    for row in re.split("<tr[^>]*>", body)[1:]:
        header = re.search(r'<th scope="row"[^>]*>(.*?)</th>', row, flags=re.DOTALL)
        assert header is not None
        cells = re.findall(r"<td.*?>(.*?)</td>", row, flags=re.DOTALL)
        found[text_of(header[1])] = [text_of(cell) for cell in cells]
    return found


def text_of(cell: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", cell).split())


def test_value_limits_and_note_are_columns_of_their_own() -> None:
    page = batch_page(judged({"sentAt_missing": 3_012}))
    heads = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page.partition('<table class="checks">')[2])
    assert heads == ["state", "check", "value", "of", "share", "limits", "note", "source of the limits"]
    rows = {name.split()[0]: cells for name, cells in rows_of(page).items()}
    state, *figures = rows["sentAt_missing"][:6]
    assert state == "failed"
    assert figures == ["3,012", "10,000 candidates", "30.12 %", "warns above 1 % fails above 25 %", ""]
    card = page.partition("<article>")[2].partition("</article>")[0]
    assert re.findall(r'<th scope="col"[^>]*>(.*?)</th>', card) == ["value", "of", "share", "limit passed"]
    cells = [text_of(cell) for cell in re.findall(r"<td.*?>(.*?)</td>", card, flags=re.DOTALL)]
    assert cells == ["3,012", "10,000 candidates", "30.12 %", "warns above 1 % fails above 25 %"]


def test_a_check_that_was_not_evaluated_says_so_and_why_and_is_not_called_passed() -> None:
    rows = {name.split()[0]: cells for name, cells in rows_of(batch_page(judged({}))).items()}
    assert rows["anonymous"][:6] == ["not evaluated", "0", "6,900 events", "0 %", "", "it has no limit"]
    state, value, *_, limits, note = rows["batch_size"][:6]
    assert (state, value, note) == ("not evaluated", "\N{EN DASH}", "it was not measured") and limits.startswith(
        "warns below"
    )
    assert rows["merged"][0] == "passed"
    states = [cells[0] for cells in rows.values()]
    text = visible(batch_page(judged({})))
    assert f"{states.count('passed')} passed, {states.count('not evaluated')} not evaluated." in text
    assert 'class="badge not-evaluated">not evaluated' in batch_page(judged({}))


def test_the_index_shows_counts_dates_gate_and_deliveries_newest_first() -> None:
    rows = rows_of(index_page(ROWS))
    assert list(rows) == [
        "2024-01-04 2024-01-04 00:00 to 2024-01-05 00:00",
        "2024-01-03 2024-01-03 00:00 to 2024-01-04 00:00",
        "2024-01-02 2024-01-02 00:00 to 2024-01-03 00:00",
        "first-try",
    ]
    failed, warned, passed, old = rows.values()
    figures = ["2024-01-03 03:15", "100,000", "5,010", "1,500", "1,170", "92,320"]
    assert passed[:7] == ["passed", *figures]
    assert passed[7] == "delivered 92,320 of 92,320, 2024-01-03 04:16 tracker shop, eu-west-1, https://x.example"
    assert warned[:7] == ["warned", *figures]
    assert "unfinished 90,000 of 92,320, 2,320 pending, 2024-01-03 04:16 tracker first, eu-west-1" in warned[7]
    assert "of an earlier build 92,320 of 92,320, 2024-01-03 04:16 tracker second, us-east-1" in warned[7]
    assert failed[0] == "failed The batch keeps what run run-0 published (warned, 2,000 events)."
    assert failed[7].startswith("dead letters 1,980 of 2,000, 20 refused"), "of the publication that stays"
    assert old == [
        "passed",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "\N{EN DASH}",
        "none noted",
    ]


def test_the_index_leads_to_the_pages_of_the_gate_and_of_the_runs() -> None:
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', index_page(ROWS[2:]))
    assert links == [
        ("batches/2024-01-02.html", "2024-01-02"),
        ("../runs/2024-01-02/b.html", "2024-01-03 03:15"),
        ("../runs/p.html", "2024-01-03 04:16"),
        ("batches/first-try.html", "first-try"),
    ]
    assert "There is no batch yet." in index_page([])


def test_a_batch_without_events_has_nothing_to_send() -> None:
    empty = delivery(events=0, delivered=0)
    assert empty.state(None).word == "nothing to send"
    assert empty.state(BuildEntry(BUILT, "failed", {}, "")).word == "of an earlier build", "which none has passed"


def test_each_table_has_a_header_for_each_column_and_row() -> None:
    record = RefusedSample("itemId_too_long", "{}", cut=False, sourceFile="log")
    for page in (index_page(ROWS), batch_page(judged({"sentAt_missing": 3_012, "itemId_too_long": 2}, record))):
        assert '<html lang="en">' in page
        assert re.findall(r"<th(?!ead| scope=)", page) == [] and "<th" in page
        for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
            columns = table.count('scope="col"')
            for row in re.split("<tr[^>]*>", table)[2:]:
                assert len(re.findall(r"<t[dh]", row)) == columns


def test_an_id_that_holds_no_time_is_shown_as_it_is() -> None:
    assert run_time("built-2024-01-02") is None
    row = IndexRow("b", "passed", None, BuildEntry("built-1", "passed", {}, "../runs/b/x.html"))
    assert '<a href="../runs/b/x.html">built-1</a>' in index_page([row])
