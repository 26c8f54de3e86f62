"""Files that are broken, changed by a spreadsheet, or meant to hurt: refused with the place, or read exactly."""

import csv
import io
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.importers.anthropic_analytics_usage import AnthropicAnalyticsUsage
from billing.importers.base import ImportRefused
from billing.importers.console_usage_csv import ConsoleUsageCsv
from billing.importers.formats import identify_any
from tests.importers.costs.reading import SAMPLES, canonical, read

CONSOLE_COST = "console_cost_claude_api_cost_2026_11_09_to_2026_11_10.csv"
CONSOLE_USAGE = "console_usage_claude_api_tokens_2026_11_09_to_2026_11_10.csv"
FOCUS = "focus_1_2_claude_constructed.csv"
AWS = "aws_cur2_bedrock_claude_constructed.csv"
GOOGLE = "gcp_billing_export_vertex_claude_constructed.jsonl"
TABLES = (CONSOLE_COST, CONSOLE_USAGE, FOCUS, AWS)


def table(name: str, target: Path, column: str, value: str, *, row: int = 0) -> Path:
    """The sample with one field of one row changed."""
    rows = list(csv.DictReader(io.StringIO((SAMPLES / name).read_text())))
    rows[row][column] = value
    with target.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return target


def problems_of(path: Path) -> list[str]:
    """The bad rows of a cost file, each as its sentence."""
    return [str(problem) for problem in read(path).problems]


@pytest.mark.parametrize(
    ("name", "column", "value", "sentence"),
    [
        (
            CONSOLE_COST,
            "usage_date_utc",
            "05/11/2026",
            'usage_date_utc = "05/11/2026": not a date as the Console writes',
        ),
        (CONSOLE_COST, "cost_usd", "NaN", 'cost_usd = "NaN": not an amount; write plain digits'),
        (CONSOLE_COST, "cost_usd", "1e400", "cost_usd"),
        (CONSOLE_COST, "cost_usd", "0,95", "cost_usd"),
        (CONSOLE_COST, "cost_usd", "$0.95", "cost_usd"),
        (CONSOLE_COST, "cost_usd", "", "cost_usd"),
        (CONSOLE_COST, "cost_usd", "99999999999999", "out of range for an amount of money"),
        (CONSOLE_COST, "list_price_usd", "inf", "list_price_usd"),
        (FOCUS, "BilledCost", "NaN", 'BilledCost = "NaN": not a plain decimal number'),
        (FOCUS, "BilledCost", "1e400", "not a plain decimal number"),
        (FOCUS, "BilledCost", "1,200.00", "not a plain decimal number"),
        (FOCUS, "BilledCost", "", "BilledCost: missing"),
        (FOCUS, "ListCost", "-Infinity", "not a plain decimal number"),
        (FOCUS, "ChargePeriodStart", "31/12/2026", "not a time"),
        (FOCUS, "ChargePeriodStart", "2026-02-30T00:00:00Z", "not a time"),
        (FOCUS, "ChargePeriodEnd", "2026-11-09T00:00:00Z", "not after ChargePeriodStart"),
        (FOCUS, "ChargeCategory", "Fee", "not one of Usage, Purchase, Tax, Credit, Adjustment"),
        (FOCUS, "BillingCurrency", "", "no currency"),
        (FOCUS, "BillingCurrency", "=cmd|' /C calc'!A0", "no currency"),
        (AWS, "line_item_unblended_cost", "NaN", "not a plain decimal number"),
        (AWS, "line_item_usage_start_date", "9.11.2026", "not a time"),
        (AWS, "line_item_usage_end_date", "2026-11-09T13:00:00.000Z", "not after line_item_usage_start_date"),
    ],
)
def test_a_bad_field_is_named_with_its_line(tmp_path: Path, name: str, column: str, value: str, sentence: str) -> None:
    path = table(name, tmp_path / name, column, value)
    (problem,) = problems_of(path)
    assert problem.startswith(f"line 2: {column}")
    assert sentence in problem
    assert len(read(path).lines) == len(read(SAMPLES / name).lines) - 1


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("-5", "a count cannot be negative"),
        ("948220.5", "not a whole number of plain digits"),
        ("948,220", "not a whole number of plain digits"),
        ("NaN", "not a whole number of plain digits"),
        ("1e400", "not a whole number of plain digits"),
        ("１２", "not a whole number of plain digits"),
        ("9" * 13, "a count above 999,999,999,999"),
    ],
)
def test_a_bad_count_of_the_download_is_named(tmp_path: Path, value: str, sentence: str) -> None:
    path = table(CONSOLE_USAGE, tmp_path / "u.csv", "usage_input_tokens_no_cache", value)
    report = ConsoleUsageCsv().read(path, file_name="u.csv", canonical=canonical)
    (problem,) = report.problems
    assert str(problem).startswith("line 2: usage_input_tokens_no_cache = ")
    assert sentence in str(problem)
    assert (report.rejected, len([one for one in report.buckets if not one.counts.is_zero])) == (1, 7)


def test_days_and_hours_in_one_download_are_refused(tmp_path: Path) -> None:
    path = table(CONSOLE_USAGE, tmp_path / "u.csv", "usage_date_utc", "2026-11-09 14:05")
    with pytest.raises(ImportRefused, match="days and hours in one file"):
        ConsoleUsageCsv().read(path, file_name="u.csv", canonical=canonical)


@pytest.mark.parametrize("name", TABLES)
def test_a_spreadsheets_semicolons_are_an_error_not_a_guess(tmp_path: Path, name: str) -> None:
    rows = list(csv.reader(io.StringIO((SAMPLES / name).read_text())))
    path = tmp_path / name
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=";").writerows([row for row in rows if not any("," in field for field in row)][:1])
        csv.writer(file, delimiter=";").writerows(rows[1:])
    with pytest.raises(ImportRefused, match="the columns are separated by semicolons"):
        identify_any(path, file_name=name)


@pytest.mark.parametrize("name", TABLES)
def test_bytes_in_another_encoding_are_refused_where_text_needs_them(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    text = (
        (SAMPLES / name).read_text().replace("≤", "Ü").replace("Example Org", "Ünion").replace("Usage,arn", "Üsage,arn")
    )
    path.write_bytes(text.encode("latin-1"))
    fmt = identify_any(path, file_name=name)
    with pytest.raises(ImportRefused, match="not text in UTF-8"):
        fmt.read(path, file_name=name, canonical=canonical)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TABLES)
def test_a_byte_order_mark_changes_nothing(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text((SAMPLES / name).read_text(), encoding="utf-8-sig")
    fmt = identify_any(path, file_name=name)
    with_mark = fmt.read(path, file_name=name, canonical=canonical)  # type: ignore[union-attr]
    without = fmt.read(SAMPLES / name, file_name=name, canonical=canonical)  # type: ignore[union-attr]
    assert with_mark == without


@pytest.mark.parametrize("name", TABLES)
def test_a_row_of_another_width_is_refused_with_its_line(tmp_path: Path, name: str) -> None:
    lines = (SAMPLES / name).read_text().splitlines()
    path = tmp_path / name
    path.write_text("\n".join([*lines[:2], lines[2] + ",surplus", *lines[3:]]) + "\n")
    fmt = identify_any(path, file_name=name)
    with pytest.raises(ImportRefused, match=r"line 3: .* fields where the header names"):
        fmt.read(path, file_name=name, canonical=canonical)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", TABLES)
def test_a_truncated_table_is_refused(tmp_path: Path, name: str) -> None:
    data = (SAMPLES / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: data.rindex(b",", 0, len(data) - 40)])
    fmt = identify_any(path, file_name=name)
    with pytest.raises(ImportRefused, match=r"line [0-9]+: "):
        fmt.read(path, file_name=name, canonical=canonical)  # type: ignore[union-attr]


JSON_REPORTS = (
    "cost_report_by_workspace_description.json",
    "analytics_cost_page.json",
    "enterprise_analytics_cost_report.json",
)


@pytest.mark.parametrize("name", JSON_REPORTS)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9, 0.999])
def test_a_truncated_answer_is_known_and_refused(tmp_path: Path, name: str, share: float) -> None:
    data = (SAMPLES / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImportRefused, match="not valid JSON"):
        read(path)


def spoiled(name: str, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    page = json.loads((SAMPLES / name).read_text())
    first = page["data"][0]
    change(first["cost"] if "cost" in first else first["results"][0])
    target.write_text(json.dumps(page))
    return target


@pytest.mark.parametrize("name", JSON_REPORTS)
@pytest.mark.parametrize(
    ("amount", "sentence"),
    [
        ("NaN", "not an amount"),
        ("1e400", "not an amount"),
        ("12,5", "not an amount"),
        (12.5, "not text: the API gives cents as text"),
        (None, "missing"),
        ("0.12345678901234567", "more than 15 decimal places"),
        ("9" * 17, "out of range"),
    ],
)
def test_a_bad_amount_is_named(tmp_path: Path, name: str, amount: Any, sentence: str) -> None:
    path = spoiled(name, tmp_path / name, lambda holder: holder.update(amount=amount))
    (problem,) = problems_of(path)
    assert sentence in problem
    assert ".amount" in problem


@pytest.mark.parametrize("name", JSON_REPORTS)
def test_repeated_keys_and_constants_are_no_json(tmp_path: Path, name: str) -> None:
    text = (SAMPLES / name).read_text()
    for bad in (text.replace('"currency": "USD"', '"currency": "USD", "currency": "EUR"', 1), text + "NaN"):
        path = tmp_path / name
        path.write_text(bad)
        with pytest.raises(ImportRefused):
            read(path)


def test_overlapping_groups_are_refused(tmp_path: Path) -> None:
    page = json.loads((SAMPLES / "analytics_cost_page.json").read_text())
    page["data"][0]["group"]["rbac_group_id"] = "rbac_1"
    path = tmp_path / "a.json"
    path.write_text(json.dumps(page))
    with pytest.raises(ImportRefused, match=r"their rows sum to more than the total. Fetch the report without"):
        read(path)


def test_counters_that_do_not_sum_to_the_stated_total_are_refused(tmp_path: Path) -> None:
    page = json.loads((SAMPLES / "analytics_usage_page2.json").read_text())
    page["data"][0]["usage"]["output_tokens"] += 1
    path = tmp_path / "a.json"
    path.write_text(json.dumps(page))
    with pytest.raises(ImportRefused, match=r"total_tokens = 354000: the row's counters sum to 354001"):
        AnthropicAnalyticsUsage().read(path, file_name="a.json", canonical=canonical)


@pytest.mark.parametrize("count", [-1, 1.5, "12", 10**12, True])
def test_bad_counts_of_the_analytics_api_are_refused(tmp_path: Path, count: Any) -> None:
    page = json.loads((SAMPLES / "analytics_usage_page2.json").read_text())
    page["data"][0]["usage"]["cache_read_input_tokens"] = count
    path = tmp_path / "a.json"
    path.write_text(json.dumps(page))
    with pytest.raises(ImportRefused, match=r"usage.cache_read_input_tokens"):
        AnthropicAnalyticsUsage().read(path, file_name="a.json", canonical=canonical)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cost": "NaN"}, "not a plain decimal number"),
        ({"cost": None}, "missing"),
        ({"currency": None}, "no currency"),
        ({"usage_start_time": "yesterday"}, "not a time"),
        ({"invoice": {"month": "202613"}}, "not a month like 202611"),
        ({"credits": [{"amount": "much"}]}, "not a plain decimal number"),
    ],
)
def test_bad_google_rows_are_named(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    lines = (SAMPLES / GOOGLE).read_text().splitlines()
    path = tmp_path / GOOGLE
    path.write_text("\n".join([json.dumps({**json.loads(lines[0]), **change}), *lines[1:]]))
    (problem,) = problems_of(path)
    assert problem.startswith("line 1: ")
    assert sentence in problem


def test_google_amounts_never_pass_through_a_float(tmp_path: Path) -> None:
    lines = (SAMPLES / GOOGLE).read_text().splitlines()
    path = tmp_path / GOOGLE
    path.write_text("\n".join([lines[0].replace('"cost": 1.55', '"cost": 1.100000000000003'), *lines[1:]]))
    assert read(path).lines[0].amount == Decimal("1.100000000000003")


def test_a_cut_google_line_is_a_bad_row(tmp_path: Path) -> None:
    text = (SAMPLES / GOOGLE).read_text().rstrip()
    path = tmp_path / GOOGLE
    path.write_text(text[:-30])
    (problem,) = problems_of(path)
    assert problem.startswith("line 4: not a JSON object")


def test_amounts_of_many_places_are_rounded_to_fifteen_and_said(tmp_path: Path) -> None:
    path = table(FOCUS, tmp_path / "f.csv", "BilledCost", "0.12345678901234565")
    report = read(path)
    assert report.lines[0].amount == Decimal("0.123456789012346")
    assert "A number of more than 15 decimal places was rounded to 15 (1 time)." in report.findings


def test_fractional_tokens_are_a_cost_and_no_usage(tmp_path: Path) -> None:
    path = table(AWS, tmp_path / "a.csv", "line_item_usage_amount", "0.9482205")
    assert read(path).lines[0].quantity == Decimal("948220.5")


@pytest.mark.parametrize("unit", ["Units", "1M tokens", "1K tokens", "Tokens"])
def test_units_of_tokens(tmp_path: Path, unit: str) -> None:
    size = {"Units": 10**6, "1M tokens": 10**6, "1K tokens": 10**3, "Tokens": 1}[unit]
    path = table(AWS, tmp_path / "a.csv", "pricing_unit", unit)
    assert read(path).lines[0].quantity == Decimal("0.948220") * size


def test_both_grammars_of_bedrock_and_batches_are_understood(tmp_path: Path) -> None:
    told = {}
    for usage_type in (
        "USE1-Claude4.6Sonnet-input-tokens",
        "USE1-Claude4.6Sonnet-output-tokens-batch",
        "USE1-Claude4.6Sonnet-cache-read-input-token-count",
        "USE1-Claude4.6Sonnet-cache-write-input-token-count",
        "USW2-MP:USW2_cache_write_tokens_1h_standard-Units",
        "USW2-MP:USW2_cache_read_tokens_global_standard-Units",
        "USW2-MP:USW2_provisioned_hours-Units",
    ):
        line = read(table(AWS, tmp_path / "a.csv", "line_item_usage_type", usage_type)).lines[0]
        told[usage_type.split("-", 1)[1]] = (line.token_kind, line.service_tier, line.geo)
    assert told == {
        "Claude4.6Sonnet-input-tokens": ("uncached_input", "standard", "us-east-1"),
        "Claude4.6Sonnet-output-tokens-batch": ("output", "batch", "us-east-1"),
        "Claude4.6Sonnet-cache-read-input-token-count": ("cache_read", "standard", "us-east-1"),
        "Claude4.6Sonnet-cache-write-input-token-count": ("cache_write_5m", "standard", "us-east-1"),
        "MP:USW2_cache_write_tokens_1h_standard-Units": ("cache_write_1h", "standard", "us-east-1"),
        "MP:USW2_cache_read_tokens_global_standard-Units": ("cache_read", "standard", "global"),
        "MP:USW2_provisioned_hours-Units": ("", "", "us-east-1"),
    }


def test_consumption_units_have_no_model_and_no_tokens(tmp_path: Path) -> None:
    path = table(AWS, tmp_path / "a.csv", "product", '{"product_name": "Claude Consumption Units"}')
    line = read(path).lines[0]
    assert (line.channel, line.cost_type, line.model, line.token_kind, line.unit) == (
        "platform_aws",
        "consumption_units",
        "",
        "",
        "CCU",
    )


def test_slashed_names_of_the_older_report(tmp_path: Path) -> None:
    header, *rest = (SAMPLES / AWS).read_text().splitlines()

    def slashed(name: str) -> str:
        for prefix, old in (("line_item_", "lineItem/"), ("bill_", "bill/"), ("pricing_", "pricing/")):
            if name.startswith(prefix):
                words = name.removeprefix(prefix).split("_")
                return old + "".join(word.capitalize() for word in words)
        return name

    path = tmp_path / "old.csv"
    path.write_text("\n".join([",".join(slashed(name) for name in header.split(",")), *rest]) + "\n")
    assert [line.amount for line in read(path).lines] == [line.amount for line in read(SAMPLES / AWS).lines]


def test_focus_in_json_lines_and_other_letters(tmp_path: Path) -> None:
    rows = list(csv.DictReader(io.StringIO((SAMPLES / FOCUS).read_text())))
    path = tmp_path / "focus.jsonl"
    path.write_text("\n".join(json.dumps({name.lower(): value or None for name, value in row.items()}) for row in rows))
    found, expected = read(path), read(SAMPLES / FOCUS)
    assert [(one.amount, one.model, one.token_kind, one.tags) for one in found.lines] == [
        (one.amount, one.model, one.token_kind, one.tags) for one in expected.lines
    ]
    assert "Column billedcost was read as BilledCost (1 time)." in found.findings


def test_deep_nesting_and_long_fields_do_no_harm(tmp_path: Path) -> None:
    deep = "[" * 100_000
    path = table(FOCUS, tmp_path / "f.csv", "Tags", '{"a": ' + deep)
    report = read(path)
    assert report.lines[0].tags == {}
    assert "Tags was no JSON object and was left out (1 time)." in report.findings
    path = tmp_path / "deep.json"
    path.write_text('{"data": ' + deep)
    with pytest.raises(ImportRefused):
        read(path)


def test_a_hundred_thousand_models_in_one_bill(tmp_path: Path) -> None:
    header = "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,cost_type"
    path = tmp_path / "many.csv"
    path.write_text(
        header
        + "\n"
        + "".join(
            f"2026-11-09,Model {number},Default,k,message,≤ 200k,output,0.01,token\n" for number in range(100_000)
        )
    )
    report = read(path)  # comparing each with all others would take hours, which nobody overlooks: no clock is needed
    assert len({line.model for line in report.lines}) == len(report.lines) == 100_000
    assert sum(line.amount for line in report.lines) == 1000
