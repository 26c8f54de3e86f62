"""AWS Cost and Usage Report 2.0 (also the older names with a slash): Claude's line items, sold through Marketplace.

The model is in the product's name only; the usage type says which kind of token. Quantities are usually millions.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Final

from billing.core.money import ZERO
from billing.core.periods import Period
from billing.importers.base import PROBLEMS_SHOWN, Head, Problem
from billing.importers.bill_rows import BillRow, Notes, refuse_empty
from billing.importers.bill_words import is_claude, kind_in, model_in, tier_in, unit_size, words_of
from billing.importers.cost_base import CostLine, CostReport, Covers, currency_code
from billing.importers.tables import header_of, table_rows

REQUIRED: Final = ("line_item_unblended_cost", "line_item_usage_start_date", "line_item_line_item_type")
_CATEGORY: Final = {
    "Usage": "usage", "DiscountedUsage": "usage", "SavingsPlanCoveredUsage": "usage", "Tax": "tax", "Credit": "credit",
    "Refund": "adjustment", "Fee": "purchase", "RIFee": "purchase", "SavingsPlanUpfrontFee": "purchase",
    "SavingsPlanRecurringFee": "purchase", "EdpDiscount": "credit", "PrivateRateDiscount": "credit",
    "BundledDiscount": "credit", "Discount": "credit",
}  # fmt: skip
_CLAUDE_TEXTS: Final = (
    "product_product_name", "line_item_usage_type", "line_item_line_item_description", "line_item_operation",
    "line_item_resource_id",
)  # fmt: skip
_MILLION: Final = 1_000_000
_ISSUER: Final = "Amazon Web Services"


class AwsCur:
    """Rows of Amazon Bedrock and of Claude Platform on AWS; hours in UTC, a month is delivered anew as a whole."""

    name = "aws_cur"
    title = "AWS Cost and Usage Report 2.0: CSV"
    source = "AWS bill"
    channel = "bedrock"
    is_bill = True

    def claims(self, head: Head) -> bool:
        return set(REQUIRED) <= {snake(name) for name in header_of(head)}

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        notes = Notes()
        lines: list[CostLine] = []
        problems: list[Problem] = []
        months = set()
        rejected = skipped = rows = 0
        for line, values in _rows(path, file_name):
            rows += 1
            row = BillRow(line, values, notes)
            product = row.mapping("product").get("product_name", "") if row.values.get("product") else ""
            texts = [product, *(row.text(name) for name in _CLAUDE_TEXTS)]
            about_claude = is_claude(*texts)
            if not about_claude and not all_rows:
                skipped += 1
                continue
            item = _line(row, texts, about_claude, canonical)
            if item is None:
                rejected += 1
                problems += row.problems[: max(0, PROBLEMS_SHOWN - len(problems))]
            else:
                lines.append(item)
                months.add((item.billing_month, item.organisation))
        refuse_empty(file_name, rows)
        findings = [*notes.findings(), *_unmapped(lines)]
        return CostReport(
            tuple(lines), Covers(months=tuple(sorted(months))), (), tuple(findings), tuple(problems), rejected, skipped
        )


def snake(name: str) -> str:
    """`lineItem/UsageStartDate` of the older report as version 2.0 writes it.

    >>> snake("lineItem/UsageStartDate"), snake("line_item_usage_start_date")
    ('line_item_usage_start_date', 'line_item_usage_start_date')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("/", "_").lower()


def _rows(path: Path, file_name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    names: dict[str, str] = {}
    for line, row in table_rows(path, file_name):
        names = names or {name: snake(name) for name in row}
        yield line, {names[name]: value for name, value in row.items()}


def _line(row: BillRow, texts: list[str], about_claude: bool, canonical: Callable[[str], str]) -> CostLine | None:
    start = row.instant("line_item_usage_start_date")
    end = row.instant("line_item_usage_end_date")
    month = row.month("bill_billing_period_start_date", start)
    amount = row.amount("line_item_unblended_cost", needed=True)
    listed = row.amount("pricing_public_on_demand_cost")
    currency = currency_code(row.text("line_item_currency_code") or "USD")
    if not currency:
        row.wrong("line_item_currency_code", "no currency")
    if start is not None and end is not None and not start < end:
        row.wrong("line_item_usage_end_date", "not after line_item_usage_start_date")
    if row.problems or start is None or end is None or month is None or amount is None:
        return None
    kind_of_row = row.text("line_item_line_item_type")
    category = _CATEGORY.get(kind_of_row, "")
    if not category:
        row.notes(f"Line item type {kind_of_row[:40]} is not known and was kept as an adjustment")
        category = "adjustment"
    usage_type = row.text("line_item_usage_type")
    units = about_claude and any("consumption unit" in text.lower() for text in texts)
    kind, assumed = kind_in(usage_type) if about_claude and category == "usage" and not units else (None, False)
    if assumed:
        row.notes("A cache write without a lifetime was read as a 5-minute write")
    quantity, unit = _quantity(row, kind, units)
    return CostLine(
        position=row.line,
        period=Period(start, end),
        billing_month=month,
        amount=amount,
        currency=currency,
        category=category,
        is_correction=kind_of_row == "Refund",
        cost_type=_cost_type(kind, units, category, kind_of_row),
        token_kind=kind or "",
        channel="platform_aws" if units else "bedrock" if about_claude else "other",
        organisation=row.text("bill_payer_account_id")[:255],
        workspace=row.text("line_item_usage_account_id")[:255],
        api_key=row.text("line_item_iam_principal")[:255],
        model=model_in(*texts, canonical=canonical) if about_claude and not units else "",
        service_tier=tier_in(usage_type) if kind else "",
        geo=_geo(row, usage_type),
        description=row.text("line_item_line_item_description") or usage_type,
        invoice_number=row.text("bill_invoice_id"),
        issuer=row.text("bill_invoicing_entity") or _ISSUER,
        list_amount=listed,
        quantity=quantity,
        unit=unit,
        tags=row.mapping("resource_tags"),
    )


def _quantity(row: BillRow, kind: str | None, units: bool) -> tuple[Decimal | None, str]:
    quantity, unit = row.amount("line_item_usage_amount"), row.text("pricing_unit")
    if kind is None:
        row.problems.clear()  # a quantity that cannot be read is no reason to lose a charge; tokens must be counted
    if units:
        return quantity, "CCU"
    if kind is None or quantity is None:
        return quantity, unit
    size = unit_size(unit, counted="token")
    if size is None and unit.lower() in ("units", "unit", ""):
        size = _MILLION
        rate = row.amount("line_item_unblended_rate")
        row.problems.clear()
        if rate is not None and ZERO < rate < Decimal("0.02"):
            row.notes("A rate below 0.02 per unit looks like a price of 1,000 tokens; units were read as millions")
    return (quantity * size, "tokens") if size is not None else (quantity, unit)


def _cost_type(kind: str | None, units: bool, category: str, kind_of_row: str) -> str:
    if units and category == "usage":
        return "consumption_units"
    if category == "usage":
        return "tokens" if kind else "other"
    if kind_of_row.endswith("Discount"):
        return "discount"
    return {"purchase": "commitment", "adjustment": "other"}.get(category, category)


def _geo(row: BillRow, usage_type: str) -> str:
    return "global" if "global" in words_of(usage_type).split() else row.text("product_region_code")[:255]


def _unmapped(lines: list[CostLine]) -> list[str]:
    """Usage rows whose grammar nobody has described: kept with their cost, and said."""
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.category == "usage" and line.cost_type == "other" and line.channel == "bedrock":
            sums[line.description[:80]] = sums.get(line.description[:80], ZERO) + line.amount
    found = [
        f"Not understood: {text} ({amount:.2f}): kept as a charge, not as tokens."
        for text, amount in sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    ]
    return found[:10] + ([f"… and {len(found) - 10:,} more."] if len(found) > 10 else [])
