"""Saved forecasts as values: sample paths for a sizing, the latest one for pages."""

import io
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from billing.core.forecasting import Floats
from billing.models import Forecast

POLICIES = ("baseline", "current", "optimised")


class NoPaths(LookupError):
    """The forecast does not exist or holds no paths; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ForecastPaths:
    """Sample paths of a forecast. `months` are period starts, `end` the day after the last period.

    `spend_usd` is float64 [policy, path, period], an estimate; the same path is the same future under every policy.
    """

    months: tuple[date, ...]
    end: date
    policies: tuple[str, ...]
    spend_usd: Floats

    def of(self, policy: str) -> Floats:
        """[path, period] of one policy. Raises KeyError for one the forecast does not have."""
        if policy not in self.policies:
            raise KeyError(f"no policy {policy!r} in this forecast; it has {', '.join(self.policies)}")
        return np.asarray(self.spend_usd[self.policies.index(policy)], dtype=np.float64)


def pack_paths(paths: ForecastPaths) -> bytes:
    """The npz a forecast keeps."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        months=np.array([*paths.months, paths.end], dtype="datetime64[D]"),
        policies=np.array(paths.policies),
        spend=paths.spend_usd,
    )
    return buffer.getvalue()


def forecast_paths(forecast_id: int) -> ForecastPaths:
    """Paths of a saved forecast. Raises NoPaths."""
    held = Forecast.objects.filter(pk=forecast_id).values_list("paths", flat=True).first()
    if held is None:
        raise NoPaths(f"Forecast {forecast_id} does not exist or keeps no paths: make a new one on the Forecast page.")
    with np.load(io.BytesIO(bytes(held)), allow_pickle=False) as stored:
        days = [day.item() for day in stored["months"]]
        return ForecastPaths(
            tuple(days[:-1]), days[-1], tuple(str(name) for name in stored["policies"]), stored["spend"]
        )


def latest_forecast() -> Forecast | None:
    """The newest saved forecast of the base scenario, without its paths; None before the first."""
    return Forecast.objects.filter(scenario__name="base").defer("paths").order_by("-created_at", "-id").first()


@dataclass(frozen=True, slots=True)
class KeptForecast:
    """A saved forecast in a list: what it said and on what it rests. Money in usd, an estimate."""

    id: int
    created_at: datetime
    created_by: str
    cutoff: date
    start: date
    end: date
    scenario: str
    paths: int
    optimised_usd: Decimal
    low_usd: Decimal
    high_usd: Decimal
    inputs_hash: str


def kept_forecasts(*, limit: int = 10) -> tuple[KeptForecast, ...]:
    """Saved forecasts, newest first."""
    rows = Forecast.objects.select_related("created_by").defer("paths")[:limit]
    return tuple(_kept(row) for row in rows)


def _kept(row: Forecast) -> KeptForecast:
    total = next(policy["total"] for policy in row.result["policies"] if policy["policy"] == "optimised")
    return KeptForecast(
        id=row.pk,
        created_at=row.created_at,
        created_by=row.created_by.get_username() if row.created_by is not None else "system",
        cutoff=row.cutoff_date,
        start=date.fromisoformat(row.result["start"]),
        end=date.fromisoformat(row.result["end"]),
        scenario=row.scenario["text"],
        paths=row.inputs["paths"],
        optimised_usd=Decimal(total["mean_usd"]),
        low_usd=Decimal(total["p10_usd"]),
        high_usd=Decimal(total["p90_usd"]),
        inputs_hash=row.inputs_hash,
    )


def forecast_result(forecast_id: int) -> dict[str, Any]:
    """The saved figures of a forecast with its number; money as decimal strings. Raises NoPaths."""
    row = Forecast.objects.filter(pk=forecast_id).values("id", "created_at", "inputs", "result").first()
    if row is None:
        raise NoPaths(f"Forecast {forecast_id} does not exist: make a new one on the Forecast page.")
    return {"id": row["id"], "created_at": row["created_at"], **row["result"], "inputs": row["inputs"]}
