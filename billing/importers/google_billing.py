"""Google Cloud billing export rows (BigQuery to JSON lines): Claude on Vertex AI, recognised by service or SKU text.

Usage times are UTC; the invoice month follows Pacific time, so the bill's own month is kept. Net cost is the row's cost
plus its credits, which become lines of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing.core.periods import Period
from billing.importers.base import PROBLEMS_SHOWN, Head, Problem, shown
from billing.importers.bill_rows import BillRow, Notes, holds_rows, json_rows, refuse_empty
from billing.importers.bill_words import is_claude, kind_in, model_in, tier_in, unit_size
from billing.importers.cost_base import CostLine, CostReport, Covers, currency_code

_KEYS: Final = frozenset({"billing_account_id", "service", "sku", "cost", "usage_start_time"})
_CATEGORY: Final = {
    "regular": "usage", "tax": "tax", "adjustment": "adjustment", "rounding_error": "adjustment", "": "usage",
}  # fmt: skip


class GoogleBilling:
    """The standard or detailed export. Evidence for the texts is weak: what is not understood is kept and said."""

    name = "google_billing"
    title = "Google Cloud billing export: JSON lines or an array"
    source = "Google Cloud bill"
    channel = "vertex"
    is_bill = True

    def claims(self, head: Head) -> bool:
        return holds_rows(head) and head.rows[0].keys() >= _KEYS

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        notes = Notes()
        lines: list[CostLine] = []
        problems: list[Problem] = []
        months: set[tuple[date, str]] = set()
        rejected = skipped = rows = 0
        for number, record in json_rows(path, file_name):
            rows += 1
            if isinstance(record, Problem):
                rejected += 1
                problems += [record][: max(0, PROBLEMS_SHOWN - len(problems))]
                continue
            row = BillRow(number, _flat(record), notes)
            about_claude = is_claude(row.text("service"), row.text("sku"))
            if not about_claude and not all_rows:
                skipped += 1
                continue
            found = _lines(row, record, about_claude, canonical)
            if row.problems:
                rejected += 1
                problems += row.problems[: max(0, PROBLEMS_SHOWN - len(problems))]
                continue
            lines += found
            months |= {(item.billing_month, item.organisation) for item in found}
        refuse_empty(file_name, rows)
        return CostReport(
            tuple(lines),
            Covers(months=tuple(sorted(months))),
            (),
            tuple(notes.findings()),
            tuple(problems),
            rejected,
            skipped,
        )


def _flat(record: Mapping[str, Any]) -> dict[str, str]:
    """The fields read, as text, by a short name."""

    def at(*names: str) -> str:
        value: Any = record
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    return {
        "billing_account_id": at("billing_account_id"),
        "service": at("service", "description"),
        "sku": at("sku", "description"),
        "usage_start_time": at("usage_start_time"),
        "usage_end_time": at("usage_end_time"),
        "project": at("project", "id"),
        "region": at("location", "region") or at("location", "location"),
        "cost": at("cost"),
        "currency": at("currency"),
        "amount": at("usage", "amount"),
        "unit": at("usage", "unit"),
        "amount_in_pricing_units": at("usage", "amount_in_pricing_units"),
        "pricing_unit": at("usage", "pricing_unit"),
        "invoice_month": at("invoice", "month"),
        "cost_type": at("cost_type"),
        "cost_at_list": at("cost_at_list"),
    }


def _lines(
    row: BillRow, record: Mapping[str, Any], about_claude: bool, canonical: Callable[[str], str]
) -> list[CostLine]:
    start, end = row.instant("usage_start_time"), row.instant("usage_end_time")
    amount = row.amount("cost", needed=True)
    currency = currency_code(row.text("currency") or "")
    if not currency:
        row.wrong("currency", "no currency")
    month = _invoice_month(row, start.date() if start else None)
    if start is not None and end is not None and not start < end:
        row.wrong("usage_end_time", "not after usage_start_time")
    if row.problems or start is None or end is None or amount is None or month is None:
        return []
    word = row.text("cost_type").lower()
    if word not in _CATEGORY:
        row.notes(f"Cost type {word[:40]} is not known and was kept as an adjustment")
    category = _CATEGORY.get(word, "adjustment")
    sku = row.text("sku")
    kind, assumed = kind_in(sku) if about_claude and category == "usage" else (None, False)
    if assumed:
        row.notes("A cache write without a lifetime was read as a 5-minute write")
    if about_claude and category == "usage" and kind is None:
        row.notes(f"Not understood: {sku[:80]}, kept as a charge, not as tokens")
    quantity, unit = _quantity(row, kind)
    line = CostLine(
        position=row.line,
        period=Period(start, end),
        billing_month=month,
        amount=amount,
        currency=currency,
        category=category,
        cost_type=_cost_type(kind, category, word),
        token_kind=kind or "",
        channel="vertex" if about_claude else "other",
        organisation=row.text("billing_account_id")[:255],
        workspace=row.text("project")[:255],
        model=model_in(sku, row.text("service"), canonical=canonical) if about_claude else "",
        service_tier=tier_in(sku) if kind else "",
        geo=row.text("region")[:255],
        description=sku,
        list_amount=row.amount("cost_at_list"),
        quantity=quantity,
        unit=unit,
        tags=_labels(record.get("labels")),
    )
    return [line, *_credits(row, record.get("credits"), line)]


def _cost_type(kind: str | None, category: str, word: str) -> str:
    if category == "usage":
        return ("web_search" if kind == "web_search" else "tokens") if kind else "other"
    return "rounding" if word == "rounding_error" else {"adjustment": "other"}.get(category, category)


def _invoice_month(row: BillRow, otherwise: date | None) -> date | None:
    text = row.text("invoice_month")
    if len(text) == 6 and text.isascii() and text.isdigit() and 1 <= int(text[4:]) <= 12 and int(text[:4]) > 0:
        return date(int(text[:4]), int(text[4:]), 1)
    if text:
        row.wrong("invoice_month", "not a month like 202611")
        return None
    row.notes("A row without an invoice month was put into the month of its usage")
    return otherwise.replace(day=1) if otherwise else None


def _quantity(row: BillRow, kind: str | None) -> tuple[Decimal | None, str]:
    amount, priced = row.amount("amount"), row.amount("amount_in_pricing_units")
    if kind is None:
        row.problems.clear()  # a quantity that cannot be read is no reason to lose a charge; tokens must be counted
    counted = "requests" if kind == "web_search" else "tokens"
    for quantity, unit in ((amount, row.text("unit")), (priced, row.text("pricing_unit"))):
        size = unit_size(unit, counted="count") or unit_size(unit, counted="token")
        if kind is not None and quantity is not None and size is not None:
            return quantity * size, counted
    return amount, row.text("unit")


def _credits(row: BillRow, credits: Any, line: CostLine) -> list[CostLine]:
    """Each credit as a line of its own, beside the charge it lowers."""
    found = []
    for number, credit in enumerate(credits if isinstance(credits, list) else [], start=1):
        value = credit.get("amount") if isinstance(credit, dict) else None
        inner = BillRow(row.line, {"credits.amount": value if isinstance(value, str) else ""}, row.notes)
        amount = inner.amount("credits.amount", needed=True)
        row.problems += inner.problems
        if amount is None:
            continue
        name = credit.get("full_name") or credit.get("name") or credit.get("type") or "Credit"
        found.append(
            replace(
                line,
                part=number,
                amount=amount,
                category="credit",
                cost_type="discount" if "DISCOUNT" in str(credit.get("type") or "").upper() else "credit",
                token_kind="",
                quantity=None,
                unit="",
                list_amount=None,
                description=name if isinstance(name, str) else shown(name),
            )
        )
    return found


def _labels(labels: Any) -> dict[str, str]:
    if not isinstance(labels, list):
        return {}
    pairs = [(item.get("key"), item.get("value")) for item in labels if isinstance(item, dict)]
    return {str(key)[:255]: str(value)[:1000] for key, value in pairs if key is not None and value is not None}
