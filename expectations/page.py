"""The Data Docs: a page for each batch that shows what failed, and an index. Both work without a network.

Great Expectations' own pages are not used: they load styles and scripts from six other hosts, and put refused records,
which strangers write, into the page without escaping (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Final, NamedTuple

from jinja2 import Environment, StrictUndefined

from expectations.facts import SAMPLE_RECORDS, RefusedSample
from expectations.gate import FAILED, NOT_EVALUATED, PASSED, WARNED, Finding, percent
from expectations.interval import Interval

OVERRULED: Final = "failed its gate, and passed because of --on-gate-failure warn"
_WORST_FIRST: Final = (FAILED, WARNED)
_LEVELS: Final = (FAILED, WARNED, PASSED, NOT_EVALUATED)


@dataclass(frozen=True, slots=True)
class StandingPublication:
    """An earlier publication of a batch that stays, because a later build failed its gate.

    Attributes:
        runId: the run that built it.
        gate: the outcome of its gate.
        events: its number of events.
    """

    runId: str
    gate: str
    events: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """The gate's result for a batch, as its page shows it.

    Attributes:
        batch: the label.
        runId: the run that built it.
        gate: the outcome: `passed`, `warned` or `failed`.
        overruled: whether it failed, and --on-gate-failure warn let it pass.
        asOf: the run's time, as text.
        ruleSet: the fingerprint of the rules.
        counts: the funnel's numbers by name, in order.
        findings: of every check.
        samples: a few refused records of each rule that was broken.
        kept: if this build failed, the batch's earlier publication, which stays; None if there is none.
        profile: numbers whose medians later batches are compared with, by name.
        filled: for each field that the mapping fills, how many events have it.
    """

    batch: str
    runId: str
    gate: str
    overruled: bool
    asOf: str
    ruleSet: str
    counts: Mapping[str, int]
    findings: Sequence[Finding]
    samples: Sequence[RefusedSample]
    kept: StandingPublication | None = None
    profile: Mapping[str, float] = field(default_factory=dict)
    filled: Mapping[str, int] = field(default_factory=dict)

    def unusual(self) -> list[Finding]:
        """List the findings that warn or fail, the worst first."""
        return [finding for level in _WORST_FIRST for finding in self.findings if finding.level == level]

    def warnings(self) -> list[str]:
        """Describe each unusual finding in one line, for the delivery of the batch. No line holds an id or a record."""
        overruled = [OVERRULED] if self.overruled else []
        return [*overruled, *[finding.describe() for finding in self.unusual()]]


class State(NamedTuple):
    """A state as a page shows it: a word on a coloured badge.

    Attributes:
        word: the text of the badge.
        level: `passed`, `warned`, `failed` or `not evaluated`, as the style sheet has them.
    """

    word: str
    level: str


@dataclass(frozen=True, slots=True)
class BuildEntry:
    """A batch's last build, as the index shows it.

    Attributes:
        runId: of the build.
        gate: the outcome of its gate.
        counts: its records by fate, by the summary's names; no `read` if that is unknown.
        page: path of the run's page, from the index.
        kept: if this build failed, the batch's earlier publication, which stays; None if there is none.
    """

    runId: str
    gate: str
    counts: Mapping[str, int]
    page: str
    kept: StandingPublication | None = None

    @property
    def published(self) -> str | None:
        """The run with the batch's current events; None if no build has passed its gate."""
        if self.kept is not None:
            return self.kept.runId
        return None if self.gate == FAILED else self.runId


@dataclass(frozen=True, slots=True)
class DeliveryEntry:
    """How a batch's last delivery to one tracker ended, as the index shows it.

    Attributes:
        trackingId: of the tracker.
        region: of the tracker.
        endpoint: of the tracker, without a password.
        runId: of the run that delivered.
        source: the run that built the events.
        events: all events of the batch.
        delivered: events acknowledged in this run or before.
        deadLettered: events refused for good.
        pending: events not sent yet.
        page: path of the run's page, from the index.
    """

    trackingId: str
    region: str
    endpoint: str
    runId: str
    source: str
    events: int
    delivered: int
    deadLettered: int
    pending: int
    page: str

    def state(self, build: BuildEntry | None) -> State:
        """Describe how far the batch is delivered.

        Args:
            build: the batch's last build, if it is known.

        Examples:
            >>> entry = DeliveryEntry("shop", "eu-west-1", "https://x", "r2", "r1", 9, 7, 2, 0, "")
            >>> entry.state(None).word, entry.state(BuildEntry("r3", "passed", {}, "")).word
            ('dead letters', 'of an earlier build')
        """
        if build is not None and build.published != self.source:
            return State("of an earlier build", WARNED)
        if self.pending:
            return State("unfinished", WARNED)
        if self.deadLettered:
            return State("dead letters", WARNED)
        return State("delivered" if self.events else "nothing to send", PASSED)


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A batch in the index.

    Attributes:
        batch: the label.
        gate: the outcome of its last build's gate; None if the batch has no page here.
        interval: the batch's interval, if it is known.
        build: its last build; None if an older version built it, which kept no figures.
        deliveries: by tracker.
    """

    batch: str
    gate: str | None
    interval: Interval | None = None
    build: BuildEntry | None = None
    deliveries: Sequence[DeliveryEntry] = ()


def batch_page(gate_report: GateReport) -> str:
    """Render a batch's page: a whole HTML document."""
    return _render(
        "batch.html.j2",
        gate_report=gate_report,
        broken=gate_report.unusual(),
        slight=[
            finding
            for finding in gate_report.findings
            if finding.level not in _WORST_FIRST and _select_samples(gate_report, finding)
        ],
        levels=_count_levels(gate_report.findings),
        samples={finding.check.name: _select_samples(gate_report, finding) for finding in gate_report.findings},
        most=SAMPLE_RECORDS,
    )


def index_page(rows: Sequence[IndexRow]) -> str:
    """Render the index: every batch with its counts, its gate and its deliveries; a whole HTML document.

    Args:
        rows: the newest batch first.

    Examples:
        >>> 'href="batches/2024-01-02.html"' in index_page([IndexRow("2024-01-02", "passed")])
        True
    """
    return _render("index.html.j2", rows=rows)


def run_time(run_id: str) -> datetime | None:
    """Read from a run's id when the run began; None if the id holds no time.

    Examples:
        >>> str(run_time("20240103T031400123456Z-abc123")), run_time("run-1")
        ('2024-01-03 03:14:00.123456+00:00', None)
    """
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _count_levels(findings: Sequence[Finding]) -> dict[str, int]:
    """Count the checks at each level, without the levels that no check has."""
    counts = {level: sum(finding.level == level for finding in findings) for level in _LEVELS}
    return {level: count for level, count in counts.items() if count}


def _select_samples(gate_report: GateReport, finding: Finding) -> list[RefusedSample]:
    return [sample for sample in gate_report.samples if sample.code == finding.check.name]


def _render(template: str, **values: object) -> str:
    templates = resources.files("expectations") / "templates"
    # Records hold what strangers typed, so everything is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percent,
        "number": lambda number: f"{number:,}",
        "minute": lambda moment: f"{moment:%Y-%m-%d %H:%M}",
    }
    environment.globals["run_time"] = run_time
    environment.globals["style"] = (templates / "style.css").read_text("utf-8")
    return environment.from_string((templates / template).read_text("utf-8")).render(**values)
