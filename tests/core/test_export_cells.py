"""Exported cells: nothing computes, numbers stay numbers, and a CSV reader gives back what was put in."""

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import python_calamine
from hypothesis import given
from hypothesis import strategies as st

from billing.exports import tables
from billing.exports.cells import csv_bytes, csv_cell, original_text, plain_decimal, safe_text
from billing.exports.tables import Table, TooManyRows, csv_file, xlsx_file

D = Decimal
ATTACKS = [
    "=1+1", "+1", "-1+2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "'=1", '"=1', "＝1+1", "＠SUM",
    "=cmd|'/c calc'!A1", '=HYPERLINK("http://x","y")', "a;=1", "a,=1", 'a";=1', "a\t=1", "a\n=1", "a|@x", "a; -2+3",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_cell_begins_a_formula_however_the_file_is_split(attack):
    text = safe_text(attack)
    for separator in (",", ";", "\t", "|"):
        line = text.replace("\n", separator).replace("\r", separator)
        for field in next(iter(csv.reader(io.StringIO(line), delimiter=separator)), []):
            assert field.strip(" '\"")[:1] not in set("=+-@＝＋－＠") or field.strip(' "').startswith("'"), field
    assert text[0] not in "\t\r\n"
    assert original_text(text) == attack


@given(st.text(max_size=20))
def test_harmless_or_not_the_text_comes_back(text):
    cleaned = text.replace("\x00", "")
    if cleaned.startswith("'") or any(f"{c}'" in cleaned.replace(" ", "") for c in ";,|\t\r\n'\""):
        return  # an apostrophe of its own in just that place cannot be told from ours
    assert original_text(safe_text(text)) == cleaned


@pytest.mark.parametrize(
    ("text", "safe"),
    [("claude-opus-4-5", "claude-opus-4-5"), ("2026-11-22", "2026-11-22"), ("a - b", "a - b"), ("x@y.org", "x@y.org"),
     ("5 = 5", "5 = 5"), ("", ""), ("-5", "'-5"), ('{"cost_centre": "R&D"}', '{"cost_centre": "R&D"}')],
)  # fmt: skip
def test_ordinary_text_stays_as_it_is(text, safe):
    assert safe_text(text) == safe


@pytest.mark.parametrize(
    ("value", "cell"),
    [(D("-12.50"), "-12.5"), (D("1E+3"), "1000"), (D("1E-9"), "0.000000001"), (D("-0.0"), "0"), (0, "0"), (-3, "-3"),
     (None, ""), (True, "true"), (date(2026, 11, 2), "2026-11-02"), ("=1", '"\'=1"'), ('a"b', '"a""b"'),
     (datetime(2026, 11, 2, 8, tzinfo=UTC), "2026-11-02T08:00:00Z"), (0.25, "0.25")],
)  # fmt: skip
def test_cells(value, cell):
    assert csv_cell(value) == cell


@given(st.lists(st.tuples(st.text(max_size=8), st.decimals(-(10**12), 10**12, places=15), st.integers()), max_size=6))
def test_a_csv_reader_gives_the_numbers_back_exactly(rows):
    data = b"".join(csv_bytes(("name", "usd", "units"), rows)).decode()
    found = list(csv.reader(io.StringIO(data, newline="")))
    assert found[0] == ["name", "usd", "units"] and len(found) == len(rows) + 1
    for (text, usd, units), line in zip(rows, found[1:], strict=True):
        assert D(line[1]) == usd and int(line[2]) == units and line[0] == safe_text(text)


def workbook(table):
    data = b"".join(xlsx_file(table))
    return python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()


def test_a_workbook_holds_text_as_text_and_numbers_as_numbers():
    rows: list[list[Any]] = [[attack, D("12.34"), 5, date(2026, 11, 2)] for attack in ATTACKS]
    table = Table("x", "A: [test]/table with a very long title indeed", ["name", "usd", "n", "day"], rows,
                  ("text", "usd", "count", "date"))  # fmt: skip
    found = workbook(table)
    assert found[0] == ["name", "usd", "n", "day"]
    for attack, line in zip(ATTACKS, found[1:], strict=True):
        assert line[1:] == [12.34, 5.0, date(2026, 11, 2)]
        assert line[0].replace("_x000D_", "\r").replace("\r\n", "\n").strip() == attack.strip()


def test_amounts_stay_numbers_whatever_their_digits():
    """Written as text, 2506.868753859356935 would be missing from every sum over its column."""
    found = workbook(Table("x", "t", ["a"], [[D("2506.868753859356935")], [D("-13.490915609356935")]], ("usd",)))
    assert sum(row[0] for row in found[1:]) == pytest.approx(2493.37783825, abs=1e-9)
    assert workbook(Table("x", "t", ["a"], [[None], [D("-0.125")]], ("usd",)))[1:] == [[""], [-0.125]]


def test_whole_numbers_too_long_for_a_spreadsheet_are_written_out():
    found = workbook(Table("x", "t", ["a", "b"], [[D("1234567890123456789"), 2**63]], ("usd", "count")))
    assert found[1] == ["1234567890123456789", "9223372036854775808"]


def test_more_rows_than_a_workbook_holds_are_refused(monkeypatch):
    monkeypatch.setattr(tables, "XLSX_MOST_ROWS", 3)
    with pytest.raises(TooManyRows, match="download it as CSV"):
        list(xlsx_file(Table("x", "t", ["a"], [[n] for n in range(4)])))


def test_a_workbook_that_is_known_to_be_too_long_is_refused_before_a_row_is_made():
    """Writing a million rows first would take a minute, only to be thrown away."""
    rows = (pytest.fail("a row was made") for _ in range(1))
    with pytest.raises(TooManyRows, match="holds 1,048,575 rows and this table has 1,048,576: download it as CSV"):
        next(xlsx_file(Table("x", "t", ["a"], rows, count=1_048_576)))


@pytest.mark.parametrize("char", ["x", "\N{PILE OF POO}"])  # a cell's length is counted in halves of the latter
def test_a_text_longer_than_a_cell_is_never_cut_without_a_word(char):
    table = Table("x", "t", ["a"], [[char * 40_000], [char * 10_000]])
    (cut,), (whole,) = workbook(table)[1:]
    assert cut.endswith(" … (cut: 40,000 characters; the CSV has all of them)")
    assert len(cut.encode("utf-16-le")) // 2 <= 32_767
    assert cut.startswith(char * 16_000)
    assert whole == char * 10_000
    assert char * 40_000 in b"".join(csv_file(table)).decode()


def test_rows_are_taken_one_by_one():
    """Pieces come while rows are still being made: a million rows never lie in memory."""
    taken = 0

    def rows():
        nonlocal taken
        for number in range(100_000):
            taken = number
            yield ["x" * 20, number]

    pieces = csv_file(Table("x", "t", ["a", "b"], rows()))
    next(pieces)
    assert taken < 5_000
    assert sum(piece.count(b"\r\n") for piece in pieces) > 90_000


def test_plain_decimals():
    assert [plain_decimal(D(text)) for text in ("1.500", "100", "1E+2", "0E-15", "-0.10")] == [
        "1.5", "100", "100", "0", "-0.1",
    ]  # fmt: skip
