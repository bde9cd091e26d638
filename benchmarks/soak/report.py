"""The figures of a soak as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from benchmarks.soak.faulty_delivery import DeliveryRecord
from benchmarks.soak.verdict import Terms, Verdict


def describe(verdict: Verdict, terms: Terms, counts: Mapping[str, Any], record: DeliveryRecord) -> str:
    """Write the result of a soak.

    Args:
        verdict: the checks.
        terms: the promises.
        counts: of the emulator.
        record: of the delivery.
    """
    most = verdict.fullest
    codes = _pairs(Counter(str(run.code) for run in record.runs))
    rate = counts["calls"] / max((counts["lastCallAt"] or 0.0) - (counts["firstCallAt"] or 0.0), 1.0)
    figures = {
        "took": f"{record.seconds:,.0f} s, {rate:,.0f} calls a second from the first to the last",
        "calls": f"{counts['calls']:,}: {counts['accepted']:,} accepted, {counts['throttled']:,} throttled",
        "faults of the service": _pairs({**counts["faults"], **counts["refused"], **counts["badRequests"]}),
        "runs": f"{len(record.runs)}{', the last stood still' if record.is_stuck else ''}; exit codes: {codes}",
        "events": f"{verdict.events:,}",
        "lost": f"{verdict.lost:,}",
        "sent twice": f"{verdict.twice:,}; at most {verdict.bound:,}",
        "fullest second by the signatures": f"{most.signed:,} calls; limit {terms.rate:g}",
        "fullest second on arrival": f"{most.onTime:,} calls, of the {most.share:.1%} that begin while the emulator is "
        f"on time; {most.read:,} of all",
        **{f"peak memory, {kind}": f"{size / 2**20:,.0f} MiB" for kind, size in sorted(record.memory.items())},
    }
    faults = [(one.name, one.times, one.twice, one.most, one.bound) for one in verdict.kinds]
    broken = [f"- broken: {each}" for each in verdict.broken] or ["All promises were kept."]
    return "\n".join(
        [
            *_table(("", ""), figures.items()),
            "",
            *_table(("fault", "times", "events sent twice", "most by one", "at most"), faults),
            "",
            *broken,
        ]
    )


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count:,}" for name, count in sorted(counts.items())) or "none"


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    lines = [list(heads), *([f"{each:,}" if isinstance(each, int) else str(each) for each in row] for row in rows)]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    return [text[0], "|" + "---|" * len(lines[0]), *text[1:]]
