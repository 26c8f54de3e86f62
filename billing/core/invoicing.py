"""An invoice against what it should bill: the cost report, or our own figures where there is no report.

Invoice lines name as much as they please: a model, a kind, a tier, or nothing. Each amount of the base goes to the most
specific line that covers it; a group is one set of stated words with its invoice lines. Causes sum exactly to the whole
difference, the invoice's total minus the base.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

from billing.core.billed import BaseAmount, BilledInvoice, BilledLine, InvoiceGroup, group_key, places
from billing.core.invoice_claims import compared_claims
from billing.core.money import ZERO, sum_usd
from billing.core.reconciling import Cause, Nature, Part, Tolerance, minus

_Words = tuple[str, str, str, str, str]  # channel, model, kind, tier, '' or "other"
_BY_NATURE: Final[Mapping[str, tuple[Cause, Nature | None, str]]] = {
    "discount": ("contract_discount", None, "Contract discount"),
    "commitment": ("commitment", "commitment", "Commitment or prepaid purchase"),
}


def reconcile_invoices(
    base: Sequence[BaseAmount], invoices: Sequence[BilledInvoice], *, tolerance: Tolerance
) -> tuple[InvoiceGroup, ...]:
    """Groups in a fixed order: usage by its words, then what is no usage, then invoices that do not add up."""
    lines = [line for invoice in invoices for line in invoice.lines]
    groups = _usage_groups(base, [line for line in lines if line.category in ("usage", "other")], tolerance)
    discounted = any(line.category == "discount" for line in lines)
    found = [_usage_group(words, amounts, billed, tolerance, discounted) for words, amounts, billed in groups]
    for category, (cause, nature, title) in _BY_NATURE.items():
        stated = [amount.amount_usd for amount in base if nature is not None and amount.nature == nature]
        billed = [line for line in lines if line.category == category]
        if stated or billed:
            found.append(_named_group(category, title, cause, stated, billed, tolerance))
    found += compared_claims(base, invoices, tolerance=tolerance)
    for invoice in sorted(invoices, key=lambda one: one.number):
        if group := _total_group(invoice, tolerance):
            found.append(group)
    return tuple(found)


def is_covered(words: Sequence[str], amount: BaseAmount) -> bool:
    """An invoice line's words cover an amount when every word it states is the amount's."""
    channel, model, kind, tier, other = words
    if channel != amount.channel or (other and amount.nature != "non_token"):
        return False
    if amount.nature == "non_token" and not other and kind != amount.kind:
        return False
    # A tier the base does not tell contradicts none.
    if tier and amount.service_tier and tier != amount.service_tier:
        return False
    return all(not mine or mine == theirs for mine, theirs in ((model, amount.model), (kind, amount.kind)))


_Group = tuple[_Words, list[BaseAmount], list[BilledLine]]


def _usage_groups(base: Sequence[BaseAmount], lines: Sequence[BilledLine], tolerance: Tolerance) -> list[_Group]:
    billed: dict[_Words, list[BilledLine]] = defaultdict(list)
    for line in lines:
        other = "other" if line.category == "other" else ""
        billed[line.channel, line.model, line.kind, line.service_tier, other].append(line)
    by_detail = sorted(billed, key=lambda words: (-sum(bool(word) for word in words), words))
    amounts: dict[_Words, list[BaseAmount]] = defaultdict(list)
    for amount in sorted(base, key=lambda one: (one.channel, one.model, one.kind, one.service_tier, one.nature)):
        if amount.nature not in ("usage", "non_token"):
            continue
        words = next((words for words in by_detail if is_covered(words, amount)), None)
        if words is None and amount.nature == "non_token":  # no line of its own: it is in the line for all usage
            words = next((words for words in by_detail if words == (amount.channel, "", "", "", "")), None)
        if words is None:
            words = (amount.channel, amount.model, amount.kind, amount.service_tier, "")
        amounts[words].append(amount)
    return [(words, amounts.get(words, []), billed.get(words, [])) for words in sorted({*billed, *amounts})]


def _usage_group(
    words: _Words, amounts: list[BaseAmount], lines: list[BilledLine], tolerance: Tolerance, discounted: bool
) -> InvoiceGroup:
    base = sum_usd(amount.amount_usd for amount in amounts)
    billed = sum_usd(line.amount_usd for line in lines)
    rest = minus(billed, base)
    parts: list[Part] = []
    allowed = tolerance.of_invoice(max(1, len(lines)))
    contract = sum_usd(
        minus(amount.contract_usd, amount.amount_usd) for amount in amounts if amount.contract_usd is not None
    )
    if abs(rest) > allowed and contract and not discounted and abs(minus(rest, contract)) < abs(rest):
        parts.append(Part("contract_discount", contract, "rates of the contract"))
        rest = minus(rest, contract)
    if abs(rest) <= allowed:
        parts += [Part("rounding", rest)] if rest else []
    elif amounts and rest > 0 and all(amount.is_open and not amount.amount_usd for amount in amounts):
        parts.append(Part("missing_price", rest, "none of this usage has a price"))
    elif words[4] and not amounts:
        parts.append(Part("other_charge", rest, _join(line.description for line in lines)))
    else:
        parts.append(Part("unknown", rest, _unknown_words(amounts, lines, rest)))
    return InvoiceGroup(group_key("usage", *words), _title(words), base, billed, places(lines), tuple(parts))


def _unknown_words(amounts: list[BaseAmount], lines: list[BilledLine], rest: Decimal) -> str:
    """What is known of a difference without a cause. Usage without a price beside priced usage is no cause: it would
    explain every error of the line away; it is named, as its price would tell how much of the difference it is."""
    if not amounts:
        return "on the invoice alone"
    if not lines:
        return "not on the invoice"
    models = sorted({amount.model or "usage without a model" for amount in amounts if amount.is_open})
    return f"{', '.join(models)} has no price here and may be part of it" if models and rest > 0 else ""


def _named_group(
    category: str, title: str, cause: Cause, stated: list[Decimal], lines: list[BilledLine], tolerance: Tolerance
) -> InvoiceGroup:
    """Discounts, purchases: the difference is that cause by its nature; equal but for cents is rounding."""
    base, billed = sum_usd(stated), sum_usd(line.amount_usd for line in lines)
    rest = minus(billed, base)
    small = bool(stated) and bool(lines) and abs(rest) <= tolerance.of_invoice(len(lines))
    parts = (Part("rounding" if small else cause, rest, _join(line.description for line in lines)),) if rest else ()
    return InvoiceGroup(group_key(category), title, base, billed, places(lines), parts)


def _total_group(invoice: BilledInvoice, tolerance: Tolerance) -> InvoiceGroup | None:
    """What the total has beyond the lines."""
    rest = minus(invoice.total_usd, sum_usd(line.amount_usd for line in invoice.lines))
    if not rest:
        return None
    is_small = abs(rest) <= tolerance.of_invoice(len(invoice.lines))
    cause: Cause = "rounding" if is_small else "unknown"
    detail = "" if is_small else "the lines of the invoice do not add up to its total"
    title = f"Total of {invoice.number} beyond its lines"
    return InvoiceGroup(
        group_key("total", invoice.number), title, ZERO, rest, (invoice.number,), (Part(cause, rest, detail),)
    )


def _title(words: _Words) -> str:
    stated = [word for word in words[1:4] if word]
    if words[4]:
        stated.append("other charges")
    return ", ".join(stated) or "All usage"


def _join(texts: object) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))  # type: ignore[attr-defined]
