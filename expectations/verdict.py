"""The verdict: evaluates every rule for each candidate, in one projection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from expectations.rules import RULES, Rule, RuleContext
from transforms.columns import BROKEN, FATE, FAULT, FILTERED, Fate
from transforms.schemas import REASON

_RULE_BITS = {rule: 1 << place for place, rule in enumerate(RULES)}
"""The bit of each rule, by its index in RULES."""
_EARLY_RULES = [rule for rule in RULES if rule.stage != "validate"]
_VALIDATE_RULES = [rule for rule in RULES if rule.stage == "validate"]


def judge_candidates(candidates: DataFrame, context: RuleContext) -> DataFrame:
    """Give each candidate its fate: filtered, quarantined (with all reasons that apply) or valid.

    Args:
        candidates: what `map_candidates` gives.
        context: what rules use besides the candidate.

    Returns:
        The columns without `_fault` and `_filtered`, and with `_fate` and `_broken`, which `reasons` and `stage`
        explain.
    """
    # Only the few refused rows get messages, when they are written. Every other row costs only a number.
    found = F.when(F.col(FAULT).isNotNull(), _combine_bits(_EARLY_RULES, context)).otherwise(
        _combine_bits(_VALIDATE_RULES, context)
    )
    judged = candidates.withColumn(BROKEN, F.when(~F.col(FILTERED), found)).drop(FAULT, FILTERED)
    fate = F.when(F.col(BROKEN) == 0, Fate.VALID).when(F.col(BROKEN) != 0, Fate.QUARANTINED)
    return judged.withColumn(FATE, fate.otherwise(Fate.FILTERED))


def reasons(broken: Column) -> Column:
    """List why a candidate is refused: ARRAY<STRUCT<code, field, message>>, in the order of RULES.

    Examples:
        >>> df = spark.createDataFrame([(0,), (0b1001,)], "broken BIGINT")
        >>> [[reason.code for reason in row[0]] for row in df.select(reasons(F.col("broken"))).collect()]
        [[], ['malformed_record', 'identity_missing']]
    """
    return F.array_compact(F.array(*[F.when(_is_broken(broken, rule), _build_reason(rule)) for rule in RULES]))


def stage(broken: Column) -> Column:
    """Find the stage of a refused candidate: `read`, `map` or `validate`."""
    return F.coalesce(
        *[F.when(_is_broken(broken, rule), F.lit(rule.stage)) for rule in _EARLY_RULES], F.lit("validate")
    )


def rule_set(rules: tuple[Rule, ...] = RULES) -> str:
    """Compute the fingerprint of rules: 12 hex digits that change with any rule's code, field, message or limit.

    Examples:
        >>> rule_set() == rule_set(RULES) != rule_set(RULES[1:])
        True
    """
    text = "\n".join(f"{rule.code}\t{rule.field}\t{rule.message}\t{rule.limit}" for rule in rules)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _combine_bits(rules: Iterable[Rule], context: RuleContext) -> Column:
    bits = [F.when(rule.broken(context), F.lit(_RULE_BITS[rule])).otherwise(0) for rule in rules]
    return reduce(lambda one, other: one.bitwiseOR(other), bits).cast("bigint")


def _is_broken(broken: Column, rule: Rule) -> Column:
    return broken.bitwiseAND(_RULE_BITS[rule]) != 0


def _build_reason(rule: Rule) -> Column:
    return F.struct(
        F.lit(rule.code).alias("code"),
        F.lit(rule.field).cast("string").alias("field"),
        F.lit(rule.message).alias("message"),
    ).cast(REASON)
