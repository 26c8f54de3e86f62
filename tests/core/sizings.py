"""Constructed futures and offers that tests of sizings share: the medians of methods.md §7.4."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from billing.core.sizing import SpendPaths, size
from billing.core.sizing_record import Basis, SizingRecord
from billing.core.spending import contract_months
from billing.core.terms import Band, Terms, content_hash

START = date(2027, 1, 1)
TERMS = Terms(
    START,
    "list",
    "payable",
    (
        Band("T1", Decimal(500_000), Decimal("0.06")),
        Band("T2", Decimal(1_000_000), Decimal("0.12")),
        Band("T3", Decimal(2_000_000), Decimal("0.18")),
    ),
)
MEDIANS = {"baseline": (2_400_000, 0.25), "current": (1_700_000, 0.28), "optimised": (1_000_000, 0.30)}


def paths(count: int = 10_000, start: date = START, seed: int = 7) -> SpendPaths:
    """Lognormal years with the medians of methods.md §7.4, one draw for all three policies, split over the months."""
    normal = np.random.Generator(np.random.PCG64(seed)).standard_normal(count)
    months = np.linspace(0.8, 1.2, 12)
    spend = np.stack(
        [np.outer(median * np.exp(sigma * normal), months / months.sum()) for median, sigma in MEDIANS.values()]
    )
    return SpendPaths(tuple(first for first, _ in contract_months(start, 12)), tuple(MEDIANS), spend)


def record(terms: Terms = TERMS, count: int = 2_000, **changes: Any) -> SizingRecord:
    """A sizing as pages and sheets get it, without a database."""
    basis = Basis(
        forecast_id=41,
        cutoff_date=date(2026, 11, 23),
        seed="8675309",
        price_version="a" * 64,
        policy="demo@4",
        policy_hash="b" * 64,
        terms_hash=content_hash(terms),
        baseline_model="claude-opus-4-5",
        baseline_name="Opus 4.5",
        inputs_hash="c" * 64,
        scenario="as measured, list prices unchanged",
        grade="long",
        left_out=("Old batch jobs: no usage in the last 28 days",),
    )
    values: dict[str, Any] = {
        "id": 7,
        "created_at": datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
        "created_by": "priya.nair",
        "terms_id": 3,
        "terms_name": terms.title,
        "terms": terms,
        "basis": basis,
        "sizing": size(paths(count, terms.start), terms),
    }
    return SizingRecord(**{**values, **changes})
