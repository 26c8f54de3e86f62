"""Which invoice lines booked adjustments and contracts' credits explain: each amount once, in the invoices' order."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.core.billed import BilledInvoice, BilledLine
from billing.core.contracts import Credit
from billing.core.expecting import Due, Granted, explained
from billing.core.issuers import issuer_key, number_key
from billing.core.reconciling import Tolerance

USD = Decimal
SEP, OCT, NOV = date(2026, 9, 1), date(2026, 10, 1), date(2026, 11, 1)


def due(number: int, amount: str, **changes: object) -> Due:
    """An amount of September's cost report, booked in October, due from Anthropic."""
    one = Due(number, SEP, "cost_report", USD(amount), OCT, date(2026, 10, 20), frozenset({"anthropic"}))
    return replace(one, **changes)  # type: ignore[arg-type]


def bill(*amounts: str, month: date = OCT, category: str = "adjustment", issuer: str = "Anthropic") -> BilledInvoice:
    number = f"INV-{month:%m}"
    lines = tuple(
        BilledLine(number, position, "anthropic", category, "as printed", USD(amount), issuer=issuer)
        for position, amount in enumerate(amounts, 1)
    )
    return BilledInvoice(number, "anthropic", USD(0), lines, issuer, month, date(2026, month.month, 28))


ADJUSTED = [
    ("the amount", [due(1, "2.5")], [bill("2.50")], ["2.5"]),
    ("within a cent", [due(1, "2.4951")], [bill("2.50")], ["2.4951"]),
    ("beyond a cent", [due(1, "2.48")], [bill("2.50")], ["0"]),
    ("another sign", [due(1, "2.5")], [bill("-2.50")], ["0"]),
    ("more than is due", [due(1, "2.5")], [bill("3.00")], ["0"]),
    ("less than is due", [due(1, "2.5")], [bill("2.00")], ["0"]),
    ("twice on one invoice", [due(1, "2.5")], [bill("2.50", "2.50")], ["2.5", "0"]),
    ("twice on two invoices", [due(1, "2.5")], [bill("2.50"), bill("2.50", month=NOV)], ["2.5", "0"]),
    ("booked twice, billed twice", [due(1, "2.5"), due(2, "2.5")], [bill("2.50", "2.50")], ["2.5", "2.5"]),
    ("a month later", [due(1, "2.5")], [bill("2.50", month=NOV)], ["2.5"]),
    ("before it was booked", [due(1, "2.5", booked_month=NOV)], [bill("2.50")], ["0"]),
    ("from another issuer", [due(1, "2.5")], [bill("2.50", issuer="Amazon")], ["0"]),
    ("another spelling of the issuer", [due(1, "2.5")], [bill("2.50", issuer="ANTHROPIC, P.B.C.")], ["2.5"]),
    ("the other figure of that month", [due(1, "2.5", cause="late_usage", is_billable=False)], [bill("2.50")], ["0"]),
    ("two amounts of a month in one line", [due(1, "2.5"), due(2, "1")], [bill("3.50")], ["3.5"]),
    ("one amount in two lines", [due(1, "3.5")], [bill("1.50", "2.00")], ["1.50", "2.00"]),
    ("two months in one line", [due(1, "2.5"), due(2, "1", month=date(2026, 8, 1))], [bill("3.50")], ["3.5"]),
    ("the exact one before the sum", [due(1, "2.5"), due(2, "1")], [bill("2.50", "1.00")], ["2.5", "1"]),
    ("the closest of two", [due(1, "2.495"), due(2, "2.5")], [bill("2.50")], ["2.5"]),
    ("taken back", [due(1, "-2.5")], [bill("-2.50")], ["-2.5"]),
]


@pytest.mark.parametrize(
    ("dues", "invoices", "known"), [case[1:] for case in ADJUSTED], ids=[one[0] for one in ADJUSTED]
)
def test_adjustments(dues: list[Due], invoices: list[BilledInvoice], known: list[str]) -> None:
    read, _ = explained(invoices, dues=dues)
    assert [line.known_usd for invoice in read for line in invoice.lines] == [USD(amount) for amount in known]
    for line in (line for invoice in read for line in invoice.lines):
        assert bool(line.reference) == bool(line.known_usd)
        assert bool(line.hint) != bool(line.reference)


HINTS = [
    ([], bill("2.50"), "an adjustment nobody expected: nothing of an earlier month is booked and due from this issuer"),
    ([due(1, "2.5")], bill("3.00"), "the nearest that is due is $0.50 less: September 2026, cost report $2.50, booked"),
    ([due(1, "2.5")], bill("2.00"), "the nearest that is due is $0.50 more"),
    ([due(1, "2.5")], bill("2.50", issuer="Amazon"), "the same amount is due, but not from Amazon"),
    ([due(1, "2.5", booked_month=NOV)], bill("2.50"), "the same amount is booked, but only in November 2026"),
    (
        [due(1, "2.5", cause="late_usage", is_billable=False)],
        bill("2.50"),
        "has not changed: September 2026, late",
    ),
    ([due(1, "2.5")], bill("2.50", "2.50"), "the same amount was billed before, on INV-10 line 1: September 2026"),
]


@pytest.mark.parametrize(("dues", "invoice", "said"), HINTS, ids=[one[2][:40] for one in HINTS])
def test_why_a_line_is_not_explained(dues: list[Due], invoice: BilledInvoice, said: str) -> None:
    (read,), _ = explained([invoice], dues=dues)
    assert said in read.lines[-1].hint


def test_where_each_amount_was_billed() -> None:
    _, billed = explained(
        [bill("1.50", "2.00"), bill("7.00", month=NOV)], dues=[due(1, "3.5"), due(2, "7"), due(3, "9")]
    )
    assert billed == {1: "INV-10 line 1, INV-10 line 2", 2: "INV-11 line 1"}


def credit(amount: str, start: date = SEP, end: date | None = None, **changes: object) -> Granted:
    return replace(Granted("Acme", "anthropic", Credit("Launch", USD(amount), start, end)), **changes)  # type: ignore[arg-type]


def credited(*amounts: str, month: date = OCT) -> BilledInvoice:
    return bill(*amounts, month=month, category="credit")


CREDITS = [
    ("inside what is left", [credit("100")], [credited("-50.00")], ["-50"]),
    ("used up over months", [credit("100")], [credited("-70.00"), credited("-50.00", month=NOV)], ["-70", "-30"]),
    ("no contract", [], [credited("-50.00")], ["0"]),
    ("another channel", [credit("100", channel="bedrock")], [credited("-50.00")], ["0"]),
    ("of any channel", [credit("100", channel="")], [credited("-50.00")], ["-50"]),
    ("over before the month", [credit("100", end=OCT)], [credited("-50.00")], ["0"]),
    ("over within the month", [credit("100", end=date(2026, 10, 2))], [credited("-50.00")], ["-50"]),
    ("not begun", [credit("100", start=NOV)], [credited("-50.00")], ["0"]),
    ("two credits", [credit("30"), credit("100", end=NOV)], [credited("-110.00")], ["-110"]),
]


@pytest.mark.parametrize(
    ("granted", "invoices", "known"), [one[1:] for one in CREDITS], ids=[one[0] for one in CREDITS]
)
def test_credits(granted: list[Granted], invoices: list[BilledInvoice], known: list[str]) -> None:
    read, _ = explained(invoices, credits=granted)
    assert [line.known_usd for invoice in read for line in invoice.lines] == [USD(amount) for amount in known]


def test_a_credit_says_how_much_of_it_is_left() -> None:
    (read,), _ = explained([credited("-70.00", "-50.00")], credits=[credit("100")])
    assert [line.reference for line in read.lines] == [
        "Launch of contract Acme: $70.00 of $100.00, $30.00 left",
        "Launch of contract Acme: $30.00 of $100.00, $0.00 left",
    ]
    assert [line.hint for line in read.lines] == ["", "$20.00 more than is left of it"]


CENTS = st.integers(-300, 300).map(lambda cents: USD(cents).scaleb(-2))


@given(
    st.lists(CENTS, max_size=6), st.lists(st.lists(CENTS, max_size=3), max_size=3), st.randoms(use_true_random=False)
)
def test_no_amount_explains_more_than_it_is(dues: list[Decimal], bills: list[list[Decimal]], random: object) -> None:
    """Whatever is billed: what is explained is the sum of amounts booked, each of them used once; order is all one."""
    booked = [due(number, f"{amount:f}") for number, amount in enumerate(dues)]
    invoices = [
        bill(*[f"{one:f}" for one in amounts], month=date(2026, 10 + at, 1)) for at, amounts in enumerate(bills)
    ]
    read, billed = explained(invoices, dues=booked)
    known = sum((line.known_usd for invoice in read for line in invoice.lines), USD(0))
    assert known == sum((one.amount_usd for one in booked if one.number in billed), USD(0))
    for line in (line for invoice in read for line in invoice.lines if line.reference):
        assert abs(line.amount_usd - line.known_usd) <= Tolerance().of_invoice(3)
    shuffled = list(invoices)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert explained(shuffled, dues=booked[::-1]) == (read, billed)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anthropic", "ANTHROPIC, PBC", True),
        ("Anthropic", "anthropic p.b.c.", True),
        ("Amazon Web Services, Inc.", "amazon  web-services", True),
        ("Google Cloud EMEA Limited", "Google Cloud EMEA Ltd.", True),
        ("Acme GmbH & Co. KG", "acme", True),
        ("Anthropic", "Anthropic Ireland", False),
        ("SAP SE", "SAP AG", True),
        ("Co", "Inc", False),
        ("Müller", "MÜLLER", True),
    ],
)
def test_spellings_of_an_issuer(one: str, other: str, same: bool) -> None:
    assert (issuer_key(one) == issuer_key(other)) is same


def test_numbers_of_invoices() -> None:
    assert number_key("inv 10-1") == number_key("INV10-1") != number_key("INV 101")
