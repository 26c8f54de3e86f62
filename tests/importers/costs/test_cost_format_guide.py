"""The guide of cost formats names each format, and its page in docs repeats the table."""

from pathlib import Path

from billing.importers.cost_format_guide import COST_GUIDE, cost_guide_table
from billing.importers.cost_formats import cost_format_names

DOCS = Path(__file__).parents[3] / "docs" / "guide" / "cost-reports.md"


def test_every_format_has_one_entry() -> None:
    assert sorted(item.name for item in COST_GUIDE) == sorted(cost_format_names())


def test_the_docs_hold_the_table() -> None:
    assert cost_guide_table() in DOCS.read_text(), "put the result of cost_guide_table() into the guide"
