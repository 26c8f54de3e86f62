"""The file of model releases: what sources say about each model, one row per model."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from billing.core.models import MODEL_TIERS, ModelNameError, ModelRelease, alias_table
from billing.importers.base import ImportRefused, Problem, shown
from billing.importers.price_csv import csv_rows, read_day

_REQUIRED: Final = ("canonical_id", "display_name", "tier", "source", "checked_on")
_NUMBERS: Final = ("tokenizer_generation", "max_input_tok", "min_cacheable_tok")
_COLUMNS: Final = (*_REQUIRED, *_NUMBERS, "family", "released_on", "retires_on", "is_allowed", "aliases", "note")


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """A release, and whether it may be a routing target."""

    release: ModelRelease
    is_allowed: bool


def read_model_releases(path: Path) -> tuple[ReleaseRow, ...]:
    """Raises ImportRefused with every bad row, or where two models claim one name."""
    found: list[ReleaseRow] = []
    problems: list[Problem] = []
    for line, row in csv_rows(path, path.name, required=_REQUIRED, known=_COLUMNS):
        read = _release(row, line)
        if isinstance(read, ReleaseRow):
            found.append(read)
        else:
            problems += read
    if problems:
        raise ImportRefused(path.name, problems)
    try:
        alias_table(row.release for row in found)
    except ModelNameError as error:
        raise ImportRefused.because(path.name, str(error), "Keep one of them") from error
    return tuple(found)


def _release(row: Mapping[str, str], line: int) -> ReleaseRow | list[Problem]:
    days = {name: read_day(row, name, line) for name in ("checked_on", "released_on", "retires_on")}
    numbers = {name: _number(row, name, line) for name in _NUMBERS}
    problems = [value for value in (*days.values(), *numbers.values()) if isinstance(value, Problem)]
    problems += [Problem(line, name, "", "missing", "Fill it in") for name in _REQUIRED if not row[name]]
    tier = next((tier for tier in MODEL_TIERS if tier == row["tier"]), None)
    if tier is None:
        problems.append(
            Problem(line, "tier", shown(row["tier"]), "unknown tier", f"Use one of {', '.join(MODEL_TIERS)}")
        )
    if row.get("is_allowed", "yes") not in ("yes", "no"):
        problems.append(Problem(line, "is_allowed", shown(row["is_allowed"]), "neither yes nor no", "Use yes or no"))
    checked_on = days["checked_on"]
    if problems or tier is None or not isinstance(checked_on, date):
        return problems
    note = row.get("note", "")
    release = ModelRelease(
        canonical_id=row["canonical_id"],
        display_name=row["display_name"],
        family=row.get("family", ""),
        aliases=tuple(row.get("aliases", "").split()),
        tier=tier,
        tokenizer_generation=numbers["tokenizer_generation"],  # type: ignore[arg-type]  # problems returned above
        max_input_tok=numbers["max_input_tok"],  # type: ignore[arg-type]
        min_cacheable_tok=numbers["min_cacheable_tok"],  # type: ignore[arg-type]
        released_on=days["released_on"],  # type: ignore[arg-type]
        retires_on=days["retires_on"],  # type: ignore[arg-type]
        source=row["source"] + (f". {note}" if note else ""),
        checked_on=checked_on,
    )
    return ReleaseRow(release, row.get("is_allowed", "yes") == "yes")


def _number(row: Mapping[str, str], field: str, line: int) -> int | Problem | None:
    text = row.get(field, "")
    if not text:
        return None
    if not (text.isascii() and text.isdecimal()):
        return Problem(line, field, shown(text), "not a whole number", "Write plain digits, or leave it empty")
    return int(text)
