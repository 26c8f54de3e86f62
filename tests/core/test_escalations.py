"""Tokens a request passed on to another model: whose they are, and what they cost the class."""

from decimal import Decimal as D

import pytest

from billing.queries.profiles import ServedUsage
from routing.core.escalations import passed_on, passed_text, passed_usd
from routing.core.levers import ModelRates, Rates

OPUS = ModelRates("opus", Rates(D(5), D("0.5"), D("6.25"), D(10), D(25)), None)
HAIKU = ModelRates("haiku", Rates(D(1), D("0.1"), D("1.25"), D(2), D(5)), None)


def row(model: str, requests: int | None, **tokens: int) -> ServedUsage:
    counts = dict.fromkeys(
        ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok"), 0
    )
    return ServedUsage("triage", model, requests, 0, **(counts | tokens))


def rates(model: str) -> ModelRates | str:
    return {"opus": OPUS, "haiku": HAIKU}.get(model, f"{model} has no price")


@pytest.mark.parametrize(
    ("requests", "incumbent", "passed"),
    [
        ({"haiku": 1_000, "opus": 0}, "haiku", ["opus"]),
        ({"haiku": 1_000, "opus": 1}, "haiku", []),  # a request of its own: a model that serves
        ({"haiku": 1_000, "opus": 0}, "opus", []),  # the target of a policy nobody has followed yet
        ({"haiku": 1_000, "opus": 0, "sonnet": 0}, "haiku", ["opus", "sonnet"]),
        ({"haiku": None, "opus": 0}, "haiku", []),  # a report without counts of requests
        ({"haiku": 0, "opus": 0}, "haiku", []),
        ({}, "haiku", []),
    ],
)
def test_what_is_passed_on(requests: dict[str, int | None], incumbent: str, passed: list[str]) -> None:
    served = [row(model, count) for model, count in requests.items()]
    assert [each.model for each in passed_on(served, incumbent=incumbent)] == passed


def test_every_kind_of_token_at_its_own_price() -> None:
    passed = [
        row("opus", 0, uncached_input_tok=100_000, cache_read_tok=200_000, output_tok=10_000),
        row("haiku", 0, cache_write_5m_tok=400_000, cache_write_1h_tok=100_000),
    ]
    # 0.5 + 0.1 + 0.25 on Opus, 0.5 + 0.2 on Haiku; nobody passes anything on to itself
    assert passed_usd(passed, "sonnet", rates) == D("1.55")
    assert passed_usd(passed, "opus", rates) == D("0.7")
    assert passed_usd(passed, "haiku", rates) == D("0.85")
    assert passed_usd([*passed, row("who", 0, output_tok=9)], "sonnet", rates) == D("1.55")
    assert passed_usd([], "opus", rates) == 0
    assert passed_text(passed, "opus", D("0.0007")) == "; 0.000700 usd of it is passed on to haiku"
    assert passed_text(passed[:1], "opus", D(0)) == passed_text([], "opus", D(0)) == ""
