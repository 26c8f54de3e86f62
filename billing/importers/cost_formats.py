"""The cost formats, and which of them a file is."""

from pathlib import Path
from typing import Final

from billing.importers.anthropic_admin_cost import AnthropicAdminCost
from billing.importers.anthropic_analytics_cost import AnthropicAnalyticsCost
from billing.importers.anthropic_enterprise_cost import AnthropicEnterpriseCost
from billing.importers.aws_cur import AwsCur
from billing.importers.base import Head, read_head
from billing.importers.console_cost_csv import ConsoleCostCsv
from billing.importers.cost_base import CostFormat
from billing.importers.focus import Focus
from billing.importers.google_billing import GoogleBilling
from billing.importers.identify import claiming_format, named_format, refuse_parquet

COST_FORMATS: Final[tuple[CostFormat, ...]] = (
    AnthropicAdminCost(),
    AnthropicAnalyticsCost(),
    AnthropicEnterpriseCost(),
    ConsoleCostCsv(),
    Focus(),
    AwsCur(),
    GoogleBilling(),
)


def cost_format_names() -> tuple[str, ...]:
    return tuple(item.name for item in COST_FORMATS)


def identify_costs(path: Path, *, file_name: str, format_name: str = "") -> tuple[CostFormat, Head]:
    """The cost format that claims a file, or the one asked for. Raises ImportRefused when none or several do."""
    named = named_format(COST_FORMATS, file_name=file_name, format_name=format_name)
    head = read_head(path, file_name)
    found = named or claiming_format(COST_FORMATS, head, file_name=file_name)
    refuse_parquet(head, found.name, file_name=file_name)
    return found, head
