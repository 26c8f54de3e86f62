"""Anthropic Usage and Cost Analytics API, cost (GET /v1/organizations/analytics/cost): all pages of one query."""

from collections.abc import Callable
from pathlib import Path

from billing.core.money import sum_usd
from billing.core.periods import Period
from billing.importers.analytics_rows import AnalyticsFile, AnalyticsRow, analytics_file
from billing.importers.anthropic_admin_cost import unknown_words
from billing.importers.anthropic_pages import DAY, kind_of
from billing.importers.base import Head, Problem, shown
from billing.importers.cost_base import (
    KIND_OF_TOKEN_TYPE,
    CostLine,
    CostReport,
    Covers,
    cents_field,
    currency_code,
    first_of_month,
)


class AnthropicAnalyticsCost:
    """`amount` is after discount and before credits, `list_amount` at list price; both are cents with fractions."""

    name = "anthropic_analytics_cost"
    title = "Anthropic Analytics API cost: JSON pages of one query"
    source = "Anthropic Analytics cost"
    channel = "anthropic"
    is_bill = False

    def claims(self, head: Head) -> bool:
        return kind_of(head) == "analytics_cost"

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        file = analytics_file(path, file_name, "cost", "an Analytics cost report")
        problems: list[Problem] = []
        lines: list[CostLine] = []
        rejected = 0
        for position, row in enumerate(file.rows, start=1):
            found: list[Problem] = []
            line = _line(position, file, row, canonical, found)
            problems += found
            rejected += bool(found)
            if line is not None:
                lines.append(line)
        if file.width < DAY:
            file_findings = (*file.findings, "Hours, not days: fetch whole UTC days, as each day is replaced whole.")
        else:
            file_findings = file.findings
        findings = [*file_findings, *unknown_words(lines), before_credits(lines)]
        # A day without a row between the first and the last had no cost, and says so.
        whole = Period(min(row.period.start for row in file.rows), max(row.period.end for row in file.rows))
        return CostReport(
            tuple(lines),
            Covers(days=tuple(whole.each_day())),
            tuple(sorted(file.grouped)),
            tuple(text for text in findings if text),
            tuple(problems),
            rejected,
        )


def _line(
    position: int, file: AnalyticsFile, row: AnalyticsRow, canonical: Callable[[str], str], problems: list[Problem]
) -> CostLine | None:
    place = f"{row.place}.cost"
    amount = cents_field(row.measures, "amount", place, problems)
    listed = cents_field(row.measures, "list_amount", place, problems, needed=False)
    currency = currency_code(str(row.measures.get("currency") or ""))
    if not currency:
        told = shown(row.measures.get("currency"))
        problems.append(Problem(None, f"{place}.currency", told, "no currency", "Save the API's answer unchanged"))
    if problems or amount is None:
        return None
    cost_type = file.told(row, "cost_type")[:32]
    token_type = str(row.group.get("token_type") or "")
    kind = "web_search" if cost_type == "web_search" else KIND_OF_TOKEN_TYPE.get(token_type, token_type[:32])
    model = row.group.get("model")
    return CostLine(
        position=position,
        period=row.period,
        billing_month=first_of_month(row.period.start.date()),
        amount=amount,
        currency=currency,
        basis="contracted",
        cost_type=cost_type,
        token_kind=kind,
        workspace=file.told(row, "workspace_id"),
        api_key=file.told(row, "api_key_id"),
        model=canonical(str(model)) if model else file.told(row, "model"),
        service_tier=file.told(row, "service_tier"),
        prompt_length_band=file.told(row, "context_window"),
        geo=file.told(row, "inference_geo"),
        speed=file.told(row, "speed"),
        description=str(row.group.get("product") or ""),
        list_amount=listed,
        contracted_amount=amount,
    )


def before_credits(lines: list[CostLine]) -> str:
    """What to know when the amounts are compared with an invoice; '' without lines."""
    if not lines or any(line.list_amount is None for line in lines):
        return ""
    currencies = {line.currency for line in lines}
    if len(currencies) != 1:
        return ""
    listed = sum_usd(line.list_amount for line in lines if line.list_amount is not None)
    paid = sum_usd(line.amount for line in lines)
    return (
        f"{paid:.2f} {currencies.pop()} after discount and before credits and tax ({listed:.2f} at list prices): "
        "an invoice that credits pay for is lower."
    )
