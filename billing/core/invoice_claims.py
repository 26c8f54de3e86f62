"""Adjustments, credits and tax of an invoice: what the cost report or a record of our own confirms, and the rest.

A line the cost report states too matches. A booked adjustment or a contract's credit explains a line, with its
reference (`billing.core.expecting`). Tax is compared with the rate the organisation states. What nothing confirms is
not explained by what the line is called; tax without a stated rate is "not checked".
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, Literal

from billing.core.billed import BaseAmount, BilledInvoice, BilledLine, InvoiceGroup, group_key, places
from billing.core.issuers import issuer_key
from billing.core.money import EXACT, ZERO, round_usd, sum_usd
from billing.core.reconciling import Part, Tolerance, minus
from billing.core.words import percent_as_set, usd

Claimed = Literal["credit", "adjustment"]
_TITLES: Final = {"credit": "Credits", "adjustment": "Adjustments of earlier months"}
_UNEXPECTED: Final = {"credit": "Credit nobody expected", "adjustment": "Adjustment nobody expected"}
_ALONE: Final = "in the cost report, not on the invoice"


def compared_claims(
    base: Sequence[BaseAmount], invoices: Sequence[BilledInvoice], *, tolerance: Tolerance
) -> list[InvoiceGroup]:
    """Groups of credits, tax and adjustments, channel by channel. Parts of each sum exactly to its difference."""
    found: list[InvoiceGroup] = []
    ordered = sorted(invoices, key=lambda one: (one.number, issuer_key(one.issuer)))
    categories: tuple[Claimed, ...] = ("credit", "adjustment")
    channels = sorted({one.channel for one in base} | {one.channel for one in invoices})
    for channel in channels:
        mine = [one for one in ordered if one.channel == channel]
        stated = {nature: _stated(base, channel, nature) for nature in ("credit", "tax", "adjustment")}
        for category in categories:
            lines = [line for one in mine for line in one.lines if line.category == category]
            found += _claims(category, channel, stated[category], lines, tolerance)
        found += _taxes(channel, stated["tax"], mine, tolerance)
    return found


def _stated(base: Sequence[BaseAmount], channel: str, nature: str) -> list[Decimal]:
    return sorted(one.amount_usd for one in base if one.channel == channel and one.nature == nature)


# ---- Credits and adjustments -----------------------------------------------------------------------------------------


def _claims(
    category: Claimed, channel: str, stated: list[Decimal], lines: list[BilledLine], tolerance: Tolerance
) -> list[InvoiceGroup]:
    lines = sorted(lines, key=lambda line: (line.invoice, line.position, line.amount_usd, line.description))
    both, alone, rest = _paired(stated, lines, tolerance)
    known = [line for line in rest if line.reference and _is_whole(line, tolerance)]
    rest = [line for line in rest if line not in known]
    found = []
    if both or known:
        matched = [line for _, line in both]
        parts = [Part(category, line.known_usd, line.reference) for line in known]
        off = [minus(line.amount_usd, amount) for amount, line in both]
        off += [minus(line.amount_usd, line.known_usd) for line in known]
        key, title = group_key(category, channel), _TITLES[category]
        found.append(_group(key, title, [amount for amount, _ in both], [*matched, *known], parts, off, "rounding", ""))
    if alone:
        lowered = [minus(line.amount_usd, line.known_usd) for line in rest] + [one.copy_negate() for one in alone]
        parts = [Part(category, line.known_usd, line.reference) for line in rest if line.known_usd]
        said = f"the cost report states {usd(sum_usd(alone), 2)}" if rest else _ALONE
        is_small = bool(rest) and abs(sum_usd(lowered)) <= tolerance.of_invoice(len(rest))
        cause: Literal["rounding", "unknown"] = "rounding" if is_small else "unknown"
        key, title = group_key(category, channel, "report"), f"{_TITLES[category]} of the cost report"
        found.append(_group(key, title, alone, rest, parts, lowered, cause, said))
        return found
    for line in rest:
        parts = [Part(category, line.known_usd, line.reference)] if line.known_usd else []
        key = claim_key(category, channel, line.issuer, line.invoice, line.position)
        title = f"{_UNEXPECTED[category]}: {line.description}"
        off = [minus(line.amount_usd, line.known_usd)]
        found.append(_group(key, title, [], [line], parts, off, "unknown", line.hint))
    return found


def claim_key(category: Claimed, channel: str, issuer: str, number: str, position: int) -> str:
    """The stable name of one line that nothing explains: what reasons and comments point at."""
    return group_key(category, channel, issuer_key(issuer), number, str(position))


def _is_whole(line: BilledLine, tolerance: Tolerance) -> bool:
    return abs(minus(line.amount_usd, line.known_usd)) <= tolerance.of_invoice(1)


_Pair = tuple[Decimal, BilledLine]


def _paired(
    stated: Sequence[Decimal], lines: Sequence[BilledLine], tolerance: Tolerance
) -> tuple[list[_Pair], list[Decimal], list[BilledLine]]:
    """Amounts of the report with the lines that bill them; amounts and lines that have no counterpart.

    Both sides as a whole first, however each of them is divided; then one by one, lines nothing else explains before
    others.
    """
    if stated and lines:
        total, billed = sum_usd(stated), sum_usd(line.amount_usd for line in lines)
        if abs(minus(billed, total)) <= tolerance.of_invoice(len(lines)):
            share = [line.amount_usd for line in lines[:-1]]
            return list(zip([*share, minus(total, sum_usd(share))], lines, strict=True)), [], []
    pairs: list[_Pair] = []
    alone, rest = [], list(lines)
    for amount in stated:
        near = [line for line in rest if abs(minus(line.amount_usd, amount)) <= tolerance.of_invoice(1)]
        if not near:
            alone.append(amount)
            continue
        best = min(near, key=lambda line: (bool(line.reference), abs(minus(line.amount_usd, amount))))
        pairs.append((amount, best))
        rest.remove(best)
    return pairs, alone, rest


def _group(
    key: str,
    title: str,
    base: Iterable[Decimal],
    lines: Sequence[BilledLine],
    parts: Sequence[Part],
    off: Iterable[Decimal],
    cause: Literal["rounding", "unknown"],
    detail: str,
) -> InvoiceGroup:
    """A group whose `parts` and `off`, which bears `cause`, make up the whole difference."""
    rest = sum_usd(off)
    every = (*parts, Part(cause, rest, detail if cause == "unknown" else "")) if rest else tuple(parts)
    return InvoiceGroup(key, title, sum_usd(base), sum_usd(line.amount_usd for line in lines), places(lines), every)


# ---- Tax -------------------------------------------------------------------------------------------------------------


def _taxes(
    channel: str, stated: list[Decimal], invoices: Sequence[BilledInvoice], tolerance: Tolerance
) -> list[InvoiceGroup]:
    taxed = [(one, _tax_lines(one)) for one in invoices if _tax_lines(one)]
    lines = [line for _, found in taxed for line in found]
    if not stated:
        return [_own_tax(channel, invoice, found, tolerance) for invoice, found in taxed]
    base, billed = sum_usd(stated), sum_usd(line.amount_usd for line in lines)
    off, key = minus(billed, base), group_key("tax", channel)
    expected = [_expected(invoice) for invoice, _ in taxed]
    if not lines:
        parts = [Part("unknown", off, _ALONE)]
    elif abs(off) <= tolerance.of_invoice(len(lines)):
        parts = [Part("rounding", off)]
    elif None in expected:
        parts = [Part("unknown", off, f"the cost report states {usd(base, 2)} of tax")]
    else:
        due = sum_usd(one for one in expected if one is not None)
        said = "; ".join(_rate_words(invoice) for invoice, _ in taxed)
        allowed = tolerance.of_invoice(sum(len(invoice.lines) for invoice, _ in taxed))
        first = Part("tax", minus(due, base), f"{said}; the cost report states {usd(base, 2)}")
        parts = [first, _tax_rest(minus(billed, due), allowed, said)]
    return [InvoiceGroup(key, "Tax", base, billed, places(lines), _kept(parts))]


def _own_tax(channel: str, invoice: BilledInvoice, lines: Sequence[BilledLine], tolerance: Tolerance) -> InvoiceGroup:
    """Tax of one invoice against the stated rate; without one it is there, and nobody checked it."""
    billed, expected = sum_usd(line.amount_usd for line in lines), _expected(invoice)
    if expected is None:
        who = invoice.issuer or "its issuer"
        parts = [Part("unchecked_tax", billed, f"no tax rate is stated for {who}")]
    else:
        said = _rate_words(invoice)
        allowed = tolerance.of_invoice(len(invoice.lines))
        parts = [Part("tax", expected, said), _tax_rest(minus(billed, expected), allowed, said)]
    key = group_key("tax", channel, issuer_key(invoice.issuer), invoice.number)
    return InvoiceGroup(key, "Tax", ZERO, billed, places(lines), _kept(parts))


def _tax_rest(off: Decimal, allowed: Decimal, rate: str) -> Part:
    if abs(off) <= allowed:
        return Part("rounding", off)
    return Part("unknown", off, f"{usd(abs(off), 2)} {'more' if off > 0 else 'less'} than {rate}")


def _kept(parts: Iterable[Part]) -> tuple[Part, ...]:
    return tuple(part for part in parts if part.amount_usd)


def _tax_lines(invoice: BilledInvoice) -> list[BilledLine]:
    found = [line for line in invoice.lines if line.category == "tax"]
    return sorted(found, key=lambda line: (line.position, line.amount_usd, line.description))


def _expected(invoice: BilledInvoice) -> Decimal | None:
    """The stated rate of everything on the invoice that is not tax, in whole cents."""
    if invoice.tax_percent is None:
        return None
    return round_usd(EXACT.multiply(invoice.net_usd, invoice.tax_percent.scaleb(-2)))


def _rate_words(invoice: BilledInvoice) -> str:
    rate = percent_as_set((invoice.tax_percent or ZERO).scaleb(-2))
    return f"tax at {rate.removesuffix('%')} % of {usd(invoice.net_usd, 2)}"
