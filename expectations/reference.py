"""Writes docs/rules.md from the rules and the checks: `make docs`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template

from expectations.checks import CHECKS, Check, field_checks
from expectations.gate import in_words
from expectations.rules import RULES
from expectations.thresholds import PLACES, CheckSettings


def rules_page() -> str:
    """Write docs/rules.md: Markdown."""
    rules = _write_table(
        ("reason code", "field", "stage", "refused because", "limit", "source"),
        [
            (f"`{rule.code}`", rule.field or "", rule.stage, rule.message, rule.limit or "", rule.source)
            for rule in RULES
        ],
    )
    own = [*[check for check in CHECKS if check.stage == "batch"], *field_checks("<field>")]
    on_rules = Check("each rule", "candidates that break it", "", RULES[0].threshold, "candidates")
    checks = _write_table(
        ("check", "counts or measures", "by default", "source"),
        [(_write_name(check), check.message, _write_limits(check), check.source) for check in (on_rules, *own)],
    )
    settings = _write_table(
        ("table", "setting", "by default"),
        [(f"`[{place}]`", f"`{name}`", _write_default(name)) for name, place in PLACES.items()],
    )
    page = (resources.files("expectations") / "templates" / "rules.md").read_text("utf-8")
    return Template(page).substitute(rules=rules, checks=checks, settings=settings)


def _write_name(check: Check) -> str:
    return check.name if check.name == "each rule" else f"`{check.name}`"


def _write_limits(check: Check) -> str:
    threshold = check.threshold
    return ", ".join(in_words(key, getattr(threshold, key)) for key in threshold.limits()) or "no limit"


def _write_default(name: str) -> str:
    value = getattr(CheckSettings(), name)
    return f"{value.total_seconds() / 3600:.0f}h" if name == "tolerance" else f"{value:,.8g}"


def _write_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


if __name__ == "__main__":
    print(rules_page(), end="")  # noqa: T201 - the page is this command's output
