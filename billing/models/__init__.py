"""Facts about money: where usage came from, how much of it there was, what it costs, what lies ahead."""

from billing.models.contracts import Contract, ContractCredit, ContractRate, PriceScenario
from billing.models.costs import (
    BillingPeriod,
    CostReportLine,
    Invoice,
    InvoiceLine,
    PeriodAdjustment,
    PeriodComment,
    ResidualReason,
    TaxRate,
)
from billing.models.organisation import Organisation
from billing.models.planning import CommitmentSizing, CommitmentTerms, Forecast
from billing.models.prices import ModelAlias, ModelRelease, Price
from billing.models.showback import ColumnMapping, CostCentre, CostCentreMapping
from billing.models.usage import (
    COUNTERS_NOT_NEGATIVE,
    USAGE_KEY_FIELDS,
    DailyUsage,
    Import,
    PackedImport,
    StorePack,
    UsageCounters,
    UsageKey,
    UsageRollup,
    UsageSource,
)

__all__ = [
    "COUNTERS_NOT_NEGATIVE",
    "USAGE_KEY_FIELDS",
    "BillingPeriod",
    "ColumnMapping",
    "CommitmentSizing",
    "CommitmentTerms",
    "Contract",
    "ContractCredit",
    "ContractRate",
    "CostCentre",
    "CostCentreMapping",
    "CostReportLine",
    "DailyUsage",
    "Forecast",
    "Import",
    "Invoice",
    "InvoiceLine",
    "ModelAlias",
    "ModelRelease",
    "Organisation",
    "PackedImport",
    "PeriodAdjustment",
    "PeriodComment",
    "Price",
    "PriceScenario",
    "ResidualReason",
    "StorePack",
    "TaxRate",
    "UsageCounters",
    "UsageKey",
    "UsageRollup",
    "UsageSource",
]
