"""A look-up that found no price is remembered without the frames it passed."""

from datetime import date

from billing.core.pricebook import PriceBook, PriceKey, PriceNotFound
from billing.core.pricing import Pricer


def test_a_remembered_miss_holds_no_traceback() -> None:
    pricer = Pricer(PriceBook([]))
    key = PriceKey("claude-x")
    pricer.line(key, "output", 1, date(2026, 11, 9))
    (kept,) = pricer._found.values()
    assert isinstance(kept, PriceNotFound)
    assert kept.__traceback__ is None
    assert pricer.line(key, "output", 1, date(2026, 11, 9)) == pricer.line(key, "output", 1, date(2026, 11, 9))
