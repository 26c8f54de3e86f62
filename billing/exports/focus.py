"""FOCUS 1.2 rows of usage cost with the provider columns of 1.3, and what the specification demands of them.

One row per UTC day, workspace, key, class, model, kind of token, tier, prompt length, geo, speed and channel. Only
usage with a price has a row: a cost nobody knows is no cost of 0, and FOCUS has no other way to say it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Final

from billing.core.money import EXACT, line_cost
from billing.core.pricebook import unit_exponent
from billing.core.usage import UNTOLD, PricedKind
from billing.exports.cells import Cell

METER: Final[Mapping[str, str]] = {
    "uncached_input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
    "web_search": "web_search_requests",
}
# Who runs the model and what the service is called, by channel of usage.
_HOSTS: Final[Mapping[str, tuple[str, str]]] = {
    "bedrock": ("Amazon Web Services", "Amazon Bedrock (Claude)"),
    "platform_aws": ("Amazon Web Services", "Claude Platform on AWS"),
    "vertex": ("Google Cloud", "Vertex AI (Claude)"),
    "foundry": ("Microsoft", "Microsoft Foundry (Claude)"),
}
PROVIDER: Final = "Anthropic"
COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency",
    "ChargePeriodEnd", "ChargePeriodStart", "ConsumedQuantity", "ConsumedUnit", "ContractedCost",
    "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost", "ListUnitPrice",
    "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "RegionId", "RegionName",
    "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId",
    "SubAccountId", "SubAccountName", "SubAccountType", "Tags", "ServiceProviderName", "HostProviderName",
    "x_ApiKeyId", "x_RequestClass", "x_CostCentre",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FocusLine:
    """Usage of one day at one price. Prices in usd per million tokens, or per 1,000 web searches; '' = unknown."""

    day: date
    kind: PricedKind
    units: int
    list_usd_per_unit: Decimal
    contracted_usd_per_unit: Decimal
    model: str
    channel: str = "anthropic"
    organisation: str = ""
    workspace: str = ""
    api_key: str = ""
    request_class: str = ""
    service_tier: str = ""
    prompt_length_band: str = ""
    geo: str = ""
    speed: str = ""
    cost_centre: str = ""
    team: str = ""

    @property
    def list_usd(self) -> Decimal:
        return line_cost(self.units, self.list_usd_per_unit, unit_exponent=unit_exponent(self.kind))

    @property
    def contracted_usd(self) -> Decimal:
        return line_cost(self.units, self.contracted_usd_per_unit, unit_exponent=unit_exponent(self.kind))


def focus_rows(lines: Iterator[FocusLine], *, account: str) -> Iterator[list[Cell]]:
    """Rows in the order of COLUMNS. `account`: the billing account where usage names no organisation."""
    for line in lines:
        values = _values(line, account)
        yield [values.get(name) for name in COLUMNS]


def _values(line: FocusLine, account: str) -> dict[str, Cell]:
    start = _midnight(line.day)
    month = _midnight(line.day.replace(day=1))
    host, service = _HOSTS.get(line.channel, (PROVIDER, "Claude API"))
    issuer = PROVIDER if host == PROVIDER or line.channel == "platform_aws" else host
    billed, listed = line.contracted_usd, line.list_usd
    searches = line.kind == "web_search"
    exponent = unit_exponent(line.kind)
    geo = "" if line.geo in UNTOLD or line.geo in ("not_available", "(none)") else line.geo
    details = {
        f"x_{name}": value
        for name, value in (
            ("ServiceTier", line.service_tier),
            ("ContextWindow", line.prompt_length_band),
            ("InferenceGeo", line.geo),
            ("Speed", line.speed),
        )
        if value not in UNTOLD
    }
    tags = {
        name: value
        for name, value in (("cost_centre", line.cost_centre), ("team", line.team), ("class", line.request_class))
        if value
    }
    return {
        "BilledCost": billed,
        "BillingAccountId": line.organisation or account,
        "BillingAccountName": account,
        "BillingAccountType": "Organization",
        "BillingCurrency": "USD",
        "BillingPeriodStart": month,
        "BillingPeriodEnd": _midnight((line.day.replace(day=1) + timedelta(days=32)).replace(day=1)),
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{line.model} {METER[line.kind]}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": start,
        "ChargePeriodEnd": start + timedelta(days=1),
        "ConsumedQuantity": line.units,
        "ConsumedUnit": "Requests" if searches else "Tokens",
        "ContractedCost": billed,
        "ContractedUnitPrice": line.contracted_usd_per_unit,
        "EffectiveCost": billed,
        "InvoiceIssuerName": issuer,
        "ListCost": listed,
        "ListUnitPrice": line.list_usd_per_unit,
        "PricingCategory": "Standard",
        "PricingQuantity": EXACT.scaleb(Decimal(line.units), -exponent),
        "PricingUnit": "1000 Requests" if searches else "1000000 Tokens",
        "ProviderName": issuer,
        "PublisherName": PROVIDER,
        "RegionId": geo or None,
        "RegionName": geo or None,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": service,
        "ServiceSubcategory": "Generative AI",
        "SkuId": line.model,
        "SkuMeter": METER[line.kind],
        "SkuPriceDetails": _json(details),
        "SkuPriceId": "/".join([line.model, METER[line.kind], *details.values()]),
        "SubAccountId": line.workspace or None,
        "SubAccountName": line.workspace or None,
        "SubAccountType": "Workspace" if line.workspace else None,
        "Tags": _json(tags),
        "ServiceProviderName": issuer,
        "HostProviderName": host,
        "x_ApiKeyId": line.api_key or None,
        "x_RequestClass": line.request_class or None,
        "x_CostCentre": line.cost_centre or None,
    }


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _json(values: Mapping[str, str]) -> str | None:
    return json.dumps(values, ensure_ascii=False, sort_keys=True) if values else None
