"""What the Claude Console's usage and cost downloads have in common: dates in UTC, whole counts, words for people."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from billing.core.periods import DAY, Period, PeriodError, day_start, parse_day
from billing.importers.base import MAX_TOKENS, Problem, shown

DATE: Final = "usage_date_utc"
_HOUR: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}):([0-9]{2})", re.ASCII)
_WHOLE: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_AS_DOWNLOADED: Final = "Use the file as it was downloaded; a spreadsheet that saved it anew has changed it"


def console_period(row: Mapping[str, str], line: int, problems: list[Problem]) -> Period | None:
    """A UTC day (`2026-11-09`) or hour (`2026-11-09 14:00`; its minute only says when the hour was looked at)."""
    text = row[DATE]
    match = _HOUR.fullmatch(text)
    try:
        start = day_start(parse_day(match[1] if match else text))
        if match:
            hour, minute = int(match[2]), int(match[3])
            if hour > 23 or minute > 59:
                raise PeriodError("no such time")
            start += timedelta(hours=hour)
            return Period(start, start + timedelta(hours=1))
        return Period(start, start + DAY)
    except (PeriodError, OverflowError):
        what = "not a date as the Console writes it (2026-11-09, or 2026-11-09 14:00)" if text else "missing"
        problems.append(Problem(line, DATE, shown(text) if text else "", what, _AS_DOWNLOADED))
        return None


def whole_count(row: Mapping[str, str], name: str, line: int, problems: list[Problem]) -> int:
    """A count written as plain digits; an absent column or empty field is 0."""
    text = row.get(name, "")
    if not text or _WHOLE.fullmatch(text):
        return int(text or 0)
    if re.fullmatch(r"-[0-9]+", text):
        what = "a count cannot be negative"
    elif re.fullmatch(r"[0-9]+", text):
        what = f"a count above {MAX_TOKENS:,}"
    else:
        what = "not a whole number of plain digits"
    problems.append(Problem(line, name, shown(text), what, _AS_DOWNLOADED))
    return 0
