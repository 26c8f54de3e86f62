"""The terms form: what somebody typed, kept as typed, and the terms it means or everything wrong with it.

People write 500,000 and 6 %; the document says "500000" and "0.06". Everything else is judged by billing.core.terms,
so that page, command and API refuse the same things.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.http import QueryDict

from billing.core.terms import MONTHS, SCHEMA, Terms, TermsProblem, TermsRefused, parse_terms
from costgov.typed_amounts import plain_amount

EMPTY_ROWS: Final = 3
MAX_ROWS: Final = 20
_ROW_FIELD: Final = re.compile(r"bands\[(\d+)\](?:\.(\w+))?")


@dataclass(frozen=True, slots=True)
class BandRow:
    """One row as typed; `errors` by name, commitment or discount."""

    name: str = ""
    commitment: str = ""
    discount: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.name.strip() or self.commitment.strip() or self.discount.strip())


@dataclass(frozen=True, slots=True)
class TermsForm:
    """The whole form as typed; `errors` by field, `other_errors` for what has no field."""

    name: str = ""
    start: str = ""
    overage: str = ""
    stated_in: str = ""
    rows: tuple[BandRow, ...] = (BandRow(),) * EMPTY_ROWS
    errors: Mapping[str, str] = field(default_factory=dict)
    other_errors: tuple[str, ...] = ()

    @property
    def has_errors(self) -> bool:
        return bool(self.errors or self.other_errors or any(row.errors for row in self.rows))


def empty_form(*, today: date) -> TermsForm:
    """A start at the next new year; overage and basis are asked for, never chosen for the reader."""
    return TermsForm(start=date(today.year + 1, 1, 1).isoformat())


def form_of(terms: Terms, *, name: str = "") -> TermsForm:
    """Kept or imported terms, to be changed."""
    rows = (
        BandRow(band.name, f"{band.commitment_usd.normalize():f}", f"{(band.discount * 100).normalize():f}")
        for band in terms.bands
    )
    return TermsForm(name, terms.start.isoformat(), terms.overage, terms.stated_in, tuple(rows))


def posted(data: QueryDict) -> TermsForm:
    """What was typed, row by row; rows beyond the most an offer may have are dropped."""
    columns = [data.getlist(f"band_{part}") for part in ("name", "commitment", "discount")]
    count = min(max(map(len, columns)), MAX_ROWS)
    padded = [[*column, *[""] * count][:count] for column in columns]
    rows = tuple(BandRow(*values) for values in zip(*padded, strict=True))
    name, start, overage, stated_in = (data.get(key, "").strip() for key in ("name", "start", "overage", "stated_in"))
    return TermsForm(name, start, overage, stated_in, rows or (BandRow(),))


def with_another_row(form: TermsForm) -> TermsForm:
    return replace(form, rows=(*form.rows, BandRow())[:MAX_ROWS])


def without_row(form: TermsForm, number: int) -> TermsForm:
    """The form without one row; the last one is only emptied."""
    rows = tuple(row for n, row in enumerate(form.rows) if n != number)
    return replace(form, rows=rows or (BandRow(),))


def read(form: TermsForm) -> tuple[Terms | None, TermsForm]:
    """The terms meant, or None and the form with an error at each field. Empty rows do not count."""
    filled = [n for n, row in enumerate(form.rows) if not row.is_empty]
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "currency": "USD",
        "months": MONTHS,
        "true_up": "annual",
        "bands": [_band(form.rows[n]) for n in filled],
    }
    document |= {key: value for key in ("start", "overage", "stated_in") if (value := getattr(form, key))}
    try:
        return parse_terms(document), form
    except TermsRefused as refused:
        return None, _with_errors(form, refused.problems, filled)


def _band(row: BandRow) -> dict[str, str]:
    typed = {
        "name": row.name.strip(),
        "commitment": _amount(row.commitment),
        "discount": _share(row.discount),
    }
    return {key: value for key, value in typed.items() if value}


def _amount(text: str) -> str:
    """$500,000 → 500000. Anything else stays as it is, to be refused with its value."""
    return plain_amount(text)


def _share(text: str) -> str:
    """6 or 6 % → 0.06. The form asks for per cent."""
    cleaned = text.strip().removesuffix("%").strip()
    if not re.fullmatch(r"[+-]?\d{1,12}(\.\d{1,12})?", cleaned):
        return cleaned
    try:
        return f"{Decimal(cleaned) / 100:f}"
    except InvalidOperation:  # pragma: no cover - the pattern allows no such text
        return cleaned


def _with_errors(form: TermsForm, problems: tuple[TermsProblem, ...], filled: list[int]) -> TermsForm:
    errors: dict[str, str] = {}
    of_rows: dict[int, dict[str, str]] = {}
    other = []
    for problem in problems:
        match = _ROW_FIELD.fullmatch(problem.field)
        if match:
            number = filled[int(match[1])]
            of_rows.setdefault(number, {}).setdefault(match[2] or "name", _words(problem))
        elif problem.field in ("start", "overage", "stated_in"):
            errors.setdefault(problem.field, _words(problem))
        else:
            other.append(_words(problem) if problem.field == "bands" else str(problem))
    rows = tuple(replace(row, errors=of_rows.get(n, {})) for n, row in enumerate(form.rows))
    return replace(form, rows=rows, errors=errors, other_errors=tuple(other))


_WORDS: Final = {
    "start": "Give the first day of the year on offer, e.g. 2027-01-01.",
    "overage": "Say how use beyond the commitment is billed.",
    "stated_in": "Say what the amounts mean.",
    "bands": "Give at least one band with a name, an amount and a discount.",
    "name": "Give the band a short name of its own, e.g. T1.",
    "commitment": "Give US dollars a year, to the cent at most, e.g. 500,000.",
    "discount": "Give per cent from 0 up to, not including, 100 with at most 4 places, e.g. 6.",
}


def _words(problem: TermsProblem) -> str:
    """The problem as this form asks for it: per cent instead of shares, no JSON."""
    if problem.remedy.startswith(("List bands", "A larger", "Give every")):
        return f"{problem.remedy}."
    return _WORDS[problem.field.rpartition(".")[2].partition("[")[0]]
