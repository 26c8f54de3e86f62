"""Quality of a model tier: a volume-weighted summary over classes, without a verdict of its own (methods.md §3.6)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from routing.core.evalues import (
    log_threshold,
    lower_bound,
    lower_bound_scores,
    upper_bound,
    upper_bound_scores,
)
from routing.core.evidence import Evidence


@dataclass(frozen=True, slots=True)
class TierPair:
    """One (class, serving model) pair in one week. `weight` = its requests, input-equivalent tokens where unknown.

    `pass_rate`, `lower` and `upper` are None where the pair has no evidence; `line` where its class asks for a
    comparison with the model that serves and for no line.
    """

    weight: float
    pass_rate: float | None
    lower: float | None
    upper: float | None
    line: float | None


@dataclass(frozen=True, slots=True)
class TierQuality:
    """Σwp̂/Σw with its whisker and the mark of the line, over the `covered_share` of requests that have evidence.

    The mark is that of the pairs whose class has a line; None where none has.
    """

    value: float | None
    low: float | None
    high: float | None
    line: float | None
    covered_share: float
    pairs: int


def tier_quality(pairs: Sequence[TierPair]) -> TierQuality:
    """Summary of a model tier at one week end. Without any evidence every figure is None and the covered share 0.

    Raises ValueError for a negative weight.

    >>> tier_quality([TierPair(300, .98, .95, .99, .93), TierPair(100, .90, .86, .94, .88)]).value
    0.96
    """
    if any(pair.weight < 0 for pair in pairs):
        raise ValueError("a pair of a tier has a negative weight")
    everything = math.fsum(pair.weight for pair in pairs)
    shown = [
        (pair.weight, pair.pass_rate, pair.lower, pair.upper)
        for pair in pairs
        if pair.pass_rate is not None and pair.lower is not None and pair.upper is not None and pair.weight > 0
    ]
    covered = math.fsum(weight for weight, *_ in shown)
    if not covered:
        return TierQuality(None, None, None, None, 0.0, 0)

    def mean(at: int) -> float:
        return math.fsum(row[0] * row[at] for row in shown) / covered

    known = [pair for pair in pairs if pair.pass_rate is not None and pair.weight > 0]
    lined = [(pair.weight, pair.line) for pair in known if pair.line is not None]
    held = math.fsum(weight for weight, _ in lined)
    line = math.fsum(weight * each for weight, each in lined) / held if held else None
    return TierQuality(mean(1), mean(2), mean(3), line, covered / everything, len(shown))


def tier_pairs(rows: Sequence[tuple[float, Evidence, float | None]], *, alpha: float = 0.05) -> tuple[TierPair, ...]:
    """Pairs from (weight, evidence, line), each L and U at alpha / number of pairs that have evidence.

    Bounds of pass/fail pairs are found together. L is a number also before 30 cases: a whisker needs its end.
    """
    with_cases = [evidence for _, evidence, _ in rows if evidence.cases]
    if not with_cases:
        return tuple(TierPair(weight, None, None, None, line) for weight, _, line in rows)
    threshold = log_threshold(alpha, len(with_cases))
    counted = [evidence for evidence in with_cases if evidence.is_pass_fail]
    passes, cases = [evidence.passes for evidence in counted], [evidence.cases for evidence in counted]
    bounds = dict(
        zip(
            map(id, counted),
            zip(
                lower_bound(passes, cases, threshold).tolist(),
                upper_bound(passes, cases, threshold).tolist(),
                strict=True,
            ),
            strict=True,
        )
    )
    pairs = []
    for weight, evidence, line in rows:
        if not evidence.cases:
            pairs.append(TierPair(weight, None, None, None, line))
            continue
        scores = evidence.scores
        low, high = bounds.get(id(evidence)) or (
            lower_bound_scores(scores, threshold),
            upper_bound_scores(scores, threshold),
        )
        pairs.append(TierPair(weight, evidence.passes / evidence.cases, low, high, line))
    return tuple(pairs)
