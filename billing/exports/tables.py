"""Any table as CSV or as a workbook, streamed: what pages and the API hand out under "Download"."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import xlsxwriter

from billing.exports.cells import Cell, csv_bytes, plain_decimal

XLSX_MOST_ROWS: Final = 1_048_575
CSV_TYPE: Final = "text/csv; charset=utf-8"
XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_CELL: Final = 32_767  # UTF-16 units
_EXACT_DIGITS: Final = 15  # a spreadsheet's number holds no more
_PIECE: Final = 1 << 16
_STYLES: Final[dict[str, dict[str, Any]]] = {
    "head": {"bold": True, "bottom": 1, "bg_color": "#F1F0EC"},
    "text": {"quote_prefix": True},
    "usd": {"num_format": "#,##0.00######"},
    "count": {"num_format": "#,##0"},
    "number": {},
    "share": {"num_format": "0.0%"},
    "date": {"num_format": "yyyy-mm-dd", "align": "left"},
    "moment": {"num_format": "yyyy-mm-dd hh:mm:ss", "align": "left"},
}


class TooManyRows(ValueError):
    """A workbook cannot hold this; the message says what can."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table to hand out. `name`: the file's, without ending. `kinds`: per column text, usd, count, share, date …

    `count`: how many rows there are, where that is known before they are made.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Iterable[Sequence[Cell]]
    kinds: Sequence[str] = ()
    count: int | None = None


def csv_file(table: Table) -> Iterator[bytes]:
    """The table as CSV, piece by piece."""
    return csv_bytes(table.columns, table.rows)


def xlsx_file(table: Table) -> Iterator[bytes]:
    """The table as a workbook, written to disk in constant memory, then read piece by piece. Raises TooManyRows.

    Text is written as text, never as a formula, and marked to stay so. An amount with more digits than a spreadsheet
    keeps is written as the number nearest to it: as text, a sum over its column would leave it out without a word.
    A whole number that long is a name rather than an amount, and stays as it is, as text. A text longer than a cell
    holds is cut and says so.
    """
    if table.count is not None and table.count > XLSX_MOST_ROWS:
        raise too_many_rows(table.count)
    with tempfile.TemporaryFile() as file:
        book = xlsxwriter.Workbook(
            file,
            {
                "constant_memory": True,
                "strings_to_formulas": False,
                "strings_to_urls": False,
                "strings_to_numbers": False,
                "default_date_format": "yyyy-mm-dd",
            },
        )
        try:
            styles = {name: book.add_format(style) for name, style in _STYLES.items()}
            sheet = book.add_worksheet(_sheet_name(table.title))
            sheet.freeze_panes(1, 0)
            kinds = [*table.kinds, *["text"] * (len(table.columns) - len(table.kinds))]
            for n, name in enumerate(table.columns):
                sheet.set_column(n, n, max(12, min(len(name) + 3, 40)))
                sheet.write_string(0, n, name, styles["head"])
            for number, row in enumerate(table.rows, 1):
                if number > XLSX_MOST_ROWS:
                    raise too_many_rows(table.count)
                for n, value in enumerate(row):
                    _write(sheet, number, n, value, kinds[n], styles)
        finally:
            book.close()  # also after a refusal: its temporary files are open
        file.seek(0)
        while piece := file.read(_PIECE):
            yield piece


def too_many_rows(count: int | None) -> TooManyRows:
    has = f"{count:,}" if count is not None else "more"
    return TooManyRows(f"a workbook holds {XLSX_MOST_ROWS:,} rows and this table has {has}: download it as CSV")


def _cell_text(text: str) -> str:
    """Text a cell can hold; what is longer ends with how long it was, never as if that were all."""
    cleaned = text.replace("\x00", "")
    units = len(cleaned.encode("utf-16-le", "surrogatepass")) // 2 if len(cleaned) > _CELL // 2 else 0
    if units <= _CELL:
        return cleaned
    note = f" … (cut: {len(cleaned):,} characters; the CSV has all of them)"
    kept = cleaned.encode("utf-16-le", "surrogatepass")[: 2 * (_CELL - len(note))]
    return kept.decode("utf-16-le", "ignore") + note


def _write(sheet: Any, row: int, column: int, value: Cell, kind: str, styles: dict[str, Any]) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, int | float | Decimal):
        if _fits(value):
            sheet.write_number(row, column, float(value), styles[kind if kind != "text" else "number"])
        else:
            sheet.write_string(row, column, plain_decimal(Decimal(value)), styles["text"])
    elif isinstance(value, datetime):
        sheet.write_datetime(row, column, value.replace(tzinfo=None), styles["moment"])
    elif isinstance(value, date):
        sheet.write_datetime(row, column, datetime(value.year, value.month, value.day), styles["date"])  # noqa: DTZ001
    else:
        sheet.write_string(row, column, _cell_text(value), styles["text"])


def _fits(value: float | Decimal) -> bool:
    if isinstance(value, float) or value != int(value):
        return True
    return len(Decimal(value).normalize().as_tuple().digits) <= _EXACT_DIGITS


def _sheet_name(title: str) -> str:
    """At most 31 characters, without those a sheet's name may not have."""
    return "".join(" " if char in "[]:*?/\\" else char for char in title)[:31].strip("' ") or "Table"
