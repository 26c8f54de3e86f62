"""Cost reports and invoices of the demo: what a provider would state of its usage, with what real ones differ by.

The cost report is the imported usage at list prices, per day, workspace, model and kind, in cents of four decimals, as
the API writes them, plus invented deviations, each one a thing that happens:

* a late hour: the provider counts an hour of the last day of a usage file that was not in the file yet;
* a region: a third of the nightly summaries ran with US-only inference, which their usage does not tell;
* a preview model: it has no price here, the report has its amount;
* code execution: in cost reports alone;
* one day of cache writes in the last complete month that nobody can explain;
* one day of the month before it, reported anew after that month was closed.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import orjson
from django.db.models import Sum

from billing.core.money import ZERO, line_cost, round_usd
from billing.core.periods import next_month
from billing.core.pricebook import PriceKey
from billing.core.pricing import CostLine, Pricer
from billing.core.usage import COUNTER_OF_KIND, COUNTERS, TOKEN_KINDS
from billing.models import DailyUsage
from billing.operations.invoices import InvoiceEntry, LineEntry
from billing.queries.prices import price_book
from costgov.demo.organisation import CLASSES, OPUS_45, RAW_NAME, SANDBOX, UNKNOWN_MODEL
from costgov.demo.usage_files import UsageFile, usage_files

LATE_SHARE: Final = Decimal(1) / Decimal(24)
US_SHARE: Final = Decimal(1) / Decimal(3)
US_PREMIUM: Final = Decimal("1.1")
PREVIEW_USD: Final = {"uncached_input": Decimal(4), "output": Decimal(20)}  # invented: no list states it
CODE_EXECUTION: Final = "code_execution"
CODE_EXECUTION_USD: Final = Decimal("0.35")  # a day
UNEXPLAINED_USD: Final = Decimal("4.12")
ADJUSTMENT: Final = Decimal("117.31")
SETTLING_DAYS: Final = timedelta(days=3)
_QUIET: Final = timedelta(days=4)
ISSUER: Final = "Anthropic PBC (demo)"
TAX_RATE: Final = Decimal("0.029")
_TOKEN_TYPE: Final = {
    "uncached_input": "uncached_input_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_write_5m": "cache_creation.ephemeral_5m_input_tokens",
    "cache_write_1h": "cache_creation.ephemeral_1h_input_tokens",
    "output": "output_tokens",
}
_WORDS: Final = {
    "uncached_input": "Input Tokens",
    "cache_read": "Input Tokens, Cache Read",
    "cache_write_5m": "Input Tokens, Cache Write, 5m",
    "cache_write_1h": "Input Tokens, Cache Write, 1h",
    "output": "Output Tokens",
}
_WORKSPACE: Final = {row.slug: row.workspace for row in CLASSES}


@dataclass(frozen=True, slots=True)
class DemoMonth:
    """A month that is settled from `report_at` on. `is_last`: the last one there is, which stays open."""

    month: date
    report_at: datetime
    is_last: bool

    @property
    def number(self) -> str:
        return f"DEMO-{self.month:%Y-%m}"


def demo_months(last: date) -> list[DemoMonth]:
    """Months whose usage is imported, and whose last day has settled, before the day `last`; oldest first."""
    files = list(usage_files(last))
    found, month = [], files[0].start.replace(day=1)
    while (at := _settled_at(month, files)) is not None and at.date() < last:
        found.append((month, at))
        month = next_month(month)
    return [DemoMonth(month, at, month == found[-1][0]) for month, at in found]


def _settled_at(month: date, files: Sequence[UsageFile]) -> datetime | None:
    """Three days after the month, or the morning after its last usage came, whichever is later."""
    end = next_month(month)
    ready = [usage.ready_at for usage in files if usage.start < end <= usage.end]
    if not ready:
        return None
    day = end + SETTLING_DAYS
    settled = datetime(day.year, day.month, day.day, 6, tzinfo=UTC)
    return max(settled, *(at + timedelta(hours=6) for at in ready))


@dataclass(frozen=True, slots=True, order=True)
class ReportRow:
    """One result of the report. `kind` '' = code execution."""

    day: date
    workspace: str
    model: str
    kind: str
    geo: str


def report_rows(demo_month: DemoMonth, last: date) -> dict[ReportRow, Decimal]:
    """What the report states, in usd, unrounded."""
    month = demo_month.month
    rows: dict[ReportRow, Decimal] = defaultdict(lambda: ZERO)
    for row, amount, tells_region in _priced(month):
        share = ZERO if tells_region else US_SHARE
        rows[row] += amount * (1 - share)
        if share:
            us = ReportRow(row.day, row.workspace, row.model, row.kind, "us")
            rows[us] += amount * share * US_PREMIUM
    late, quiet = _late_day(month, last), _quiet_day(month, last)
    for row in list(rows):
        if row.day == late and row.model == OPUS_45:
            rows[row] *= 1 + LATE_SHARE
        if demo_month.is_last and row.day == quiet and row.model == OPUS_45 and row.kind == "cache_write_5m":
            rows[row] += UNEXPLAINED_USD
            quiet = None
    for day in sorted({row.day for row in rows}):
        rows[ReportRow(day, "wrkspc_data", "", "", "")] = CODE_EXECUTION_USD
    return dict(rows)


def restated_day(demo_month: DemoMonth, last: date) -> dict[ReportRow, Decimal]:
    """One day of the month as it is reported later: one line of it is higher by ADJUSTMENT."""
    rows = report_rows(demo_month, last)
    day = _quiet_day(demo_month.month, last) or max(row.day for row in rows)
    of_day = {row: amount for row, amount in rows.items() if row.day == day}
    largest = max(of_day, key=lambda row: (of_day[row], row))
    return {**of_day, largest: of_day[largest] + ADJUSTMENT}


def _priced(month: date) -> Iterator[tuple[ReportRow, Decimal, bool]]:
    """The month's counted usage at list prices; the preview model at its invented price."""
    pricer = Pricer(price_book())
    columns = ("model", "service_tier", "prompt_length_band", "geo", "speed")
    usage = (
        DailyUsage.objects.filter(date__gte=month, date__lt=next_month(month))
        .values("date", "workspace", "request_class", *columns)
        .annotate(**{f"sum_{name}": Sum(name) for name in COUNTERS})
        .order_by("date", "workspace", "request_class", *columns)
    )
    for found in usage:
        workspace = found["workspace"] or _WORKSPACE.get(found["request_class"], SANDBOX.workspace)
        key = PriceKey(**{name: found[name] for name in columns})
        for kind in TOKEN_KINDS:
            units = int(found[f"sum_{COUNTER_OF_KIND[kind]}"])
            if not units:
                continue
            row = ReportRow(found["date"], workspace, found["model"], kind, "global")
            line = pricer.line(key, kind, units, found["date"])
            if isinstance(line, CostLine):
                yield row, line.cost_usd, found["geo"] == "global"
            elif found["model"] == UNKNOWN_MODEL and kind in PREVIEW_USD:
                yield row, line_cost(units, PREVIEW_USD[kind]), True


def write_report(rows: dict[ReportRow, Decimal], path: Path) -> None:
    """One page of GET /v1/organizations/cost_report, grouped by workspace and description."""
    days: dict[date, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows):
        days[row.day].append(_result(row, rows[row]))
    data = [
        {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + timedelta(days=1)}T00:00:00Z", "results": days[day]}
        for day in sorted(days)
    ]
    path.write_bytes(orjson.dumps({"data": data, "has_more": False, "next_page": None}))


def _result(row: ReportRow, amount: Decimal) -> dict[str, Any]:
    is_tokens = bool(row.kind)
    name = f"{row.model.replace('-', ' ').title()} Usage - {_WORDS[row.kind]}" if is_tokens else "Code Execution Usage"
    return {
        "amount": f"{_in_cents(amount):.4f}",
        "currency": "USD",
        "cost_type": "tokens" if is_tokens else "code_execution",
        "token_type": _TOKEN_TYPE[row.kind] if is_tokens else None,
        "description": name,
        "model": RAW_NAME.get(row.model, row.model) if is_tokens else None,
        "context_window": "0-200k" if is_tokens else None,
        "inference_geo": row.geo if is_tokens else None,
        "service_tier": "standard" if is_tokens else None,
        "workspace_id": row.workspace,
    }


def _in_cents(amount: Decimal) -> Decimal:
    return (amount * 100).quantize(Decimal("0.0001"))


def invoice_of(demo_month: DemoMonth, rows: dict[ReportRow, Decimal], *, adjustment: Decimal) -> InvoiceEntry:
    """The invoice to the report: per model and kind in whole cents, with a credit, an adjustment and tax."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for row, amount in rows.items():
        sums[row.model, row.kind] += _in_cents(amount) / 100
    lines = [
        LineEntry(f"{model} {_WORDS[kind]}", round_usd(amount), "usage", model, kind)
        for (model, kind), amount in sorted(sums.items())
        if kind
    ]
    executed = sum((amount for (_, kind), amount in sums.items() if not kind), ZERO)
    lines.append(LineEntry("Code execution", round_usd(executed), "other", "", CODE_EXECUTION))
    if adjustment:
        before = demo_month.month - timedelta(days=1)
        lines.append(LineEntry(f"Adjustment of {before:%B %Y}", adjustment, "adjustment"))
    lines.append(LineEntry("Service credit, incident of the 14th", Decimal("-50.00"), "credit"))
    taxed = sum((line.amount for line in lines), ZERO)
    lines.append(LineEntry("Sales tax, 2.9% (demo)", round_usd(taxed * TAX_RATE), "tax"))
    issued = next_month(demo_month.month) + timedelta(days=2)
    return InvoiceEntry(
        issuer=ISSUER,
        number=demo_month.number,
        month=demo_month.month,
        issued_on=issued,
        due_on=issued + timedelta(days=30),
        total_amount=sum((line.amount for line in lines), ZERO),
        lines=lines,
        note="Invented for the demo.",
    )


def _file_ends(last: date) -> list[date]:
    return sorted({usage.end for usage in usage_files(last)})


def _late_day(month: date, last: date) -> date | None:
    """The last day of the first usage file that ends in the month: it was fetched six hours after."""
    days = [end - timedelta(days=1) for end in _file_ends(last)]
    return next((day for day in days if month <= day < next_month(month)), None)


def _quiet_day(month: date, last: date) -> date | None:
    """A day whose usage was imported after it had settled, so that nothing explains a difference on it."""
    ends = _file_ends(last)
    day = month + timedelta(days=9)
    while day < next_month(month):
        end = next((one for one in ends if one > day), None)
        if end is not None and day + _QUIET <= end:
            return day
        day += timedelta(days=1)
    return None
