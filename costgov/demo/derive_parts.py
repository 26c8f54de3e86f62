"""What every table of derive.py is made with: quantiles, correlations, and each row's origin."""

import csv
import gzip
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCRIPT: Final = "costgov/demo/derive.py"
PROBABILITIES: Final = (
    0.0, 0.005, 0.01, 0.02, 0.05, *(round(0.1 + 0.05 * i, 2) for i in range(17)), 0.95, 0.98, 0.99, 0.995, 0.999, 1.0,
)  # fmt: skip
QUANTILE_COLUMNS: Final = tuple(f"q{probability:g}" for probability in PROBABILITIES)

Source = tuple[str, str, str]
Floats = NDArray[np.float64]


def quantile_cells(values: Floats, shares: Floats | None = None, *, places: int = 0) -> dict[str, str]:
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if shares is None:
        found = np.quantile(ordered, PROBABILITIES)
    else:
        # The tail of the mixture was not published: the greatest value is the one at 99.95 %.
        found = np.interp(np.minimum(PROBABILITIES, 0.9995), np.cumsum(shares[order]), ordered)
    return {name: f"{value:.{places}f}" for name, value in zip(QUANTILE_COLUMNS, found, strict=True)}


def copula_correlation(columns: Sequence[Floats]) -> Floats:
    """Correlations of a normal copula that gives the columns' rank correlations (ties averaged): 2·sin(π·ρ/6)."""
    ranks = []
    for values in columns:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - counts / 2)[inverse])
    found: Floats = 2 * np.sin(np.pi / 6 * np.corrcoef(np.array(ranks)))
    return found


def read_rows(data: Path, source: Source) -> list[dict[str, str]]:
    path = data / source[0]
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def origin_of(source: Source, note: str = "") -> dict[str, str]:
    return {"file": source[0], "source": source[1], "licence": source[2], "script": SCRIPT, "note": note}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
