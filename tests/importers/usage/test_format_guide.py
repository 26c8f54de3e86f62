"""The guide of formats names each format, and its page in docs repeats the table."""

from pathlib import Path

from billing.importers.format_guide import GUIDE, guide_table
from billing.importers.records import INPUT_INCLUDES_CACHE
from billing.importers.usage_formats import RECORD_FORMATS, format_names

DOCS = Path(__file__).parents[3] / "docs" / "guide" / "usage-formats.md"


def test_every_format_has_one_entry() -> None:
    names = [item.name for item in GUIDE]
    missing = set(format_names()) - set(names)
    assert not missing, f"describe {missing} in GUIDE of billing/importers/format_guide.py"
    assert sorted(names) == sorted(format_names())


def test_what_is_asked_is_said_so() -> None:
    asking = {item.name for item in RECORD_FORMATS if INPUT_INCLUDES_CACHE in item.switches}
    assert {item.name for item in GUIDE if item.input == "asked"} == asking


def test_the_docs_hold_the_table() -> None:
    assert guide_table() in DOCS.read_text(), "put the output of manage.py usage_formats --markdown into the guide"
