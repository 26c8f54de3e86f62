"""The rows of a spend report as a file."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from billing.exports.tables import csv_file
from costgov.queries.spend import UnknownDimension, spend, spend_rows
from costgov.queries.spend_tables import spend_rows_table
from tests.billing.month_world import OPUS, prices
from tests.billing.usage_rows import count_usage


@pytest.mark.django_db
def test_a_row_without_any_price_has_no_cost_rather_than_none_to_pay():
    prices()
    count_usage(OPUS, "2026-10-01", output_tok=1_000_000)
    count_usage("claude-never-priced", "2026-10-01", output_tok=1_000)
    report = spend(start=date(2026, 10, 1), end=date(2026, 10, 2), by=("model",))
    table = spend_rows_table(report)
    rows = {row[0]: row[list(table.columns).index("cost_usd")] for row in table.rows}
    assert rows == {OPUS: Decimal(25), "claude-never-priced": None}
    assert b'"claude-never-priced","claude-never-priced",,0,,' in b"".join(csv_file(spend_rows_table(report)))


@pytest.mark.django_db
def test_rows_made_one_by_one_are_those_of_the_report(monkeypatch):
    """In parts, so that a million rows need the memory of a few thousand; each part in the order of the whole."""
    monkeypatch.setattr("costgov.queries.spend._BATCH", 3)
    prices()
    for day in range(1, 9):
        count_usage(OPUS, f"2026-10-{day:02}", output_tok=day * 1_000_000, request_class="triage" if day % 2 else "")
        count_usage("claude-never-priced", f"2026-10-{day:02}", output_tok=day)
    days: dict[str, Any] = {"start": date(2026, 10, 1), "end": date(2026, 11, 1)}
    for by in (("model",), ("day", "class", "model"), ("class", "token_kind"), ()):
        for where in ({}, {"class": "triage"}, {"class": "nobody's"}):
            report, found = spend(**days, by=by, where=where), spend_rows(**days, by=by, where=where)
            assert tuple(found.rows) == report.rows, (by, where)
            assert found.row_count == len(report.rows)
    taken = spend_rows(**days, by=("day",))
    assert next(taken.rows).group == {"day": "2026-10-01"}
    with pytest.raises(UnknownDimension):
        spend_rows(**days, by=("nothing",))
    with pytest.raises(ValueError, match="named twice"):
        spend_rows(**days, by=("day", "day"))
