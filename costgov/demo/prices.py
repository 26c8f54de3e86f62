"""A proposed price in the demo: invented, waiting for somebody to look at what it changes and to decide."""

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.contrib.auth.models import AbstractBaseUser

from billing.core.pricebook import Price as ListPrice
from billing.core.spending import contract_months
from billing.core.usage import PricedKind
from billing.models import Price
from billing.operations.price_files import Chosen, propose_prices
from costgov.demo.organisation import SONNET_46

SOURCE: Final = "Invented for the demo: a lower price for Sonnet 4.6 from the first of a month"
NOTE: Final = "no such price was announced"
# usd per million tokens; a third below the list price of Sonnet 4.6
PROPOSED: Final[dict[PricedKind, Decimal]] = {
    "uncached_input": Decimal("2"),
    "cache_read": Decimal("0.20"),
    "cache_write_5m": Decimal("2.50"),
    "cache_write_1h": Decimal("4"),
    "output": Decimal("10"),
}


def propose_demo_prices(*, actor: AbstractBaseUser, last: date, as_of: datetime) -> int:
    """Standard and batch prices from the first of the month after the demo's; 0 where they were proposed before."""
    if Price.objects.filter(source=SOURCE).exists():
        return 0
    begins = contract_months(last.replace(day=1), 1)[0][1]
    prices = [
        ListPrice(
            model=SONNET_46,
            token_kind=kind,
            usd_per_unit=usd / 2 if tier == "batch" else usd,
            source=SOURCE,
            checked_on=as_of.date(),
            service_tier=tier,
            valid_from=begins,
            note=NOTE,
        )
        for tier in ("standard", "batch")
        for kind, usd in PROPOSED.items()
    ]
    chosen = [Chosen(price) for price in prices]
    return len(propose_prices(actor=actor, chosen=chosen, file_name="demo proposal", as_of=as_of, is_demo=True))
