"""Terms of a commitment on offer, as a document: `costgov.terms/1` (methods.md §7.1). Strict: nothing is guessed.

    {"schema": "costgov.terms/1", "currency": "USD", "start": "2027-01-01", "months": 12, "true_up": "annual",
     "overage": "list", "stated_in": "payable",
     "bands": [{"name": "T1", "commitment": "500000", "discount": "0.06"}]}

A band holds from its commitment up to the next one. "No commitment" is always an offer and need not be listed; a band
whose commitment is "0" states a discount that needs none.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, Literal, cast

from billing.core.money import MoneyError, parse_usd
from billing.core.periods import PeriodError, parse_day

SCHEMA: Final = "costgov.terms/1"
NO_COMMITMENT: Final = "No commitment"
MONTHS: Final = 12
MAX_BANDS: Final = 20
MAX_NAME: Final = 40
MAX_COMMITMENT_USD: Final = Decimal(10) ** 12
OVERAGES: Final = ("list", "discounted")
STATED_IN: Final = ("payable", "list")
KEYS: Final = ("schema", "currency", "start", "months", "true_up", "overage", "stated_in", "bands")
BAND_KEYS: Final = ("name", "commitment", "discount")
LATER_KEYS: Final = ("rollover", "prepayment", "ramps")  # documented as optional, not computed yet

Overage = Literal["list", "discounted"]
StatedIn = Literal["payable", "list"]


@dataclass(frozen=True, slots=True)
class TermsProblem:
    """One thing wrong with a document: which field (`bands[2].discount`), its value, and what to do."""

    field: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.field}: {self.value}. {self.remedy}" if self.value else f"{self.field}: {self.remedy}"


class TermsRefused(ValueError):
    """A document that cannot be used; `problems` lists everything wrong with it."""

    def __init__(self, problems: Iterable[TermsProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True, slots=True)
class Band:
    """One row of an offer. `commitment_usd` a year as the offer states it; `discount` is a share on covered use."""

    name: str
    commitment_usd: Decimal
    discount: Decimal

    @property
    def discount_words(self) -> str:
        """0.060 → 6%, exactly as offered."""
        return f"{(self.discount * 100).normalize():f}%"

    def payable_usd(self, stated_in: StatedIn) -> Decimal:
        """What is owed for the commitment alone: a commitment of L usd at list prices is (1 − discount)·L payable."""
        return self.commitment_usd if stated_in == "payable" else (1 - self.discount) * self.commitment_usd


@dataclass(frozen=True, slots=True)
class Terms:
    """An offer for one year with one true-up at its end. Bands ascend."""

    start: date
    overage: Overage
    stated_in: StatedIn
    bands: tuple[Band, ...]
    currency: str = "USD"
    months: int = MONTHS
    true_up: str = "annual"

    @property
    def end(self) -> date:
        """First day after the period."""
        return _year_after(self.start)

    @property
    def offers(self) -> tuple[Band, ...]:
        """Every offer, ascending, "no commitment" first, also where no band states it."""
        if self.bands[0].commitment_usd == 0:
            return self.bands
        return (Band(NO_COMMITMENT, Decimal(0), Decimal(0)), *self.bands)

    @property
    def title(self) -> str:
        """Words for lists: $500,000–$2,000,000 from 1 Jan 2027, overage at list prices."""
        amounts = [f"${band.commitment_usd.normalize():,f}" for band in (self.bands[0], self.bands[-1])]
        paid = "list prices" if self.overage == "list" else "the discounted price"
        return f"{'–'.join(dict.fromkeys(amounts))} from {self.start.day} {self.start:%b %Y}, overage at {paid}"


def terms_document(terms: Terms) -> dict[str, Any]:
    """The document again, in one form: plain decimal strings without trailing zeros, so that equal terms hash equal."""
    return {
        "schema": SCHEMA,
        "currency": terms.currency,
        "start": terms.start.isoformat(),
        "months": terms.months,
        "true_up": terms.true_up,
        "overage": terms.overage,
        "stated_in": terms.stated_in,
        "bands": [
            {"name": band.name, "commitment": _plain(band.commitment_usd), "discount": _plain(band.discount)}
            for band in terms.bands
        ],
    }


def content_hash(terms: Terms) -> str:
    """SHA-256 of the canonical document: keys sorted, no spaces, UTF-8."""
    text = json.dumps(terms_document(terms), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_terms(text: str | bytes) -> Terms:
    """Terms from JSON text. Raises TermsRefused, naming line and column where it is not JSON."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
        if not decoded.strip():
            raise TermsRefused([TermsProblem("document", "", "it is empty; give a JSON object of costgov.terms/1")])
        document = json.loads(decoded, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        message = f"byte {error.start} is not UTF-8; save the file as UTF-8 JSON"
        raise TermsRefused([TermsProblem("document", "", message)]) from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise TermsRefused([TermsProblem(where, "", f"not JSON ({error.msg}); correct it there")]) from error
    except RecursionError as error:
        raise TermsRefused([TermsProblem("document", "", "nested too deeply; give one flat JSON object")]) from error
    return parse_terms(document)


def parse_terms(document: Any) -> Terms:
    """Terms from a decoded document. Raises TermsRefused with every problem, not only the first."""
    if not isinstance(document, Mapping):
        raise TermsRefused(
            [TermsProblem("document", f"a JSON {_kind(document)}", "Give a JSON object of costgov.terms/1")]
        )
    problems: list[TermsProblem] = _key_problems(document, KEYS, "")
    for key, only in (("schema", SCHEMA), ("currency", "USD"), ("true_up", "annual")):
        _fixed(document, key, only, problems)
    if "months" in document and (type(document["months"]) is not int or document["months"] != MONTHS):
        problems.append(
            TermsProblem("months", _shown(document["months"]), "Only 12, one year, can be sized in this version")
        )
    for key, accepted in (("overage", OVERAGES), ("stated_in", STATED_IN)):
        if key in document and document[key] not in accepted:
            problems.append(TermsProblem(key, _shown(document[key]), f"Use {' or '.join(map(_shown, accepted))}"))
    start = _start(document.get("start"), problems) if "start" in document else None
    bands = _bands(document["bands"], problems) if "bands" in document else ()
    if problems or start is None:
        raise TermsRefused(problems)
    return Terms(start, cast(Overage, document["overage"]), cast(StatedIn, document["stated_in"]), bands)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key given twice is refused, because readers disagree on which one holds."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TermsRefused([TermsProblem(name, "given twice in one object", "Keep one of them") for name in twice])
    return dict(pairs)


def _key_problems(given: Mapping[str, Any], known: tuple[str, ...], prefix: str) -> list[TermsProblem]:
    wanted = ", ".join(known)
    missing = [
        TermsProblem(f"{prefix}{key}", "", f"missing; {_MISSING.get(key, 'add it')}")
        for key in known
        if key not in given
    ]
    unknown = [
        TermsProblem(f"{prefix}{key}", _shown(given[key]), "Not supported yet: remove it, or size without it")
        if key in LATER_KEYS and not prefix
        else TermsProblem(f"{prefix}{key}", "unknown key", f"Remove it; known are {wanted}")
        for key in given
        if key not in known
    ]
    return missing + unknown


_MISSING: Final = {
    "schema": f'give "{SCHEMA}"',
    "currency": 'give "USD"',
    "start": "give the first day, e.g. 2027-01-01",
    "months": "give 12",
    "true_up": 'give "annual"',
    "overage": 'say whether use beyond the commitment is billed at "list" or "discounted" prices',
    "stated_in": 'say whether commitments are "payable" amounts or amounts at "list" prices',
    "bands": "give at least one band with name, commitment and discount",
    "name": "give a short name, e.g. T1",
    "commitment": 'give usd a year as a decimal string, e.g. "500000"',
    "discount": 'give a share as a decimal string, e.g. "0.06"',
}


def _fixed(document: Mapping[str, Any], key: str, only: str, problems: list[TermsProblem]) -> None:
    if key in document and document[key] != only:
        problems.append(TermsProblem(key, _shown(document[key]), f'Only "{only}" is supported in this version'))


def _start(value: Any, problems: list[TermsProblem]) -> date | None:
    try:
        if not isinstance(value, str):
            raise PeriodError("not text")
        day = parse_day(value)
        _year_after(day)  # the whole period must lie in the calendar
    except (PeriodError, ValueError):
        problems.append(TermsProblem("start", _shown(value), "Write the first day like 2027-01-01"))
        return None
    return day


def _year_after(day: date) -> date:
    """The same day a year on; 29 February ends with 28 February."""
    return day.replace(year=day.year + 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def _bands(value: Any, problems: list[TermsProblem]) -> tuple[Band, ...]:
    if not isinstance(value, list) or not value:
        problems.append(TermsProblem("bands", _shown(value), "Give a list of at least one band"))
        return ()
    if len(value) > MAX_BANDS:
        problems.append(TermsProblem("bands", f"{len(value)} bands", f"Give at most {MAX_BANDS}"))
        return ()
    found = [_band(row, f"bands[{n}]", problems) for n, row in enumerate(value)]
    bands = tuple(band for band in found if band is not None)
    if len(bands) == len(found):
        _check_order(bands, problems)
    return bands


def _band(row: Any, where: str, problems: list[TermsProblem]) -> Band | None:
    if not isinstance(row, Mapping):
        problems.append(TermsProblem(where, _shown(row), "Give an object with name, commitment and discount"))
        return None
    known = len(problems)
    problems += _key_problems(row, BAND_KEYS, f"{where}.")
    name = row.get("name")
    if "name" in row and (
        not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME or not name.isprintable()
    ):
        problems.append(TermsProblem(f"{where}.name", _shown(name), f"Give a name of 1 to {MAX_NAME} letters"))
    commitment = _decimal(row, "commitment", where, problems)
    if commitment is not None and (not 0 <= commitment < MAX_COMMITMENT_USD or _places(commitment) > 2):
        problems.append(
            TermsProblem(
                f"{where}.commitment",
                _shown(row["commitment"]),
                f"Give usd a year from 0 up to {MAX_COMMITMENT_USD:,}, at most to the cent",
            )
        )
    discount = _decimal(row, "discount", where, problems)
    if discount is not None and (not 0 <= discount < 1 or _places(discount) > 6):
        percent = "; 6 per cent is 0.06" if discount >= 1 else ""
        remedy = f"Give a share from 0 up to, not including, 1 with at most 6 places{percent}"
        problems.append(TermsProblem(f"{where}.discount", _shown(row["discount"]), remedy))
    if len(problems) > known or commitment is None or discount is None:
        return None
    return Band(str(name).strip(), commitment, discount)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_NAME and value.isprintable()


def _decimal(row: Mapping[str, Any], key: str, where: str, problems: list[TermsProblem]) -> Decimal | None:
    if key not in row:
        return None
    value = row[key]
    if not isinstance(value, str):  # a JSON number has been through somebody's binary float already
        problems.append(TermsProblem(f"{where}.{key}", _shown(value), f"Write it as a decimal string: {_MISSING[key]}"))
        return None
    try:
        return parse_usd(value)
    except MoneyError:
        problems.append(TermsProblem(f"{where}.{key}", _shown(value), f"Not a number: {_MISSING[key]}"))
        return None


def _check_order(bands: tuple[Band, ...], problems: list[TermsProblem]) -> None:
    for n, (before, band) in enumerate(pairwise(bands), 1):
        if band.commitment_usd <= before.commitment_usd:
            value = f"{_plain(band.commitment_usd)} after {_plain(before.commitment_usd)}"
            problems.append(TermsProblem(f"bands[{n}].commitment", value, "List bands by rising commitment"))
        if band.discount < before.discount:
            value = f"{_plain(band.discount)} after {_plain(before.discount)}"
            remedy = "A larger commitment with a smaller discount is never worth signing: correct it or leave it out"
            problems.append(TermsProblem(f"bands[{n}].discount", value, remedy))
    seen: set[str] = set()
    for n, band in enumerate(bands):
        if band.name.casefold() in seen or (band.name == NO_COMMITMENT and band.commitment_usd > 0):
            problems.append(TermsProblem(f"bands[{n}].name", _shown(band.name), "Give every band a name of its own"))
        seen.add(band.name.casefold())


def _places(amount: Decimal) -> int:
    exponent = amount.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _plain(amount: Decimal) -> str:
    """1E+6 → 1000000, 0.060 → 0.06."""
    text = format(amount, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _kind(value: Any) -> str:
    names = {list: "list", str: "string", bool: "true/false", type(None): "null"}
    return names.get(type(value), "number")


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
