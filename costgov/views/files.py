"""What pages of lists hand out as files: classes, prices, cost lines, months, invoices, imports, the audit trail.

A page with a question of its own keeps its builder beside it (spend, showback, cost centres).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.http import HttpRequest

from audit.queries import entries
from billing.exports.cells import Cell
from billing.exports.tables import Table
from billing.models import Import, Invoice, Price
from costgov import downloads
from costgov.downloads import download
from costgov.pages import today
from costgov.queries.spend_lines import spend_lines
from costgov.shown import classes_shown, months_shown
from costgov.timespan import PARAMETERS, only, timespan

_LINES = ("model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "units", "usd_per_unit", "unit",
          "cost_usd", "first_day", "last_day", "valid_from", "valid_to", "source", "checked_on")  # fmt: skip
_CLASS = ("slug", "title", "owner", "model_id", "tier", "spend_usd", "spend_before_usd", "requests", "unpriced_tok",
          "value", "lower", "upper", "cases", "line", "bar", "verdict", "stale", "saving_usd")  # fmt: skip
_PRICE = ("model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "usd_per_unit", "valid_from",
          "valid_to", "source", "checked_on", "approved_at")  # fmt: skip
_MONTH = ("month", "state", "computed_usd", "report_usd", "invoice_usd", "residual_usd", "open_usd", "open_lines",
          "closed_at")  # fmt: skip
_INVOICE = ("month", "issuer", "number", "channel", "issued_on", "due_on", "currency", "total_amount", "entered_at",
            "checked_at", "withdrawn_at", "withdrawn_reason", "note")  # fmt: skip
_IMPORT = ("id", "kind", "file_name", "format", "state", "created_at", "finished_at", "size_bytes", "accepted",
           "duplicates", "rejected", "sha256")  # fmt: skip
_KINDS = {"_usd": "usd", "_per_unit": "usd", "amount": "usd", "_at": "moment", "_on": "date", "_day": "date",
          "month": "date", "valid_from": "date", "valid_to": "date"}  # fmt: skip


def _kind(name: str) -> str:
    return next((kind for end, kind in _KINDS.items() if name.endswith(end)), "text")


def _table(name: str, title: str, fields: Sequence[str], rows: Iterable[Any]) -> Table:
    """Some fields of values or rows, one column each."""

    def cells() -> Iterator[list[Cell]]:
        for row in rows:
            yield [getattr(row, field) for field in fields]

    return Table(name, title, fields, cells(), [_kind(field) for field in fields])


@download("classes")
def classes_table(request: HttpRequest) -> Table:
    """Every class with money and quality, whatever is searched for."""
    shown = classes_shown()
    return _table(f"classes-{shown.end}", "Classes", _CLASS, shown.lines)


@download("prices")
def prices_table(request: HttpRequest) -> Table:
    """Every approved price with its days and source: the whole history, exact."""
    rows = Price.objects.filter(approved_at__isnull=False).order_by("model", "token_kind", "service_tier", "valid_from")
    return _table("prices", "Prices", _PRICE, rows.iterator(chunk_size=1000))


@download("cost-lines")
def lines_table(request: HttpRequest) -> Table:
    """Every dated price and the units it was applied to."""
    only(request, ("class", "model", *PARAMETERS))
    span = timespan(request, today=today(), default="28")
    found = spend_lines(
        start=span.start, end=span.end, slug=request.GET.get("class", ""), model=request.GET.get("model", "")
    )
    return _table(f"cost-lines-{span.start}", "Cost lines", _LINES, found.lines.lines)


@download("months")
def months_table(request: HttpRequest) -> Table:
    """Months with their three figures."""
    shown = months_shown().months
    rows = ([*(getattr(row, name) for name in _MONTH), "; ".join(row.missing)] for row in shown)
    return Table("months", "Months", [*_MONTH, "missing"], rows, [*(_kind(name) for name in _MONTH), "text"])


@download("invoices")
def invoices_table(request: HttpRequest) -> Table:
    """Every invoice, withdrawn ones marked so."""
    return _table("invoices", "Invoices", _INVOICE, Invoice.objects.all().iterator(chunk_size=1000))


@download("imports")
def imports_table(request: HttpRequest) -> Table:
    """Every import of usage and costs."""
    return _table("imports", "Imports", _IMPORT, Import.objects.order_by("-created_at").iterator(chunk_size=1000))


@download("audit")
def audit_table(request: HttpRequest) -> Table:
    """The trail under the filters of its page, every entry, newest first."""
    only(request, ("object", "id", "action", "person", "page"))
    found = entries(object_type=request.GET.get("object") or None, object_id=request.GET.get("id") or None)
    if action := request.GET.get("action"):
        found = found.filter(action=action)
    if person := request.GET.get("person"):
        found = found.filter(actor_name=person)

    def rows() -> Iterator[list[Cell]]:
        for entry in found.order_by("-at", "-pk").iterator(chunk_size=1000):
            yield [
                entry.at, entry.actor_name, entry.action, entry.object_type, entry.object_id, entry.object_label,
                entry.note, _json(entry.before), _json(entry.after), entry.is_demo,
            ]  # fmt: skip

    columns = ["at", "who", "action", "object_type", "object_id", "object_label", "note", "before", "after", "is_demo"]
    return Table("audit", "Audit trail", columns, rows(), ["moment"])


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


urlpatterns = downloads.urlpatterns
