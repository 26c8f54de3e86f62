"""Counted usage as FOCUS lines: a month at a time, so that years need no more memory than a month."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from billing.core.money import EXACT
from billing.core.pricebook import unit_exponent
from billing.core.usage import PRICED_KINDS
from billing.exports.focus import FocusLine
from billing.models import Organisation
from billing.queries.contracts import contracted_book
from billing.queries.usage_sums import UsageSums, usage_sums
from billing.queries.usage_table import list_book

_BY = (
    "day", "organisation", "channel", "workspace", "api_key", "class", "cost_centre", "team", "model", "service_tier",
    "prompt_length_band", "geo", "speed", "token_kind",
)  # fmt: skip
_RENAMED = {"class": "request_class", "token_kind": "kind"}


def focus_lines(*, start: date, end: date) -> Iterator[FocusLine]:
    """Every priced unit of counted usage on days [start, end), at the list and the contracted price of its day.

    What has no price is left out: `unpriced_of` says how much that is.
    """
    listed = list_book()
    agreed = contracted_book(book=listed)
    first = start
    while first < end:
        stop = min(end, date(first.year + first.month // 12, first.month % 12 + 1, 1))
        at_list = usage_sums(start=first, end=stop, by=_BY, book=listed)
        at_contract = at_list if agreed is listed else usage_sums(start=first, end=stop, by=_BY, book=agreed)
        yield from _lines(at_list, at_contract)
        first = stop


def account_name() -> str:
    """What the billing account is called where usage names no organisation of the provider."""
    row = Organisation.objects.first()
    return row.name if row is not None else "organisation"


def unpriced_of(*, start: date, end: date) -> tuple[int, int]:
    """Tokens and web searches of days [start, end) that have no price, so that no file of costs can hold them."""
    groups = usage_sums(start=start, end=end).groups
    return int(groups.unpriced[:-1].sum()), int(groups.unpriced[-1].sum())


def _lines(at_list: UsageSums, at_contract: UsageSums) -> Iterator[FocusLine]:
    """Both have the same groups in the same order: usage is the same, only prices differ."""
    kinds = {kind: kind for kind in PRICED_KINDS}
    for n in range(len(at_list)):
        if at_list.groups.unpriced[:, n].any() or at_contract.groups.unpriced[:, n].any():
            continue
        values = {_RENAMED.get(name, name): value for name, value in zip(_BY, at_list.values(n), strict=True)}
        kind = kinds[values.pop("kind")]  # type: ignore[index]  # its own labels
        units = int(at_list.groups.counts[:, n].sum())
        yield FocusLine(
            day=date.fromisoformat(values.pop("day")),
            kind=kind,
            units=units,
            list_usd_per_unit=_each(at_list.cost_usd(n), units, unit_exponent(kind)),
            contracted_usd_per_unit=_each(at_contract.cost_usd(n), units, unit_exponent(kind)),
            **values,
        )


def _each(cost: Decimal, units: int, exponent: int) -> Decimal:
    """The price of a group: all of its rows have one day and one price key, so the division comes out even."""
    return EXACT.divide(EXACT.scaleb(cost, exponent), Decimal(units)).normalize(EXACT)
