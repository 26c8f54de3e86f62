"""Counted usage as FOCUS lines: a month at a time, so that years need no more memory than a month."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.money import EXACT
from billing.core.pricebook import unit_exponent
from billing.core.usage import PRICED_KINDS
from billing.core.usage_table import OtherUnpriced
from billing.exports.focus import FocusLine
from billing.models import Organisation
from billing.queries.contracts import contracted_book
from billing.queries.usage import UnpricedUsage, unpriced_usage
from billing.queries.usage_sums import UsageSums, usage_sums
from billing.queries.usage_table import list_book

_BY = (
    "day", "organisation", "channel", "workspace", "api_key", "class", "cost_centre", "team", "model", "service_tier",
    "prompt_length_band", "geo", "speed", "token_kind",
)  # fmt: skip
_NAMED: Final = 5
_SEARCH: Final = "web_search"
_RENAMED = {"class": "request_class", "token_kind": "kind"}


def focus_lines(*, start: date, end: date) -> Iterator[FocusLine]:
    """Every priced unit of counted usage on days [start, end), at the list and the contracted price of its day.

    What has no price is left out: `left_out_of` says how much that is.
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


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Usage without a price, which no file of costs can hold. `models`: most tokens first, as far as they are named.

    `others`: how many models there are beside those.
    """

    tokens: int
    searches: int
    models: tuple[str, ...]
    others: int

    @property
    def words(self) -> str:
        """What is missing, of which models.

        >>> LeftOut(1200, 1, ("a", "b"), 3).words
        '1,200 tokens and 1 web search of a, b and 3 more models'
        """
        counts = [f"{self.tokens:,} token{'s' * (self.tokens != 1)}"] if self.tokens else []
        counts += [f"{self.searches:,} web search{'es' * (self.searches != 1)}"] if self.searches else []
        named = [model or "(no model)" for model in self.models[:_NAMED]]
        more = self.others + len(self.models) - len(named)
        named += [f"{more:,} more model{'s' * (more != 1)}"] if more else []
        return f"{' and '.join(counts)} of {', '.join(named[:-1])}{' and ' if named[:-1] else ''}{named[-1]}"


def left_out(unpriced: Iterable[UnpricedUsage], rest: OtherUnpriced | None) -> LeftOut | None:
    """What a file of these figures leaves out; None where everything has a price."""
    tokens: dict[str, int] = {}
    searches: dict[str, int] = {}
    for line in unpriced:
        counts = searches if line.token_kind == _SEARCH else tokens
        counts[line.model] = counts.get(line.model, 0) + line.quantity
    models = sorted({*tokens, *searches}, key=lambda model: (-tokens.get(model, 0), -searches.get(model, 0), model))
    if not models and rest is None:
        return None
    return LeftOut(
        sum(tokens.values()) + (rest.tokens if rest is not None else 0),
        sum(searches.values()) + (rest.searches if rest is not None else 0),
        tuple(models),
        rest.models if rest is not None else 0,
    )


def left_out_of(*, start: date, end: date) -> LeftOut | None:
    """What a FOCUS file of days [start, end) leaves out."""
    missing = usage_sums(start=start, end=end).missing
    return left_out(unpriced_usage(missing.lines), missing.rest)


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
