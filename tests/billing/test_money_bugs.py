"""The money bugs that keep coming back in other tools: one test each, from a file through the database to dollars.

docs/algorithms/pricing.md, "Recurring money bugs", names each with what others do and the test here that fails if it
comes back. Every expected amount is written out: it is a price list and a calculator away.
"""

import csv
import json
import time
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from billing.importers.base import ImportRefused
from billing.models import CostReportLine, DailyUsage, Price
from billing.operations.imports import COSTS, ImportOptions, import_file
from billing.operations.prices import PRICES_FILE, RELEASES_FILE, seed_list_prices
from billing.queries.usage import cost_lines, priced_usage
from tests.billing.conftest import AS_OF, ImportIt
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

D = Decimal
DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
START, END = date(2025, 11, 1), date(2026, 12, 1)
SAMPLES = Path(__file__).parents[1] / "importers" / "costs" / "samples"
COST_REPORT = SAMPLES / "cost_report_by_workspace_description.json"


@pytest.fixture(autouse=True)
def shipped(db: None) -> None:
    """The shipped price list and model names."""
    seed_list_prices(as_of=AS_OF)


def lines(**where: Any) -> dict[str, tuple[int, Decimal]]:
    """Units and dollars by kind of everything that is counted."""
    found: dict[str, tuple[int, Decimal]] = {}
    for line in cost_lines(start=START, end=END, **where).lines:
        units, usd = found.get(line.token_kind, (0, D(0)))
        found[line.token_kind] = (units + line.units, usd + line.cost_usd)
    return found


def total() -> Decimal:
    """Dollars of everything that is counted, which must all be priced."""
    found = cost_lines(start=START, end=END)
    assert found.unpriced == ()
    return found.cost_usd


def by_day() -> dict[str, Decimal]:
    """Dollars of each day that has usage."""
    return {group.values[0]: group.cost_usd for group in priced_usage(start=START, end=END, by=("day",)).groups}


def litellm(*, text: int, read: int, w5: int = 0, w1h: int = 0, out: int = 0, number: int = 1) -> dict[str, Any]:
    """LiteLLM's payload of a request: `prompt_tokens` is everything, as LiteLLM writes it."""
    written = w5 + w1h
    usage = {
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "prompt_tokens_details": {
            "text_tokens": text,
            "cached_tokens": read,
            "cache_creation_tokens": written,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": w5, "ephemeral_1h_input_tokens": w1h},
        },
    }
    metadata = {"user_api_key_alias": "support-bot", "spend_logs_metadata": None, "usage_object": usage}
    return payload(number, prompt_tokens=text + read + written, completion_tokens=out, metadata=metadata)


def logged(*, text: int, read: int, w5: int = 0, w1h: int = 0, out: int = 0, **over: Any) -> dict[str, Any]:
    """The provider's own usage of the same request: `input_tokens` is what no cache had."""
    usage = {
        "input_tokens": text,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": w5 + w1h,
        "cache_creation": {"ephemeral_5m_input_tokens": w5, "ephemeral_1h_input_tokens": w1h},
        "output_tokens": out,
    }
    return envelope(over.pop("number", 1), usage=usage | over.pop("usage", {}), **over)


def test_cache_tokens_are_counted_once(import_it: ImportIt, tmp_path: Path) -> None:
    """LiteLLM's 1,320 prompt tokens hold 1,000 reads and 200 writes: 120 are left at the input price (Haiku 4.5)."""
    import_it(write_lines(tmp_path / "spend.jsonl", [litellm(text=120, read=1_000, w5=200, out=10)]))
    assert lines() == {
        "uncached_input": (120, D("0.00012")),
        "cache_read": (1_000, D("0.0001")),
        "cache_write_5m": (200, D("0.00025")),
        "output": (10, D("0.00005")),
    }
    assert total() == D("0.00052")


def test_cache_tokens_are_not_dropped(import_it: ImportIt, tmp_path: Path) -> None:
    """A warm agent loop: 8 tokens of input, and 130,000 from and to the cache that are most of the bill (Opus 4.5)."""
    row = logged(text=8, read=128_000, w5=2_000, out=50, model="claude-opus-4-5")
    import_it(write_lines(tmp_path / "log.jsonl", [row]))
    assert lines()["cache_read"] == (128_000, D("0.064"))
    assert lines()["cache_write_5m"] == (2_000, D("0.0125"))
    assert total() == D("0.07779")


@pytest.mark.parametrize(("w5", "w1h", "usd"), [(10**6, 0, "6.25"), (0, 10**6, "10"), (600_000, 400_000, "7.75")])
def test_one_hour_writes_have_their_own_price(import_it: ImportIt, tmp_path: Path, w5: int, w1h: int, usd: str) -> None:
    """A million tokens written to the cache of Opus 4.5, by a log, by LiteLLM and by the usage report: a day each."""
    model: dict[str, Any] = {"model": "claude-opus-4-5"}
    import_it(write_lines(tmp_path / "log.jsonl", [logged(text=0, read=0, w5=w5, w1h=w1h, **model)]))
    spent = litellm(text=0, read=0, w5=w5, w1h=w1h, number=2) | model
    import_it(write_lines(tmp_path / "spend.jsonl", [spent]))
    bucket = ("2026-11-11T00:00:00Z", "2026-11-12T00:00:00Z", [result(w5=w5, w1h=w1h, **model)])
    import_it(write_json(tmp_path / "report.json", report(bucket)))
    assert by_day() == {"2025-11-09": D(usd), "2026-11-09": D(usd), "2026-11-11": D(usd)}
    assert {kind: units for kind, (units, _) in lines().items()} == {
        kind: 3 * units for kind, units in (("cache_write_5m", w5), ("cache_write_1h", w1h)) if units
    }


def test_batch_halves_every_kind(import_it: ImportIt, tmp_path: Path) -> None:
    """Input, output and all three kinds of cache tokens; in the shipped list and in an imported report."""
    held: dict[tuple[str, ...], dict[str, Decimal | None]] = {}
    kinds = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    with PRICES_FILE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["web_search"] or row["speed"] != "standard":
                continue
            place = tuple(row[name] for name in ("model", "prompt_length_band", "geo", "valid_from", "valid_to"))
            held[(row["service_tier"], *place)] = {kind: D(row[kind]) if row[kind] else None for kind in kinds}
    batch = {place: prices for place, prices in held.items() if place[0] == "batch"}
    assert len(batch) > 40
    for place, prices in batch.items():
        standard = held["standard", *place[1:]]
        assert prices == {kind: None if usd is None else usd / 2 for kind, usd in standard.items()}, place
    million = 1_000_000
    told = {"uncached_input_tokens": million, "output_tokens": million, "read": million, "w5": million, "w1h": million}
    for number, (tier, usd) in enumerate([("standard", "46.75"), ("batch", "23.375")]):
        day = [f"2026-11-{9 + number + extra:02}T00:00:00Z" for extra in (0, 1)]
        row = result(model="claude-opus-4-5", service_tier=tier, **told)
        import_it(write_json(tmp_path / f"{tier}.json", report((day[0], day[1], [row]))))
        start = date(2026, 11, 9 + number)
        assert cost_lines(start=start, end=start + timedelta(days=1)).cost_usd == D(usd)


def test_the_prompt_length_is_the_requests_own(import_it: ImportIt, tmp_path: Path) -> None:
    """Haiku 5.5: 0.10 up to 100,000 tokens of prompt, 0.50 above for the whole request; cached tokens count as prompt.

    Three requests of one hour: 100,000, 100,001 (of which 90,000 read from the cache) and 60,000. Together they are
    260,001 tokens, which decides nothing.
    """
    model: dict[str, Any] = {"model": "claude-haiku-5-5"}
    rows = [
        logged(number=1, text=100_000, read=0, **model),
        logged(number=2, text=10_001, read=90_000, **model),
        logged(number=3, text=60_000, read=0, **model),
    ]
    import_it(write_lines(tmp_path / "log.jsonl", rows))
    # 160,000 × 0.10 + 10,001 × 0.50 + 90,000 × 0.05, per million.
    assert total() == D("0.016") + D("0.0050005") + D("0.0045")
    bands = DailyUsage.objects.values_list("prompt_length_band").annotate(tok=Sum("uncached_input_tok"))
    assert set(bands) == {("0-100k", 160_000), ("100k-200k", 10_001)}


def test_a_total_without_prompt_lengths_has_no_price_but_bounds(import_it: ImportIt, tmp_path: Path) -> None:
    """A day of 260,001 tokens of Haiku 5.5: not 0.50, because the sum is long, and not 0.10: from one to the other."""
    told = result(model="claude-haiku-5-5", uncached_input_tokens=260_001)
    import_it(write_json(tmp_path / "report.json", report((*DAY, [told]))))
    found = cost_lines(start=START, end=END)
    assert not found.lines and (found.cost_usd, found.unpriced_tok) == (D(0), 260_001)
    (line,) = found.unpriced
    assert (line.cause, line.lowest_usd, line.highest_usd) == ("data", D("0.0260001"), D("0.1300005"))


def test_a_new_price_leaves_the_days_before_it_alone(import_it: ImportIt, tmp_path: Path) -> None:
    """A million output tokens of Haiku 4.5 on the 9th and the 10th at 5 usd; from the 10th on it costs 4."""
    days = ("2026-11-09", "2026-11-10")
    rows = [logged(number=n, text=0, read=0, out=10**6, at=f"{day}T09:00:00Z") for n, day in enumerate(days)]
    import_it(write_lines(tmp_path / "log.jsonl", rows))
    assert total() == 10
    Price.objects.create(
        model="claude-haiku-4-5", token_kind="output", service_tier="standard", prompt_length_band="all", geo="global",
        speed="standard", usd_per_unit=4, valid_from=date(2026, 11, 10), source="test", checked_on=date(2026, 11, 10),
        proposed_at=AS_OF, approved_at=AS_OF,
    )  # fmt: skip
    assert by_day() == {"2026-11-09": 5, "2026-11-10": 4}


@pytest.fixture(params=["UTC", "America/Los_Angeles", "Pacific/Kiritimati"])
def machine_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The clock of the machine and of the database session in another zone."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE %s", [request.param])
    yield request.param
    monkeypatch.undo()
    time.tzset()
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")


def test_days_are_utc_days_wherever_the_machine_stands(import_it: ImportIt, tmp_path: Path, machine_zone: str) -> None:
    """A price changes at midnight UTC (Opus 4.6, 13 March 2026, prompts above 200,000 tokens: 10 → 5).

    Two seconds around it, one of them written with an offset; and a day of a report.
    """
    over: dict[str, Any] = {"model": "claude-opus-4-6"}
    rows = [
        logged(number=1, text=300_000, read=0, at="2026-03-12T23:59:59Z", **over),
        logged(number=2, text=300_000, read=0, at="2026-03-12T16:00:00-08:00", **over),
    ]
    import_it(write_lines(tmp_path / "log.jsonl", rows))
    told = result(uncached_input_tokens=1_000)
    import_it(write_json(tmp_path / "report.json", report((*DAY, [told]))))
    assert by_day() == {"2026-03-12": D("3"), "2026-03-13": D("1.5"), "2026-11-09": D("0.001")}


def test_no_float_touches_the_money(import_it: ImportIt, tmp_path: Path) -> None:
    """Tokens at 0.10, 0.01 and 0.125 per million, added a hundred times: in floats the last digits are others."""
    model: dict[str, Any] = {"model": "claude-haiku-5-5"}
    rows = [logged(number=n, text=n, read=3 * n, w5=7 * n, **model) for n in range(1, 101)]
    import_it(write_lines(tmp_path / "log.jsonl", rows))
    exact = D("0.000505") + D("0.0001515") + D("0.00441875")  # 5,050 × (0.10 + 3 × 0.01 + 7 × 0.125) / 1,000,000
    assert total() == exact == D("0.00507525")
    floats = sum(n * 0.1 / 1e6 + 3 * n * 0.01 / 1e6 + 7 * n * 0.125 / 1e6 for n in range(1, 101))
    assert D(floats) != exact  # why: this is what a float sum gives
    for by in ((), ("day",), ("model", "prompt_length_band")):
        groups = priced_usage(start=START, end=END, by=by).groups
        assert sum(group.cost_usd for group in groups) == exact
        assert all(type(group.cost_usd) is Decimal for group in groups)
    huge = result(model="claude-opus-4-5", output_tokens=999_999_999_999, uncached_input_tokens=1)
    import_it(write_json(tmp_path / "report.json", report(("2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z", [huge]))))
    everything = exact + D("24999999.999975") + D("0.000005")
    assert total() == everything
    (group,) = priced_usage(start=START, end=END).groups
    assert group.cost_usd == everything


def test_a_request_told_twice_is_billed_once(import_it: ImportIt, tmp_path: Path) -> None:
    """The same request twice in a file, again in a second file, and once more in LiteLLM's log of it."""
    row = logged(number=7, text=1_000, read=0, out=100)
    import_it(write_lines(tmp_path / "one.jsonl", [row, row]))
    second = import_it(write_lines(tmp_path / "two.jsonl", [row, logged(number=8, text=1_000, read=0, out=100)]))
    third = import_it(write_lines(tmp_path / "spend.jsonl", [litellm(text=1_000, read=0, out=100, number=7)]))
    assert (second.accepted, second.duplicates, third.accepted, third.duplicates) == (1, 1, 0, 1)
    assert lines()["output"] == (200, D("0.001"))
    assert total() == D("0.003")


def test_a_log_and_the_report_of_its_traffic_are_one_amount(import_it: ImportIt, tmp_path: Path) -> None:
    """The report says 1,500 tokens, the log explains 1,000 of them: 1,500 are billed, not 2,500."""
    import_it(write_lines(tmp_path / "log.jsonl", [logged(text=1_000, read=0)]))
    told = result(uncached_input_tokens=1_500, workspace_id="wrkspc_a", api_key_id="apikey_a")
    import_it(write_json(tmp_path / "report.json", report((*DAY, [told]))))
    assert lines() == {"uncached_input": (1_500, D("0.0015"))}


def test_searches_and_runtime_are_part_of_the_bill(import_it: ImportIt, tmp_path: Path) -> None:
    """10 usd per 1,000 searches beside the tokens; container and session hours are lines of the cost report."""
    row = logged(text=1_000, read=0, usage={"server_tool_use": {"web_search_requests": 3}})
    import_it(write_lines(tmp_path / "log.jsonl", [row]))
    assert lines() == {"uncached_input": (1_000, D("0.001")), "web_search": (3, D("0.03"))}
    assert total() == D("0.031")
    import_file(actor=None, path=COST_REPORT, as_of=AS_OF, options=ImportOptions(), kind=COSTS)
    stated = json.loads(COST_REPORT.read_text())
    cents: dict[str, Decimal] = {}
    for bucket in stated["data"]:
        for told in bucket["results"]:
            cents[told["cost_type"]] = cents.get(told["cost_type"], D(0)) + D(told["amount"])
    kept = dict(CostReportLine.objects.values_list("cost_type").annotate(usd=Sum("amount")))
    assert {"web_search", "code_execution", "session_usage"} <= set(kept)
    assert kept == {cost_type: amount / 100 for cost_type, amount in cents.items()}


def test_an_unknown_model_is_named_and_not_free(import_it: ImportIt, tmp_path: Path) -> None:
    """Its tokens are beside every total, with what to do; a model whose name begins alike lends it no price."""
    rows = [logged(number=1, text=1_000, read=0), logged(number=2, text=5_000, read=0, model="claude-opus-4-5-mini")]
    outcome = import_it(write_lines(tmp_path / "log.jsonl", rows))
    found = cost_lines(start=START, end=END)
    assert (found.cost_usd, found.unpriced_tok) == (D("0.001"), 5_000)
    (line,) = found.unpriced
    assert (line.model, line.cause, line.lowest_usd, line.highest_usd) == ("claude-opus-4-5-mini", "model", None, None)
    assert "alias" in line.remedy
    assert any("Unknown model claude-opus-4-5-mini (5,000 tokens)" in text for text in outcome.findings)
    (group,) = [one for one in priced_usage(start=START, end=END, by=("model",)).groups if not one.is_priced]
    assert (group.cost_usd, group.unpriced_tok) == (D(0), 5_000)


def test_inclusive_and_exclusive_input_cost_the_same(import_it: ImportIt, tmp_path: Path) -> None:
    """One request as the provider counts it (120 input beside the cache) and as LiteLLM does (1,320 with it)."""
    parts = {"text": 120, "read": 1_000, "w5": 150, "w1h": 50, "out": 30}
    import_it(write_lines(tmp_path / "spend.jsonl", [litellm(**parts)]))
    import_it(write_lines(tmp_path / "log.jsonl", [logged(number=2, **parts)]))
    assert by_day() == {"2025-11-09": D("0.0006575"), "2026-11-09": D("0.0006575")}
    assert lines()["uncached_input"] == (240, D("0.00024"))
    # A prompt smaller than its cached parts is neither: it is refused, not clamped to 0.
    wrong = litellm(text=0, read=1_000, number=3) | {"prompt_tokens": 900}
    with pytest.raises(ImportRefused, match="prompt_tokens = 900: smaller than its parts"):
        import_it(write_lines(tmp_path / "wrong.jsonl", [wrong]))


def test_every_name_of_a_model_has_its_price(import_it: ImportIt, tmp_path: Path) -> None:
    """Each canonical id, dated id and alias of the shipped list, as first-party, Bedrock, Vertex and routed names."""
    with RELEASES_FILE.open(encoding="utf-8", newline="") as file:
        named = {row["canonical_id"]: [row["canonical_id"], *row["aliases"].split()] for row in csv.DictReader(file)}
    rows: list[dict[str, Any]] = []
    expected = {}
    for model, names in named.items():
        routed = [f"us.anthropic.{names[-1]}-v1:0", f"anthropic/{model}", f"{model}@20260101"]
        spelled = [*names, *routed, model.upper()]
        for name in spelled:
            rows.append(logged(number=len(rows), text=1_000_000, read=0, model=name, at="2026-10-20T09:00:00Z"))
        expected[model] = 1_000_000 * len(spelled)
    import_it(write_lines(tmp_path / "log.jsonl", rows))
    found = cost_lines(start=START, end=END)
    # Above 100,000 tokens of prompt: two models whose long price nobody states are unpriced, under their own names.
    assert {line.model for line in found.unpriced} == {"claude-sonnet-4", "claude-sonnet-4-5"}
    counted = {line.model: line.units for line in found.lines}
    assert counted | {line.model: line.quantity for line in found.unpriced} == expected


def test_cents_are_not_dollars(import_it: ImportIt, tmp_path: Path) -> None:
    """The cost report states cents: "123.45" is 1.2345 usd, and the sample's two days are 60.944086 usd."""
    page = json.loads(COST_REPORT.read_text())
    import_file(actor=None, path=COST_REPORT, as_of=AS_OF, options=ImportOptions(), kind=COSTS)
    stated = sum((D(row["amount"]) for bucket in page["data"] for row in bucket["results"]), D(0))
    assert stated == D("6094.4086")
    assert CostReportLine.objects.aggregate(usd=Sum("amount"))["usd"] == D("60.944086")
    one = page | {"data": [page["data"][0] | {"results": [page["data"][0]["results"][0] | {"amount": "123.45"}]}]}
    path = write_json(tmp_path / "one.json", one)
    import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(), kind=COSTS)
    assert CostReportLine.objects.filter(period_start__date=date(2026, 11, 9)).get().amount == D("1.2345")
