"""From which days another list price of a model holds."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from billing.models import Price
from billing.queries.price_days import price_change_days

pytestmark = pytest.mark.django_db
NOV, JUN = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)


def price(usd: str, start: str | None = None, end: str | None = None, **changes: Any) -> None:
    Price.objects.create(
        **{
            "model": "haiku", "token_kind": "output", "usd_per_unit": Decimal(usd), "source": "by hand",
            "checked_on": JUN.date(), "proposed_at": JUN, "approved_at": JUN,
            "valid_from": date.fromisoformat(start) if start else None,
            "valid_to": date.fromisoformat(end) if end else None,
        } | changes
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _own_prices() -> None:
    Price.objects.all().delete()


def days(at: datetime = NOV) -> list[str]:
    return [day.isoformat() for day in price_change_days(as_of=at).get("haiku", ())]


def test_a_first_price_is_no_change() -> None:
    price("5")
    price("3", "2026-08-01", token_kind="uncached_input")
    assert days() == [] and price_change_days(as_of=NOV) == {}


def test_another_amount_is_and_the_same_again_is_not() -> None:
    price("5")
    price("5", "2026-07-01")
    price("4", "2026-08-01")
    price("3", "2026-12-01")  # not yet
    assert days() == ["2026-08-01"]


def test_the_end_of_an_offer_is_a_change_where_another_price_follows() -> None:
    price("5")
    price("2.5", "2026-08-01", "2026-09-01")
    assert days() == ["2026-08-01"], "from September on nothing has a price: unpriced, and said elsewhere"
    price("5", "2026-09-01")
    assert days() == ["2026-08-01", "2026-09-01"]


def test_what_was_not_approved_by_then_or_few_pay_does_not_count() -> None:
    price("5")
    price("4", "2026-08-01", approved_at=datetime(2026, 10, 1, tzinfo=UTC))
    price("3", "2026-08-02", approved_at=None)
    price("9", "2026-08-03", geo="us")
    price("9", "2026-08-04", speed="fast")
    assert days() == ["2026-08-01"]
    assert days(datetime(2026, 9, 1, tzinfo=UTC)) == []


def test_batch_and_every_prompt_length_count() -> None:
    for tier in ("standard", "batch"):
        price("5", service_tier=tier)
    price("4", "2026-08-01", service_tier="batch")
    price("6", "2026-09-01", prompt_length_band="200k-1M")
    assert days() == ["2026-08-01", "2026-09-01"]
