"""Operating characteristics of the verdict: how often it approves wrongly, and how many cases it takes.

Two ways that share no arithmetic but the e-value's definition: exactly, by dynamic programming over the counts of a
path; and by simulation, where scores are drawn and the verdict is looked at after every case. A score here has one of
three values (all / middle / none), which covers pass or fail, graded scores and the comparison with the incumbent
(won, equal, lost); continuous scores are simulated only.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv
from scipy.stats import binom

from routing.core.evalues import BETS, MIN_CASES, log_threshold

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

ALPHA = 0.05
_TAIL = 9.0  # standard deviations of a count that the exact computation follows: beyond lies less than 1e-15
_PATHS_AT_ONCE = 500  # wealth of 200 bets × 500 paths × 8 bytes = 0.8 MB: stays in the processor's cache
_SMALLEST = 1e-280


@dataclass(frozen=True, slots=True)
class Setting:
    """Scores with their probabilities, and the line their mean is held against.

    `values` and `chances`: the usual score, another, the worst. Pass or fail has no other (chance 0).
    """

    standard: str
    line: float
    truth: str
    values: tuple[float, float, float]
    chances: tuple[float, float, float]

    @property
    def mean(self) -> float:
        return math.fsum(value * chance for value, chance in zip(self.values, self.chances, strict=True))

    @property
    def is_pass_fail(self) -> bool:
        return self.chances[1] == 0


def pass_fail(line: float, rate: float) -> Setting:
    """A case passes with chance `rate`."""
    return Setting("pass rate", line, _short(rate), (1.0, 0.5, 0.0), (rate, 0.0, 1 - rate))


def graded(line: float, mean: float, middle: float) -> Setting:
    """Scores 1, ½ and 0, ½ with chance `middle`."""
    worst = 1 - mean - middle / 2
    return Setting("mean score", line, _short(mean), (1.0, 0.5, 0.0), (1 - middle - worst, middle, worst))


def compared(margin: float, worse: float, differ: float) -> Setting:
    """Worse than the incumbent by `worse` on average; a share `differ` of the cases comes out differently."""
    lost = (differ + worse) / 2
    truth = f"−{_short(worse)}" if worse else "equal"
    values, chances = (0.5, 1.0, 0.0), (1 - differ, differ - lost, lost)
    return Setting(f"not worse by {_short(margin)}", (1 - margin) / 2, truth, values, chances)


# --- exactly ----------------------------------------------------------------------------------------------------------


def chances_to_clear(setting: Setting, candidates: int, most: int, *, may_recover: bool = False) -> Floats:
    """P(has cleared by n cases) for n = 0 … `most`, looking after every case from the 30th on.

    Without `may_recover` a path ends where it first falls short, as a class's owner would end it.
    """
    usual, middle, worst = setting.chances
    middles, worsts = (_reach(most, chance) for chance in (middle, worst))
    mass = np.zeros((middles + 1, worsts + 1))
    mass[0, 0] = 1.0
    cleared = np.zeros(most + 1)
    clears_at, short_at = boundaries(setting, candidates, most, middles)
    number = np.arange(worsts + 1)
    for n in range(1, most + 1):
        moved = usual * mass
        moved[1:] += middle * mass[:-1]
        moved[:, 1:] += worst * mass[:, :-1]
        mass, cleared[n] = moved, cleared[n - 1]
        if not may_recover:
            mass[number >= short_at[n][:, None]] = 0.0
        if n >= MIN_CASES:
            done = number <= clears_at[n][:, None]
            cleared[n] += mass[done].sum()
            mass[done] = 0.0
    return cleared


def _reach(most: int, chance: float) -> int:
    """The largest count worth following."""
    return math.ceil(most * chance + _TAIL * math.sqrt(most * chance * (1 - chance))) + 1 if chance else 0


@cache
def boundaries(setting: Setting, candidates: int, most: int, middles: int) -> tuple[Counts, Counts]:
    """Per n and number of middle scores: the most worst ones that still clear (−1: none), the fewest that fall short.

    One more case moves either by at most one, so each is followed from n to n + 1.
    """
    goal = log_threshold(ALPHA, candidates)
    up, down = _gains(setting)
    clears = np.full((most + 1, middles + 1), -1, dtype=np.int64)
    short = np.zeros((most + 1, middles + 1), dtype=np.int64)
    middle = np.arange(middles + 1)
    for n in range(1, most + 1):
        room = n - middle
        at = clears[n - 1].copy()
        while (open_ := (room > at) & (_log_e(up, n, middle, at + 1) >= goal)).any():
            at += open_
        clears[n] = at
        least = short[n - 1].copy()
        while (open_ := (room >= least) & (_log_e(down, n, middle, least) < goal)).any():
            least += open_
        short[n] = least
    return clears, short


def _gains(setting: Setting) -> tuple[Floats, Floats]:
    """ln(1 + λ_j(x − ℓ)) for the three values, of the bets above the line and of those below it (methods.md §3.2)."""
    line, steps = setting.line, (np.arange(BETS) + 0.5) / BETS
    from_line = np.asarray(setting.values)[:, None] - line
    bets = [(mean - line) / (line * (1 - line)) for mean in (line + (1 - line) * steps, line * steps)]
    return np.log1p(from_line * bets[0]), np.log1p(from_line * bets[1])


def _log_e(gains: Floats, n: int, middle: Counts, worst: Counts) -> Floats:
    logs = (n - middle - worst)[:, None] * gains[0] + middle[:, None] * gains[1] + worst[:, None] * gains[2]
    top = logs.max(axis=1)
    found: Floats = top + np.log(np.exp(logs - top[:, None]).mean(axis=1))
    return found


def of_class(chance: float, candidates: int) -> float:
    """Chance that at least one of `candidates` clears, each on cases of its own with the same truth."""
    return 1 - (1 - chance) ** candidates


def first_case(cleared: Floats, share: float) -> int | None:
    """Cases until the chance to have cleared reaches `share`; None within what was followed."""
    return int(np.argmax(cleared >= share)) if cleared[-1] >= share else None


def least_on_average(line: float, rate: float, candidates: int) -> float:
    """ln(K/α)/KL(rate‖line): no test that may stop at any time and errs with at most α/K needs fewer on average."""
    divergence = rate * math.log(rate / line) + (1 - rate) * math.log((1 - rate) / (1 - line))
    return log_threshold(ALPHA, candidates) / divergence


def fixed_cases(line: float, rate: float, candidates: int, power: float, most: int = 20_000) -> int:
    """Fewest cases of an exact binomial test planned once, looked at once, whose chance to clear is `power`."""
    n = np.arange(1, most + 1)
    passes = binom.isf(ALPHA / candidates, n, line)  # P(more than this) ≤ α/K at the line
    return int(n[np.argmax(binom.sf(passes, n, rate) >= power)])


# --- by simulation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of simulated classes with its 99 % interval (Clopper and Pearson)."""

    share: float
    low: float
    high: float


def rate_of(hits: int, of: int, level: float = 0.99) -> Rate:
    tail = (1 - level) / 2
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0
    return Rate(hits / of, low, high)


def simulated_cases(setting: Setting, candidates: int, most: int, paths: int, draw: np.random.Generator) -> Counts:
    """Per path the case after which it cleared, −1 if it fell short first or did neither within `most`."""
    if setting.is_pass_fail:
        return _by_counts(setting, candidates, most, paths, draw)
    values, cuts = np.asarray(setting.values), np.cumsum(setting.chances[:2])

    def scores(size: int) -> Floats:
        drawn: Floats = values[np.searchsorted(cuts, draw.random(size), side="right")]
        return drawn

    return _by_wealth(setting.line, scores, candidates, most, paths)


def any_cleared(cases: Counts, candidates: int) -> Rate:
    """Share of classes in which at least one of their candidates cleared."""
    classes: NDArray[np.bool_] = np.any(cases.reshape(-1, candidates) >= 0, axis=1)
    return rate_of(int(np.count_nonzero(classes)), cases.size // candidates)


def _by_counts(setting: Setting, candidates: int, most: int, paths: int, draw: np.random.Generator) -> Counts:
    """Passes and failures are counted and held against the counts that decide."""
    clears, short = (table[1:, 0] for table in boundaries(setting, candidates, most, 0))
    clears = np.where(np.arange(1, most + 1) >= MIN_CASES, clears, -1)
    found = []
    for start in range(0, paths, 2_000):
        size = min(2_000, paths - start)
        failed = draw.random((size, most), dtype=np.float32) < setting.chances[2]
        failures = np.cumsum(failed, axis=1, dtype=np.int32)
        found.append(_first_decision(failures <= clears, failures >= short))
    return np.concatenate(found)


def _first_decision(clear: NDArray[np.bool_], short: NDArray[np.bool_]) -> Counts:
    never = clear.shape[1]
    first = [np.where(each.any(axis=1), each.argmax(axis=1), never) for each in (clear, short)]
    return np.where((first[0] < never) & (first[0] < first[1]), first[0] + 1, -1)


def simulated_continuous(
    line: float, mean: float, spread: float, candidates: int, most: int, paths: int, draw: np.random.Generator
) -> Counts:
    """The same for scores from a beta distribution with this mean (`spread` = a + b)."""
    return _by_wealth(line, lambda size: draw.beta(mean * spread, (1 - mean) * spread, size), candidates, most, paths)


def _by_wealth(line: float, scores: Callable[[int], Floats], candidates: int, most: int, paths: int) -> Counts:
    """Every bet's wealth is multiplied case by case: no counts, no logarithms, no boundaries."""
    steps, goal = (np.arange(BETS) + 0.5) / BETS, candidates / ALPHA
    bets = [(mean - line) / (line * (1 - line)) for mean in (line + (1 - line) * steps, line * steps)]
    found = np.full(paths, -1, dtype=np.int64)
    for start in range(0, paths, _PATHS_AT_ONCE):
        live = np.arange(start, min(start + _PATHS_AT_ONCE, paths))
        wealth = [np.ones((len(live), BETS)) for _ in bets]
        for n in range(1, most + 1):
            ahead = scores(len(live))[:, None] - line
            for each, bet in zip(wealth, bets, strict=True):
                each *= 1 + ahead * bet
                np.maximum(each, _SMALLEST, out=each)  # numbers that fade away would slow the processor down
            clear, short = (each.mean(axis=1) >= goal for each in wealth)
            cleared = clear & ~short & (n >= MIN_CASES)
            found[live[cleared]] = n
            stays = ~(cleared | short)
            if not stays.all():
                live, wealth = live[stays], [each[stays] for each in wealth]
    return found


def quantile_cases(cases: Counts, share: float) -> int | None:
    """The case after which a share of all paths had cleared; None if fewer did."""
    done: Sequence[int] = np.sort(cases[cases >= 0]).tolist()
    wanted = math.ceil(share * len(cases))
    return done[wanted - 1] if len(done) >= wanted else None


def _short(number: float) -> str:
    return f"{number:g}".removeprefix("0")


# --- the tables of docs/algorithms/quality.md -------------------------------------------------------------------------

SEED = 20261125
_CLASSES = 20_000  # simulated classes where cases pass or fail
_SLOW_PATHS = {1: 4_000, 2: 3_000, 5: 3_000}  # where every bet is followed: paths by K


@dataclass(frozen=True, slots=True)
class WrongApprovals:
    """A class whose K candidates all have the stated truth, at or below the line: chance that any is approved."""

    standard: str
    line: str
    truth: str
    candidates: int
    cases: int
    exact: float | None
    simulated: Rate


@dataclass(frozen=True, slots=True)
class CasesToClear:
    """Cases until a candidate of this true rate has cleared: exact and simulated median and 90th percentile.

    `least`: what no such test can go below on average. `fixed`: an exact binomial test looked at once.
    """

    line: float
    rate: float
    candidates: int
    exact: tuple[int | None, int | None]
    simulated: tuple[int | None, int | None]
    least: float
    fixed: tuple[int, int]


WRONG: tuple[tuple[Setting, int, int], ...] = (
    *((pass_fail(line, line), k, 1_000) for line in (0.80, 0.90, 0.93, 0.95) for k in (1, 2, 5)),
    (pass_fail(0.93, 0.93), 1, 5_000),
    *((pass_fail(line, line - 0.01), 1, 1_000) for line in (0.80, 0.90, 0.93, 0.95)),
    *((graded(0.90, 0.90, 0.10), k, 1_000) for k in (1, 2, 5)),
    *((compared(0.03, 0.03, 0.06), k, 1_000) for k in (1, 2, 5)),
)
CONTINUOUS = (0.90, 0.90, 5.0)  # line, mean, a + b
NEEDED: tuple[tuple[float, float, int], ...] = (
    (0.80, 0.85, 1), (0.80, 0.90, 1), (0.80, 0.95, 1),
    (0.90, 0.93, 1), (0.90, 0.95, 1), (0.90, 0.97, 1), (0.90, 0.99, 1),
    (0.93, 0.95, 1), (0.93, 0.97, 1), (0.93, 0.97, 2), (0.93, 0.97, 5), (0.93, 0.99, 1),
    (0.95, 0.97, 1), (0.95, 0.98, 1), (0.95, 0.99, 1),
)  # fmt: skip
_MOST_NEEDED, _NEEDED_PATHS = 3_000, 4_000


def wrong_approvals() -> list[WrongApprovals]:
    draw = np.random.default_rng(SEED)
    found = []
    for setting, k, most in WRONG:
        paths = _CLASSES * k if setting.is_pass_fail and most <= 1_000 else _SLOW_PATHS[k]
        cases = simulated_cases(setting, k, most, paths, draw)
        found.append(
            WrongApprovals(
                setting.standard, _line(setting), setting.truth, k, most, exact_wrong(setting, k, most),
                any_cleared(cases, k),
            )
        )  # fmt: skip
    line, mean, spread = CONTINUOUS
    cases = simulated_continuous(line, mean, spread, 1, 1_000, _SLOW_PATHS[1], draw)
    name = "mean score, continuous"
    found.append(WrongApprovals(name, _short(line), _short(mean), 1, 1_000, None, any_cleared(cases, 1)))
    return found


def exact_wrong(setting: Setting, candidates: int, most: int) -> float:
    """Chance that any of the class's candidates clears within `most` cases each."""
    return of_class(float(chances_to_clear(setting, candidates, most)[-1]), candidates)


def cases_to_clear() -> list[CasesToClear]:
    draw = np.random.default_rng(SEED + 1)
    found = []
    for line, rate, k in NEEDED:
        setting = pass_fail(line, rate)
        cleared = chances_to_clear(setting, k, _MOST_NEEDED)
        cases = simulated_cases(setting, k, _MOST_NEEDED, _NEEDED_PATHS, draw)
        found.append(
            CasesToClear(
                line, rate, k,
                (first_case(cleared, 0.5), first_case(cleared, 0.9)),
                (quantile_cases(cases, 0.5), quantile_cases(cases, 0.9)),
                least_on_average(line, rate, k),
                (fixed_cases(line, rate, k, 0.5), fixed_cases(line, rate, k, 0.9)),
            )
        )  # fmt: skip
    return found


def _line(setting: Setting) -> str:
    return "–" if setting.standard.startswith("not worse") else _short(setting.line)


def wrong_table(rows: Sequence[WrongApprovals]) -> list[str]:
    """As Markdown."""
    return [
        "| standard | line | truth | K | cases | exact | simulated (99% interval) |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {row.standard} | {row.line} | {row.truth} | {row.candidates} | {row.cases:,} | "
            f"{'–' if row.exact is None else f'{row.exact:.4f}'} | "
            f"{row.simulated.share:.4f} ({row.simulated.low:.4f} to {row.simulated.high:.4f}) |"
            for row in rows
        ),
    ]


def needed_table(rows: Sequence[CasesToClear]) -> list[str]:
    return [
        "| bar line | true rate | K | median | P90 | simulated | least on average | looked at once, 50% / 90% |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {_short(row.line)} | {_short(row.rate)} | {row.candidates} | {_cases(row.exact[0])} | "
            f"{_cases(row.exact[1])} | {_cases(row.simulated[0])} / {_cases(row.simulated[1])} | {row.least:,.0f} | "
            f"{row.fixed[0]:,} / {row.fixed[1]:,} |"
            for row in rows
        ),
    ]


def _cases(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"
