"""Filters that write values for people. None is always "–": what is not known is never shown as 0."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template

from billing.core import words
from billing.core.words import MINUS, percent_as_set, signed

register = template.Library()

UNKNOWN = "–"


def _decimal(value: Any) -> Decimal | None:
    """The number as a Decimal; None where there is none (also '' from a template, NaN from an estimate)."""
    if value is None or value == "":
        return None
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    return None if number.is_nan() else number


@register.filter
def usd(value: Any, places: int = 2) -> str:
    """$1,234.56; −$1,234.56; `usd:5` for prices of one request."""
    number = _decimal(value)
    return UNKNOWN if number is None else signed(number, int(places), "$")


@register.filter
def usd0(value: Any) -> str:
    """$1,235: estimates, where cents would claim too much."""
    return usd(value, 0)


@register.filter
def usd_signed(value: Any, places: int = 2) -> str:
    """+$12.00 or −$12.00: changes."""
    number = _decimal(value)
    return UNKNOWN if number is None else signed(number, int(places), "$", plus=True)


@register.filter
def usd_short(value: Any) -> str:
    """$1.2 k, $3.4 M: charts only."""
    number = _decimal(value)
    return UNKNOWN if number is None else _short(number, "$")


@register.filter
def tok(value: Any) -> str:
    """1.2 M tokens."""
    number = _decimal(value)
    if number is None:
        return UNKNOWN
    return f"{_short(number)} {'token' if number == 1 else 'tokens'}"


@register.filter
def short(value: Any) -> str:
    """1.2 M: a count where space is short."""
    number = _decimal(value)
    return UNKNOWN if number is None else _short(number)


def _short(number: Decimal, prefix: str = "") -> str:
    magnitude = abs(number)
    # Limits lie where the smaller unit would round up to 1,000.
    for limit, divisor, unit in (
        (Decimal("999950000"), Decimal(10**9), " B"),
        (Decimal("999950"), Decimal(10**6), " M"),
        (Decimal("999.5"), Decimal(10**3), " k"),
    ):
        if magnitude >= limit:
            return signed(number / divisor, 1, prefix, unit).replace(".0 ", " ")
    places = 2 if prefix and magnitude < 10 and magnitude != magnitude.to_integral_value() else 0
    return signed(number, places, prefix)


@register.filter
def grouped(value: Any) -> str:
    """1,234,567: a count."""
    return integer(value)


@register.filter
def integer(value: Any) -> str:
    """1,234,567: a count."""
    number = _decimal(value)
    return UNKNOWN if number is None else signed(number, 0)


@register.filter
def number(value: Any, places: int = 2) -> str:
    """1,234.56 without a unit."""
    found = _decimal(value)
    return UNKNOWN if found is None else signed(found, int(places))


@register.filter
def pct(value: Any, places: int = 1) -> str:
    """A share as per cent: 0.931 → 93.1%."""
    number = _decimal(value)
    return UNKNOWN if number is None else signed(number * 100, int(places), suffix="%")


@register.filter
def pct_set(value: Any) -> str:
    """A share somebody chose, exactly: a line of 92.5% read as 93% would stand above rates that reach it."""
    number = _decimal(value)
    return UNKNOWN if number is None else percent_as_set(number)


@register.filter
def rate_range(low: Any, high: Any) -> str:
    """An interval of shares: `low|rate_range:high`, 92.0–99.8%."""
    first, second = _decimal(low), _decimal(high)
    if first is None or second is None:
        return UNKNOWN
    return f"{signed(first * 100, 1)}–{signed(second * 100, 1)}%"


@register.filter
def pct_signed(value: Any, places: int = 1) -> str:
    """A relative change: −0.118 → −11.8%."""
    number = _decimal(value)
    return UNKNOWN if number is None else signed(number * 100, int(places), suffix="%", plus=True)


@register.filter
def magnitude(value: Any) -> Any:
    """The size of a change whose direction is said in words."""
    return None if value is None or value == "" else abs(value)


@register.filter
def points(value: Any, places: int = 1) -> str:
    """A difference of shares in percentage points: 0.02 → 2 points."""
    number = _decimal(value)
    if number is None:
        return UNKNOWN
    text = signed(number * 100, int(places))
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {'point' if text.lstrip(MINUS) == '1' else 'points'}"


@register.filter
def points_signed(value: Any, places: int = 1) -> str:
    """A difference of shares with its sign: −0.02 → −2 points."""
    number = _decimal(value)
    said = points(number, places)
    return f"+{said}" if number is not None and round(number * 100, int(places)) > 0 else said


@register.filter
def datefmt(value: Any) -> str:
    """22 Nov 2026. A moment is taken in UTC first: a day is a UTC day here."""
    day = _day(value)
    return UNKNOWN if day is None else f"{day.day} {day:%b %Y}"


@register.filter
def month(value: Any) -> str:
    """Nov 2026."""
    day = _day(value)
    return UNKNOWN if day is None else f"{day:%b %Y}"


@register.filter
def moment(value: Any) -> str:
    """22 Nov 2026, 15:20 UTC."""
    if not isinstance(value, datetime):
        return datefmt(value)
    at = value.astimezone(UTC)
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    return value if isinstance(value, date) else None


def period_text(first: date, last: date) -> str:
    """Both ends, inclusive: 1–22 Nov 2026, 1 Jun – 22 Nov 2026, 1 Dec 2025 – 22 Nov 2026."""
    if first == last:
        return datefmt(first)
    if (first.year, first.month) == (last.year, last.month):
        return f"{first.day}–{datefmt(last)}"
    start = f"{first.day} {first:%b}" if first.year == last.year else datefmt(first)
    return f"{start} – {datefmt(last)}"


@register.filter
def period(value: Any, end: Any = None) -> str:
    """A half-open period [start, end), said with both days: `start|period:end` or a pair, 1 Jun – 22 Nov 2026."""
    first, stop = (value, end) if end is not None else (value if isinstance(value, tuple | list) else (value, None))
    start_day, stop_day = _day(first), _day(stop)
    if start_day is None:
        return UNKNOWN
    if stop_day is None:
        return f"from {datefmt(start_day)}"
    return period_text(start_day, max(start_day, stop_day - timedelta(days=1)))


@register.filter
def first_sentence(text: str) -> str:
    """A note where the whole of it stands further down: up to its first full stop or colon."""
    return re.split(r"(?<=\.)\s|:\s", text, maxsplit=1)[0].removesuffix(".")


@register.filter
def unknown(value: Any) -> Any:
    """The value, or "–" where there is none."""
    return UNKNOWN if value is None or value == "" else value


@register.filter
def tier_label(value: Any) -> str:
    """frontier → Frontier; nothing → –."""
    return str(value).capitalize() if value else UNKNOWN


@register.filter
def channel(value: Any) -> str:
    """bedrock → Amazon Bedrock; nothing stays nothing."""
    return words.channel_name(str(value)) if value else ""


@register.filter
def get(mapping: Any, key: Any) -> Any:
    """mapping[key], or None: for tables keyed by a loop variable."""
    return mapping.get(key) if hasattr(mapping, "get") else None
