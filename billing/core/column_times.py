"""Times as other people's tables write them, as instants. A time whose instant is not certain is refused."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

TIME_FORMATS: Final[Mapping[str, str]] = {
    "iso": "2026-11-09 14:00:00 or 2026-11-09",
    "dmy": "09.11.2026 14:00 or 09/11/2026 (day first)",
    "mdy": "11/09/2026 2:00 PM (month first)",
    "unix_s": "1794232800 (seconds since 1970)",
    "unix_ms": "1794232800000 (milliseconds since 1970)",
}
_CLOCK: Final = (
    r"(?:[T ,]+(?P<h>[0-9]{1,2}):(?P<m>[0-9]{2})(?::(?P<s>[0-9]{2})(?:[.,](?P<f>[0-9]{1,9}))?)?"
    r" ?(?P<ap>[AaPp]\.?[Mm]\.?)?)?"
)
_OFFSET: Final = r"(?: ?(?P<z>[Zz]|UTC|GMT|[+-][0-9]{2}(?::?[0-9]{2})?))?"
_PATTERNS: Final = {
    "iso": re.compile(r"(?P<y>[0-9]{4})[-/](?P<mo>[0-9]{1,2})[-/](?P<d>[0-9]{1,2})" + _CLOCK + _OFFSET, re.ASCII),
    "dmy": re.compile(r"(?P<d>[0-9]{1,2})[./-](?P<mo>[0-9]{1,2})[./-](?P<y>[0-9]{4})" + _CLOCK + _OFFSET, re.ASCII),
    "mdy": re.compile(r"(?P<mo>[0-9]{1,2})[./-](?P<d>[0-9]{1,2})[./-](?P<y>[0-9]{4})" + _CLOCK + _OFFSET, re.ASCII),
}
_SECONDS: Final = re.compile(r"[0-9]{9,11}(?:\.[0-9]{1,9})?", re.ASCII)
_MILLIS: Final = re.compile(r"[0-9]{12,14}(?:\.[0-9]{1,9})?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TimeError(ValueError):
    """A time that is not certainly one instant. `remedy`: what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(message)


@lru_cache(maxsize=64)
def zone_info(name: str) -> ZoneInfo | None:
    """The time zone of that name, or None."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def is_zone(name: str) -> bool:
    """A name of the IANA list."""
    return bool(name) and len(name) <= 64 and zone_info(name) is not None


def read_time(text: str, *, time_format: str, zone: str = "") -> datetime:
    """The instant in UTC. A zone in the text goes before `zone`. Raises TimeError.

    >>> read_time("09.11.2026 14:00", time_format="dmy", zone="Europe/Berlin").isoformat()
    '2026-11-09T13:00:00+00:00'
    """
    cleaned = " ".join(text.split())
    if time_format in ("unix_s", "unix_ms"):
        return _of_epoch(cleaned, time_format)
    match = _PATTERNS[time_format].fullmatch(cleaned)
    if match is None:
        raise TimeError(f"not a time written like {TIME_FORMATS[time_format]}", "Choose the format the column has")
    parts = match.groupdict()
    try:
        naive = datetime(  # noqa: DTZ001 - its zone is looked for below
            int(parts["y"]),
            int(parts["mo"]),
            int(parts["d"]),
            _hour(int(parts["h"] or 0), parts["ap"]),
            int(parts["m"] or 0),
            int(parts["s"] or 0),
            int((parts["f"] or "0")[:6].ljust(6, "0")),
        )
    except ValueError as error:
        raise TimeError(f"no such time ({error})", "Choose the format the column has, or correct the row") from error
    if parts["z"]:
        return _at_offset(naive, parts["z"])
    if not zone:
        raise TimeError("the time names no zone", "Say in which time zone the table's times are")
    return _in_zone(naive, zone)


def has_zone(text: str, *, time_format: str) -> bool:
    """The text itself says which instant it is."""
    if time_format in ("unix_s", "unix_ms"):
        return True
    match = _PATTERNS[time_format].fullmatch(" ".join(text.split()))
    return bool(match and match.group("z"))


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError(f"hour {hour} with AM or PM")
    return hour % 12 + (12 if half[0] in "pP" else 0)


def _of_epoch(text: str, time_format: str) -> datetime:
    seconds = time_format == "unix_s"
    if not (_SECONDS if seconds else _MILLIS).fullmatch(text):
        raise TimeError(
            f"not a number of {'seconds' if seconds else 'milliseconds'} since 1970", "Choose the format the column has"
        )
    whole, _, part = text.partition(".")
    # Whole microseconds, in integers: a float loses them. What is finer is cut off, never rounded into the next hour.
    micros = int(whole) * (1_000_000 if seconds else 1_000) + int(part.ljust(9, "0")[: 6 if seconds else 3] or 0)
    return _EPOCH + timedelta(microseconds=micros)


def _at_offset(naive: datetime, offset: str) -> datetime:
    if offset[0] in "+-":
        hours, minutes = int(offset[1:3]), int(offset[-2:]) if len(offset) > 3 else 0
        if hours > 14 or minutes > 59:
            raise TimeError(f"there is no offset {offset}", "Correct the row")
        shift = timedelta(hours=hours, minutes=minutes)
        naive = _moved(naive, -shift if offset[0] == "+" else shift)
    return naive.replace(tzinfo=UTC)


def _in_zone(naive: datetime, name: str) -> datetime:
    zone = zone_info(name)
    if zone is None:
        raise TimeError(f"there is no time zone {name!r}", "Choose one of the list, e.g. Europe/Berlin")
    earlier = naive.replace(tzinfo=zone, fold=0).utcoffset()
    later = naive.replace(tzinfo=zone, fold=1).utcoffset()
    if earlier is None or later is None:  # a zone of the list always tells
        raise TimeError(f"{name} tells no offset", "Choose another zone")
    if earlier == later:
        return _moved(naive, -earlier).replace(tzinfo=UTC)
    if earlier > later:
        raise TimeError(
            f"the clocks of {name} went back: the hour came twice",
            "Export the times in UTC or with their offset (+01:00); no setting can tell which of the two it was",
        )
    raise TimeError(
        f"the clocks of {name} went forward: there was no such time",
        "Check the time zone of the table; export the times in UTC if its clock was another",
    )


def _moved(naive: datetime, by: timedelta) -> datetime:
    try:
        return naive + by
    except OverflowError as error:
        raise TimeError("outside the calendar", "Correct the row") from error
