"""Claude Enterprise analytics cost report (GET /v1/organizations/analytics/cost_report): buckets of products."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from billing.core.periods import Period
from billing.core.usage import NOT_APPLICABLE, NOT_GROUPED
from billing.importers.anthropic_admin_cost import unknown_words
from billing.importers.anthropic_analytics_cost import before_credits
from billing.importers.anthropic_pages import (
    bucketed_results,
    check_not_overlapping,
    check_texts,
    kind_of,
    pages_of,
    top_groups_finding,
)
from billing.importers.base import PROBLEMS_SHOWN, Head, ImportRefused, Problem, shown
from billing.importers.cost_base import (
    KIND_OF_TOKEN_TYPE,
    CostLine,
    CostReport,
    Covers,
    cents_field,
    currency_code,
    first_of_month,
)

_DIMENSIONS: Final = ("model", "product", "context_window", "inference_geo", "speed", "cost_type", "token_type")


class AnthropicEnterpriseCost:
    """Seats' and API cost by product; up to a day behind and revised for 30 days, so it is imported again."""

    name = "anthropic_enterprise_cost"
    title = "Claude Enterprise analytics cost report: JSON pages"
    source = "Claude Enterprise cost report"
    channel = "anthropic"
    is_bill = False

    def claims(self, head: Head) -> bool:
        return kind_of(head) == "enterprise_cost"

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        pages = list(pages_of(path, file_name, "an Enterprise cost report"))
        problems: list[Problem] = []
        rows, buckets = bucketed_results(pages, problems)
        if problems:
            raise ImportRefused(file_name, problems[:PROBLEMS_SHOWN], len(problems))
        if not buckets:
            raise ImportRefused.because(
                file_name, "the report has no buckets", "Ask the API for a period, with starting_at and ending_at"
            )
        results = [result for _, result, _ in rows if isinstance(result, dict)]
        grouped = {name for name in _DIMENSIONS if any(result.get(name) is not None for result in results)}
        organisation = str(pages[0].get("organization_id") or "")
        lines: list[CostLine] = []
        rejected = 0
        for position, (period, result, place) in enumerate(rows, start=1):
            found: list[Problem] = []
            line = _line(position, period, result, place, grouped, organisation, canonical, found)
            problems += found
            rejected += bool(found)
            if line is not None:
                lines.append(line)
        findings = [*unknown_words(lines), *top_groups_finding(pages), before_credits(lines)]
        findings.append(
            "Figures of the last 30 days may still be revised: import them again before checking an invoice."
        )
        if pages[-1].get("has_more"):
            findings.append("The last page says has_more: further pages exist and should be imported as well.")
        return CostReport(
            tuple(lines),
            Covers(days=tuple(sorted({period.start.date() for period in buckets}))),
            tuple(sorted(grouped)),
            tuple(text for text in findings if text),
            tuple(problems),
            rejected,
        )


def _line(
    position: int,
    period: Period,
    result: Any,
    place: str,
    grouped: set[str],
    organisation: str,
    canonical: Callable[[str], str],
    problems: list[Problem],
) -> CostLine | None:
    if not isinstance(result, dict):
        problems.append(Problem(None, place, shown(result), "not an object", "Take the page as the API returns it"))
        return None
    problems += check_texts(result, (*_DIMENSIONS, "currency"), place)
    problems += check_not_overlapping(result, place)
    amount = cents_field(result, "amount", place, problems)
    listed = cents_field(result, "list_amount", place, problems, needed=False)
    currency = currency_code(str(result.get("currency") or ""))
    if not currency:
        told = shown(result.get("currency"))
        problems.append(Problem(None, f"{place}.currency", told, "no currency", "Save the API's answer unchanged"))
    if problems or amount is None:
        return None
    cost_type = _told(result, "cost_type", grouped)[:32]
    token_type = str(result.get("token_type") or "")
    kind = "web_search" if cost_type == "web_search" else KIND_OF_TOKEN_TYPE.get(token_type, token_type[:32])
    model = result.get("model")
    return CostLine(
        position=position,
        period=period,
        billing_month=first_of_month(period.start.date()),
        amount=amount,
        currency=currency,
        basis="contracted",
        cost_type=cost_type,
        token_kind=kind,
        organisation=organisation,
        workspace=NOT_GROUPED,
        api_key=NOT_GROUPED,
        model=canonical(str(model)) if model else _told(result, "model", grouped),
        service_tier=NOT_GROUPED,
        prompt_length_band=_told(result, "context_window", grouped),
        geo=_told(result, "inference_geo", grouped),
        speed=_told(result, "speed", grouped),
        description=str(result.get("product") or ""),
        list_amount=listed,
        contracted_amount=amount,
    )


def _told(result: Mapping[str, Any], name: str, grouped: set[str]) -> str:
    value = result.get(name)
    return str(value)[:255] if value is not None else (NOT_APPLICABLE if name in grouped else NOT_GROUPED)
