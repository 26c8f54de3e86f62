"""FOCUS 1.0 to 1.3 cost and usage rows (CSV or JSON lines), read by column name and leniently.

The published samples themselves break the specification: what differs is normalised and reported, a row is rejected
only where a value cannot be understood. One column answers one question: `amount` is BilledCost (invoice check), the
list, contracted and effective costs stand beside it and are not added to it.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing.core.money import ZERO
from billing.core.periods import Period
from billing.importers.anthropic_words import prompt_band
from billing.importers.base import PROBLEMS_SHOWN, Head, Problem, open_bytes
from billing.importers.bill_rows import BillRow, Notes, holds_rows, json_rows, refuse_empty
from billing.importers.bill_words import is_claude, kind_in, model_in, tier_in, unit_size
from billing.importers.cost_base import KIND_OF_TOKEN_TYPE, CostLine, CostReport, Covers, currency_code
from billing.importers.tables import header_of, table_rows

REQUIRED: Final = ("BilledCost", "BillingCurrency", "ChargeCategory", "ChargePeriodStart", "ChargePeriodEnd")
_CATEGORIES: Final = {name.lower(): name.lower() for name in ("Usage", "Purchase", "Tax", "Credit", "Adjustment")}
_CLAUDE_TEXTS: Final = (
    "ServiceName", "PublisherName", "ServiceProviderName", "ProviderName", "InvoiceIssuerName", "SkuId", "SkuMeter",
    "ChargeDescription", "ResourceName", "ResourceId",
)  # fmt: skip
_MODEL_TEXTS: Final = (
    "SkuId",
    "SkuMeter",
    "ChargeDescription",
    "ResourceName",
    "ServiceName",
    "ResourceId",
    "SkuPriceId",
)
_COLUMNS: Final = frozenset(
    {
        *REQUIRED, *_CLAUDE_TEXTS, *_MODEL_TEXTS, "BillingAccountId", "BillingPeriodStart", "ChargeClass",
        "CommitmentDiscountId", "CommitmentDiscountStatus", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
        "EffectiveCost", "HostProviderName", "InvoiceId", "ListCost", "ListUnitPrice", "PricingCurrency",
        "PricingQuantity", "PricingUnit", "RegionId", "SkuPriceDetails", "SubAccountId", "Tags", "ContractApplied",
        "x_ApiKeyId",  # of our own export: without it the same usage from logs would not be known again
    }
)  # fmt: skip
# Columns of the specification that nothing here needs: known, so that only foreign ones are reported.
_UNREAD: Final = frozenset(
    {
        "AvailabilityZone", "BillingAccountName", "BillingAccountType", "BillingPeriodEnd", "CapacityReservationId",
        "CapacityReservationStatus", "ChargeFrequency", "CommitmentDiscountCategory", "CommitmentDiscountName",
        "CommitmentDiscountQuantity", "CommitmentDiscountType", "CommitmentDiscountUnit", "ContractedUnitPrice",
        "PricingCategory", "PricingCurrencyContractedUnitPrice", "PricingCurrencyEffectiveCost",
        "PricingCurrencyListUnitPrice", "RegionName", "ResourceType", "ServiceCategory", "ServiceSubcategory",
        "SubAccountName", "SubAccountType", "AllocatedMethodId", "AllocatedMethodDetails", "AllocatedResourceId",
        "AllocatedResourceName", "AllocatedTags",
    }
)  # fmt: skip
_BY_LOWER: Final = {name.lower(): name for name in _COLUMNS}
_CLOSE: Final = Decimal("0.01")


@dataclass
class _Bill:
    """What is gathered over all rows of a file."""

    lines: list[CostLine] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    months: set[tuple[date, str]] = field(default_factory=set)
    rejected: int = 0
    skipped: int = 0
    rows: int = 0
    virtual: Counter[str] = field(default_factory=Counter)


class Focus:
    """A bill of any provider; Claude's rows of it, or all of them."""

    name = "focus"
    title = "FOCUS cost and usage: CSV or JSON lines, 1.0 to 1.3"
    source = "FOCUS bill"
    channel = "anthropic"
    is_bill = True

    def claims(self, head: Head) -> bool:
        names = head.rows[0].keys() if holds_rows(head) else header_of(head)
        return {name.lower() for name in REQUIRED} <= {str(name).lower() for name in names}

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        bill, notes = _Bill(), Notes()
        for line, values in _rows(path, file_name, notes):
            bill.rows += 1
            if isinstance(values, Problem):
                bill.rejected += 1
                bill.problems += [values][: PROBLEMS_SHOWN - len(bill.problems)]
                continue
            # One look at a row before it is read: most rows of a cloud's bill are about other services.
            about_claude = is_claude(" ".join([values.get(name, "") for name in _CLAUDE_TEXTS]))
            if not about_claude and not all_rows:
                bill.skipped += 1
                continue
            row = BillRow(line, values, notes)
            item = _line(row, about_claude, canonical, bill)
            if item is None:
                bill.rejected += 1
                bill.problems += row.problems[: max(0, PROBLEMS_SHOWN - len(bill.problems))]
            else:
                bill.lines.append(item)
                bill.months.add((item.billing_month, item.organisation))
        refuse_empty(file_name, bill.rows)
        findings = [*notes.findings(), *_checks(bill)]
        return CostReport(
            tuple(bill.lines),
            Covers(months=tuple(sorted(bill.months))),
            (),
            tuple(findings),
            tuple(bill.problems),
            bill.rejected,
            bill.skipped,
        )


def _rows(path: Path, file_name: str, notes: Notes) -> Iterator[tuple[int, Mapping[str, str] | Problem]]:
    if _is_json(path):
        plans: dict[tuple[str, ...], tuple[tuple[str, str], ...]] = {}
        for line, value in json_rows(path, file_name):
            if isinstance(value, Problem):
                yield line, value
                continue
            header = tuple(value)
            if header not in plans:
                plans = {header: _columns(header, notes)}  # of one shape after another, the latest
            yield line, {ours: _as_text(value[theirs]) for theirs, ours in plans[header]}
        return
    columns: tuple[tuple[str, str], ...] = ()
    for line, row in table_rows(path, file_name):
        columns = columns or _columns(tuple(row), notes)
        yield line, {ours: row[theirs] for theirs, ours in columns}


def _columns(header: tuple[str, ...], notes: Notes) -> tuple[tuple[str, str], ...]:
    """The columns that are read, each with the specification's name for it."""
    found = []
    for name in header:
        ours = name if name in _COLUMNS else _BY_LOWER.get(name.lower(), name)
        if ours in _COLUMNS:
            found.append((name, ours))
        if ours != name:
            notes(f"Column {name} was read as {ours}")
        elif name not in _COLUMNS | _UNREAD and not name.lower().startswith("x_"):
            notes(f"Column {name[:60]} is not of the specification and was left out")
    return tuple(found)


def _is_json(path: Path) -> bool:
    with open_bytes(path) as file:
        return file.read(16).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _as_text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value)


def _line(row: BillRow, about_claude: bool, canonical: Callable[[str], str], bill: _Bill) -> CostLine | None:
    start, end = row.instant("ChargePeriodStart"), row.instant("ChargePeriodEnd")
    month = row.month("BillingPeriodStart", start)
    amount = row.amount("BilledCost", needed=True)
    listed, contracted, effective = (row.amount(name) for name in ("ListCost", "ContractedCost", "EffectiveCost"))
    currency = currency_code(row.text("BillingCurrency"))
    if not currency:
        row.wrong("BillingCurrency", "no currency")
    word = row.text("ChargeCategory")
    category = _CATEGORIES.get(word.lower(), "")
    if not category:
        row.wrong("ChargeCategory", f"not one of {', '.join(name.capitalize() for name in _CATEGORIES)}")
    elif word != word.capitalize():
        row.notes("A ChargeCategory in other letters was read as its usual word")
    if start is not None and end is not None and not start < end:
        row.wrong("ChargePeriodEnd", "not after ChargePeriodStart")
    if row.problems or start is None or end is None or month is None or amount is None:
        return None
    details = row.mapping("SkuPriceDetails")
    kind, quantity, unit = _measured(row, category, about_claude)
    status = row.text("CommitmentDiscountStatus")
    if row.text("PricingCurrency") and row.text("PricingCurrency") != currency:
        bill.virtual[row.text("PricingCurrency")] += 1
    meter = row.text("SkuMeter")
    return CostLine(
        position=row.line,
        period=Period(start, end),
        billing_month=month,
        amount=amount,
        currency=currency,
        category=category,
        is_correction=row.text("ChargeClass").lower() == "correction",
        cost_type=_cost_type(row, category, kind, status, about_claude),
        token_kind=kind or "",
        channel=_channel(row, about_claude),
        organisation=row.text("BillingAccountId")[:255],
        workspace=row.text("SubAccountId")[:255],
        api_key=row.text("x_ApiKeyId")[:255],
        model=model_in(*(row.text(name) for name in _MODEL_TEXTS), canonical=canonical) if about_claude else "",
        service_tier=_detail(details, "ServiceTier") or (tier_in(meter) if kind else ""),
        prompt_length_band=prompt_band(_detail(details, "ContextWindow")),
        geo=row.text("RegionId")[:255],
        speed=_detail(details, "Speed"),
        description=row.text("ChargeDescription"),
        invoice_number=row.text("InvoiceId"),
        issuer=row.text("InvoiceIssuerName"),
        list_amount=listed,
        contracted_amount=contracted,
        effective_amount=effective,
        quantity=quantity,
        unit=unit,
        commitment=row.text("CommitmentDiscountId"),
        commitment_status=status,
        tags=row.mapping("Tags"),
    )


def _measured(row: BillRow, category: str, about_claude: bool) -> tuple[str | None, Decimal | None, str]:
    """The kind of token of a row, how many, and their unit; what is no LLM token keeps its own quantity and unit."""
    meter = row.text("SkuMeter")
    kind: str | None = KIND_OF_TOKEN_TYPE.get(meter) if about_claude else None
    if kind is None and about_claude and category == "usage":
        kind, assumed = kind_in(meter or row.text("ChargeDescription"))
        if assumed:
            row.notes("A cache write without a lifetime was read as a 5-minute write")
    consumed = row.amount("ConsumedQuantity")
    consumed_unit = row.text("ConsumedUnit")
    priced, priced_unit = row.amount("PricingQuantity"), row.text("PricingUnit")
    counted = "request" if kind == "web_search" else "token"
    for quantity, unit in ((consumed, consumed_unit), (priced, priced_unit)):
        size = unit_size(unit, counted=counted) if kind is not None and quantity is not None else None
        if size is not None and quantity is not None:
            return kind, quantity * size, f"{counted}s"
    row.problems.clear()  # a quantity that cannot be read is no reason to lose the charge
    own = (consumed, consumed_unit) if consumed is not None else (priced, priced_unit)
    # Words like "input" also stand in other services' texts: without a count of tokens it is not of a token kind.
    return (kind if kind and "claude" in row.text("SkuId").lower() else None), own[0], own[1]


def _cost_type(row: BillRow, category: str, kind: str | None, status: str, about_claude: bool) -> str:
    if category != "usage":
        return {"purchase": "commitment", "adjustment": "other"}.get(category, category)
    if status.lower() == "unused":
        return "commitment_unused"
    if kind is not None:
        return "web_search" if kind == "web_search" else "tokens"
    words = f"{row.text('ChargeDescription')} {row.text('SkuId')} {row.text('PricingUnit')}".lower()
    if about_claude and ("consumption unit" in words or " ccu" in f" {words}"):
        return "consumption_units"
    return "other"


def _channel(row: BillRow, about_claude: bool) -> str:
    """Who served it: the provider's own API, a cloud's model service, or the provider's platform inside a cloud."""
    if not about_claude:
        return "other"
    service = row.text("ServiceName").lower()
    who = " ".join(
        row.text(name) for name in ("HostProviderName", "ServiceProviderName", "ProviderName", "InvoiceIssuerName")
    ).lower()
    if "platform on aws" in service:
        return "platform_aws"
    if "foundry" in service or "microsoft" in who:
        return "foundry"
    if "amazon" in who or "aws" in who.split():
        return "bedrock"
    return "vertex" if "google" in who else "anthropic"


def _detail(details: Mapping[str, str], name: str) -> str:
    return (details.get(f"x_{name}") or details.get(name) or "")[:255]


def _checks(bill: _Bill) -> list[str]:
    """Rules of the specification that tell whether a bill is whole; broken ones are said, nothing is changed."""
    bought: dict[str, Decimal] = defaultdict(lambda: ZERO)
    used: dict[str, Decimal] = defaultdict(lambda: ZERO)
    found = []
    prepaid = 0
    for line in bill.lines:
        if line.commitment and line.category == "purchase":
            bought[line.commitment] += line.amount
        elif line.commitment and line.category == "usage":
            used[line.commitment] += line.effective_amount or ZERO
        if line.category == "purchase" and line.commitment and line.effective_amount:
            prepaid += 1
    for commitment in sorted(bought.keys() & used.keys()):
        if abs(bought[commitment] - used[commitment]) > _CLOSE:
            found.append(
                f"Commitment {commitment}: usage has an effective cost of {used[commitment]:.2f}, it was bought for "
                f"{bought[commitment]:.2f}; rows of it may be missing, or it runs longer than this bill."
            )
    if prepaid:
        found.append(f"{prepaid:,} purchases of a commitment have an effective cost: their usage would count twice.")
    found += [
        f"{count:,} row{'s are' if count != 1 else ' is'} priced in {name}; amounts here are in the billing currency."
        for name, count in sorted(bill.virtual.items())
    ]
    currencies = sorted({line.currency for line in bill.lines} - {"USD"})
    if currencies:
        found.append(f"Amounts in {', '.join(currencies)} are kept in it and never added to US dollars.")
    return found
