"""Claude Console, cost download: dollars rounded to cents in every row, models by name (all header versions)."""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from billing.core.usage import NOT_GROUPED, UNKNOWN
from billing.importers.anthropic_words import model_id, prompt_band, workspace_name
from billing.importers.base import PROBLEMS_SHOWN, Head, Problem, shown
from billing.importers.console_csv import DATE, console_period
from billing.importers.cost_base import AmountError, CostLine, CostReport, Covers, amount_of, first_of_month
from billing.importers.tables import header_of, table_rows

COST: Final = "cost_usd"
LIST: Final = "list_price_usd"
_KINDS: Final = {
    "input_no_cache": "uncached_input",
    "output": "output",
    "input_cache_read": "cache_read",
    "input_cache_write_5m": "cache_write_5m",
    "input_cache_write_1h": "cache_write_1h",
}
_COST_TYPES: Final = {"token": "tokens", "tokens": "tokens"}
_GROUPS: Final = (
    "model", "workspace", "api_key", "api_key_id", "usage_type", "context_window", "token_type", "cost_type",
    "inference_geo", "speed",
)  # fmt: skip


class ConsoleCostCsv:
    """Whole dollars and cents: a sum of many rows is off by up to half a cent each, which reconciliation allows for."""

    name = "console_cost_csv"
    title = "Claude Console cost download: CSV"
    source = "Claude Console cost download"
    channel = "anthropic"
    is_bill = False

    def claims(self, head: Head) -> bool:
        names = header_of(head)
        return DATE in names and COST in names

    def read(
        self, path: Path, *, file_name: str, canonical: Callable[[str], str], all_rows: bool = False
    ) -> CostReport:
        lines: list[CostLine] = []
        problems: list[Problem] = []
        rejected = 0
        words: dict[tuple[str, str], Decimal] = {}
        grouped: tuple[str, ...] = ()
        for line, row in table_rows(path, file_name, required=(DATE, COST)):
            found: list[Problem] = []
            item = _line(row, line, canonical, found, words)
            grouped = grouped or tuple(name for name in _GROUPS if name in row)
            if item is None:
                rejected += 1
                problems += found[: max(0, PROBLEMS_SHOWN - len(problems))]
            else:
                lines.append(item)
        days = sorted({line.period.start.date() for line in lines})
        findings = [
            f"{len(lines):,} rows rounded to cents: their sum may be off by up to {rounding_allowance(lines):.2f} USD."
        ]
        findings += [
            f"Unknown {column} {word!r} ({amount:.2f} USD): kept as it stands."
            for (column, word), amount in sorted(words.items())[:10]
        ]
        return CostReport(tuple(lines), Covers(days=tuple(days)), grouped, tuple(findings), tuple(problems), rejected)


def _line(
    row: Mapping[str, str],
    line: int,
    canonical: Callable[[str], str],
    problems: list[Problem],
    words: dict[tuple[str, str], Decimal],
) -> CostLine | None:
    period = console_period(row, line, problems)
    amount = _dollars(row, COST, line, problems)
    listed = _dollars(row, LIST, line, problems) if row.get(LIST) else None
    if period is None or amount is None or problems:
        return None

    def known(column: str, names: Mapping[str, str], otherwise: str) -> str:
        text = row.get(column, "")
        if text and text not in names:
            words[column, text] = words.get((column, text), Decimal(0)) + amount
        return names.get(text, text[:32]) or otherwise

    def told(column: str) -> str:
        return row[column][:255] if column in row else NOT_GROUPED

    kind = known("token_type", _KINDS, "")
    model = row.get("model", "")
    return CostLine(
        position=line,
        period=period,
        billing_month=first_of_month(period.start.date()),
        amount=amount,
        cost_type=known("cost_type", _COST_TYPES, "tokens" if kind else NOT_GROUPED),
        token_kind=kind,
        workspace=workspace_name(row["workspace"]) if "workspace" in row else NOT_GROUPED,
        api_key=row.get("api_key_id") or told("api_key"),
        model=canonical(model_id(model)) if model else (UNKNOWN if "model" in row else NOT_GROUPED),
        # "message" is what the request was, not its tier; no label of another tier has been seen.
        service_tier=known("usage_type", {"message": UNKNOWN}, UNKNOWN),
        prompt_length_band=prompt_band(row["context_window"]) if "context_window" in row else NOT_GROUPED,
        geo=told("inference_geo"),
        speed=told("speed"),
        description=" · ".join(text for text in (model, row.get("token_type", ""), row.get("api_key", "")) if text),
        list_amount=listed,
    )


def _dollars(row: Mapping[str, str], name: str, line: int, problems: list[Problem]) -> Decimal | None:
    text = row[name]
    try:
        return amount_of(text)
    except AmountError as error:
        remedy = "Use the file as it was downloaded; the Console writes plain dollars like 1234.56"
        problems.append(Problem(line, name, shown(text), str(error), remedy))
        return None


def rounding_allowance(lines: Sequence[CostLine]) -> Decimal:
    """How far a sum of rows rounded to cents may be from the unrounded one: half a cent each."""
    return Decimal("0.005") * len(lines)
