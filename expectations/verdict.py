"""The verdict: every reason against a candidate, in one projection of one pass."""

from __future__ import annotations

import hashlib
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.rules import RULES, Judgement, Rule
from transforms.bookkeeping import FATE, FAULT, FILTERED, RAW, SPREAD, Fate
from transforms.parsing import MALFORMED, MISMATCH, valid_text
from transforms.records import EXPLODE_NULL
from transforms.schemas import REASON

REASONS = "_reasons"
STAGE = "_stage"

_FAULTS = {
    MALFORMED: ("read", "the record is malformed: its text does not have the source's format"),
    MISMATCH: ("read", "a value of the record does not fit the type that the mapping's schema gives it"),
    EXPLODE_NULL: ("map", "the array to explode is null"),
}


def judge(candidates: DataFrame, judgement: Judgement) -> DataFrame:
    """Give each candidate its fate: filtered, quarantined (with every reason that applies) or valid.

    Args:
        candidates: what `map_candidates` gives.
        judgement: what the rules may look at besides the candidate.

    Returns:
        The columns without `_fault` and `_filtered`, and with `_fate`, `_spread`, `_stage` and `_reasons`. `_raw` is
        left to those that are quarantined alone: nobody else asks for the text, the bulk of what would be shuffled.
    """
    # Reasons are built for the few that have any: for all others a plain BOOLEAN is all that is evaluated.
    refused = F.coalesce(reduce(lambda one, other: one | other, _checks(judgement)), F.lit(False))
    reasons = F.when(F.col(FAULT).isNotNull(), _fault_reasons()).when(refused, _rule_reasons(judgement))
    judged = candidates.withColumn(REASONS, F.when(~F.col(FILTERED), reasons))
    fate = F.when(F.col(FILTERED), Fate.FILTERED).when(F.col(REASONS).isNotNull(), Fate.QUARANTINED)
    stage = F.coalesce(_stage_of_fault(), F.lit("validate"))
    refused_only = F.col(REASONS).isNotNull()
    return judged.withColumns(
        {
            FATE: fate.otherwise(Fate.VALID),
            STAGE: F.when(refused_only, stage),
            SPREAD: F.when(F.col(FILTERED) | refused_only, F.monotonically_increasing_id()),
            RAW: F.when(refused_only, valid_text(F.col(RAW))),
        }
    ).drop(FAULT, FILTERED)


def rule_set(rules: tuple[Rule, ...] = RULES) -> str:
    """Fingerprint the rules: 12 hex digits that change when a rule's code or message does.

    Examples:
        >>> rule_set() == rule_set(RULES) != rule_set(RULES[1:])
        True
    """
    text = "\n".join(f"{rule.code}\t{rule.field}\t{rule.message}" for rule in rules)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _checks(judgement: Judgement) -> list[Column]:
    return [F.coalesce(rule.broken(judgement), F.lit(False)) for rule in RULES]


def _rule_reasons(judgement: Judgement) -> Column:
    reasons = [F.when(rule.broken(judgement), _reason(rule.code, rule.field, rule.message)) for rule in RULES]
    return F.array_compact(F.array(*reasons))


def _fault_reasons() -> Column:
    whens = [F.when(F.col(FAULT) == code, _reason(code, None, words)) for code, (_, words) in _FAULTS.items()]
    return F.array(F.coalesce(*whens))


def _stage_of_fault() -> Column:
    return F.coalesce(*[F.when(F.col(FAULT) == code, F.lit(stage)) for code, (stage, _) in _FAULTS.items()])


def _reason(code: str, field: str | None, message: str) -> Column:
    return F.struct(
        F.lit(code).alias("code"),
        F.lit(field).cast("string").alias("field"),
        F.lit(message).alias("message"),
    ).cast(REASON)
