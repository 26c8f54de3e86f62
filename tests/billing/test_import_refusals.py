"""Bad files: each is refused with file, line or field, value and remedy, and leaves nothing but its refusal."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from billing.importers.base import MAX_WHOLE_BYTES, ImportRefused
from billing.models import Import, UsageSource
from tests.billing.conftest import ImportIt, everything
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")


def text(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def good(count: int) -> list[Any]:
    return [envelope(number) for number in range(count)]


def with_usage(**usage: Any) -> str:
    return json.dumps(envelope(7, usage=usage))


# name, file name, bytes, what the message must hold
BAD_FILES: list[tuple[str, str, bytes, tuple[str, ...]]] = [
    ("0 bytes", "empty.jsonl", b"", ("empty.jsonl", "empty (0 bytes)", "Export it again")),
    ("blank", "blank.jsonl", b"\n\n  \n", ("blank.jsonl", "holds nothing", "Export it again")),
    (
        "truncated JSON lines",
        "cut.jsonl",
        text(good(3)).encode()[:-40],
        ("cut.jsonl: line 3", "not valid JSON at character", "cut off"),
    ),
    (
        "truncated report",
        "cut.json",
        json.dumps(report((*DAY, [result(output_tokens=5)]))).encode()[:-30],
        ("cut.json: line 1", "not valid JSON", "fetch the page again"),
    ),
    (
        "truncated gzip",
        "cut.jsonl.gz",
        gzip.compress(text(good(3000)).encode(), mtime=0)[:-200],
        ("cut.jsonl.gz", "compressed file ends early", "Copy or export the file again"),
    ),
    (
        "missing field",
        "log.jsonl",
        text([*good(1), with_usage(output_tokens=None)]).encode(),
        ("log.jsonl: line 2: response.usage.output_tokens: missing", "Log the usage object"),
    ),
    (
        "no timestamp",
        "log.jsonl",
        text([envelope(1, timestamp=None), *good(1)]).encode(),
        ("log.jsonl: line 1: timestamp: missing", "like 2026-11-09T14:00:00Z"),
    ),
    (
        "negative count",
        "log.jsonl",
        text([*good(2), with_usage(input_tokens=-5)]).encode(),
        ("log.jsonl: line 3: response.usage.input_tokens = -5: a count cannot be negative", "Correct the row"),
    ),
    (
        "negative count in a report",
        "report.json",
        json.dumps(report((*DAY, [result(output_tokens=-1)]))).encode(),
        ("report.json: data[0].results[0].output_tokens = -1: a count cannot be negative", "Correct"),
    ),
    (
        "a year before Claude",
        "log.jsonl",
        text([*good(2), envelope(7, "0001-01-01T00:00:00Z")]).encode(),
        ("log.jsonl: line 3: timestamp = 0001-01-01T00:00:00Z: before 2020", "Correct the time, or the clock"),
    ),
    (
        "the future",
        "log.jsonl",
        text([*good(1), envelope(7, "2026-11-24T12:00:00Z")]).encode(),
        ("line 2: timestamp = 2026-11-24T12:00:00Z: in the future: it is 2026-11-23T12:00Z now", "the clock"),
    ),
    (
        "the future in LiteLLM's seconds",
        "spend.jsonl",
        text([payload(1), payload(2, started=3_900_000_000.0)]).encode(),
        ("spend.jsonl: line 2: startTime = 2093-08-01T", "in the future"),
    ),
    (
        "the future in a report",
        "report.json",
        json.dumps(report(("2100-01-01T00:00:00Z", "2100-01-02T00:00:00Z", [result(output_tokens=1)]))).encode(),
        ("report.json: starting_at = 2100-01-01T00:00:00Z: in the future", "Correct the time"),
    ),
    (
        "bad row in the middle",
        "log.jsonl",
        text([*good(5), '{"timestamp": ', *good(4)]).encode(),
        ("log.jsonl: line 6: not valid JSON at character", "mend it"),
    ),
    (
        "NaN",
        "log.jsonl",
        text([*good(1), with_usage(output_tokens=0).replace('"output_tokens": 0', '"output_tokens": NaN')]).encode(),
        ("log.jsonl: line 2: NaN is not a JSON number", "Correct the row"),
    ),
    (
        "1e400",
        "log.jsonl",
        text([*good(1), with_usage(output_tokens=0).replace('"output_tokens": 0', '"output_tokens": 1e400')]).encode(),
        ("log.jsonl: line 2: response.usage.output_tokens", "not a whole number"),
    ),
    (
        "huge count",
        "log.jsonl",
        text([*good(1), with_usage(output_tokens=10**12)]).encode(),
        ("line 2: response.usage.output_tokens = 1000000000000: a count above 999,999,999,999", "Correct the row"),
    ),
    (
        "bad UTF-8",
        "log.jsonl",
        text(good(1)).encode() + json.dumps(envelope(2)).encode().replace(b"wrkspc_a", b"wrkspc_\xff") + b"\n",
        ("log.jsonl: line 2: not valid JSON text in UTF-8", "export the file again"),
    ),
    (
        "a key twice",
        "log.jsonl",
        text([*good(1), '{"timestamp": 1, "timestamp": 2}']).encode(),
        ("log.jsonl: line 2: key 'timestamp' occurs twice", "Correct the row"),
    ),
    (
        "not an object",
        "log.jsonl",
        text([*good(1), "[1, 2]"]).encode(),
        ("log.jsonl: line 2: not a JSON object", "one request per line"),
    ),
    (
        "CSV",
        "costs.csv",
        b"usage_date_utc,cost_usd\n2026-11-09,1.50\n",
        ("costs.csv: this holds costs, not usage: Claude Console cost download", "manage.py import_costs"),
    ),
    (
        "an eval result",
        "eval.json",
        b'{"results": {"results": []}}',
        ('eval.json: none of the known formats recognises the file: its objects have the keys "results"', "--format"),
    ),
    (
        "a cost report",
        "cost.json",
        json.dumps(report((*DAY, [{"amount": "12.5", "currency": "USD"}]))).encode(),
        ("cost.json: this holds costs, not usage: Anthropic Admin API cost report", "import_costs"),
    ),
    (
        "a report without buckets",
        "report.json",
        b'{"data": [], "has_more": false, "next_page": null}',
        ("report.json: the report has no buckets", "starting_at"),
    ),
    (
        "too much in one value",
        "array.json",
        b"[\n" + json.dumps(payload(1)).encode() + b",\n" + b" " * MAX_WHOLE_BYTES + b"{}]",
        ("array.json: more than 64 MiB of JSON", "jq -c"),
    ),
]


@pytest.mark.parametrize(("name", "data", "wanted"), [case[1:] for case in BAD_FILES], ids=[c[0] for c in BAD_FILES])
def test_a_bad_file_is_named_and_leaves_nothing(
    import_it: ImportIt, var: Path, tmp_path: Path, name: str, data: bytes, wanted: tuple[str, ...]
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    before = everything(var, without=("billing_import",))
    with pytest.raises(ImportRefused) as refused:
        import_it(path)
    for part in wanted:
        assert part in str(refused.value)
    assert everything(var, without=("billing_import",)) == before
    row = Import.objects.get()
    assert (row.state, row.error, row.accepted) == ("failed", str(refused.value), 0)
    assert path.read_bytes() == data


def test_a_bad_file_after_a_good_one_changes_nothing(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "good.jsonl", good(5)))
    before = everything(var, without=("billing_import",))
    with pytest.raises(ImportRefused, match="line 3"):
        import_it(write_lines(tmp_path / "bad.jsonl", [envelope(8), envelope(9), "{"]))
    assert everything(var, without=("billing_import",)) == before


def test_all_problems_are_kept_but_five_are_told(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "bad.jsonl", [envelope(n, usage={"input_tokens": -n}) for n in range(130)])
    with pytest.raises(ImportRefused) as refused:
        import_it(path)
    assert refused.value.count == 129
    assert str(refused.value).endswith("and 124 more problems; nothing was imported.")
    row = Import.objects.get()
    assert row.rejected == 129
    assert row.problems[0] == {
        "line": 2,
        "field": "response.usage.input_tokens",
        "value": "-1",
        "message": "a count cannot be negative",
        "remedy": "Correct the row at its source",
    }
    assert len(row.problems) == 100


def test_the_good_rows_of_a_bad_file_and_its_list(import_it: ImportIt, tmp_path: Path) -> None:
    rows = [envelope(1), "{oops", envelope(2), envelope(3, usage={"output_tokens": -1}), envelope(4)]
    outcome = import_it(write_lines(tmp_path / "mixed.jsonl", rows), good_rows=True)
    assert (outcome.accepted, outcome.rejected) == (3, 2)
    assert [(problem["line"], problem["field"]) for problem in outcome.problems] == [
        (2, ""),
        (4, "response.usage.output_tokens"),
    ]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("CRLF", text(good(4)).replace("\n", "\r\n").encode()),
        ("byte order mark", b"\xef\xbb\xbf" + text(good(4)).encode()),
        ("no line end at the end", text(good(4)).rstrip("\n").encode()),
        ("blank lines between", text(good(4)).replace("\n", "\n\n").encode()),
        ("one array", json.dumps(good(4)).encode()),
        ("an indented array", json.dumps(good(4), indent=1).encode()),
        (
            "gzip in two members",
            gzip.compress(text(good(4)[:2]).encode(), mtime=0) + gzip.compress(text(good(4)[2:]).encode(), mtime=0),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_odd_but_good_files(import_it: ImportIt, tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(data)
    outcome = import_it(path)
    assert (outcome.state, outcome.accepted, outcome.rejected) == ("done", 4, 0)


def test_a_report_with_a_byte_order_mark(import_it: ImportIt, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(report((*DAY, [result(output_tokens=5)]))).encode())
    assert import_it(path).accepted == 1


def test_a_source_holds_one_grain(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", good(2)), source="Gateway")
    path = write_json(tmp_path / "report.json", report((*DAY, [result(output_tokens=5)])))
    with pytest.raises(ImportRefused, match="source 'Gateway' holds request-level usage, this file does not"):
        import_it(path, source="Gateway")
    assert list(UsageSource.objects.values_list("name", flat=True)) == ["Gateway"]


def test_a_path_that_is_not_there(import_it: ImportIt, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"gone\.jsonl: there is no such file\. Check the path"):
        import_it(tmp_path / "gone.jsonl")
    assert not Import.objects.exists()


def test_prompt_text_is_neither_stored_nor_shown(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    secret = "the secret prompt of a customer"
    rows = [envelope(n, request={"model": "claude-haiku-4-5", "messages": [secret]}) for n in range(3)]
    rows[1]["response"]["content"] = [{"type": "text", "text": secret}]
    bad = json.dumps(envelope(9, tags={"note": secret * 60}, usage={"input_tokens": -1}))
    outcome = import_it(write_lines(tmp_path / "log.jsonl", [*rows, bad]), good_rows=True)
    assert outcome.accepted == 3
    assert secret not in json.dumps(outcome.problems)
    assert not [path for path in var.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
