"""Contracts as documents: `costgov.contract/1`. Strict: nothing is guessed.

    {"schema": "costgov.contract/1", "name": "Acme 2027", "channel": "anthropic",
     "from": "2027-01-01", "to": "2028-01-01",
     "source": "order form of 12 December", "checked_on": "2026-12-12", "note": "",
     "rates": [{"percent_off": "10"}, {"model": "claude-opus-5-5", "token_kind": "output", "usd_per_unit": "17"}],
     "credits": [{"name": "Launch credit", "amount_usd": "5000", "from": "2027-01-01", "to": "2027-07-01"}]}

A rate is a percentage off the list price, or a fixed price of one kind; empty model, kind and tier mean any.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from billing.core.contracts import MAX_RATES, ContractTerms, Credit
from billing.core.documents import DocumentRefused, decoded, plain, rows_of, shown, values_of
from billing.core.overlays import PERCENT_PLACES, Change
from billing.core.pricebook import PriceError
from billing.core.words import CHANNELS as CHANNEL_NAMES

SCHEMA: Final = "costgov.contract/1"
KEYS: Final = ("schema", "name", "channel", "from", "to", "source", "checked_on", "note", "rates", "credits")
RATE_KEYS: Final = ("model", "token_kind", "service_tier", "percent_off", "usd_per_unit", "from", "to")
CREDIT_KEYS: Final = ("name", "amount_usd", "from", "to")
CHANNELS: Final = tuple(CHANNEL_NAMES)
MAX_NAME: Final = 120
MAX_CREDIT_USD: Final = Decimal(10) ** 12


class ContractRefused(DocumentRefused):
    """A contract that cannot be used; `problems` lists everything wrong with it."""


@dataclass(frozen=True, slots=True)
class NewContract:
    """A contract as it is entered: its terms, and where they come from."""

    terms: ContractTerms
    source: str
    checked_on: date
    note: str = ""


def read_contract(text: str | bytes) -> NewContract:
    """A contract from JSON text. Raises DocumentRefused."""
    return parse_contract(decoded(text, schema=SCHEMA))


def parse_contract(document: Any) -> NewContract:
    """A contract from a decoded document. Raises ContractRefused with every problem, not only the first."""
    if not isinstance(document, Mapping):
        raise ContractRefused([f"document: not a JSON object; give one of {SCHEMA}."])
    problems: list[str] = []
    if document.get("schema") != SCHEMA:
        problems.append(f'schema: {shown(document.get("schema"))}; give "{SCHEMA}".')
    plain_keys = {key: value for key, value in document.items() if key not in ("schema", "rates", "credits")}
    head = values_of(plain_keys, "contract", tuple(key for key in KEYS if key in _HEAD), problems)
    rates = _rates(rows_of(document, "rates", problems), problems)
    credits = [_credit(row, f"credits[{n}]", problems) for n, row in enumerate(rows_of(document, "credits", problems))]
    if not rates and not credits and not problems:
        problems.append("rates: nothing is agreed; give at least one rate or credit.")
    if head is not None:
        _check_head(head, problems)
    if problems or head is None:
        raise ContractRefused(problems)
    try:
        terms = ContractTerms(
            name=head["name"],
            channel=head["channel"] or CHANNELS[0],
            valid_from=head["from"],
            valid_to=head["to"],
            rates=tuple(rate for rate in rates if rate is not None),
            credits=tuple(credit for credit in credits if credit is not None),
        )
    except PriceError as error:
        raise ContractRefused([f"{error}."]) from error
    return NewContract(terms, head["source"], head["checked_on"], head["note"])


_HEAD: Final = frozenset({"name", "channel", "from", "to", "source", "checked_on", "note"})


def _check_head(head: Mapping[str, Any], problems: list[str]) -> None:
    if not head["name"] or len(head["name"]) > MAX_NAME:
        problems.append(f"name: {shown(head['name'])}; give a name of 1 to {MAX_NAME} letters, e.g. Acme 2027.")
    if head["channel"] and head["channel"] not in CHANNELS:
        problems.append(f"channel: {shown(head['channel'])}; use one of {', '.join(CHANNELS)}.")
    if head["from"] is None:
        problems.append("from: missing; give the first day, e.g. 2027-01-01.")
    if not head["source"]:
        problems.append("source: missing; say where it is written: an order form, a contract, a message.")
    if head["checked_on"] is None:
        problems.append("checked_on: missing; give the day somebody looked at the source.")


def _rates(rows: Sequence[Any], problems: list[str]) -> list[Change | None]:
    if len(rows) > MAX_RATES:
        problems.append(f"rates: {len(rows):,} entries; give at most {MAX_RATES}.")
        return []
    return [_rate(row, f"rates[{n}]", problems) for n, row in enumerate(rows)]


def _rate(row: Any, where: str, problems: list[str]) -> Change | None:
    values = values_of(row, where, RATE_KEYS, problems)
    if values is None:
        return None
    percent = values["percent_off"]
    if percent is not None and not 0 <= percent <= 100:
        problems.append(f"{where}.percent_off: {plain(percent)}; give per cent off the list price, from 0 to 100.")
        return None
    if percent is not None and percent != round(percent, PERCENT_PLACES):
        problems.append(f"{where}.percent_off: {plain(percent)}; give at most {PERCENT_PLACES} places after the point.")
        return None
    try:
        return Change(
            percent=-percent if percent is not None else None,
            usd_per_unit=values["usd_per_unit"],
            model=values["model"],
            token_kind=values["token_kind"],
            service_tier=values["service_tier"],
            valid_from=values["from"],
            valid_to=values["to"],
        )
    except PriceError as error:
        problems.append(f"{where}: {error}.")
        return None


def _credit(row: Any, where: str, problems: list[str]) -> Credit | None:
    values = values_of(row, where, CREDIT_KEYS, problems)
    if values is None:
        return None
    amount = values["amount_usd"]
    before = len(problems)
    if not values["name"]:
        problems.append(f"{where}.name: missing; say what the credit is called.")
    if amount is None or not 0 < amount < MAX_CREDIT_USD or amount != amount.quantize(Decimal("0.01")):
        problems.append(f"{where}.amount_usd: {shown(plain(amount))}; give usd above 0, at most to the cent.")
    if values["from"] is None:
        problems.append(f"{where}.from: missing; give the day from which it can be used.")
    elif values["to"] is not None and values["to"] <= values["from"]:
        problems.append(f"{where}.to: {values['to']} is not after {values['from']}; it is the first day without it.")
    if len(problems) > before or amount is None:
        return None
    return Credit(values["name"], amount, values["from"], values["to"])


def contract_document(new: NewContract) -> dict[str, Any]:
    """The document again, in one form: what is empty is left out of rates and credits."""
    terms = new.terms
    return {
        "schema": SCHEMA,
        "name": terms.name,
        "channel": terms.channel,
        "from": terms.valid_from.isoformat(),
        "to": _day(terms.valid_to),
        "source": new.source,
        "checked_on": new.checked_on.isoformat(),
        "note": new.note,
        "rates": [_filled(_rate_document(rate)) for rate in terms.rates],
        "credits": [
            _filled(
                {
                    "name": credit.name,
                    "amount_usd": plain(credit.amount_usd),
                    "from": credit.valid_from.isoformat(),
                    "to": _day(credit.valid_to),
                }
            )
            for credit in terms.credits
        ],
    }


def _rate_document(rate: Change) -> dict[str, str]:
    return {
        "model": rate.model,
        "token_kind": rate.token_kind,
        "service_tier": rate.service_tier,
        "percent_off": plain(abs(rate.percent)) if rate.percent is not None else "",
        "usd_per_unit": plain(rate.usd_per_unit),
        "from": _day(rate.valid_from),
        "to": _day(rate.valid_to),
    }


def _day(day: date | None) -> str:
    return day.isoformat() if day is not None else ""


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in values.items() if value}
