"""October 2026 of a small organisation, made by hand: figures a reader can add up (docs/algorithms/reconciliation.md).

Opus 4.5 costs 5, cache reads 0.50, output 25 usd per million tokens. Usage was imported on 8 November, the cost report
of 1 to 6 October on 9 November; both when the days had long settled.
"""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group

from billing.models import Contract, Import, Price, UsageSource
from billing.operations.imports import COSTS, ImportOptions, import_file
from billing.operations.invoices import InvoiceEntry, LineEntry
from billing.operations.tax_rates import state_tax_rate
from billing.store import NO_PLAN
from costgov.models import User
from tests.billing.usage_rows import count_usage

MONTH = date(2026, 10, 1)
AS_OF = datetime(2026, 11, 23, 12, tzinfo=UTC)
IMPORTED = datetime(2026, 11, 8, 9, tzinfo=UTC)
REPORTED = datetime(2026, 11, 9, 6, tzinfo=UTC)
OPUS = "claude-opus-4-5"
PREVIEW = "claude-labs-preview"
USD = Decimal


def person(name: str, role: str) -> User:
    user = User.objects.create_user(username=name)
    user.groups.add(Group.objects.get(name=role))
    return user


def price(kind: str, usd: str, *, at: datetime = datetime(2026, 1, 5, tzinfo=UTC), start: date | None = None) -> Price:
    return Price.objects.create(
        model=OPUS, token_kind=kind, usd_per_unit=Decimal(usd), source="by hand", checked_on=at.date(),
        proposed_at=at, approved_at=at, valid_from=start,
    )  # fmt: skip


def prices() -> None:
    for kind, usd in (("uncached_input", "5"), ("cache_read", "0.5"), ("output", "25")):
        price(kind, usd)


def usage() -> None:
    """What was imported: 1, 2 and 8 October; nothing of the 3rd."""
    say = {"request_class": "triage", "prompt_length_band": "0-200k", "workspace": "wrkspc_a"}
    count_usage(OPUS, "2026-10-01", uncached_input_tok=2_000_000, output_tok=400_000, **say)  # 10.00 + 10.00
    count_usage(
        OPUS, "2026-10-02", uncached_input_tok=1_234_567, cache_read_tok=1_234_567, **say
    )  # 6.172835, 0.6172835
    count_usage(PREVIEW, "2026-10-02", output_tok=480_000, **say)
    count_usage(OPUS, "2026-10-08", output_tok=300_000, **say)  # 7.50
    source = UsageSource.objects.get(name="test report")
    Import.objects.create(
        source=source, file_name="usage.json", sha256="u" * 64, state=Import.State.DONE, created_at=IMPORTED,
        finished_at=IMPORTED, period_start=datetime(2026, 10, 1, tzinfo=UTC),
        period_end=datetime(2026, 10, 9, tzinfo=UTC),
    )  # fmt: skip


def result(cents: str, kind: str | None, **changes: Any) -> dict[str, Any]:
    """One row of the Admin API's cost report."""
    types = {
        "uncached_input": "uncached_input_tokens",
        "cache_read": "cache_read_input_tokens",
        "output": "output_tokens",
    }
    is_tokens = kind in types
    return {
        "amount": cents,
        "currency": "USD",
        "cost_type": "tokens" if is_tokens else kind,
        "token_type": types.get(str(kind)),
        "description": f"{kind} usage",
        "model": OPUS if is_tokens else None,
        "context_window": "0-200k" if is_tokens else None,
        "inference_geo": "global" if is_tokens else None,
        "service_tier": "standard" if is_tokens else None,
        "workspace_id": "wrkspc_a",
        **changes,
    }


REPORT: dict[int, list[dict[str, Any]]] = {
    1: [result("1000.0000", "uncached_input"), result("1412.0000", "output")],  # 4.12 more than we know of
    2: [
        result("617.2835", "uncached_input"),
        result("61.7284", "cache_read"),  # of four decimals: 0.6172835 usd do not fit
        result("960.0000", "output", model=PREVIEW),
        result("35.0000", "code_execution"),
    ],
    3: [result("750.0000", "output")],  # of a day whose usage nobody imported
    4: [],
    5: [],
    6: [],
}


def report(folder: Path, days: dict[int, list[dict[str, Any]]] | None = None, *, at: datetime = REPORTED) -> None:
    """Import the cost report of some days of October through the real importer."""
    stated = REPORT if days is None else days
    data = [
        {
            "starting_at": f"2026-10-{day:02d}T00:00:00Z",
            "ending_at": f"{date(2026, 10, day) + timedelta(days=1)}T00:00:00Z",
            "results": results,
        }
        for day, results in stated.items()
    ]
    path = folder / f"costs-{at:%Y%m%d%H%M}.json"
    path.write_text(json.dumps({"data": data, "has_more": False, "next_page": None}))
    import_file(actor=None, path=path, as_of=at, options=ImportOptions(), plan=NO_PLAN, kind=COSTS)


def invoice(*lines: LineEntry, total: str | None = None, **changes: Any) -> InvoiceEntry:
    """By default the invoice to the report: 48.01 of usage and 0.35 of code execution, with a credit and tax."""
    stated = lines or (
        LineEntry("Claude usage", USD("48.01")),
        LineEntry("Code execution", USD("0.35"), "other"),
        LineEntry("Service credit", USD("-5.00"), "credit"),
        LineEntry("Sales tax", USD("3.04"), "tax"),
    )
    payable = sum((line.amount for line in stated), USD(0)) if total is None else USD(total)
    values: dict[str, Any] = {
        "issuer": "Anthropic", "number": "INV-10", "month": MONTH, "issued_on": date(2026, 11, 2),
        "total_amount": payable, "lines": stated, **changes,
    }  # fmt: skip
    return InvoiceEntry(**values)


def records() -> None:
    """What the credit and the tax of that invoice are compared with: a credit of 20.00 agreed on, and 7 % of tax."""
    contract = Contract.objects.create(
        name="Acme 2026", valid_from=date(2026, 1, 1), source="order form", checked_on=date(2026, 1, 2),
        proposed_at=REPORTED, approved_at=REPORTED,
    )  # fmt: skip
    contract.credits.create(name="Launch credit", amount_usd=USD("20.00"), valid_from=date(2026, 10, 1))
    state_tax_rate(actor=None, issuer="Anthropic, PBC", percent=USD("7"), valid_from=date(2026, 1, 1), as_of=REPORTED)


# The same month as it looks when everything is there: every day imported and reported, one cause, nothing open.
WHOLE: dict[int, list[dict[str, Any]]] = {day: [] for day in range(1, 32)} | {
    1: [result("1000.0000", "uncached_input"), result("1000.0000", "output"), result("35.0000", "code_execution")]
}


def whole_month(folder: Path) -> None:
    """Usage of 20.00 usd on 1 October, its report with 0.35 of code execution."""
    prices()
    say = {"request_class": "triage", "prompt_length_band": "0-200k", "workspace": "wrkspc_a"}
    count_usage(OPUS, "2026-10-01", uncached_input_tok=2_000_000, output_tok=400_000, **say)
    report(folder, WHOLE)


def whole_invoice(**changes: Any) -> InvoiceEntry:
    lines = (LineEntry("Claude usage", USD("20.00")), LineEntry("Code execution", USD("0.35"), "other"))
    return invoice(*lines, **changes)
