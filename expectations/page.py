"""The Data Docs: one page a batch that says in seconds what broke, and an index; both open without a network.

Great Expectations' own pages are not used: they load their styles and scripts from six hosts of others, and put the
refused records, which strangers write, into the page as they are (docs/adr/0005).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

from jinja2 import Environment, StrictUndefined

from expectations.facts import SAMPLE_RECORDS, RefusedSample
from expectations.gate import FAILED, PASSED, WARNED, Finding, percent

OVERRULED: Final = "failed its gate, and passed because of --on-gate-failure warn"
_ORDER: Final = {FAILED: 0, WARNED: 1, PASSED: 2}


@dataclass(frozen=True, slots=True)
class StandingPublication:
    """A publication of a batch that stays, since a later build failed its gate.

    Attributes:
        runId: the run that built it.
        gate: its gate's word.
        events: how many it has.
    """

    runId: str
    gate: str
    events: int


@dataclass(frozen=True, slots=True)
class GateReport:
    """A batch that was judged, as its page tells it.

    Attributes:
        batch: the label.
        runId: the run that built it.
        gate: the gate's word: `passed`, `warned` or `failed`.
        overruled: whether it failed, and was let pass by --on-gate-failure warn.
        asOf: the run's time, as text.
        ruleSet: the fingerprint of the rules.
        counts: the funnel's numbers by name, in order.
        findings: of every check.
        samples: a few refused records of each rule that was broken.
        kept: the publication that stays the batch's, where this build failed and there is one.
        profile: numbers that later batches are held against the medians of, by name.
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

    def unusual(self) -> list[Finding]:
        """List what did not pass, the worst first."""
        worst_first = sorted(self.findings, key=lambda finding: _ORDER[finding.level])
        return [finding for finding in worst_first if finding.level != PASSED]

    def warnings(self) -> list[str]:
        """Say what is unusual, a line each, for whoever goes on with the batch; no id and no record is in them."""
        overruled = [OVERRULED] if self.overruled else []
        return [*overruled, *[finding.describe() for finding in self.unusual()]]


def batch_page(judged: GateReport) -> str:
    """Render a batch's page: a whole HTML document."""
    return _render(
        "batch.html.j2",
        judged=judged,
        broken=judged.unusual(),
        slight=[finding for finding in judged.findings if finding.level == PASSED and _samples(judged, finding)],
        samples={finding.check.name: _samples(judged, finding) for finding in judged.findings},
        most=SAMPLE_RECORDS,
    )


def index_page(gates: Sequence[tuple[str, str]]) -> str:
    """Render the index: every batch's label and gate, the newest first; a whole HTML document.

    Examples:
        >>> 'href="batches/2024-01-02.html"' in index_page([("2024-01-02", "passed")])
        True
    """
    return _render("index.html.j2", gates=gates)


def _samples(judged: GateReport, finding: Finding) -> list[RefusedSample]:
    return [sample for sample in judged.samples if sample.code == finding.check.name]


def _render(template: str, **values: object) -> str:
    templates = resources.files("expectations") / "templates"
    # Records hold whatever a stranger typed: everything is escaped.
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "number": lambda number: f"{number:,}"}
    environment.globals["style"] = (templates / "style.css").read_text("utf-8")
    return environment.from_string((templates / template).read_text("utf-8")).render(**values)
