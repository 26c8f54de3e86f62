"""Spend as a table to download: ids beside their words, exact costs, every row."""

from collections.abc import Iterator
from typing import Final

from billing.exports.cells import Cell
from billing.exports.tables import Table
from costgov.dimension_words import words
from costgov.queries.spend import SpendReport, SpendRows

COUNTS: Final = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok",
                 "web_searches", "requests", "unpriced_tok", "unpriced_searches")  # fmt: skip


def spend_rows_table(report: SpendReport | SpendRows, name: str = "spend") -> Table:
    """Every row of a report, or rows made as they are read: ids beside their words, exact costs.

    A row of which nothing has a price has no cost.
    """
    named = words()
    worded = [key for key in report.by if key in ("class", "model", "cost_centre")]

    def rows() -> Iterator[list[Cell]]:
        for row in report.rows:
            yield [
                *row.group.values(),
                *(named.of(key, row.group[key]) for key in worded),
                row.cost_usd if row.cost_usd or not (row.unpriced_tok or row.unpriced_searches) else None,
                row.lowest_usd,
                row.highest_usd,
                *(getattr(row, key) for key in COUNTS),
            ]

    return Table(
        name,
        f"Spend by {', '.join(report.by)}",
        [*report.by, *(f"{key}_name" for key in worded), "cost_usd", "lowest_usd", "highest_usd", *COUNTS],
        rows(),
        [*["text"] * (len(report.by) + len(worded)), "usd", "usd", "usd", *["count"] * len(COUNTS)],
        count=report.row_count,
    )
