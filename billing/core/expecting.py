"""What an invoice may bill beside the cost report, by records of our own: booked adjustments and credits of contracts.

A line's label is no evidence. An adjustment is one when an amount booked after a month was closed is due from the same
issuer; a credit is one while a contract's credit lasts. Every amount counts once, in the order of the invoices: what
an earlier one billed is not due any more. Whole lines match or do not; which part of another amount was meant nobody
can tell.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Final

from billing.core.billed import BilledInvoice, BilledLine
from billing.core.contracts import Credit
from billing.core.issuers import issuer_key
from billing.core.money import ZERO, sum_usd
from billing.core.periods import next_month
from billing.core.reconciling import Tolerance, minus
from billing.core.words import usd

CAUSE_WORDS: Final[Mapping[str, str]] = {
    "cost_report": "cost report",
    "late_usage": "late usage",
    "price_change": "price change",
}


@dataclass(frozen=True, slots=True)
class Due:
    """A booked adjustment. `month` was closed, `booked_month` carries it. `issuers`: keys of who invoiced `month`.

    `is_billable` False: another figure of the month is what its invoice was compared with; this one explains nothing.
    """

    number: int
    month: date
    cause: str
    amount_usd: Decimal
    booked_month: date
    booked_on: date
    issuers: frozenset[str]
    is_billable: bool = True

    @property
    def words(self) -> str:
        cause = CAUSE_WORDS.get(self.cause, self.cause)
        booked = f"{self.booked_on.day} {self.booked_on:%b %Y}"
        return f"{self.month:%B %Y}, {cause} {usd(self.amount_usd, 2)}, booked on {booked}"


@dataclass(frozen=True, slots=True)
class Granted:
    """A credit of an approved contract for the usage of one channel ('' = of any)."""

    contract: str
    channel: str
    credit: Credit

    def holds_in(self, month: date, channel: str) -> bool:
        return (
            self.channel in ("", channel)
            and self.credit.valid_from < next_month(month)
            and (self.credit.valid_to is None or self.credit.valid_to > month)
        )


@dataclass
class _Ledger:
    """What is still due, and what is left of each credit, while invoices are read one after the other."""

    due: list[Due]
    credits: list[tuple[Granted, Decimal]]
    billed: dict[int, str] = field(default_factory=dict)
    spent: dict[int, Due] = field(default_factory=dict)


def explained(
    invoices: Iterable[BilledInvoice],
    *,
    dues: Iterable[Due] = (),
    credits: Iterable[Granted] = (),
    tolerance_of: Callable[[date], Tolerance] = lambda month: Tolerance(),
) -> tuple[tuple[BilledInvoice, ...], dict[int, str]]:
    """The invoices, their adjustment and credit lines with what explains them; and where each due amount was billed.

    Invoices count in the order of the month they bill, then of their issue, issuer and number, whatever order they
    come in.
    """
    order = sorted(credits, key=lambda one: (one.credit.valid_to or date.max, one.credit.valid_from, one.credit.name))
    ledger = _Ledger(
        sorted(dues, key=lambda one: (one.booked_month, one.number)), [(one, one.credit.amount_usd) for one in order]
    )
    found = []
    for invoice in sorted(invoices, key=lambda one: (one.month, one.issued_on, issuer_key(one.issuer), one.number)):
        tolerance = tolerance_of(invoice.month)
        lines = _adjusted(invoice, list(invoice.lines), ledger, tolerance)
        found.append(replace(invoice, lines=tuple(_credited(invoice, lines, ledger))))
    return tuple(found), ledger.billed


# ---- Adjustments -----------------------------------------------------------------------------------------------------


def _adjusted(
    invoice: BilledInvoice, lines: list[BilledLine], ledger: _Ledger, tolerance: Tolerance
) -> list[BilledLine]:
    """One amount for one line first, then all that is due of a month, then all that is due; then lines together."""
    places = [at for at, line in enumerate(lines) if line.category == "adjustment" and line.amount_usd]
    for choices in (_one, _of_a_month, _all):
        for at in list(places):
            if taken := _matching(choices(_eligible(invoice, ledger)), [lines[at]], tolerance):
                _take(invoice, lines, [at], taken, ledger)
                places.remove(at)
    if len(places) > 1:
        together = [lines[at] for at in places]
        eligible = _eligible(invoice, ledger)
        every = [*_one(eligible), *_of_a_month(eligible), *_all(eligible)]
        if taken := _matching(every, together, tolerance):
            _take(invoice, lines, places, taken, ledger)
            places = []
    for at in places:
        lines[at] = replace(lines[at], hint=_why_not(invoice, lines[at], ledger, tolerance))
    return lines


def _eligible(invoice: BilledInvoice, ledger: _Ledger) -> list[Due]:
    issuer = issuer_key(invoice.issuer)
    return [
        one
        for one in ledger.due
        if one.is_billable and issuer in one.issuers and one.booked_month <= invoice.month and one.amount_usd
    ]


def _one(dues: Sequence[Due]) -> list[tuple[Due, ...]]:
    return [(one,) for one in dues]


def _of_a_month(dues: Sequence[Due]) -> list[tuple[Due, ...]]:
    months: dict[date, list[Due]] = defaultdict(list)
    for one in dues:
        months[one.month].append(one)
    return [tuple(found) for _, found in sorted(months.items())]


def _all(dues: Sequence[Due]) -> list[tuple[Due, ...]]:
    return [tuple(dues)] if dues else []


def _matching(choices: Sequence[tuple[Due, ...]], lines: Sequence[BilledLine], tolerance: Tolerance) -> tuple[Due, ...]:
    """The dues whose sum is closest to the lines' and within the tolerance; of equals the first; () for none."""
    amount = sum_usd(line.amount_usd for line in lines)
    allowed = tolerance.of_invoice(len(lines))
    near = [(abs(minus(amount, _sum(dues))), at) for at, dues in enumerate(choices)]
    near = [one for one in near if one[0] <= allowed]
    return choices[min(near)[1]] if near else ()


def _sum(dues: Sequence[Due]) -> Decimal:
    return sum_usd(one.amount_usd for one in dues)


def _take(
    invoice: BilledInvoice, lines: list[BilledLine], places: Sequence[int], taken: tuple[Due, ...], ledger: _Ledger
) -> None:
    words = "; ".join(one.words for one in taken)
    rest = _sum(taken)
    for at in places:
        known = rest if at == places[-1] else lines[at].amount_usd
        rest = minus(rest, known)
        lines[at] = replace(lines[at], known_usd=known, reference=words)
    where = ", ".join(lines[at].place for at in places)
    for one in taken:
        ledger.due.remove(one)
        ledger.billed[one.number], ledger.spent[one.number] = where, one


def _why_not(invoice: BilledInvoice, line: BilledLine, ledger: _Ledger, tolerance: Tolerance) -> str:
    """What is known of an adjustment that nothing booked explains: the nearest record, and why it is not this one."""
    issuer, allowed = issuer_key(invoice.issuer), tolerance.of_invoice(1)
    same = [one for one in ledger.due if abs(minus(line.amount_usd, one.amount_usd)) <= allowed]
    if others := [one for one in same if issuer not in one.issuers]:
        return f"the same amount is due, but not from {invoice.issuer}: {others[0].words}"
    if closed := [one for one in same if not one.is_billable]:
        return (
            f"the same amount is booked, but the cost report that {closed[0].month:%B %Y} was invoiced by has not "
            f"changed: {closed[0].words}. Import the report anew"
        )
    if later := [one for one in same if one.booked_month > invoice.month]:
        return f"the same amount is booked, but only in {later[0].booked_month:%B %Y}: {later[0].words}"
    billed = [one for one in ledger.spent.values() if abs(minus(line.amount_usd, one.amount_usd)) <= allowed]
    if billed:
        return f"the same amount was billed before, on {ledger.billed[billed[0].number]}: {billed[0].words}"
    if near := _eligible(invoice, ledger):
        one = min(near, key=lambda due: (abs(minus(line.amount_usd, due.amount_usd)), due.number))
        off = minus(line.amount_usd, one.amount_usd)
        return f"the nearest that is due is {usd(abs(off), 2)} {'less' if off > 0 else 'more'}: {one.words}"
    return "an adjustment nobody expected: nothing of an earlier month is booked and due from this issuer"


# ---- Credits ---------------------------------------------------------------------------------------------------------


def _credited(invoice: BilledInvoice, lines: list[BilledLine], ledger: _Ledger) -> list[BilledLine]:
    """Credits of contracts are used up line by line, the one that ends first first."""
    for at, line in enumerate(lines):
        if line.category != "credit" or not line.amount_usd:
            continue
        drawn, said = ZERO, []
        for number, (granted, left) in enumerate(ledger.credits):
            used = min(left, minus(line.amount_usd.copy_negate(), drawn))
            if used <= 0 or not granted.holds_in(invoice.month, invoice.channel):
                continue
            drawn = sum_usd((drawn, used))
            ledger.credits[number] = (granted, minus(left, used))
            said.append(
                f"{granted.credit.name} of contract {granted.contract}: {usd(used, 2)} of "
                f"{usd(granted.credit.amount_usd, 2)}, {usd(minus(left, used), 2)} left"
            )
        rest = sum_usd((line.amount_usd, drawn))
        hint = ""
        if rest:
            hint = (
                f"{usd(abs(rest), 2)} more than is left of it"
                if said
                else "a credit nobody expected: no approved contract grants one that lasts"
            )
        lines[at] = replace(line, known_usd=drawn.copy_negate(), reference="; ".join(said), hint=hint)
    return lines
