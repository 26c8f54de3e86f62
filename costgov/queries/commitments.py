"""The commitment pages: every offer and sizing, one sizing with its chart, what has changed since it was made."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.core.sizing import BASELINE, CURRENT, OPTIMISED, POLICIES, OfferFigures, PolicySizing
from billing.core.sizing_record import (
    SizingRecord,
    Span,
    above_limit,
    answer,
    routing_sentence,
    rules,
    stated,
    text_of,
)
from billing.core.terms import NO_COMMITMENT
from billing.core.words import usd
from billing.models import Import
from billing.queries.commitments import KeptTerms, SizingSummary, all_terms, sizing_record, sizing_summaries
from billing.queries.drivers import counted_span
from billing.queries.prices import price_version
from costgov import charts
from costgov.queries.forecast_inputs import MIN_DAYS
from routing.queries.changes import policy_in_force_now

SIDE_BY_SIDE = (OPTIMISED, BASELINE, CURRENT)
SHORT = {OPTIMISED: "routed", BASELINE: "unrouted", CURRENT: "as now"}
CHART_NAMES = {BASELINE: "uniform", CURRENT: "current", OPTIMISED: "optimised"}


@dataclass(frozen=True, slots=True)
class CommitmentsPage:
    """Sizings, newest first, and every offer kept. `days_of_usage` says whether anything can be forecast."""

    sizings: tuple[SizingSummary, ...]
    terms: tuple[KeptTerms, ...]
    days_of_usage: int
    days_needed: int = MIN_DAYS

    @property
    def can_forecast(self) -> bool:
        return self.days_of_usage >= self.days_needed


@dataclass(frozen=True, slots=True)
class OfferCell:
    """An offer under one policy. `is_risky`: its risk of shortfall rules it out."""

    policy: str
    short: str
    figures: OfferFigures
    is_recommended: bool
    is_runner_up: bool
    is_risky: bool


@dataclass(frozen=True, slots=True)
class OfferRow:
    """An offer with its cell per policy, in the order of SizingPage.columns."""

    name: str
    stated: str
    discount: str
    cells: tuple[OfferCell, ...]

    @property
    def is_recommended(self) -> bool:
        return self.cells[0].is_recommended


@dataclass(frozen=True, slots=True)
class Column:
    """A policy's group of columns."""

    policy: str
    title: str
    key: str
    runner_up: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SizingPage:
    """One sizing. `changed` lists what is different now: the sizing stands for the day it was made."""

    record: SizingRecord
    answer: tuple[Span, ...]
    answer_text: str
    routing: str
    rules: tuple[tuple[str, str], ...]
    columns: tuple[Column, ...]
    offers: tuple[OfferRow, ...]
    current: tuple[OfferRow, ...]
    changed: tuple[str, ...]
    expected_se_usd: Decimal
    curve_summary: str

    @property
    def pair(self) -> tuple[Column, ...]:
        """The columns of `offers`."""
        return self.columns[:2]

    @property
    def sole(self) -> tuple[Column, ...]:
        """The column of `current`."""
        return self.columns[2:]


def commitments_page(*, as_of: datetime) -> CommitmentsPage:
    span = counted_span()
    days = 0 if span is None else (min(span[1], as_of.date() - timedelta(days=1)) - span[0]).days + 1
    return CommitmentsPage(sizing_summaries(), all_terms(), max(0, days))


def sizing_page(*, sizing_id: int, as_of: datetime) -> SizingPage:
    """One sizing. Raises NoSuchSizing."""
    record = sizing_record(sizing_id=sizing_id)
    sizing = record.sizing
    spans = answer(record)
    return SizingPage(
        record=record,
        answer=spans,
        answer_text=text_of(spans),
        routing=routing_sentence(record),
        rules=rules(record.terms),
        columns=tuple(_column(record, sizing.policy(name)) for name in SIDE_BY_SIDE),
        offers=_offer_rows(record, (OPTIMISED, BASELINE)),
        current=_offer_rows(record, (CURRENT,)),
        changed=changed_since(record, as_of=as_of),
        expected_se_usd=sizing.policy(OPTIMISED).best.expected_payable_se_usd,
        curve_summary=_curve_summary(record),
    )


def _column(record: SizingRecord, policy: PolicySizing) -> Column:
    keys = {OPTIMISED: "opt", BASELINE: "base", CURRENT: "cur"}
    title = record.policy_title(policy.policy)
    return Column(policy.policy, title, keys[policy.policy], policy.choice.runner_up, policy.choice.reason)


def _offer_rows(record: SizingRecord, policies: Sequence[str]) -> tuple[OfferRow, ...]:
    sizing = record.sizing
    found = []
    for band in record.terms.offers:
        cells = []
        for name in policies:
            policy = sizing.policy(name)
            figures = policy.offer(band.name)
            cells.append(
                OfferCell(
                    policy=name,
                    short=SHORT[name],
                    figures=figures,
                    is_recommended=policy.choice.name == band.name,
                    is_runner_up=policy.choice.runner_up == band.name,
                    is_risky=above_limit(figures, sizing),
                )
            )
        words = "–" if band.commitment_usd == 0 else stated(record, band.name)
        found.append(OfferRow(band.name, words, band.discount_words, tuple(cells)))
    return tuple(found)


def changed_since(record: SizingRecord, *, as_of: datetime) -> tuple[str, ...]:
    """What the sizing rests on that is different now, in words; empty while it stands."""
    found = []
    if price_version() != record.basis.price_version:
        found.append("prices were changed or added")
    active = policy_in_force_now()
    if (active.version.content_hash if active is not None else "") != record.basis.policy_hash:
        found.append(
            "no policy is active any more"
            if active is None
            else f"policy {active.version.policy} version {active.version.version} became active"
        )
    if imported := _imported_since(record, as_of.date()):
        found.append(imported)
    return tuple(found)


def _imported_since(record: SizingRecord, today: date) -> str:
    span = counted_span()
    if span is not None and min(span[1], today - timedelta(days=1)) > record.basis.cutoff_date:
        last = min(span[1], today - timedelta(days=1))
        return f"usage is known to {last.day} {last:%b %Y}, not only to {_day(record.basis.cutoff_date)}"
    imports = Import.objects.filter(
        kind="usage", state=Import.State.DONE, accepted__gt=0, finished_at__gt=record.created_at
    )
    return "usage was imported" if imports.exists() else ""


def _day(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


# -- charts ----------------------------------------------------------------------------------------------------


def commitment_figure(record: SizingRecord) -> charts.Figure:
    """Expected payable against the amount committed, per policy, with the recommended amounts named."""
    sizing = record.sizing
    curves = [
        charts.Curve(
            CHART_NAMES[policy.policy],
            record.policy_title(policy.policy),
            sizing.amounts_usd,
            policy.curve_expected_usd,
            policy.curve_low_usd,
            policy.curve_high_usd,
        )
        for policy in (sizing.policy(name) for name in POLICIES)
    ]
    bands = [
        (band.commitment_usd, f"{_plain(band.name)} −{band.discount_words}")
        for band in record.terms.bands
        if band.commitment_usd > 0
    ]
    return charts.commitment_curve(curves, bands, _candidates(record))


def _candidates(record: SizingRecord) -> list[charts.Candidate]:
    """The recommended amount per policy, where the policies differ, and the best amount inside the optimised band."""
    sizing = record.sizing
    found = []
    for name in (OPTIMISED, BASELINE):
        best = sizing.policy(name).best
        amount = record.band(best.name).commitment_usd
        text = f"{'Recommended' if name == OPTIMISED else 'Best unrouted'}: {_plain(best.name)}"
        found.append(charts.Candidate(CHART_NAMES[name], amount, best.expected_payable_usd, text, "conservative"))
    routed = sizing.policy(OPTIMISED).best
    if routed.commitment_usd > 0 and routed.best_amount_usd > routed.commitment_usd:
        payable = routed.best_amount_usd
        as_stated = (
            payable if record.terms.stated_in == "payable" else payable / (1 - record.band(routed.name).discount)
        )
        text = f"Lowest {usd(as_stated)}"
        found.append(charts.Candidate("optimised", as_stated, routed.best_amount_expected_usd, text))
    return found


def _curve_summary(record: SizingRecord) -> str:
    """What the chart shows, in a sentence."""
    parts = []
    for name in (OPTIMISED, BASELINE):
        best = record.sizing.policy(name).best
        parts.append(
            f"{record.policy_title(name)}: lowest acceptable at {best.name}, expected {usd(best.expected_payable_usd)}"
        )
    return ". ".join(parts) + ". Past the spend you have, every line rises with the amount committed."


def curve_table(record: SizingRecord) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The chart's data in words: every tenth amount and every band."""
    sizing = record.sizing
    starts = {float(band.commitment_usd) for band in record.terms.offers}
    columns = ("Committed a year", *(record.policy_title(name) for name in SIDE_BY_SIDE))
    rows = [
        (
            usd(Decimal(str(amount))),
            *(usd(Decimal(str(sizing.policy(name).curve_expected_usd[n]))) for name in SIDE_BY_SIDE),
        )
        for n, amount in enumerate(sizing.amounts_usd)
        if n % 10 == 0 or amount in starts
    ]
    return columns, tuple(rows)


def sensitivity_figure(record: SizingRecord) -> charts.Figure:
    """One input at a time, optimised policy."""
    base = record.sizing.policy(OPTIMISED).best

    def text(words: str, best: str) -> str:
        # Short, because it stands beside a bar: the table below names the offer in full.
        return words if best == base.name else f"{words} → {'none' if best == NO_COMMITMENT else _plain(best)}"

    rows = [
        charts.TornadoRow(
            row.label, row.low_usd, row.high_usd, text(row.low_text, row.low_best), text(row.high_text, row.high_best)
        )
        for row in record.sizing.sensitivity
    ]
    return charts.tornado(rows, base.expected_payable_usd, unit="Expected payable a year of the best offer, USD")


def sensitivity_summary(record: SizingRecord) -> str:
    """What the chart shows, in a sentence: the input that matters most."""
    base = record.sizing.policy(OPTIMISED).best.expected_payable_usd
    row = max(record.sizing.sensitivity, key=lambda row: abs(row.high_usd - row.low_usd))
    words, value = max(((row.low_text, row.low_usd), (row.high_text, row.high_usd)), key=lambda end: abs(end[1] - base))
    label = f"{row.label[0].lower()}{row.label[1:]}"
    return (
        f"What matters most is the {label}: {words}, the best offer is expected to cost {usd(value)}, not {usd(base)}."
    )


def sensitivity_table(record: SizingRecord) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            row.label,
            f"{row.low_text}: {usd(row.low_usd)} ({row.low_best})",
            f"{row.high_text}: {usd(row.high_usd)} ({row.high_best})",
        )
        for row in record.sizing.sensitivity
    )


def _plain(name: str) -> str:
    """A typed name inside a chart, where plotly would read tags."""
    return name.replace("<", "‹").replace(">", "›").replace("&", "＆")
