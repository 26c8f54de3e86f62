"""The bill of one real account, reproduced to the cent through a real import and `spend`.

Usage: `nazt/claude-usage-report` @ a90d429ea98e7e44b5f14ccf1d103399d9922048 : data.json (MIT), 5 December 2025 to
5 February 2026: token totals of five models, one of which is not Claude; messages per day. It publishes no money and
tells neither how long the prompts were nor how long cache writes live. Read in place; only the figures below are kept,
which `expected_usd` computes from the list prices without a line of costgov.
"""

import csv
import os
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from billing.core.money import round_usd
from billing.models import DailyUsage
from billing.operations.imports import import_file
from billing.operations.prices import seed_list_prices
from billing.queries.usage import cost_lines
from costgov.queries.spend import spend
from tests.billing.conftest import AS_OF, import_it, var  # noqa: F401 - fixtures
from tests.core import price_oracle
from tests.importers.usage.envelopes import report, result, write_json

START, END = date(2025, 12, 5), date(2026, 2, 6)
D = Decimal
# In usd, exact: prompts up to 200,000 tokens, writes for five minutes; then the same with writes for one hour.
BILL = {
    "claude-opus-4-5": (D("11941.040418"), D("14899.463118")),
    "claude-sonnet-4-5": (D("561.6205773"), D("775.7560428")),
    "claude-opus-4-6": (D("33.71336025"), D("42.5394465")),
    "claude-haiku-4-5": (D("0.3258375"), D("0.521304")),
}
TOTAL = (D("12536.70019305"), D("15718.2799113"))
IN_CENTS = (D("12536.70"), D("15718.28"))
UNPRICED = {"glm-4.7": 529_433 + 91_675 + 9_081_565}
COLUMNS = {"input_tokens": "uncached_input", "output_tokens": "output", "cache_read_tokens": "cache_read"}


@pytest.fixture
def account():
    """Tokens per model as published, and messages per day."""
    shared = os.environ.get("COSTGOV_SHARED")
    folder = Path(shared or "") / "data" / "usage"
    if not shared or not folder.is_dir():
        pytest.skip("COSTGOV_SHARED does not lead to data/usage: there is no account to bill")
    with (folder / "claude_code_one_account_model_totals.csv").open(encoding="utf-8", newline="") as file:
        models = list(csv.DictReader(file))
    with (folder / "claude_code_one_account_daily.csv").open(encoding="utf-8", newline="") as file:
        messages = {row["date"]: int(row["messages"]) for row in csv.DictReader(file)}
    return models, messages


def expected_usd(models, write_kind):
    """Exact dollars by model, from the text of the price list; every day of the account has the same prices."""
    bill = {}
    for row in models:
        name = row["model"].rsplit("-20", 1)[0]
        total = Fraction(0)
        for column, kind in (*COLUMNS.items(), ("cache_write_tokens", write_kind)):
            prices = {
                price_oracle.unit_prices(name, kind, "standard", "0-200k", "global", "standard", day.isoformat())
                for day in (START, date(2026, 2, 5))
            }
            if prices == {()}:
                break
            ((femto,),) = prices
            total += Fraction(int(row[column]) * femto, price_oracle.FEMTO)
        else:
            bill[name] = total
    return bill


def by_day(total, messages):
    """Whole tokens over the days in proportion to messages; the parts sum to the total."""
    done, seen, everything = 0, 0, sum(messages.values())
    for day, count in sorted(messages.items()):
        seen += count
        upto = total * seen // everything
        yield day, upto - done
        done = upto


def as_report(account, *, lifetime, context_window):
    """The account as a usage report of its 46 days with activity: one row per model and day."""
    models, messages = account
    rows: dict[str, dict[str, dict[str, int]]] = {day: {} for day in messages}
    columns = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    for row in models:
        for column in columns:
            for day, tokens in by_day(int(row[column]), messages):
                rows[day].setdefault(row["model"], {})[column] = tokens
    buckets = []
    for day, by_model in sorted(rows.items()):
        results = [
            result(
                model=model, uncached_input_tokens=told["input_tokens"], output_tokens=told["output_tokens"],
                read=told["cache_read_tokens"], service_tier="standard", context_window=context_window,
                **{lifetime: told["cache_write_tokens"]},
            )
            for model, told in by_model.items()
        ]  # fmt: skip
        end = date.fromordinal(date.fromisoformat(day).toordinal() + 1)
        buckets.append((f"{day}T00:00:00Z", f"{end}T00:00:00Z", results))
    return report(*buckets)


def import_account(tmp_path, account, **options):
    seed_list_prices(as_of=AS_OF)
    path = write_json(tmp_path / "account.json", as_report(account, **options))
    return import_file(actor=None, path=path, as_of=AS_OF)


@pytest.mark.django_db
@pytest.mark.parametrize(("lifetime", "kind", "place"), [("w5", "cache_write_5m", 0), ("w1h", "cache_write_1h", 1)])
def test_the_account_costs_what_it_costs(var, account, tmp_path, lifetime, kind, place):  # noqa: F811
    assert expected_usd(account[0], kind) == {model: Fraction(usd[place]) for model, usd in BILL.items()}
    outcome = import_account(tmp_path, account, lifetime=lifetime, context_window="0-200k")
    found = spend(start=START, end=END, by=("model",))
    priced = {row.group["model"]: row.cost_usd for row in found.rows if row.cost_usd}
    assert priced == {model: usd[place] for model, usd in BILL.items()}
    assert found.total.cost_usd == TOTAL[place] == sum(usd[place] for usd in BILL.values())
    assert round_usd(found.total.cost_usd) == IN_CENTS[place]
    # Whatever is not Claude is named with its tokens, and in no total.
    assert {row.group["model"]: row.unpriced_tok for row in found.rows if row.unpriced_tok} == UNPRICED
    assert {line.model for line in found.unpriced} == {"glm-4.7"} and {line.cause for line in found.unpriced} == {
        "model"
    }
    assert any("Unknown model glm-4.7 (9,702,673 tokens)" in text for text in outcome.findings)
    # The days of a month and the lines say the same.
    assert sum(row.cost_usd for row in spend(start=START, end=END, by=("day", "model")).rows) == TOTAL[place]
    assert cost_lines(start=START, end=END).cost_usd == TOTAL[place]
    assert DailyUsage.objects.values("date").distinct().count() == 46


@pytest.mark.django_db
def test_without_prompt_lengths_two_models_keep_an_interval(var, account, tmp_path):  # noqa: F811
    """Above 200,000 tokens Sonnet 4.5 and Opus 4.6 cost more then: without the length no price, but bounds."""
    import_account(tmp_path, account, lifetime="w5", context_window=None)
    found = spend(start=START, end=END, by=("model",))
    assert {row.group["model"]: row.cost_usd for row in found.rows if row.cost_usd} == {
        model: BILL[model][0] for model in ("claude-opus-4-5", "claude-haiku-4-5")
    }
    bounds = {"claude-sonnet-4-5": [D(0), D(0)], "claude-opus-4-6": [D(0), D(0)]}
    for line in found.unpriced:
        if line.model in bounds:
            assert line.cause == "data" and line.lowest_usd is not None and line.highest_usd is not None
            bounds[line.model][0] += line.lowest_usd
            bounds[line.model][1] += line.highest_usd
    # Twice the input and half as much again for output.
    outputs = {"claude-sonnet-4-5": D("21.43797"), "claude-opus-4-6": D("1.0414")}
    for model, (low, high) in bounds.items():
        assert low == BILL[model][0]
        assert high == 2 * low - outputs[model] / 2
