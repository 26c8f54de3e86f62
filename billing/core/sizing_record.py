"""A kept sizing with what it rests on, and the sentences pages, sheet and command say about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from billing.core.sizing import CURRENT, OPTIMISED, OfferFigures, Sizing
from billing.core.terms import Band, Terms
from billing.core.words import percent, usd

POLICY_TITLES: Final[Mapping[str, str]] = {CURRENT: "Current policy", OPTIMISED: "Optimised"}


@dataclass(frozen=True, slots=True)
class Basis:
    """What a sizing rests on. Hashes are SHA-256; `policy` and `policy_hash` name the active one, '' = none.
    `left_out` is not in the spend; `very_short` is: somebody stands for volumes known for less than four weeks.
    """

    forecast_id: int
    cutoff_date: date
    seed: str
    price_version: str
    policy: str
    policy_hash: str
    terms_hash: str
    baseline_model: str
    baseline_name: str
    inputs_hash: str
    scenario: str
    grade: str
    left_out: tuple[str, ...]
    very_short: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SizingRecord:
    """One kept sizing."""

    id: int
    created_at: datetime
    created_by: str
    terms_id: int
    terms_name: str
    terms: Terms
    basis: Basis
    sizing: Sizing

    @property
    def baseline(self) -> str:
        """The baseline model as charts and sentences name it."""
        return self.basis.baseline_name.removeprefix("Claude ")

    def policy_title(self, policy: str) -> str:
        return POLICY_TITLES.get(policy) or f"All on {self.baseline}"

    def band(self, name: str) -> Band:
        """The offer as the terms state it."""
        return next(band for band in self.terms.offers if band.name == name)


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a sentence; figures are strong."""

    text: str
    is_strong: bool = False


def text_of(spans: tuple[Span, ...]) -> str:
    return "".join(span.text for span in spans)


def answer(record: SizingRecord) -> tuple[Span, ...]:
    """The sentence the reader came for."""
    best = record.sizing.policy(OPTIMISED).best
    expected = Span(usd(best.expected_payable_usd), True)
    if best.commitment_usd == 0:
        return (
            Span("Do not commit to these bands. "),
            Span("Without a commitment the routed bill is expected to be "),
            expected,
            Span(" a year; every band on offer costs more or falls short too often."),
        )
    routing = record.sizing.routing
    return (
        Span("Commit " if routing.signed_first == routing.routed_first else "Route first, then commit "),
        Span(stated(record, best.name), True),
        Span(f" a year ({best.name}). Expected bill "),
        expected,
        Span(", and a "),
        Span(percent(best.shortfall_probability), True),
        Span(" risk of paying for spend you do not have."),
    )


def routing_sentence(record: SizingRecord) -> str:
    """The value of routing before committing, in one sentence."""
    routing, title = record.sizing.routing, f"everything on {record.baseline}"
    first, then = (_paying(record, name) for name in (routing.signed_first, routing.routed_first))
    if routing.signed_first == routing.routed_first:
        return (
            f"{first[0].upper()}{first[1:]} suits the spend with {title} as well as the routed spend: whether you "
            "route or sign first changes nothing about the commitment."
        )
    error = f"(standard error {usd(routing.value_se_usd)})"
    if routing.value_usd < 0:
        return (
            f"Before routing, {first} suits the spend with {title}; keeping to it after routing would cost "
            f"{usd(-routing.value_usd)} a year less on average {error}, but falls short of the commitment too often."
        )
    return (
        f"Routing before committing is worth {usd(routing.value_usd)} a year {error}: {first} suits the spend with "
        f"{title}, but once work is routed {then} is cheaper."
    )


def stated(record: SizingRecord, name: str) -> str:
    """An offer's amount in the terms' own words: $500,000, or at list prices with what is payable."""
    band = record.band(name)
    if record.terms.stated_in == "payable":
        return usd(band.commitment_usd)
    return f"{usd(band.commitment_usd)} at list prices ({usd(band.payable_usd('list'))} payable)"


def rules(terms: Terms) -> tuple[tuple[str, str], ...]:
    """The terms in words, for pages and sheets."""
    overage = "at list prices" if terms.overage == "list" else "at the same discount as covered use"
    amounts = "what is payable" if terms.stated_in == "payable" else "list prices, before the discount"
    return (
        ("Starts", f"{terms.start.day} {terms.start:%b %Y}, for {terms.months} months"),
        ("Settled", "once, at the end of the year"),
        ("Use beyond the commitment", f"is billed {overage}"),
        ("Commitments are stated as", amounts),
    )


def above_limit(row: OfferFigures, sizing: Sizing) -> bool:
    """True where the risk of shortfall rules an offer out."""
    return row.shortfall_probability > sizing.shortfall_limit


def _paying(record: SizingRecord, name: str) -> str:
    """An offer inside a sentence, where "no commitment" would read as "none"."""
    return name if record.band(name).commitment_usd else "paying without a commitment"
