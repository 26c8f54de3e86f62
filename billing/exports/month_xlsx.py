"""A month's reconciliation as a workbook and as CSV: figures, causes, lines, days, invoices."""

import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

from billing.core.cents import shown_causes, shown_difference
from billing.core.reconciling import CAUSES
from billing.core.settlement import MonthSettlement, SettledLine
from billing.exports.cells import csv_bytes
from billing.exports.workbook import Book, Cell, Sheet, head

COLUMNS: Final = (
    "side",
    "line",
    "kind",
    "channel",
    "model",
    "service_tier",
    "geo",
    "units",
    "unpriced_units",
    "computed_usd",
    "reported_usd",
    "difference_usd",
    "state",
    "causes",
    "reason",
)


def month_workbook(value: MonthSettlement, *, state: str, answer: str) -> bytes:
    """The sheets, with cents; exact amounts are in the CSV."""
    buffer = io.BytesIO()
    book = Book(buffer)
    _summary(book, value, state, answer)
    _lines(book, value)
    _days(book, value)
    _invoices(book, value)
    book.workbook.close()
    return buffer.getvalue()


def month_csv(value: MonthSettlement) -> bytes:
    """Every line of both gaps with exact amounts; text that a spreadsheet would run stays text."""
    return "\ufeff".encode() + b"".join(csv_bytes(COLUMNS, _csv_rows(value)))


def _csv_rows(value: MonthSettlement) -> Iterator[Sequence[str | int | Decimal | None]]:
    for line in value.lines:
        yield (
            "report",
            line.name,
            line.kind,
            line.about.channel,
            line.about.model,
            line.about.service_tier,
            line.about.geo,
            line.units,
            line.unpriced,
            line.computed_usd,
            line.reported_usd,
            line.difference_usd,
            line.state,
            _causes(line),
            line.reason.reason if line.reason else "",
        )
    for group in value.invoice_lines:
        yield (
            "invoice",
            group.title,
            "",
            "",
            "",
            "",
            "",
            None,
            None,
            group.base_usd,
            group.billed_usd,
            group.difference_usd,
            group.state,
            "; ".join(f"{CAUSES[part.cause]} {part.amount_usd:f}" for part in group.parts),
            group.reason.reason if group.reason else "",
        )


def _causes(line: SettledLine) -> str:
    return "; ".join(f"{CAUSES[part.cause]} {part.amount_usd:f}" for part in line.parts)


def _summary(book: Book, value: MonthSettlement, state: str, answer: str) -> None:
    sheet = Sheet(book, "Month", (44, 20, 16, 60))
    sheet.line((f"{value.month:%B %Y}, {state}", "title"))
    sheet.line((answer, "answer"))
    sheet.gap()
    for name, amount in (
        ("Computed from usage", value.computed_usd),
        ("Provider's cost report", value.report_usd),
        ("Invoices", value.invoice_usd),
    ):
        sheet.line((name, "text"), ("none" if amount is None else amount, "text" if amount is None else "usd"))
    for gap in value.gaps:
        sheet.gap()
        sheet.line((_gap_title(gap.side, value), "group"))
        head(sheet, "Cause", "Amount", "State", "Where")
        first = sheet.row
        for cause, cents in zip(gap.causes, shown_causes(gap), strict=True):
            sheet.line((cause.title, "typed"), (cents, "usd"), (cause.state, "text"), (cause.where, "typed"))
        formula = f"=SUM(B{first + 1}:B{sheet.row})"
        formulas = {1: formula} if sheet.row > first else None
        sheet.line(("Difference", "group"), (shown_difference(gap.from_usd, gap.to_usd), "usd"), formulas=formulas)
    sheet.gap()
    sheet.line(("Before closing", "group"))
    for check in value.checks:
        done = "done" if check.is_done else "open"
        sheet.line((check.title, "typed"), (done, "text"), ("", "text"), (check.detail, "typed"))


def _gap_title(side: str, value: MonthSettlement) -> str:
    if side == "report":
        return "Computed → cost report"
    return "Cost report → invoice" if value.report_usd is not None else "Computed → invoice"


def _lines(book: Book, value: MonthSettlement) -> None:
    sheet = Sheet(book, "Lines", (26, 26, 18, 16, 16, 16, 14, 50, 50))
    head(sheet, "Model", "Kind", "Tokens or uses", "Computed", "Cost report", "Difference", "State", "Causes", "Reason")
    for line in value.lines:
        sheet.line(
            (line.name, "typed"),
            (line.kind, "typed"),
            (line.units, "count"),
            _money("unpriced" if line.unpriced else "", line.computed_usd),
            _money("", line.reported_usd),
            _money("", line.difference_usd),
            (line.state, "text"),
            (", ".join(CAUSES[part.cause] for part in line.parts), "text"),
            (line.reason.reason if line.reason else "", "typed"),
        )


def _money(otherwise: str, amount: Decimal | None) -> tuple[Cell, str]:
    return (otherwise, "text") if amount is None else (amount, "usd")


def _days(book: Book, value: MonthSettlement) -> None:
    sheet = Sheet(book, "Days that differ", (26, 26, 16, 22, 18, 16, 16, 16, 70))
    head(sheet, "Model", "Kind", "Day", "Workspace", "Tokens", "Computed", "Cost report", "Difference", "What is known")
    for line in value.lines:
        for one in line.days:
            sheet.line(
                (line.name, "typed"),
                (line.kind, "typed"),
                ("whole month" if one.day is None else one.day, "text" if one.day is None else "date"),
                (one.workspace, "typed"),
                (one.units, "count"),
                (one.computed_usd, "usd"),
                (one.reported_usd, "usd"),
                (one.difference_usd, "usd"),
                (one.known, "typed"),
            )


def _invoices(book: Book, value: MonthSettlement) -> None:
    sheet = Sheet(book, "Invoice", (44, 18, 18, 16, 14, 50))
    head(sheet, "Invoice says", "Cost report", "Invoice", "Difference", "State", "Causes")
    for group in value.invoice_lines:
        sheet.line(
            (group.title, "typed"),
            (group.base_usd, "usd"),
            (group.billed_usd, "usd"),
            (group.difference_usd, "usd"),
            (group.state, "text"),
            (", ".join(CAUSES[part.cause] for part in group.parts), "text"),
        )
