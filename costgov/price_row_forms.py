"""Rows of rates, changes and credits as people type them: kept as typed, and as the document they mean.

People write "10 %", "$17" and "−20"; documents say "10", "17" and "-20". Everything else is judged by the document's
own reader, so that page, command and API refuse the same things.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from django.http import QueryDict

from costgov.typed_amounts import plain_amount

EMPTY_ROWS: Final = 2
MAX_ROWS: Final = 100
MANY: Final = 50  # more rows than this (of a file) are kept as they are instead of listed in the form
RATE: Final = ("model", "token_kind", "service_tier", "percent_off", "usd_per_unit", "from", "to")
CHANGE: Final = ("model", "token_kind", "service_tier", "percent", "usd_per_unit", "from", "to")
PRICE: Final = (
    "model", "token_kind", "service_tier", "prompt_length_band", "usd_per_unit", "from", "to", "geo", "speed", "source",
)  # fmt: skip
CREDIT: Final = ("name", "amount_usd", "from", "to")
_NUMBERS: Final = frozenset({"percent", "percent_off", "usd_per_unit", "amount_usd"})
Row = dict[str, str]


def posted_rows(data: QueryDict, prefix: str, names: Sequence[str]) -> list[Row]:
    """Rows of inputs named `prefix-name`, one per row, as typed; whole rows that are empty are left out."""
    columns = {name: data.getlist(f"{prefix}-{name}")[:MAX_ROWS] for name in names}
    count = max(map(len, columns.values()), default=0)
    rows = [{name: (columns[name][n : n + 1] or [""])[0].strip() for name in names} for n in range(count)]
    return [row for row in rows if any(row.values())]


def shown_rows(rows: Sequence[Mapping[str, str]], names: Sequence[str], *, empty: int = EMPTY_ROWS) -> list[Row]:
    """Rows for the form: the filled ones and some empty ones."""
    filled = [{name: str(row.get(name, "")) for name in names} for row in rows]
    return [*filled, *(dict.fromkeys(names, "") for _ in range(empty))][:MAX_ROWS]


def documents(rows: Sequence[Row]) -> list[Row]:
    """Rows as a document has them: without empty values, numbers without signs of currency and per cent."""
    return [
        {name: _number(value) if name in _NUMBERS else value for name, value in row.items() if value} for row in rows
    ]


def _number(text: str) -> str:
    return plain_amount(text.strip().removesuffix("%")).removeprefix("+")


_PLACES: Final = re.compile(r"(rates|changes|prices|credits)\[(\d+)\](?:\.(\w+))?:?")
_ROWS: Final = {"rates": "Rate", "changes": "Change", "prices": "Price", "credits": "Credit"}
_FIELDS: Final = {
    "percent_off": "per cent off",
    "percent": "per cent",
    "usd_per_unit": "price",
    "amount_usd": "amount",
    "token_kind": "kind",
    "from": "from",
    "to": "until before",
}


_HEADS: Final = {
    "name": "Name",
    "title": "Name",
    "channel": "For usage through",
    "from": "From",
    "to": "Until before",
    "source": "Source",
    "checked_on": "Checked on",
    "note": "Note",
}
# Where a row as a whole is wrong, it is because of its figure: none, two, or one out of range.
_OF_ROW: Final = {"rates": "percent_off", "changes": "percent", "prices": "usd_per_unit", "credits": "amount_usd"}
_PREFIXES: Final = {"rates": "rate", "changes": "change", "prices": "price", "credits": "credit"}


def worded(problems: Sequence[str]) -> tuple[str, ...]:
    """Problems of a document as this form names its fields: rates[0].percent_off → Rate 1, per cent off."""

    def place(match: re.Match[str]) -> str:
        row = f"{_ROWS[match[1]]} {int(match[2]) + 1}"
        return f"{row}, {_FIELDS.get(match[3], match[3].replace('_', ' '))}:" if match[3] else f"{row}:"

    def headed(problem: str) -> str:
        field, colon, said = problem.partition(": ")
        return f"{_HEADS[field]}: {said}" if colon and field in _HEADS else problem

    return tuple(_PLACES.sub(place, headed(problem)) for problem in problems)


def wrong_fields(problems: Sequence[str], *, unlisted: Mapping[str, int] | None = None) -> dict[str, str]:
    """The fields that problems of a document are about, each with the ids of their texts in billing/_problems.html.

    `unlisted`: rows of a document (changes, prices) that come before those of the form and are not in it.

    >>> wrong_fields(["rates[1].percent_off: 140; …", "source: missing; …", "rates[1].percent_off: …"])
    {'rate-1-percent_off': 'problem-1 problem-3', 'source': 'problem-2'}
    """
    found: dict[str, list[str]] = {}
    for number, problem in enumerate(problems, 1):
        match = _PLACES.match(problem)
        if match:
            field = match[3] or _OF_ROW[match[1]]
            name = f"{_PREFIXES[match[1]]}-{int(match[2]) - (unlisted or {}).get(match[1], 0)}-{field}"
        else:
            name = problem.partition(": ")[0]
        if match or name in _HEADS:
            found.setdefault(name, []).append(f"problem-{number}")
    return {name: " ".join(ids) for name, ids in found.items()}
