"""Betting e-values for a mean in [0, 1] against a line, and the bounds they imply (methods.md §3.2–3.3).

Two e-values per candidate: E⁺ grows when the mean is above the line (*clears*), E⁻ when it is below (*falls short*).
Each is a uniform mixture of 200 bets. P(E ever reaches 1/α) ≤ α under its null however often one looks. Everything is
in logarithms; a closed form through the incomplete beta function underflows and would approve 0 of 1,000 passes.

With u_j = (j + ½)/200 the bets of methods.md §3.2 are λ_j = u_j/ℓ (clears) and −(1 − u_j)/(1 − ℓ) (falls short), since
q_j = ℓ + (1 − ℓ)u_j and q_j = ℓ·u_j. That removes a cancellation and shows why E⁺ falls as ℓ rises.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from billing.core.words import percent

BETS = 200
MIN_CASES = 30
MOST_CASES_NEEDED = 1_000_000
METHOD = f"betting e-value, uniform mixture of {BETS} bets, valid at every look"

Side = Literal["+", "-"]
Floats = NDArray[np.float64]

_U: Floats = (np.arange(BETS) + 0.5) / BETS
_LN_U: Floats = np.log(_U)
_LN_1_MINUS_U: Floats = np.log1p(-_U)
_ROWS_AT_ONCE = 4096  # 200 bets × 8 bytes × 4,096 rows = 6.5 MB per temporary
_BISECTIONS = 40  # the bracket ends 1e-12 wide


def log_threshold(alpha: float, candidates: int = 1) -> float:
    """ln(K/α): what ln E must reach when α is shared by K candidates. Raises ValueError outside 0 < α < 1, K ≥ 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: it must be above 0 and below 1")
    if candidates < 1:
        raise ValueError(f"candidates is {candidates}: it must be at least 1")
    return math.log(candidates / alpha)


def log_e_values(passes: ArrayLike, cases: ArrayLike, line: ArrayLike) -> tuple[Floats, Floats]:
    """(ln E⁺, ln E⁻) for `passes` of `cases` against `line`, broadcast against each other (methods.md §3.2).

    Counts may be real-valued (planning). Shape of the result: the broadcast shape, () for three numbers.
    Raises ValueError unless 0 < line < 1 and 0 ≤ passes ≤ cases.

    >>> clear, short = log_e_values(196, 200, 0.93)
    >>> round(float(clear), 6), round(float(short), 6)
    (4.230509, -5.020204)
    """
    k, n, ell = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (passes, cases, line)))
    if not np.all((k >= 0) & (k <= n)):
        raise ValueError("passes must be between 0 and the number of cases")
    _check_line(ell)
    shape = k.shape
    return (
        _by_rows(_log_e_clear, k.ravel(), n.ravel(), ell.ravel()).reshape(shape),
        _by_rows(_log_e_short, k.ravel(), n.ravel(), ell.ravel()).reshape(shape),
    )


def log_e_values_scores(scores: ArrayLike, line: float, *, counts: ArrayLike | None = None) -> tuple[float, float]:
    """(ln E⁺, ln E⁻) for graded scores in [0, 1], one per distinct case (methods.md §3.2, individual scores needed).

    With `counts` each score stands for that many cases; so in the other functions for scores. Raises ValueError for a
    score outside [0, 1] or NaN, or a line outside (0, 1).
    """
    values, often = _distinct(scores, counts)
    _check_line(np.asarray(line))
    return (
        _log_mean_exp(_log_bets_clear(values, often, line)),
        _log_mean_exp(_log_bets_short(values, often, line)),
    )


def log_e_short_path(scores: ArrayLike, line: float) -> Floats:
    """ln E⁻ after each of the scores in turn: what a monitor sees that looks after every one.

    The last value is that of `log_e_values_scores`. Raises ValueError for a score outside [0, 1] or NaN, or a line
    outside (0, 1).
    """
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("scores must be between 0 and 1")
    _check_line(np.asarray(line))
    found = np.empty(values.size)
    wealth = np.zeros(BETS)
    for start in range(0, values.size, _ROWS_AT_ONCE):
        part = values[start : start + _ROWS_AT_ONCE]
        logs = wealth + np.cumsum(np.log1p(np.outer(part - line, (_U - 1) / (1 - line))), axis=0)
        wealth = logs[-1].copy()
        found[start : start + part.size] = _log_mean_exp_rows(logs)
    return found


def lower_bound(passes: ArrayLike, cases: ArrayLike, threshold: ArrayLike) -> Floats:
    """L: the highest line that would clear at ln E⁺ ≥ threshold, 0 if none would (methods.md §3.3). Vectorised.

    The rule of 30 cases is not applied here: a page shows "–" before 30, the summary of a model tier uses the number.
    """
    k, n, goal = _broadcast_bound_arguments(passes, cases, threshold)
    return _bisect(lambda ell: _by_rows(_log_e_clear, k.ravel(), n.ravel(), ell) >= goal.ravel(), k.size).reshape(
        k.shape
    )


def upper_bound(passes: ArrayLike, cases: ArrayLike, threshold: ArrayLike) -> Floats:
    """U: the lowest line that would fall short at ln E⁻ ≥ threshold, 1 if none would (methods.md §3.3). Vectorised."""
    k, n, goal = _broadcast_bound_arguments(passes, cases, threshold)
    # E⁻ of k passes at ℓ is E⁺ of n − k passes at 1 − ℓ, so one bisection, on the distance to 1, serves both.
    lost = (n - k).ravel()
    room = _bisect(lambda ell: _by_rows(_log_e_clear, lost, n.ravel(), ell) >= goal.ravel(), k.size)
    bound: Floats = 1.0 - room
    return bound.reshape(k.shape)


def lower_bound_scores(scores: ArrayLike, threshold: float, *, counts: ArrayLike | None = None) -> float:
    """L for graded scores: the highest line that would clear, 0 if none would."""
    values, often = _distinct(scores, counts)
    return _bisect_scores(values, often, threshold)


def upper_bound_scores(scores: ArrayLike, threshold: float, *, counts: ArrayLike | None = None) -> float:
    """U for graded scores: the lowest line that would fall short, 1 if none would."""
    values, often = _distinct(scores, counts)
    return 1.0 - _bisect_scores(1.0 - values, often, threshold)


@dataclass(frozen=True, slots=True)
class CasesNeeded:
    """How many more cases would decide, on which side (+ clears, − falls short). `cases` None = see `reason`."""

    cases: int | None
    side: Side | None
    reason: str


NO_REALISTIC_NUMBER = "no realistic number of cases would decide at this pass rate"


def cases_needed(
    passes: float, cases: int, line: float, threshold: float, *, min_cases: int = MIN_CASES
) -> CasesNeeded:
    """Smallest number of further cases that would decide if the pass rate stays as it is (methods.md §3.3).

    p̃ = (k + ½)/(n + 1); side + if p̃ > line, else −; smallest m ≥ `min_cases` − n with ln E(k + p̃m, n + m) ≥
    threshold.
    More than 1,000,000 and no case at all give None with the reason.

    >>> cases_needed(196, 200, 0.95, log_threshold(0.05))
    CasesNeeded(cases=154, side='+', reason='about 154 more cases if the pass rate stays at 98.0%')
    """
    if cases == 0:
        return CasesNeeded(None, None, "no case has been run")
    rate = (passes + 0.5) / (cases + 1)
    side: Side = "+" if rate > line else "-"
    clear, short = (float(value) for value in log_e_values(passes, cases, line))
    if decision := _decided(clear, short, cases, threshold, min_cases):
        return CasesNeeded(0, decision, "decided")

    def log_e(more: int) -> float:
        values = log_e_values(passes + rate * more, cases + more, line)
        return float(values[0] if side == "+" else values[1])

    return _cases_needed(log_e, cases, threshold, side, f"pass rate stays at {percent(passes / cases)}", min_cases)


def cases_needed_scores(
    scores: ArrayLike,
    line: float,
    threshold: float,
    *,
    counts: ArrayLike | None = None,
    min_cases: int = MIN_CASES,
) -> CasesNeeded:
    """The same for graded scores: smallest m with logmeanexp_j((1 + m/n)·Σ ln(1 + λ_j(x − ℓ))) ≥ threshold."""
    values, often = _distinct(scores, counts)
    n = int(often.sum())
    if n == 0:
        return CasesNeeded(None, None, "no case has been run")
    total = float(values @ often)
    side: Side = "+" if (total + 0.5) / (n + 1) > line else "-"
    if decision := _decided(*log_e_values_scores(values, line, counts=often), n, threshold, min_cases):
        return CasesNeeded(0, decision, "decided")
    bets = (_log_bets_clear if side == "+" else _log_bets_short)(values, often, line)

    def log_e(more: int) -> float:
        return _log_mean_exp(bets * (1 + more / n))

    return _cases_needed(log_e, n, threshold, side, f"mean score stays at {percent(total / n)}", min_cases)


def cases_without_failure(line: float, threshold: float) -> int | None:
    """Fewest cases that clear if not one fails, at least 30; None above 100,000 (a line that close to 1).

    >>> cases_without_failure(0.93, log_threshold(0.05, 2))
    74
    """
    _check_line(np.asarray(line))
    low, high = MIN_CASES - 1, MIN_CASES
    while float(log_e_values(high, high, line)[0]) < threshold:
        low, high = high, 2 * high
        if low > 100_000:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if float(log_e_values(middle, middle, line)[0]) >= threshold else (middle, high)
    return high


def _cases_needed(
    log_e: Callable[[int], float], cases: int, threshold: float, side: Side, condition: str, min_cases: int
) -> CasesNeeded:
    """Doubling, then bisection. ln E is convex in the number of further cases, so it crosses upwards only once."""
    # Too few cases forbid only a "clears": what falls short may be said before.
    first = max(0, min_cases - cases) if side == "+" else max(0, MIN_CASES - cases)
    if log_e(first) >= threshold:
        needed = first
    else:
        low, high = first, max(1, 2 * first)
        while log_e(high) < threshold:
            low, high = high, 2 * high
            if low >= MOST_CASES_NEEDED:
                return CasesNeeded(None, side, NO_REALISTIC_NUMBER)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if log_e(middle) >= threshold else (middle, high)
        needed = high
    if needed > MOST_CASES_NEEDED:
        return CasesNeeded(None, side, NO_REALISTIC_NUMBER)
    plural = "case" if needed == 1 else "cases"
    return CasesNeeded(needed, side, f"about {needed:,} more {plural} if the {condition}")


def _decided(clear: float, short: float, cases: int, threshold: float, min_cases: int) -> Side | None:
    if short >= threshold:
        return "-"
    return "+" if clear >= threshold and cases >= min_cases else None


def _check_line(line: Floats) -> None:
    if not np.all((line > 0) & (line < 1)):
        raise ValueError(f"the line is {line}: it must be above 0 and below 1")


def _distinct(scores: ArrayLike | Sequence[float], counts: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Distinct scores and how often each occurs: few, so 200 bets × scores stays small; and order cannot matter."""
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not np.all((values >= 0) & (values <= 1)):
        raise ValueError("scores must be between 0 and 1")
    if counts is not None:
        often = np.asarray(counts, dtype=np.float64).ravel()
        if often.shape != values.shape or not np.all(often >= 0):
            raise ValueError("counts must be one number from 0 for each score")
        return values, often
    distinct, found = np.unique(values, return_counts=True)
    return distinct, found.astype(np.float64)


def _log_bets_clear(values: Floats, counts: Floats, line: float) -> Floats:
    bets: Floats = counts @ np.log1p(np.outer(values - line, _U / line))
    return bets


def _log_bets_short(values: Floats, counts: Floats, line: float) -> Floats:
    bets: Floats = counts @ np.log1p(np.outer(values - line, (_U - 1) / (1 - line)))
    return bets


def _log_mean_exp(logs: Floats) -> float:
    most = logs.max()
    return float(most + np.log(np.mean(np.exp(logs - most))))


def _log_e_clear(k: Floats, n: Floats, ell: Floats) -> Floats:
    gain = np.log1p(np.multiply.outer((1 - ell) / ell, _U))
    return _log_mean_exp_rows(k[:, None] * gain + np.multiply.outer(n - k, _LN_1_MINUS_U))


def _log_e_short(k: Floats, n: Floats, ell: Floats) -> Floats:
    gain = np.log1p(np.multiply.outer(ell / (1 - ell), 1 - _U))
    return _log_mean_exp_rows(np.multiply.outer(k, _LN_U) + (n - k)[:, None] * gain)


def _log_mean_exp_rows(logs: Floats) -> Floats:
    most = logs.max(axis=1)
    logs -= most[:, None]
    np.exp(logs, out=logs)
    result: Floats = most + np.log(logs.mean(axis=1))
    return result


def _by_rows(log_e: Callable[[Floats, Floats, Floats], Floats], k: Floats, n: Floats, ell: Floats) -> Floats:
    if k.size <= _ROWS_AT_ONCE:
        return log_e(k, n, ell)
    starts = range(0, k.size, _ROWS_AT_ONCE)
    return np.concatenate([log_e(*(part[at : at + _ROWS_AT_ONCE] for part in (k, n, ell))) for at in starts])


def _broadcast_bound_arguments(
    passes: ArrayLike, cases: ArrayLike, threshold: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    k, n, goal = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in (passes, cases, threshold)))
    if not np.all((k >= 0) & (k <= n)):
        raise ValueError("passes must be between 0 and the number of cases")
    return k, n, goal


def _bisect(clears: Callable[[Floats], NDArray[np.bool_]], size: int) -> Floats:
    """The highest line in [0, 1] that clears, elementwise; its lower bracket, so the line returned does clear."""
    low, high = np.zeros(size), np.ones(size)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        enough = clears(middle)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return low


def _bisect_scores(values: Floats, counts: Floats, threshold: float) -> float:
    if not counts.size:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _log_mean_exp(_log_bets_clear(values, counts, middle)) >= threshold:
            low = middle
        else:
            high = middle
    return low
