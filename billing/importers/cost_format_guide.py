"""What to know about each cost format before exporting one: for the page of formats and docs/guide/cost-reports.md.

One entry per format; a test compares the table of the guide with this one.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class CostFormatGuide:
    """`export`: address, menu or command. `amounts`: unit and meaning of the amounts in the file."""

    name: str
    what: str
    export: str
    amounts: str
    traps: str


COST_GUIDE: Final[tuple[CostFormatGuide, ...]] = (
    CostFormatGuide(
        "anthropic_admin_cost",
        "Admin API cost report",
        "GET /v1/organizations/cost_report?bucket_width=1d&group_by[]=workspace_id&group_by[]=description, pages saved "
        "unchanged",
        "US cents as text, with fractions",
        "divided by 100 once and not rounded; null means not grouped, the default workspace, or not applicable; "
        "priority usage is in no row",
    ),
    CostFormatGuide(
        "anthropic_analytics_cost",
        "Usage and Cost Analytics API, cost",
        "GET /v1/organizations/analytics/cost with the beta header, time_bucket_width=1d, limit=1000, grouped by "
        "workspace, key, model, tier, cost type and token type; all pages one after another in one file",
        "US cents as text; the amount is after discount and before credits, the list amount beside it",
        "a page that says has_more, a page twice and overlapping groups (rbac_group_id) are refused",
    ),
    CostFormatGuide(
        "anthropic_enterprise_cost",
        "Claude Enterprise cost report",
        "GET /v1/organizations/analytics/cost_report, pages saved unchanged",
        "US cents as text, after discount and before credits",
        "a bucket of 100 groups is said to be cut; figures are revised for 30 days",
    ),
    CostFormatGuide(
        "console_cost_csv",
        "Cost download of the Claude Console",
        "Console → Cost → Export, the file unchanged; any header since 2024-12",
        "dollars, rounded to cents in each row",
        "the allowance for rounding is said; names of models become ids; unknown words are kept and said",
    ),
    CostFormatGuide(
        "focus",
        "A bill in FOCUS 1.0 to 1.3",
        "The provider's FOCUS export, CSV or JSON lines",
        "billing currency; BilledCost counts, list, contracted and effective cost stand beside it",
        "NULL, times without Z, dates like 5/1/25, other letters, a byte order mark and foreign columns are read and "
        "reported; list prices are never summed over a purchase and the usage it pays for",
    ),
    CostFormatGuide(
        "aws_cur",
        "AWS Cost and Usage Report 2.0",
        "AWS Data Exports, CSV (gzip), with resource tags; the older report with slashed names too",
        "billing currency, unblended cost; tax, credits and discounts are lines of their own",
        "Claude is sold through Marketplace: found by the product's name; both grammars of usage types; units are "
        "millions of tokens",
    ),
    CostFormatGuide(
        "google_billing",
        "Google Cloud billing export",
        "BigQuery: the rows of gcp_billing_export_v1_… exported as JSON lines, or the array the console downloads",
        "billing currency; credits are lines of their own",
        "found by service or SKU text; the invoice month is the bill's own (Pacific time)",
    ),
)


def cost_guide_table() -> str:
    """The table as Markdown."""
    head = "| format | what it is | how to export it | amounts | traps handled |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| `{item.name}` | {item.what} | {item.export} | {item.amounts} | {item.traps} |\n" for item in COST_GUIDE
    )
