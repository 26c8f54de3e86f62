"""An amount of the 28-day window as an estimate per month."""

from decimal import ROUND_HALF_UP, Decimal

from routing.core.attribution import MICRO_USD
from routing.queries.recommendation import WINDOW_DAYS

MONTH_DAYS = Decimal("30.4375")


def per_month(usd: Decimal, days: int = WINDOW_DAYS) -> Decimal:
    """An amount of the window as an estimate per month (× 30.4375 / days)."""
    return (usd * MONTH_DAYS / days).quantize(MICRO_USD, ROUND_HALF_UP)
