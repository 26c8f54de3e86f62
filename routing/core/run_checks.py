"""What looks broken about an eval run: errors, item sets that differ between models, mixed modes, implausible rates.

Every check says in numbers what it saw and what to do; none changes evidence. The rate of a run is compared with an
earlier one of the same suite by an exact test, so that how often it is wrong is known: at most once in 10,000 runs
whose cases come from the same pool.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from billing.core.words import percent
from routing.core.evidence import too_many_left_out

FindingKind = Literal["errors", "rate", "items", "modes"]
IMPLAUSIBLE = 1e-4  # chance of so great a difference between two draws from one pool


@dataclass(frozen=True, slots=True)
class Finding:
    """`model` is '' where it concerns the whole run."""

    kind: FindingKind
    model: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class ModelOfRun:
    """What a run holds of one model: distinct cases, those with a verdict, the sum of their scores, and its modes.

    `is_pass_fail`: every score is 0 or 1.
    """

    items: int
    scored: int
    score_sum: float
    is_pass_fail: bool
    modes: tuple[str, ...] = ("",)

    @property
    def rate(self) -> float:
        return self.score_sum / self.scored


def findings_of_run(
    models: Mapping[str, ModelOfRun],
    *,
    items: int,
    earlier: Mapping[str, tuple[str, ModelOfRun]],
) -> tuple[Finding, ...]:
    """What looks broken. `items`: distinct cases of the run on any model. `earlier`: per model the run it is compared
    with, as people call it ("run 12 of 9 Nov 2026"), and what that held.
    """
    found: list[Finding] = []
    for model, own in models.items():
        left_out = own.items - own.scored
        if too_many_left_out(left_out, own.scored):
            share = percent(left_out / own.items)
            text = f"{left_out:,} of {own.items:,} cases ({share}) on {model} ended without a verdict"
            found.append(Finding("errors", model, text, "Run these cases again: what fails to finish is rarely random"))
    short = {
        model: items - own.items for model, own in models.items() if too_many_left_out(items - own.items, own.items)
    }
    if short:
        listed = ", ".join(f"{items - missing:,} on {model}" for model, missing in sorted(short.items()))
        text = f"The models ran different cases: {items:,} in all, but only {listed}"
        found.append(Finding("items", "", text, "Run every model on the same cases, or their rates cannot be compared"))
    for model, own in models.items():
        if len(own.modes) > 1:
            modes = ", ".join(mode or "default" for mode in own.modes)
            text = f"{model} ran in several modes ({modes}); only the newest counts"
            found.append(Finding("modes", model, text, "Run and import each mode by itself, under the mode it has"))
    for model, (name, before) in earlier.items():
        finding = _rate(model, models[model], name, before)
        if finding is not None:
            found.append(finding)
    return tuple(found)


def _rate(model: str, own: ModelOfRun, name: str, before: ModelOfRun) -> Finding | None:
    if not own.scored or not before.scored:
        return None
    if own.is_pass_fail and before.is_pass_fail:
        chance = chance_of_counts(round(own.score_sum), own.scored, round(before.score_sum), before.scored)
    else:
        chance = chance_of_means(own.rate, own.scored, before.rate, before.scored)
    if chance > IMPLAUSIBLE:
        return None
    text = (
        f"{model} scored {percent(own.rate)} on {own.scored:,} cases; {name} scored {percent(before.rate)} on "
        f"{before.scored:,}. Chance alone does this less than once in {1 / IMPLAUSIBLE:,.0f} runs"
    )
    remedy = "Look whether the grader, the prompt or the data changed; set the run aside if it is broken"
    return Finding("rate", model, text, remedy)


def chance_of_counts(passes: int, cases: int, passes_before: int, cases_before: int) -> float:
    """Two-sided chance of a split at least as uneven, were both runs drawn from one pool (Fisher's exact test).

    Twice the smaller tail of the hypergeometric distribution, at most 1.

    >>> f"{chance_of_counts(3, 10, 9, 10):.6f}"
    '0.019846'
    """
    total, all_passes = cases + cases_before, passes + passes_before
    low, high = max(0, cases - (total - all_passes)), min(cases, all_passes)

    def log_weight(k: int) -> float:
        return _log_choose(all_passes, k) + _log_choose(total - all_passes, cases - k) - _log_choose(total, cases)

    below = math.fsum(math.exp(log_weight(k)) for k in range(low, passes + 1))
    above = math.fsum(math.exp(log_weight(k)) for k in range(passes, high + 1))
    return min(1.0, 2 * min(below, above))


def chance_of_means(mean: float, cases: int, mean_before: float, cases_before: int) -> float:
    """A bound on that chance for scores in 0..1, whatever their spread (Hoeffding, Serfling).

    >>> chance_of_means(0.5, 100, 0.9, 100) < 1e-4, chance_of_means(0.5, 10, 0.6, 10)
    (True, 1.0)
    """
    gap = abs(mean - mean_before)
    return min(1.0, 2 * math.exp(-2 * gap * gap * cases * cases_before / (cases + cases_before)))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
