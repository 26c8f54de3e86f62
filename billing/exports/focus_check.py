"""Does a file conform to FOCUS 1.2 (or 1.3)? Written from the specification's column and attribute tables."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

NOT_NULL: Final = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd", "ChargeCategory",
    "ChargePeriodStart", "ChargePeriodEnd", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "ProviderName", "PublisherName", "ServiceCategory", "ServiceName",
)  # fmt: skip
NULLABLE: Final = ("BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit")
RECOMMENDED: Final = ("AvailabilityZone", "ChargeFrequency", "InvoiceId", "ServiceSubcategory")
CONDITIONAL: Final = (
    "BillingAccountType", "CapacityReservationId", "CapacityReservationStatus", "CommitmentDiscountCategory",
    "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus",
    "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "RegionId", "RegionName", "ResourceId",
    "ResourceName", "ResourceType", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
SINCE_1_3: Final = (
    "AllocatedMethodId", "AllocatedMethodDetails", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags",
    "ContractApplied", "ServiceProviderName", "HostProviderName",
)  # fmt: skip
KNOWN: Final = frozenset({*NOT_NULL, *NULLABLE, *RECOMMENDED, *CONDITIONAL, *SINCE_1_3})
# Not null wherever the column is there at all.
_FILLED: Final = (*NOT_NULL, "ChargeFrequency", "ServiceSubcategory", "BillingAccountType")
ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "ChargeCategory": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "ChargeClass": ("Correction",),
    "ChargeFrequency": ("One-Time", "Recurring", "Usage-Based"),
    "PricingCategory": ("Standard", "Dynamic", "Committed", "Other"),
    "CommitmentDiscountCategory": ("Spend", "Usage"),
    "CommitmentDiscountStatus": ("Used", "Unused"),
    "CapacityReservationStatus": ("Used", "Unused"),
    "ServiceCategory": (
        "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools",
        "Multicloud", "Identity", "Integration", "Internet of Things", "Management and Governance", "Media",
        "Migration", "Mobile", "Networking", "Security", "Storage", "Web", "Other",
    ),
}  # fmt: skip
_TIMES: Final = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_NUMBERS: Final = (
    "BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "PricingQuantity", "ConsumedQuantity",
    "ContractedUnitPrice", "ListUnitPrice", "CommitmentDiscountQuantity", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice",
)  # fmt: skip
_JSON: Final = ("Tags", "SkuPriceDetails", "AllocatedTags", "ContractApplied", "AllocatedMethodDetails")
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_PAIRS: Final = (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost"))
NULL: Final = ""
FINDINGS_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach of the specification. `line` 1 is the header; `count`: lines with it, the first is named."""

    line: int
    column: str
    value: str
    rule: str
    count: int = 1


class _Findings:
    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Finding] = {}

    def add(self, line: int, column: str, value: str, rule: str) -> None:
        held = self._found.get((column, rule))
        known = (held.line, held.column, held.value) if held is not None else (line, column, value[:80])
        self._found[column, rule] = Finding(*known, rule, (held.count if held is not None else 0) + 1)

    def all(self) -> tuple[Finding, ...]:
        return tuple(sorted(self._found.values(), key=lambda one: (one.line, one.column)))


@dataclass(frozen=True, slots=True)
class FocusCheck:
    """What was found in how many rows; conforms where nothing was. Costs are exact sums."""

    rows: int
    billed: Decimal
    effective: Decimal
    findings: tuple[Finding, ...]

    @property
    def conforms(self) -> bool:
        return not self.findings


def check_focus(path: Path) -> FocusCheck:
    """Check a CSV row by row, in constant memory. Raises OSError, UnicodeDecodeError."""
    found = _Findings()
    rows, sums = 0, {"BilledCost": Decimal(0), "EffectiveCost": Decimal(0)}
    with path.open("rb") as raw:
        if raw.read(3) == b"\xef\xbb\xbf":
            found.add(1, "", "byte order mark", "The file begins with a byte order mark.")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = next(reader, [])
        _check_header(header, found)
        for line, values in _lines(reader, found):
            if len(values) != len(header):
                found.add(line, "", f"{len(values)} fields", f"A row must have {len(header)} fields, like the header.")
                continue
            row = dict(zip(header, values, strict=True))
            rows += 1
            _check_row(line, row, found)
            for name in sums:
                number = _number(row.get(name, NULL))
                sums[name] += number if number is not None else 0
    if not rows:
        found.add(1, "", "", "The file has no rows.")
    return FocusCheck(rows, sums["BilledCost"], sums["EffectiveCost"], found.all())


def _lines(reader: Any, found: _Findings) -> Iterator[tuple[int, list[str]]]:
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            found.add(reader.line_num, "", "", f"The line is no CSV: {error}.")
            return
        yield reader.line_num, values


def _check_header(header: list[str], found: _Findings) -> None:
    for name in (*NOT_NULL, *NULLABLE):
        if name not in header:
            found.add(1, name, "", "The column is mandatory and missing.")
    for name in header:
        if name not in KNOWN and not name.startswith("x_"):
            found.add(1, name, "", "The column is not of the specification; a column of one's own begins with x_.")
    for name in sorted({name for name in header if header.count(name) > 1}):
        found.add(1, name, "", "The column is there twice.")


def _check_row(line: int, row: Mapping[str, str], found: _Findings) -> None:
    for name, value in row.items():
        if value in ("NULL", "null", "None", "N/A"):
            found.add(line, name, value, "A missing value is written as nothing.")
        if value != value.strip():
            found.add(line, name, value, "The value begins or ends with a space.")
    for name in _FILLED:
        if name in row and row[name] == NULL:
            found.add(line, name, "", "The value must not be null.")
    for name, allowed in ALLOWED.items():
        if row.get(name, NULL) not in (NULL, *allowed):
            found.add(line, name, row[name], f"The value must be one of {', '.join(allowed)}.")
    for name in _TIMES:
        if row.get(name, NULL) and _moment(row[name]) is None:
            found.add(line, name, row[name], "A time is written as 2026-11-22T00:00:00Z.")
    for name in _NUMBERS:
        if row.get(name, NULL) and _number(row[name]) is None:
            found.add(line, name, row[name], "A number has digits, a point and an exponent only.")
    for name in _JSON:
        if row.get(name, NULL) and not _is_object(row[name]):
            found.add(line, name, row[name], "The value must be a JSON object.")
    for name in ("BillingCurrency",):
        if row.get(name, NULL) and not _CURRENCY.fullmatch(row[name]):
            found.add(line, name, row[name], "A currency is a code of ISO 4217, such as USD.")
    _check_rules(line, row, found)


def _check_rules(line: int, row: Mapping[str, str], found: _Findings) -> None:
    def has(name: str) -> bool:
        return row.get(name, NULL) != NULL

    category, is_correction = row.get("ChargeCategory", NULL), row.get("ChargeClass") == "Correction"
    for first, last in (("BillingPeriodStart", "BillingPeriodEnd"), ("ChargePeriodStart", "ChargePeriodEnd")):
        start, end = _moment(row.get(first, NULL)), _moment(row.get(last, NULL))
        if start is not None and end is not None and start >= end:
            found.add(line, last, row[last], f"The end must be after {first}: ends are exclusive.")
    if category == "Tax" and has("PricingQuantity"):
        found.add(line, "PricingQuantity", row["PricingQuantity"], "Tax has no quantity.")
    if has("ConsumedQuantity") and (category != "Usage" or row.get("CommitmentDiscountStatus") == "Unused"):
        found.add(line, "ConsumedQuantity", row["ConsumedQuantity"], "Only used Usage rows consume a quantity.")
    for quantity, unit in (("PricingQuantity", "PricingUnit"), ("ConsumedQuantity", "ConsumedUnit")):
        if has(quantity) != has(unit):
            found.add(line, unit, row.get(unit, ""), f"{unit} and {quantity} are there together or not at all.")
    if category == "Usage" and has("CommitmentDiscountId") and not has("CommitmentDiscountStatus"):
        found.add(line, "CommitmentDiscountStatus", "", "Usage under a commitment says whether it was used.")
    if has("SkuPriceDetails") and _is_object(row["SkuPriceDetails"]) and not has("SkuPriceId"):
        found.add(line, "SkuPriceDetails", row["SkuPriceDetails"], "Price details need a SkuPriceId.")
    if has("SubAccountType") != has("SubAccountId") and "SubAccountType" in row:
        found.add(line, "SubAccountType", row["SubAccountType"], "A sub-account has an id and a type, or neither.")
    priced = _number(row.get("PricingQuantity", NULL))
    if priced is None or is_correction:
        return
    for price_name, cost_name in _PAIRS:
        price, cost = _number(row.get(price_name, NULL)), _number(row.get(cost_name, NULL))
        if price is not None and cost is not None and price * priced != cost:
            found.add(line, cost_name, row[cost_name], f"The cost must be PricingQuantity times {price_name}.")


def _moment(text: str) -> datetime | None:
    if not _TIME.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
