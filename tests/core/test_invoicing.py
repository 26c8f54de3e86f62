"""The base against invoices: literal cases, exact sums."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.billed import BaseAmount, BilledInvoice, BilledLine, InvoiceGroup
from billing.core.invoicing import reconcile_invoices
from billing.core.reconciliation import sums_by_cause
from billing.core.reconciling import Tolerance

TOLERANCE = Tolerance()


def base(amount: str, model: str = "opus", kind: str = "output", **changes: object) -> BaseAmount:
    return BaseAmount("anthropic", model, kind, "standard", Decimal(amount), **changes)  # type: ignore[arg-type]


def line(amount: str, category: str = "usage", position: int = 1, **words: Any) -> BilledLine:
    return BilledLine("INV-1", position, "anthropic", category, category, Decimal(amount), **words)


def invoice(*lines: BilledLine, total: str | None = None) -> BilledInvoice:
    payable = sum((one.amount_usd for one in lines), Decimal(0)) if total is None else Decimal(total)
    return BilledInvoice("INV-1", "anthropic", payable, lines)


def taxed(percent: str, *lines: BilledLine) -> BilledInvoice:
    """With a stated tax rate."""
    return replace(invoice(*lines), tax_percent=Decimal(percent))


def known(amount: str, category: str, explained: str) -> BilledLine:
    """A line that a record of our own explains, wholly or in part."""
    return replace(line(amount, category, 2), known_usd=Decimal(explained), reference="as booked")


def run(amounts: list[BaseAmount], *invoices: BilledInvoice) -> tuple[InvoiceGroup, ...]:
    return reconcile_invoices(amounts, invoices, tolerance=TOLERANCE)


CASES = [
    ("equal", [base("10")], invoice(line("10")), {}),
    ("rounding", [base("10.004")], invoice(line("10")), {"rounding": "-0.004"}),
    ("unknown", [base("10")], invoice(line("12")), {"unknown": "2"}),
    (
        "tax without a rate",
        [base("10")],
        invoice(line("10"), line("1.9", "tax", 2)),
        {"unchecked_tax": "1.9"},
    ),
    ("tax at 19 %", [base("10")], taxed("19", line("10"), line("1.9", "tax", 2)), {"tax": "1.9"}),
    (
        "tax at 19 % within a cent for each line",
        [base("10")],
        taxed("19", line("10"), line("1.92", "tax", 2)),
        {"tax": "1.9", "rounding": "0.02"},
    ),
    ("too much tax", [base("10")], taxed("19", line("10"), line("2.1", "tax", 2)), {"tax": "1.9", "unknown": "0.2"}),
    ("no tax but some", [base("10")], taxed("0", line("10"), line("2.1", "tax", 2)), {"unknown": "2.1"}),
    (
        "two taxes of one rate",
        [base("10")],
        taxed("19", line("10"), line("1", "tax", 2), line("0.9", "tax", 3)),
        {"tax": "1.9"},
    ),
    (
        "tax on what is left after a credit",
        [base("10")],
        taxed("19", line("10"), line("-2", "credit", 2), line("1.52", "tax", 3)),
        {"unknown": "-2", "tax": "1.52"},
    ),
    (
        "other tax than the report states",
        [base("10"), base("1", nature="tax")],
        invoice(line("10"), line("1.9", "tax", 2)),
        {"unknown": "0.9"},
    ),
    (
        "other tax than the report states, and right",
        [base("10"), base("1", nature="tax")],
        taxed("19", line("10"), line("1.9", "tax", 2)),
        {"tax": "0.9"},
    ),
    ("tax of the report alone", [base("10"), base("1", nature="tax")], invoice(line("10")), {"unknown": "-1"}),
    ("tax in both", [base("10"), base("1.9", nature="tax")], invoice(line("10"), line("1.9", "tax", 2)), {}),
    ("credit nobody expected", [base("10")], invoice(line("10"), line("-2", "credit", 2)), {"unknown": "-2"}),
    ("credit of a contract", [base("10")], invoice(line("10"), known("-2", "credit", "-2")), {"credit": "-2"}),
    (
        "credit beyond what is left",
        [base("10")],
        invoice(line("10"), known("-2", "credit", "-1.5")),
        {"credit": "-1.5", "unknown": "-0.5"},
    ),
    (
        "credit in both",
        [base("10"), base("-2", nature="credit")],
        invoice(line("10"), line("-2", "credit", 2)),
        {},
    ),
    (
        "credit in both and in a contract is no difference",
        [base("10"), base("-2", nature="credit")],
        invoice(line("10"), known("-2", "credit", "-2")),
        {},
    ),
    (
        "a credit in both, and another one",
        [base("10"), base("-2", nature="credit")],
        invoice(line("10"), line("-2", "credit", 2), line("-7", "credit", 3)),
        {"unknown": "-7"},
    ),
    (
        "smaller credit than the report states",
        [base("10"), base("-2", nature="credit")],
        invoice(line("10"), line("-1", "credit", 2)),
        {"unknown": "1"},
    ),
    (
        "credits of the report in one line",
        [base("10"), base("-2", nature="credit"), base("-3", nature="credit")],
        invoice(line("10"), line("-5", "credit", 2)),
        {},
    ),
    ("credit of the report alone", [base("10"), base("-2", nature="credit")], invoice(line("10")), {"unknown": "2"}),
    ("adjustment nobody expected", [base("10")], invoice(line("10"), line("3", "adjustment", 2)), {"unknown": "3"}),
    ("adjustment booked", [base("10")], invoice(line("10"), known("3", "adjustment", "3")), {"adjustment": "3"}),
    (
        "adjustment booked with more places",
        [base("10")],
        invoice(line("10"), known("3", "adjustment", "2.996")),
        {"adjustment": "2.996", "rounding": "0.004"},
    ),
    (
        "adjustment of another channel's report",
        [base("10"), BaseAmount("bedrock", "", "adjustment", "", Decimal(3), nature="adjustment")],
        invoice(line("10"), line("3", "adjustment", 2)),
        {"unknown": "0"},
    ),
    ("discount line", [base("10")], invoice(line("10"), line("-1", "discount", 2)), {"contract_discount": "-1"}),
    ("discounted amounts", [base("10", contract_usd=Decimal(9))], invoice(line("9")), {"contract_discount": "-1"}),
    ("commitment", [base("10")], invoice(line("10"), line("50", "commitment", 2)), {"commitment": "50"}),
    ("other", [base("10")], invoice(line("10"), line("5", "other", 2)), {"other_charge": "5"}),
    ("missing price", [base("0", is_open=True)], invoice(line("4")), {"missing_price": "4"}),
    (
        "usage without a price beside priced usage does not explain a typing error",
        [base("24941.29"), base("0", "preview", is_open=True)],
        invoice(line("123456")),
        {"unknown": "98514.71"},
    ),
    ("does not add up", [base("10")], invoice(line("10"), total="11"), {"unknown": "1"}),
    ("adds up but for a cent", [base("10")], invoice(line("10"), total="10.01"), {"rounding": "0.01"}),
    ("not on the invoice", [base("10"), base("4", "haiku")], invoice(line("10", model="opus")), {"unknown": "-4"}),
    (
        "a tier the base does not tell",
        [BaseAmount("anthropic", "", "web_search", "", Decimal(4))],
        invoice(line("4", kind="web_search", service_tier="standard")),
        {},
    ),
    (
        "code execution inside the line for all usage",
        [base("10"), base("0.4", "", "code_execution", nature="non_token")],
        invoice(line("10.40")),
        {},
    ),
    (
        "code execution as a line of its own",
        [base("10"), base("0.4", "", "code_execution", nature="non_token")],
        invoice(line("10"), line("0.40", "other", 2)),
        {},
    ),
]


@pytest.mark.parametrize(("name", "amounts", "billed", "expected"), CASES, ids=[case[0] for case in CASES])
def test_cases(name: str, amounts: list[BaseAmount], billed: BilledInvoice, expected: dict[str, str]) -> None:
    found = sums_by_cause(part for group in run(amounts, billed) for part in group.parts)
    assert {part.cause: part.amount_usd for part in found} == {
        cause: Decimal(amount) for cause, amount in expected.items()
    }


def test_an_amount_goes_to_the_most_specific_line() -> None:
    groups = run(
        [base("10"), base("3", kind="cache_read"), base("4", "haiku")],
        invoice(line("10", model="opus", kind="output"), line("3", position=2, model="opus"), line("4", position=3)),
    )
    assert [(group.title, f"{group.base_usd:f}", f"{group.difference_usd:f}") for group in groups] == [
        ("All usage", "4", "0"),
        ("opus", "3", "0"),
        ("opus, output", "10", "0"),
    ]


WORDS = st.sampled_from(["", "opus", "haiku"])
KINDS = st.sampled_from(["", "output", "code_execution"])
CENTS = st.decimals(min_value=-100, max_value=100, places=2, allow_nan=False)
BASES = st.builds(
    BaseAmount,
    channel=st.sampled_from(["anthropic", "bedrock"]),
    model=WORDS,
    kind=KINDS,
    service_tier=st.sampled_from(["standard", "batch"]),
    amount_usd=st.decimals(min_value=-100, max_value=100, places=6, allow_nan=False),
    nature=st.sampled_from(["usage", "non_token", "tax", "credit", "adjustment", "commitment"]),
    is_open=st.booleans(),
    contract_usd=st.none() | CENTS,
)
LINES = st.builds(
    BilledLine,
    invoice=st.just("INV-1"),
    position=st.integers(1, 9),
    channel=st.sampled_from(["anthropic", "bedrock"]),
    category=st.sampled_from(["usage", "commitment", "discount", "credit", "tax", "adjustment", "other"]),
    description=st.just(""),
    amount_usd=CENTS,
    model=WORDS,
    kind=KINDS,
    service_tier=st.sampled_from(["", "standard"]),
    known_usd=CENTS,
    reference=st.sampled_from(["", "as booked"]),
)


RATES = st.none() | st.decimals(min_value=0, max_value=100, places=2, allow_nan=False)


@given(st.lists(BASES, max_size=8), st.lists(LINES, max_size=8), CENTS, RATES, st.randoms(use_true_random=False))
def test_causes_sum_to_the_whole_difference_in_any_order(
    amounts: list[BaseAmount], lines: list[BilledLine], total: Decimal, rate: Decimal | None, random: object
) -> None:
    billed = BilledInvoice("INV-1", "anthropic", total, tuple(lines), tax_percent=rate)
    groups = run(amounts, billed)
    for group in groups:
        assert sum(Fraction(part.amount_usd) for part in group.parts) == Fraction(group.difference_usd)
    whole = Fraction(total) - sum(Fraction(amount.amount_usd) for amount in amounts)
    assert sum(Fraction(group.difference_usd) for group in groups) == whole
    mixed = list(amounts)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert run(mixed, billed) == groups
