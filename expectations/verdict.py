"""The verdict: every reason against a candidate, in one projection of one pass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.rules import RULES, Judgement, Rule
from transforms.bookkeeping import FATE, FAULT, FILTERED, RAW, SPREAD, Fate
from transforms.parsing import valid_text
from transforms.schemas import REASON

REASONS = "_reasons"
STAGE = "_stage"

_FAULTS = [rule for rule in RULES if rule.stage != "validate"]
_RULES = [rule for rule in RULES if rule.stage == "validate"]


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
    refused = reduce(lambda one, other: one | other, [_is_true(rule.broken(judgement)) for rule in _RULES])
    reasons = F.when(F.col(FAULT).isNotNull(), _reasons(_FAULTS, judgement)).when(refused, _reasons(_RULES, judgement))
    judged = candidates.withColumn(REASONS, F.when(~F.col(FILTERED), reasons))
    fate = F.when(F.col(FILTERED), Fate.FILTERED).when(F.col(REASONS).isNotNull(), Fate.QUARANTINED)
    stage = F.coalesce(*[F.when(rule.broken(judgement), F.lit(rule.stage)) for rule in _FAULTS], F.lit("validate"))
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
    """Fingerprint the rules: 12 hex digits that change when a rule's code, field, message or limit does.

    Examples:
        >>> rule_set() == rule_set(RULES) != rule_set(RULES[1:])
        True
    """
    text = "\n".join(f"{rule.code}\t{rule.field}\t{rule.message}\t{rule.limit}" for rule in rules)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _is_true(broken: Column) -> Column:
    return F.coalesce(broken, F.lit(False))


def _reasons(rules: Sequence[Rule], judgement: Judgement) -> Column:
    reasons = [F.when(rule.reason(judgement).isNotNull(), _reason(rule)) for rule in rules]
    return F.array_compact(F.array(*reasons))


def _reason(rule: Rule) -> Column:
    return F.struct(
        F.lit(rule.code).alias("code"),
        F.lit(rule.field).cast("string").alias("field"),
        F.lit(rule.message).alias("message"),
    ).cast(REASON)
