"""Price files of our own form: one row per model, service tier, band, geo, speed and start, one column per kind.

The shipped list prices have this form, and so has what an organisation keeps of its own. A file is read whole or
refused with every problem in it; nothing here knows what is already held.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

from billing.core.money import MoneyError, parse_usd
from billing.core.pricebook import BANDS_TOK, Price, PriceError
from billing.core.usage import PRICED_KINDS, PricedKind
from billing.importers.base import Head, ImportRefused, Problem, shown
from billing.importers.tables import checked_rows

REQUIRED: Final = ("model", "source", "checked_on")
OPTIONAL: Final = ("service_tier", "prompt_length_band", "geo", "speed", "valid_from", "valid_to", "note")
COLUMNS: Final = (*REQUIRED, *OPTIONAL, *PRICED_KINDS)
_DEFAULTS: Final = {
    "service_tier": "standard",
    "prompt_length_band": "all",
    "geo": "global",
    "speed": "standard",
}


class PriceCsv:
    """One row per model, service tier, band, geo, speed and start; a column per kind of usage."""

    name = "csv"
    title = "CSV with the columns model, source, checked_on and one column per kind of usage"
    is_suggestion = False

    def claims(self, head: Head) -> bool:
        first = head.text.lstrip().split("\n", 1)[0]
        names = {name.strip().strip('"') for name in first.split(",")}
        return not first.startswith(("{", "[")) and len(names & set(COLUMNS)) >= 2

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], checked_on: date
    ) -> tuple[Price, ...]:
        """Every price of the file. Raises ImportRefused with every bad row."""
        prices, problems = [], []
        for line, row in csv_rows(path, file_name, required=REQUIRED, known=COLUMNS, some_of=PRICED_KINDS):
            found, bad = _prices(row, line, canonical)
            prices += found
            problems += bad
        if problems:
            raise ImportRefused(file_name, problems)
        return tuple(prices)


def csv_rows(
    path: Path, file_name: str, *, required: tuple[str, ...], known: tuple[str, ...], some_of: tuple[str, ...] = ()
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Rows of a CSV file with their line, stripped. Raises ImportRefused for a bad header, encoding or row shape."""

    def check(names: Sequence[str]) -> None:
        _check_header(names, file_name, required, known, some_of)

    return checked_rows(path, file_name, check)


def _check_header(
    names: Sequence[str], file_name: str, required: tuple[str, ...], known: tuple[str, ...], some_of: tuple[str, ...]
) -> None:
    missing = [name for name in required if name not in names]
    if some_of and not set(some_of) & set(names):
        missing.append("at least one of " + ", ".join(some_of))
    if missing:
        raise ImportRefused.because(
            file_name, f"missing columns: {'; '.join(missing)}", f"The columns are {', '.join(known)}", line=1
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    unknown = [name for name in names if name not in known]
    if twice or unknown:
        what = "columns named twice" if twice else "unknown columns"
        raise ImportRefused.because(
            file_name, f"{what}: {', '.join(twice or unknown)}", f"The columns are {', '.join(known)}", line=1
        )


def read_day(row: Mapping[str, str], field: str, line: int | None) -> date | Problem | None:
    """A date of a row as YYYY-MM-DD, None where it is empty."""
    text = row.get(field, "")
    if not text:
        return None
    try:
        if len(text) != 10:
            raise ValueError(text)
        return date.fromisoformat(text)
    except ValueError:
        return Problem(line, field, shown(text), "not a date", "Write it as 2026-11-22")


def _prices(row: Mapping[str, str], line: int, canonical: Callable[[str], str]) -> tuple[list[Price], list[Problem]]:
    days = {name: read_day(row, name, line) for name in ("valid_from", "valid_to", "checked_on")}
    problems = [day for day in days.values() if isinstance(day, Problem)]
    problems += [
        Problem(line, name, "", "missing", "A price needs its model, its source and the day it was checked")
        for name in REQUIRED
        if not row[name]
    ]
    band = row.get("prompt_length_band") or "all"
    if band not in BANDS_TOK:
        problems.append(
            Problem(line, "prompt_length_band", shown(band), "unknown band", f"Use one of {', '.join(BANDS_TOK)}")
        )
    stated = {kind: row[kind] for kind in PRICED_KINDS if row.get(kind)}
    if not stated:
        problems.append(Problem(line, "", "", "the row states no price", f"Fill one of {', '.join(PRICED_KINDS)}"))
    if problems:
        return [], problems
    prices = []
    for kind, text in stated.items():
        found = _price(row, kind, text, line, days, canonical)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            prices.append(found)
    return prices, problems


def _price(
    row: Mapping[str, str],
    kind: PricedKind,
    text: str,
    line: int,
    days: Mapping[str, date | Problem | None],
    canonical: Callable[[str], str],
) -> Price | Problem:
    checked_on, valid_from, valid_to = days["checked_on"], days["valid_from"], days["valid_to"]
    assert isinstance(checked_on, date)
    assert not isinstance(valid_from, Problem) and not isinstance(valid_to, Problem)
    try:
        return Price(
            model=canonical(row["model"]),
            token_kind=kind,
            usd_per_unit=parse_usd(text),
            source=row["source"],
            checked_on=checked_on,
            valid_from=valid_from,
            valid_to=valid_to,
            note=row.get("note", ""),
            service_tier=row.get("service_tier") or _DEFAULTS["service_tier"],
            prompt_length_band=row.get("prompt_length_band") or _DEFAULTS["prompt_length_band"],
            geo=row.get("geo") or _DEFAULTS["geo"],
            speed=row.get("speed") or _DEFAULTS["speed"],
        )
    except MoneyError as error:
        return Problem(line, kind, shown(text), str(error), "Write plain usd per million tokens, e.g. 0.30")
    except PriceError as error:
        return Problem(line, kind, shown(text), str(error), "Correct the row")
