"""The commitment sheet procurement takes into a negotiation: figures as numbers, formulas where a reader may check."""

import io
from decimal import Decimal
from typing import Final

from xlsxwriter.utility import xl_rowcol_to_cell

from billing.core.commitments import offers_of
from billing.core.money import round_usd
from billing.core.sizing import CURRENT, OPTIMISED, POLICIES, OfferFigures, PolicySizing
from billing.core.sizing_record import (
    SizingRecord,
    above_limit,
    answer,
    routing_sentence,
    rules,
    text_of,
)
from billing.core.spending import QUANTILES
from billing.core.words import percent, signed
from billing.exports.workbook import Book, Cell, Sheet, head

SIDE_BY_SIDE: Final = (OPTIMISED, "baseline", CURRENT)


def commitment_xlsx(record: SizingRecord, *, organisation: str) -> bytes:
    """The workbook: Summary, Offers, Check a year, Spend, Curve, What would change it, Basis."""
    buffer = io.BytesIO()
    book = Book(buffer)
    title = f"How much to commit: {organisation}" if organisation else "How much to commit"
    book.workbook.set_properties({"title": title, "comments": "Estimates at list prices, before tax."})
    # The workbook is written in the order of its sheets, so figures that others refer to have known places.
    _summary(book, record, title)
    _offers(book, record)
    _check_a_year(book, record)
    _spend(book, record)
    _curve(book, record)
    _sensitivity(book, record)
    _basis(book, record, organisation)
    book.workbook.close()
    return buffer.getvalue()


def _summary(book: Book, record: SizingRecord, title: str) -> None:
    sizing, routing = record.sizing, record.sizing.routing
    sheet = Sheet(book, "Summary", [44, 24, 24, 24, 24])
    sheet.line((title, "title"))
    sheet.line((f"Made {record.created_at:%d %b %Y, %H:%M} UTC by {record.created_by}", "typed"))
    sheet.gap()
    sheet.line((text_of(answer(record)), "answer"))
    sheet.line((routing_sentence(record), "typed"))
    sheet.line(("All figures are estimates at list prices, before tax.", "text"))
    sheet.gap()
    head(sheet, "", *(record.policy_title(name) for name in SIDE_BY_SIDE))
    columns = [sizing.policy(name) for name in SIDE_BY_SIDE]
    best = [policy.best for policy in columns]
    sheet.line(("Recommended offer", "text"), *((policy.choice.name, "typed_best") for policy in columns))
    sheet.line(("Commitment a year, payable", "text"), *((row.commitment_usd, "usd") for row in best))
    sheet.line(("Expected payable a year", "text"), *((row.expected_payable_usd, "usd_best") for row in best))
    sheet.line(("  standard error", "text"), *((row.expected_payable_se_usd, "usd") for row in best))
    sheet.line(("Risk of shortfall", "text"), *((row.shortfall_probability, "share") for row in best))
    sheet.line(("Expected unused", "text"), *((row.expected_unused_usd, "usd") for row in best))
    sheet.line(("Bad year, CVaR 95", "text"), *((row.cvar95_usd, "usd") for row in best))
    sheet.line(("Runner-up", "text"), *((policy.choice.runner_up or "none", "typed") for policy in columns))
    sheet.gap()
    sheet.line(("Why", "group"))
    for policy in columns:
        sheet.line((record.policy_title(policy.policy), "typed"), (policy.choice.reason, "typed"))
    sheet.gap()
    sheet.line(("Routing before committing", "group"))
    first = sheet.line(
        (f"Sign {routing.signed_first} first, then route", "typed"), (routing.signed_first_payable_usd, "usd")
    )
    then = sheet.line((f"Route, then sign {routing.routed_first}", "typed"), (routing.routed_first_payable_usd, "usd"))
    worth = round_usd(routing.signed_first_payable_usd) - round_usd(routing.routed_first_payable_usd)
    difference = f"={sheet.cell(first, 1)}-{sheet.cell(then, 1)}"
    sheet.line(("Worth of routing first, a year", "text"), (worth, "usd_best"), formulas={1: difference})
    sheet.line(("  standard error", "text"), (routing.value_se_usd, "usd"))
    lowest = sizing.routing_lowest
    if (lowest.signed_first, lowest.routed_first) != (routing.signed_first, routing.routed_first):
        sheet.line(
            (f"Without the limit on risk ({lowest.signed_first} → {lowest.routed_first})", "typed"),
            (lowest.value_usd, "usd"),
        )
    sheet.gap()
    sheet.line(("The offer", "group"))
    for name, value in rules(record.terms):
        sheet.line((name, "text"), (value, "text"))


_OFFER_HEAD: Final = (
    "Policy",
    "Offer",
    "Commitment a year, payable",
    "Discount",
    "List spend it covers",
    "Expected payable",
    "Standard error",
    "Above the lowest",
    "Risk of shortfall",
    "Expected unused",
    "Bad year, CVaR 95",
    "Mean regret",
    "Largest regret",
    "Best amount in the band",
    "Expected payable there",
    "Check: lognormal closed form",
    "Recommended",
)


def _offers(book: Book, record: SizingRecord) -> None:
    sizing = record.sizing
    sheet = Sheet(book, "Offers", [24, 18, *[17] * 14, 15])
    sheet.line(("Every offer, on the same futures", "title"))
    note = f"Not recommended above a risk of shortfall of {percent(sizing.shortfall_limit, 0)}. "
    sheet.line((f"{note}Regret: what a year costs more than the best offer would have. USD a year.", "text"))
    head(sheet, *_OFFER_HEAD)
    for name in SIDE_BY_SIDE:
        policy = sizing.policy(name)
        first = sheet.row
        lowest = min(row.expected_payable_usd for row in policy.offers)
        for row in policy.offers:
            _offer_line(sheet, record, policy, row, lowest, (first, first + len(policy.offers) - 1))
        sheet.gap()
    sheet.line(("Break-even list spend: from here the larger commitment costs less", "group"))
    for point in sizing.break_evens:
        label = f"{point.higher} against {point.lower}"
        value: tuple[Cell, str] = ("never", "text") if point.spend_usd is None else (point.spend_usd, "usd")
        sheet.line((label, "typed"), value)


def _offer_line(
    sheet: Sheet, record: SizingRecord, policy: PolicySizing, row: OfferFigures, lowest: Decimal, span: tuple[int, int]
) -> None:
    is_best = row.name == policy.choice.name
    at = sheet.row
    covers = row.commitment_usd / (1 - record.band(row.name).discount)
    sheet.line(
        (record.policy_title(policy.policy), "typed"),
        (row.name, "typed_best" if is_best else "typed"),
        (row.commitment_usd, "usd"),
        (record.band(row.name).discount, "discount"),
        (covers, "usd"),
        (row.expected_payable_usd, "usd_best" if is_best else "usd"),
        (row.expected_payable_se_usd, "usd"),
        (round_usd(row.expected_payable_usd) - round_usd(lowest), "usd"),
        (row.shortfall_probability, "share_bad" if above_limit(row, record.sizing) else "share"),
        (row.expected_unused_usd, "usd"),
        (row.cvar95_usd, "usd"),
        (row.mean_regret_usd, "usd"),
        (row.max_regret_usd, "usd"),
        (row.best_amount_usd, "usd"),
        (row.best_amount_expected_usd, "usd"),
        (row.closed_form_usd if row.closed_form_usd is not None else "no fit", "usd"),
        ("recommended" if is_best else "", "text"),
        formulas={
            4: f"={sheet.cell(at, 2)}/(1-{sheet.cell(at, 3)})",
            7: f"={sheet.cell(at, 5)}-MIN(F{span[0] + 1}:F{span[1] + 1})",
        },
    )


def _check_a_year(book: Book, record: SizingRecord) -> None:
    """Type a spend, see what every offer would cost: pay(S) = A + (1 − o)·max(0, S − A/(1 − d))."""
    sheet = Sheet(book, "Check a year", [40, 20, 14, 16, 20, 20])
    spend = round_usd(record.sizing.policy(OPTIMISED).year.quantiles_usd[QUANTILES.index(0.5)])
    sheet.line(("What a year would cost under each offer", "title"))
    sheet.line(("Payable = A + (1 − o) × max(0, S − A ÷ (1 − d))", "text"))
    at = sheet.line(("List spend of the year, S (change this cell)", "text"), (spend, "input"))
    input_cell = xl_rowcol_to_cell(at, 1, row_abs=True, col_abs=True)
    sheet.gap()
    head(sheet, "Offer", "Commitment A", "Discount d", "Overage discount o", "Payable", "Unused")
    for offer, band in zip(offers_of(record.terms), record.terms.offers, strict=True):
        commitment = band.payable_usd(record.terms.stated_in)
        overage = band.discount if offer.overage_discount else Decimal(0)
        owed = commitment + (1 - overage) * max(Decimal(0), spend - commitment / (1 - band.discount))
        left = max(Decimal(0), commitment - (1 - band.discount) * spend)
        row = sheet.row
        a, d, o = (sheet.cell(row, column) for column in (1, 2, 3))
        sheet.line(
            (band.name, "typed"),
            (commitment, "usd"),
            (band.discount, "discount"),
            (overage, "discount"),
            (owed, "usd"),
            (left, "usd"),
            formulas={
                4: f"={a}+(1-{o})*MAX(0,{input_cell}-{a}/(1-{d}))",
                5: f"=MAX(0,{a}-(1-{d})*{input_cell})",
            },
        )


def _spend(book: Book, record: SizingRecord) -> None:
    sheet = Sheet(book, "Spend", [24, 18, *[17] * (len(QUANTILES) + 2)])
    sheet.line(("List spend, distribution over the simulated futures", "title"))
    sheet.line(
        ("Yearly figures are sums of each future. Percentiles of months do not add up to those of the year.", "text")
    )
    head(sheet, "Policy", "Period", "Mean", "Standard error", *(f"P{q * 100:g}" for q in QUANTILES))
    for name in SIDE_BY_SIDE:
        policy = record.sizing.policy(name)
        for row in (policy.year, *policy.months):
            sheet.line(
                (record.policy_title(name), "typed"),
                (row.label, "text"),
                (row.mean_usd, "usd"),
                (row.se_usd, "usd"),
                *((value, "usd") for value in row.quantiles_usd),
            )
        sheet.gap()


def _curve(book: Book, record: SizingRecord) -> None:
    sizing = record.sizing
    sheet = Sheet(book, "Curve", [22, *[18] * 9])
    stated = "payable" if record.terms.stated_in == "payable" else "at list prices"
    head(
        sheet,
        f"Committed a year, {stated}",
        *(f"{record.policy_title(n)}: {what}" for n in POLICIES for what in ("expected payable", "P10", "P90")),
    )
    columns = [sizing.policy(name) for name in POLICIES]
    for n, amount in enumerate(sizing.amounts_usd):
        figures = [
            line[n]
            for policy in columns
            for line in (policy.curve_expected_usd, policy.curve_low_usd, policy.curve_high_usd)
        ]
        sheet.line((amount, "usd"), *((value, "usd") for value in figures))
    last = len(sizing.amounts_usd)
    chart = book.workbook.add_chart({"type": "scatter", "subtype": "straight"})
    looks = {"baseline": ("#8A8F98", "round_dot"), CURRENT: ("#3D4653", "dash"), OPTIMISED: ("#2B5FC4", "solid")}
    for n, name in enumerate(POLICIES):
        colour, dash = looks[name]
        chart.add_series(
            {
                "name": record.policy_title(name),
                "categories": ["Curve", 1, 0, last, 0],
                "values": ["Curve", 1, 1 + 3 * n, last, 1 + 3 * n],
                "line": {"color": colour, "width": 2.25, "dash_type": dash},
            }
        )
    chart.set_title({"name": "Expected payable a year, by amount committed"})
    chart.set_x_axis({"name": f"Committed a year, {stated}, USD", "num_format": '"$"#,##0'})
    chart.set_y_axis({"name": "USD a year", "num_format": '"$"#,##0'})
    chart.set_legend({"position": "bottom"})
    chart.set_size({"width": 860, "height": 460})
    sheet.sheet.insert_chart("L2", chart)


def _sensitivity(book: Book, record: SizingRecord) -> None:
    sheet = Sheet(book, "What would change it", [30, 16, 20, 18, 16, 20, 18])
    base = record.sizing.policy(OPTIMISED).best
    sheet.line(("One input at a time, optimised policy", "title"))
    sheet.line(("Expected payable a year of the offer that would then be best", "text"))
    sheet.line(("As it is", "text"), (base.name, "typed"), (base.expected_payable_usd, "usd_best"))
    head(sheet, "Input", "Low", "Expected payable", "Best offer", "High", "Expected payable", "Best offer")
    for row in record.sizing.sensitivity:
        sheet.line(
            (row.label, "text"),
            (row.low_text, "text"),
            (row.low_usd, "usd"),
            (row.low_best, "typed"),
            (row.high_text, "text"),
            (row.high_usd, "usd"),
            (row.high_best, "typed"),
        )


def _basis(book: Book, record: SizingRecord, organisation: str) -> None:
    basis, sizing = record.basis, record.sizing
    sheet = Sheet(book, "Basis", [38, 70])
    sheet.line(("What this rests on", "title"))
    rows: list[tuple[str, Cell, str]] = [
        ("Organisation", organisation, "typed"),
        ("Sizing", record.id, "count"),
        ("Made at (UTC)", f"{record.created_at:%Y-%m-%dT%H:%M:%SZ}", "text"),
        ("Made by", record.created_by, "typed"),
        ("Forecast", basis.forecast_id, "count"),
        ("Scenario", basis.scenario, "typed"),
        ("History behind most of the spend", basis.grade, "text"),
        ("Last day of usage used", basis.cutoff_date, "date"),
        ("Simulated futures", sizing.path_count, "count"),
        ("Seed", basis.seed, "text"),
        ("Price version (SHA-256)", basis.price_version, "text"),
        ("Active policy", basis.policy or "none", "typed"),
        ("Active policy, content hash (SHA-256)", basis.policy_hash or "none", "text"),
        ("Terms, content hash (SHA-256)", basis.terms_hash, "text"),
        ("Forecast inputs (SHA-256)", basis.inputs_hash, "text"),
        ("Uniform baseline model", basis.baseline_model, "typed"),
        ("Limit on the risk of shortfall", sizing.shortfall_limit, "share"),
        ("In the spend on somebody's word (under 4 weeks)", "; ".join(basis.very_short) or "nothing", "typed"),
        ("Not in the forecast", "; ".join(basis.left_out) or "nothing", "typed"),
    ]
    for name, value, style in rows:
        sheet.line((name, "text"), (value, style))
    sheet.gap()
    sheet.line(("The offer", "group"))
    for name, text in rules(record.terms):
        sheet.line((name, "text"), (text, "text"))
    for band in record.terms.bands:
        sheet.line(
            (band.name, "typed"), (f"{signed(band.commitment_usd, 2)} usd a year, {band.discount_words} off", "text")
        )
    sheet.gap()
    sheet.line(("How it is computed", "group"))
    for text in _METHOD:
        sheet.line(("", "text"), (text, "wrap"))


_METHOD: Final = (
    "Payable of a year = A + (1 − o) × max(0, S − A ÷ (1 − d)): A commitment, S list spend, d discount on covered use, "
    "o discount on use beyond it.",
    "Every offer is measured on the same simulated years, the same for every policy.",
    "Risk of shortfall = share of years with (1 − d) × S below A. Unused = A − (1 − d) × S in those years.",
    "CVaR 95 = mean of the dearest 5% of years = q + mean(max(0, pay − q)) ÷ 0.05, q the 95% quantile.",
    "Recommended = lowest expected payable among offers within the limit on the risk of shortfall.",
    "Standard errors come from the number of simulated years alone, not from doubt about the forecast.",
)
