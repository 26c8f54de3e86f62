"""A time is the same instant whether DuckDB reads the file at once or Python reads it row by row."""

import json
from datetime import UTC, date, datetime

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.periods import PeriodError, parse_instant
from billing.importers.sql import MACROS


@pytest.fixture(scope="module")
def connection() -> duckdb.DuckDBPyConnection:
    made = duckdb.connect()
    made.execute("SET TimeZone = 'UTC'")
    for macro in MACROS:
        made.execute(macro)
    return made


def at_once(connection: duckdb.DuckDBPyConnection, written: str) -> datetime | None:
    row = connection.execute("SELECT instant(CAST(? AS JSON))", [json.dumps(written)]).fetchone()
    assert row is not None
    return row[0].replace(tzinfo=UTC) if row[0] else None


def row_by_row(written: str) -> datetime | None:
    try:
        return parse_instant(written)
    except PeriodError:
        return None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-09T10:00:00Z", "2026-11-09T10:00:00+00:00"),
        ("2026-11-09T10:00:00.123Z", "2026-11-09T10:00:00.123000+00:00"),
        ("2026-11-09 10:00z", "2026-11-09T10:00:00+00:00"),
        ("2026-10-25T02:30:00+02:00", "2026-10-25T00:30:00+00:00"),
        ("2026-11-09T10:00:00+2359", "2026-11-08T10:01:00+00:00"),
        ("2026-11-09T10:00:00-23:59", "2026-11-10T09:59:00+00:00"),
        ("2026-11-09T10:00:00+24:00", None),
        ("2026-11-09T10:00:00+99:00", None),
        ("2026-11-09T10:00:00+12:60", None),
        ("2026-11-09T24:00:00Z", None),
        ("2026-11-09T24:00:00.000Z", None),
        ("2026-11-09T24:00Z", None),
        ("2026-11-09T23:59:60Z", None),
        ("2026-11-09T10:60:00Z", None),
        ("2026-02-29T10:00:00Z", None),
        ("2026-11-09T10:00:00", None),
        ("2026-11-09", None),
        ("20261109T100000Z", None),
        ("2026-11-09T10:00:00.123456Z", "2026-11-09T10:00:00.123456+00:00"),
        ("2026-11-09T10:00:00.123456+00:00", "2026-11-09T10:00:00.123456+00:00"),
        ("2026-11- 9T10:00:00Z", None),
        ("2026-11-9 T10:00:00Z", None),
        ("2026-11-09T10:00:+1Z", None),
        ("2026-11-09T10:00:00.-12Z", None),
        ("2026-11-09T10:00:00.12 Z", None),
        ("+026-11-09T10:00:00.123Z", None),
        ("2026-11-09T10:00:00.1234_6+00:00", None),
        ("2026-11-09T٠٩:00:00Z", None),
    ],
)
def test_both_readings_of_a_time(connection: duckdb.DuckDBPyConnection, written: str, expected: str | None) -> None:
    wanted = datetime.fromisoformat(expected) if expected else None
    assert at_once(connection, written) == wanted
    assert row_by_row(written) == wanted


@given(
    day=st.dates(min_value=date(2020, 1, 2), max_value=date(2100, 1, 1)),
    hour=st.integers(0, 25),
    minute=st.integers(0, 61),
    second=st.sampled_from(["", ":00", ":59", ":60", ":07.5", ":07.125", ":07.123456"]),
    zone=st.one_of(
        st.sampled_from(["Z", "z", ""]),
        st.builds("{}{:02d}{}{:02d}".format, st.sampled_from("+-"), st.integers(0, 26), st.sampled_from([":", ""]),
                  st.integers(0, 61)),
    ),
)  # fmt: skip
def test_every_time_is_read_alike(
    connection: duckdb.DuckDBPyConnection, day: date, hour: int, minute: int, second: str, zone: str
) -> None:
    written = f"{day.isoformat()}T{hour:02d}:{minute:02d}{second}{zone}"
    assert at_once(connection, written) == row_by_row(written)
