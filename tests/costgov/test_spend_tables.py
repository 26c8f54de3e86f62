"""The rows of a spend report as a file."""

from datetime import date
from decimal import Decimal

import pytest

from billing.exports.tables import csv_file
from costgov.queries.spend import spend
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
