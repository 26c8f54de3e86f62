"""Workbooks written top to bottom in constant memory: text stays text, money has cents, formulas show their value.

Texts people typed are written as text, never as formulas, and marked so (quote prefix) that they stay text when
somebody edits the cell. Formulas carry the computed value, so that readers without a calculation engine see it too.
"""

import io
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

import xlsxwriter
from xlsxwriter.utility import xl_rowcol_to_cell

from billing.core.money import round_usd

USD: Final = '"$"#,##0.00;[Red]-"$"#,##0.00'
SHARE: Final = "0.0%"
DISCOUNT: Final = "0.######%"
Cell = str | Decimal | float | int | date | None


class Sheet:
    """One worksheet written top to bottom, as constant_memory demands."""

    def __init__(self, book: "Book", name: str, widths: Sequence[float]) -> None:
        self.book, self.name, self.row = book, name, 0
        self.sheet = book.workbook.add_worksheet(name)
        self.sheet.hide_gridlines(2)
        self.sheet.set_landscape()
        self.sheet.fit_to_pages(1, 0)
        for column, width in enumerate(widths):
            self.sheet.set_column(column, column, width)

    def line(self, *cells: tuple[Cell, str], formulas: dict[int, str] | None = None) -> int:
        """Write one row of (value, style); a formula in `formulas` shows the value of its cell. Returns its number."""
        for column, (value, style) in enumerate(cells):
            kept = self.book.styles[style]
            if formulas and column in formulas:
                self.sheet.write_formula(self.row, column, formulas[column], kept, number(value, style))
            elif isinstance(value, str):
                self.sheet.write_string(self.row, column, value, kept)
            elif isinstance(value, date):
                self.sheet.write_datetime(self.row, column, value, kept)
            elif value is not None:
                self.sheet.write_number(self.row, column, number(value, style), kept)
        self.row += 1
        return self.row - 1

    def gap(self) -> None:
        self.row += 1

    def cell(self, row: int, column: int) -> str:
        return str(xl_rowcol_to_cell(row, column))

    def far(self, row: int, column: int) -> str:
        """The cell as other sheets name it."""
        return f"'{self.name}'!{xl_rowcol_to_cell(row, column, row_abs=True, col_abs=True)}"


class Book:
    def __init__(self, buffer: io.BytesIO) -> None:
        options = {
            "constant_memory": True,
            "in_memory": False,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self.workbook = xlsxwriter.Workbook(buffer, options)
        base: dict[str, Any] = {"font_name": "Calibri", "font_size": 11, "valign": "top"}
        wanted: dict[str, dict[str, Any]] = {
            "title": {"bold": True, "font_size": 16},
            "head": {"bold": True, "bottom": 1, "text_wrap": True, "bg_color": "#F1F0EC"},
            "group": {"bold": True, "font_color": "#2B5FC4"},
            "text": {},
            "wrap": {"text_wrap": True},
            "typed": {"quote_prefix": True},
            "answer": {"bold": True, "font_size": 13},
            "usd": {"num_format": USD},
            "usd_best": {"num_format": USD, "bold": True, "bg_color": "#E3EBFA"},
            "typed_best": {"quote_prefix": True, "bold": True, "bg_color": "#E3EBFA"},
            "share": {"num_format": SHARE},
            "share_bad": {"num_format": SHARE, "font_color": "#A84710", "bold": True},
            "discount": {"num_format": DISCOUNT},
            "count": {"num_format": "#,##0"},
            "date": {"num_format": "d mmm yyyy", "align": "left"},
            "input": {"num_format": USD, "bg_color": "#FFF7D6", "border": 1},
        }
        self.styles = {name: self.workbook.add_format({**base, **style}) for name, style in wanted.items()}


def number(value: Cell, style: str) -> float:
    """A cell's number: money to the cent, shares and counts as they are. Raises TypeError for text or nothing."""
    if isinstance(value, Decimal):
        return float(round_usd(value) if style.startswith(("usd", "input")) else value)
    if isinstance(value, int | float):
        return float(value)
    raise TypeError(f"{value!r} is no number")


def head(sheet: Sheet, *names: str) -> None:
    sheet.line(*((name, "head") for name in names))
