"""The parameter tables (written by derive.py) as values, and drawing from them. No Django, no data sets."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from costgov.demo.derive_parts import PROBABILITIES, QUANTILE_COLUMNS

FOLDER: Final = Path(__file__).with_name("parameters")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
_END: Final = 0.0005  # least and greatest value stand at these probabilities from either end
_Z: Final = np.array([NormalDist().inv_cdf(min(max(p, _END), 1 - _END)) for p in PROBABILITIES])


@lru_cache
def rows(name: str) -> tuple[dict[str, str], ...]:
    """Rows of one table."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))


@dataclass(frozen=True, slots=True)
class Sizes:
    """Token sizes of one kind of request: quantiles of each variable, tied by a normal copula."""

    variables: tuple[str, ...]
    quantiles: tuple[tuple[float, ...], ...]
    root: Floats
    """Root of the correlation matrix of the normal scores."""

    def draw(self, rng: np.random.Generator, count: int) -> dict[str, Ints]:
        """Sizes of `count` requests; every request has at least one input and one output token."""
        scores = rng.standard_normal((count, len(self.variables))) @ self.root.T
        found = {
            name: np.rint(np.interp(scores[:, i], _Z, self.quantiles[i])).astype(np.int64)
            for i, name in enumerate(self.variables)
        }
        for name in ("uncached_input", "output"):
            found[name] = np.maximum(found[name], 1)
        return found


@lru_cache
def sizes(name: str) -> Sizes:
    """The sizes of a class."""
    found = [row for row in rows("token_sizes.csv") if row["class"] == name]
    variables = tuple(row["variable"] for row in found)
    matrix = np.eye(len(variables))
    for row in rows("token_correlations.csv"):
        if row["class"] == name:
            i, j = variables.index(row["a"]), variables.index(row["b"])
            matrix[i, j] = matrix[j, i] = float(row["correlation"])
    root = np.linalg.cholesky(matrix).astype(np.float64)
    return Sizes(variables, tuple(quantiles(row) for row in found), root)


def quantiles(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[name]) for name in QUANTILE_COLUMNS)


def spread(row: dict[str, str], count: int, rng: np.random.Generator) -> Floats:
    """`count` values at evenly spaced probabilities of a row's quantiles, in random order."""
    at = (np.arange(count) + 0.5) / count
    return rng.permutation(np.interp(at, PROBABILITIES, quantiles(row)))


@lru_cache
def day_factors(name: str) -> tuple[float, ...]:
    row = next(row for row in rows("day_factors.csv") if row["set"] == name)
    return tuple(float(row[f"d{i}"]) for i in range(14))


@lru_cache
def hour_shares(name: str) -> Floats:
    row = next(row for row in rows("hour_factors.csv") if row["set"] == name)
    factors = np.array([float(row[f"h{i}"]) for i in range(24)])
    found: Floats = factors / factors.sum()
    return found


@lru_cache
def levels() -> tuple[float, ...]:
    """Level of each day of the demo, oldest first; the last 28 have mean 1."""
    return tuple(float(row["level"]) for row in rows("levels.csv"))


def reuse(name: str) -> dict[str, str] | None:
    return next((row for row in rows("reuse.csv") if row["class"] == name), None)
