"""Anthropic Admin API cost report: days of amounts in cents (GET /v1/organizations/cost_report)."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from billing.core.periods import Period
from billing.core.usage import DEFAULT_WORKSPACE, NOT_APPLICABLE, NOT_GROUPED
from billing.importers.anthropic_pages import DAY, bucketed_results, check_texts, kind_of, pages_of
from billing.importers.base import PROBLEMS_SHOWN, Head, ImportRefused, Problem, shown
from billing.importers.cost_base import (
    KIND_OF_TOKEN_TYPE,
    OTHER,
    CostLine,
    CostReport,
    Covers,
    cents_field,
    currency_code,
    first_of_month,
)

_TEXTS: Final = (
    "cost_type", "token_type", "description", "model", "context_window", "inference_geo", "service_tier",
    "workspace_id", "currency",
)  # fmt: skip
COST_TYPES: Final = ("tokens", "web_search", "code_execution", "session_usage")


class AnthropicAdminCost:
    """Amounts are cents with fractions: divided by 100 once, here, never rounded."""

    name = "anthropic_admin_cost"
    title = "Anthropic Admin API cost report: JSON pages"
    source = "Anthropic cost report"
    channel = "anthropic"
    is_bill = False

    def claims(self, head: Head) -> bool:
        return kind_of(head) == "cost_report"

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        pages = list(pages_of(path, file_name, "a cost report"))
        problems: list[Problem] = []
        rows, buckets = bucketed_results(pages, problems)
        _refuse(file_name, problems)
        if not buckets:
            raise ImportRefused.because(
                file_name, "the report has no days", "Ask the API for a period, with starting_at and ending_at"
            )
        results = [result for _, result, _ in rows if isinstance(result, dict)]
        group_by = tuple(
            name
            for name, key in (("workspace_id", "workspace_id"), ("description", "cost_type"))
            if any(result.get(key) is not None for result in results)
        )
        lines: list[CostLine] = []
        rejected = 0
        for position, (period, result, place) in enumerate(rows, start=1):
            before = len(problems)
            line = _line(position, period, result, place, group_by, canonical, problems, file_name)
            if line is not None:
                lines.append(line)
            rejected += len(problems) > before
        findings = unknown_words(lines)
        if pages[-1].get("has_more"):
            findings.append("The last page says has_more: further pages exist and should be imported as well.")
        if not group_by and lines:
            findings.append(
                "The report is not grouped: one amount per day. Ask for group_by[]=workspace_id and "
                "group_by[]=description to see what it is made of."
            )
        days = sorted({period.start.date() for period in buckets})
        return CostReport(tuple(lines), Covers(days=tuple(days)), group_by, tuple(findings), tuple(problems), rejected)


def _refuse(file_name: str, problems: list[Problem]) -> None:
    if problems:
        raise ImportRefused(file_name, problems[:PROBLEMS_SHOWN], len(problems))


def _line(
    position: int,
    period: Period,
    result: Any,
    place: str,
    group_by: tuple[str, ...],
    canonical: Callable[[str], str],
    problems: list[Problem],
    file_name: str,
) -> CostLine | None:
    if not isinstance(result, dict):
        problems.append(Problem(None, place, shown(result), "not an object", "Take the page as the API returns it"))
        return None
    if "uncached_input_tokens" in result:
        raise ImportRefused.because(
            file_name, "this is a usage report (tokens), not a cost report", "Import it with manage.py import_usage"
        )
    if period.end - period.start != DAY:
        problems.append(
            Problem(
                None,
                f"{place}.ending_at",
                period.end.isoformat(),
                "not a whole UTC day",
                "The cost report knows days only: take the page as the API returns it",
            )
        )
        return None
    found = check_texts(result, _TEXTS, place)
    amount = cents_field(result, "amount", place, found)
    currency = currency_code(str(result.get("currency") or ""))
    if not currency:
        found.append(
            Problem(
                None, f"{place}.currency", shown(result.get("currency")), "no currency", "Save the answer unchanged"
            )
        )
    problems += found
    if found or amount is None:
        return None
    return CostLine(
        position=position,
        period=period,
        billing_month=first_of_month(period.start.date()),
        amount=amount,
        currency=currency,
        **told_dimensions(result, "description" in group_by, "workspace_id" in group_by, canonical),
        description=str(result.get("description") or ""),
    )


def told_dimensions(
    result: Mapping[str, Any], is_described: bool, has_workspace: bool, canonical: Callable[[str], str]
) -> dict[str, Any]:
    """Null means: not grouped; or, grouped, the default workspace, or not applicable to a charge that is not tokens."""
    absent = NOT_APPLICABLE if is_described else NOT_GROUPED

    def told(name: str, otherwise: str = absent) -> str:
        return str(result.get(name) or "")[:255] or otherwise

    model = result.get("model")
    cost_type = told("cost_type", OTHER if is_described else NOT_GROUPED)[:32]
    token_type = str(result.get("token_type") or "")
    kind = "web_search" if cost_type == "web_search" else KIND_OF_TOKEN_TYPE.get(token_type, token_type[:32])
    return {
        "cost_type": cost_type,
        "token_kind": kind,
        "workspace": told("workspace_id", DEFAULT_WORKSPACE if has_workspace else NOT_GROUPED),
        "api_key": NOT_GROUPED,
        "model": canonical(str(model)) if model else absent,
        "service_tier": told("service_tier"),
        "prompt_length_band": told("context_window"),
        "geo": told("inference_geo"),
        "speed": NOT_GROUPED,
    }


def unknown_words(lines: list[CostLine]) -> list[str]:
    """Kinds of cost nobody has described yet: kept as stated, and said."""
    sums: dict[str, Decimal] = {}
    known = {*COST_TYPES, NOT_GROUPED}
    kinds = {*KIND_OF_TOKEN_TYPE.values(), ""}
    for line in lines:
        words = [line.cost_type] if line.cost_type not in known else []
        words += [line.token_kind] if line.token_kind not in kinds else []
        for word in words:
            sums[word] = sums.get(word, Decimal(0)) + line.amount
    return [
        f"Unknown kind of cost {word!r} ({amount:.2f}): kept as stated, compared with no usage."
        for word, amount in sorted(sums.items())
    ]
