"""Invoices: the months and where they stand, one month reconciled, entering and reading an invoice, closing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.core.money import MoneyError, parse_usd
from billing.core.settlement import MonthSettlement
from billing.core.words import usd
from billing.exports.month_xlsx import month_csv, month_workbook
from billing.models import BillingPeriod, Invoice
from billing.operations.invoices import InvoiceRefused, SimilarInvoice, check_invoice, save_invoice, withdraw_invoice
from billing.operations.reconciliation import (
    PeriodRefused,
    close_month,
    comment_month,
    explain_difference,
    record_adjustments,
    set_tolerance,
    settlement_hash,
    withdraw_reason,
)
from billing.queries.expected import StatedTaxRate, tax_rates
from billing.queries.reconciliation import model_names
from costgov.invoice_forms import CATEGORIES, CHANNELS, KINDS, InvoiceForm
from costgov.pages import now, page, right_required, today
from costgov.queries.reconciliation import (
    MonthList,
    MonthView,
    NoSuchMonth,
    cause_choices,
    neighbours,
    parse_month,
)
from costgov.shown import month_shown, months_shown
from costgov.templatetags.costgov_invoices import anchor
from costgov.timespan import only

LINES_SHOWN: Final = 60
FOLDED_FROM: Final = 4  # that many matching lines wait behind a button on phones
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
TOLERANCES: Final = (
    ("line_usd", "A line, in dollars", "0.01"),
    ("line_share", "A line, as a share of its amount", "0.000001"),
    ("invoice_line_usd", "An invoice, in dollars for each of its lines", "0.01"),
    ("unclassified_share", "Unclassified cost, as a share", "0.05"),
)


@dataclass(frozen=True, slots=True)
class TaxForm:
    """The form of a tax rate as typed; `problems` by field."""

    values: Mapping[str, str]
    problems: Mapping[str, str]

    @classmethod
    def of(cls, data: QueryDict, problems: Mapping[str, str]) -> "TaxForm":
        return cls({name: data.get(name, "") for name in ("issuer", "percent", "valid_from", "note")}, problems)


@dataclass(frozen=True, slots=True)
class ListPage:
    view: MonthList
    this_month: date
    tax_rates: tuple[StatedTaxRate, ...]


@dataclass(frozen=True, slots=True)
class MonthPage:
    """`opened`: anchor of the line the address asks to open. `lines`: those shown, `hidden_lines` more match."""

    view: MonthView
    value: MonthSettlement
    before: date | None
    after: date | None
    opened: str
    lines: tuple[Any, ...]
    hidden_lines: int
    causes: list[tuple[str, str]]
    tolerances: tuple[tuple[str, str, Decimal], ...]
    comments: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ClosePage:
    view: MonthView
    value: MonthSettlement
    seen_hash: str


@require_safe
def invoices(request: HttpRequest) -> HttpResponse:
    """Every month: figures, residual, what is missing."""
    only(request, ())
    return months_page(request)


def months_page(request: HttpRequest, *, tax_form: TaxForm | None = None) -> HttpResponse:
    """The list; with a tax rate that was refused, its form as it was typed."""
    shown = ListPage(months_shown(), today().replace(day=1), tax_rates().rates)
    return page(
        request,
        "costgov/invoices.html",
        shown,
        nav="invoices",
        status=400 if tax_form is not None else 200,
        tax_form=tax_form,
    )


@require_safe
def month(request: HttpRequest, name: str) -> HttpResponse:
    """One month; ?line= opens one line, ?show=all lists every line."""
    only(request, ("line", "show"))
    view = _view(name)
    value = view.settlement
    before, after = neighbours(view.month, as_of=now())
    opened = request.GET.get("line", "") or next((anchor(line.key) for line in value.lines if line.state == "open"), "")
    every = request.GET.get("show") == "all"
    lines = value.lines if every else value.lines[:LINES_SHOWN]
    shown = MonthPage(
        view=view,
        value=value,
        before=before,
        after=after,
        opened=opened,
        lines=lines,
        hidden_lines=len(value.lines) - len(lines),
        causes=cause_choices(),
        tolerances=tuple((key, label, getattr(value.settings, key)) for key, label, _ in TOLERANCES),
        comments=tuple(
            {"who": one.author, "what": "wrote", "at": one.at, "say": one.text, "symbol": ""}
            for one in reversed(view.comments)
        ),
    )
    return page(
        request,
        "costgov/month.html",
        shown,
        nav="invoices",
        folded=_folded([line.state for line in lines if anchor(line.key) != opened]),
        folded_invoice=_folded([line.state for line in value.invoice_lines]),
    )


def _folded(states: list[str]) -> int:
    """How many matching lines a phone shows only when asked; 0 where they are few."""
    matching = states.count("matches")
    return matching if matching >= FOLDED_FROM else 0


def _view(name: str) -> MonthView:
    month = _month_of(name)
    try:
        return month_shown(month=month)
    except NoSuchMonth as error:
        raise Http404(str(error)) from error


def _month_of(name: str) -> date:
    try:
        return parse_month(name)
    except ValueError as error:
        raise Http404(str(error)) from error


def _step(request: HttpRequest, name: str, step: Callable[[], str], fragment: str = "") -> HttpResponse:
    """Take a step with a month, say how it went, and lead back to the page."""
    try:
        messages.success(request, step())
    except PeriodRefused as refusal:
        messages.error(request, str(refusal))
    return redirect(f"{reverse('month', args=[name])}{fragment}")


@require_POST
@right_required(Right.EXPLAIN_RESIDUALS)
def month_explain(request: HttpRequest, name: str) -> HttpResponse:
    """Give a difference a cause and a reason."""
    first, line, side = _month_of(name), request.POST.get("line", ""), request.POST.get("side", "")

    def step() -> str:
        row = explain_difference(
            actor=request.user,  # type: ignore[arg-type]
            month=first,
            side=side,
            line=line,
            cause=request.POST.get("cause", ""),
            reason=request.POST.get("reason", ""),
            amount=_seen(request.POST.get("amount", "")),
            as_of=now(),
        )
        return f"Kept: {usd(row.amount, 2)} is explained. It is open again as soon as the difference changes."

    return _step(request, name, step, f"?line={anchor(line)}#{anchor(line)}")


def _seen(text: str) -> Decimal | None:
    try:
        return parse_usd(text) if text else None
    except MoneyError as error:
        raise PeriodRefused(str(error)) from error


@require_POST
@right_required(Right.EXPLAIN_RESIDUALS)
def reason_withdraw(request: HttpRequest, name: str) -> HttpResponse:
    """Take an explanation back."""
    number = request.POST.get("reason_id", "")

    def step() -> str:
        if not (number.isascii() and number.isdecimal()):
            raise PeriodRefused("Name the reason to withdraw.")
        withdraw_reason(actor=request.user, reason_id=int(number), as_of=now())  # type: ignore[arg-type]
        return "Withdrawn: the difference is open again."

    return _step(request, name, step)


@require_POST
@right_required(Right.COMMENT_PERIODS)
def month_comment(request: HttpRequest, name: str) -> HttpResponse:
    first = _month_of(name)

    def step() -> str:
        comment_month(actor=request.user, month=first, text=request.POST.get("text", ""), as_of=now())  # type: ignore[arg-type]
        return "Your comment is kept."

    return _step(request, name, step, "#comments")


@require_POST
@right_required(Right.EXPLAIN_RESIDUALS)
def month_tolerance(request: HttpRequest, name: str) -> HttpResponse:
    """Set what counts as equal."""
    first = _month_of(name)

    def step() -> str:
        changes = {}
        for key, label, _ in TOLERANCES:
            try:
                changes[key] = parse_usd(request.POST.get(key, ""))
            except MoneyError as error:
                raise PeriodRefused(f"{label}: {error}.") from error
        set_tolerance(actor=request.user, month=first, changes=changes, as_of=now())  # type: ignore[arg-type]
        return "The tolerance of this month is set; every line is compared anew."

    return _step(request, name, step, "#tolerance")


@right_required(Right.CLOSE_PERIODS)
def month_close(request: HttpRequest, name: str) -> HttpResponse:
    """GET: what closing freezes, or what stands before it. POST: close."""
    if request.method == "POST":
        first = _month_of(name)

        def step() -> str:
            close_month(
                actor=request.user,  # type: ignore[arg-type]
                month=first,
                as_of=now(),
                seen_hash=request.POST.get("seen") or "none was sent",
            )
            return f"{first:%B %Y} is closed: its figures stay as they are."

        return _step(request, name, step)
    view = _view(name)
    shown = ClosePage(view, view.settlement, settlement_hash(view.settlement))
    return page(request, "costgov/month_close.html", shown, nav="invoices")


@require_POST
@right_required(Right.CLOSE_PERIODS)
def month_adjust(request: HttpRequest, name: str) -> HttpResponse:
    """Book what came after a month was closed."""
    first = _month_of(name)

    def step() -> str:
        found = record_adjustments(actor=request.user, month=first, as_of=now())  # type: ignore[arg-type]
        if not found:
            return "Nothing was left to book."
        return f"Booked in {found[0].booked_month:%B %Y}: {len(found)} adjustment{'' if len(found) == 1 else 's'}."

    return _step(request, name, step, "#adjustments")


@require_safe
def month_xlsx(request: HttpRequest, name: str) -> HttpResponse:
    view = _view(name)
    content = month_workbook(view.settlement, state=view.state, answer=view.answer)
    return _attachment(content, XLSX, f"reconciliation-{view.month:%Y-%m}.xlsx")


@require_safe
def month_lines_csv(request: HttpRequest, name: str) -> HttpResponse:
    view = _view(name)
    content = month_csv(view.settlement)
    return _attachment(content, "text/csv; charset=utf-8", f"reconciliation-{view.month:%Y-%m}.csv")


def _attachment(content: bytes, content_type: str, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type=content_type, headers=headers)


# ---- Invoices --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FormPage:
    form: InvoiceForm
    invoice: Invoice | None
    categories: tuple[tuple[str, str], ...]
    kinds: tuple[tuple[str, str], ...]
    channels: tuple[tuple[str, str], ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InvoicePage:
    """`is_mine`: the reader entered it, so somebody else reads it against the document."""

    invoice: Invoice
    lines: tuple[Any, ...]
    lines_usd: Decimal
    off_usd: Decimal
    is_mine: bool


@right_required(Right.EDIT_INVOICES)
def invoice_add(request: HttpRequest) -> HttpResponse:
    """Enter an invoice; ?month= fills the month in."""
    if request.method == "POST":
        return _saved(request, None)
    only(request, ("month",))
    text = request.GET.get("month", "")
    form = InvoiceForm.empty(month=_month_of(text) if text else None)
    return _form_page(request, form, None)


@right_required(Right.EDIT_INVOICES)
def invoice_edit(request: HttpRequest, invoice_id: int) -> HttpResponse:
    row = _invoice(invoice_id)
    if request.method == "POST":
        return _saved(request, row)
    return _form_page(request, InvoiceForm.of(row), row)


def _saved(request: HttpRequest, row: Invoice | None) -> HttpResponse:
    form = InvoiceForm.read(request.POST)
    if request.POST.get("action") == "more":
        form.add_lines()
        return _form_page(request, form, row)
    entry = form.entry()
    if entry is not None:
        try:
            kept = save_invoice(
                actor=request.user,  # type: ignore[arg-type]
                entry=entry,
                as_of=now(),
                invoice_id=row.pk if row is not None else None,
                seen_at=form.seen_at,
                confirm_similar=request.POST.get("confirm_similar") == "yes",
            )
        except SimilarInvoice as refusal:
            form.add_problems(refusal.problems)
            form.similar = refusal.found
        except InvoiceRefused as refusal:
            form.add_problems(refusal.problems)
        else:
            messages.success(request, f"Invoice {kept.number} is kept. {_what_now(kept)}")
            return redirect("month", name=f"{kept.month:%Y-%m}")
    return _form_page(request, form, row, status=400)


def _what_now(kept: Invoice) -> str:
    """What comes of a saved invoice: of a closed month it changes nothing but what is due."""
    if not BillingPeriod.objects.filter(month=kept.month, state=BillingPeriod.State.CLOSED).exists():
        return "Now a second person reads it."
    return (
        f"{kept.month:%B %Y} is closed and stays as it is: what this invoice changes becomes a dated adjustment, to be "
        "booked in the first open month. A second person reads it all the same."
    )


def _form_page(request: HttpRequest, form: InvoiceForm, row: Invoice | None, status: int = 200) -> HttpResponse:
    shown = FormPage(form, row, CATEGORIES, KINDS, CHANNELS, tuple(sorted(model_names())))
    return page(request, "costgov/invoice_form.html", shown, nav="invoices", status=status)


@require_safe
def invoice_detail(request: HttpRequest, invoice_id: int) -> HttpResponse:
    row = _invoice(invoice_id, withdrawn=True)
    lines = tuple(row.lines.all())
    total = sum((line.amount for line in lines), Decimal(0))
    is_mine = row.entered_by_id is not None and row.entered_by_id == request.user.pk
    shown = InvoicePage(row, lines, total, row.total_amount - total, is_mine)
    return page(request, "costgov/invoice.html", shown, nav="invoices")


@require_POST
@right_required(Right.EDIT_INVOICES)
def invoice_check(request: HttpRequest, invoice_id: int) -> HttpResponse:
    try:
        row = check_invoice(actor=request.user, invoice_id=invoice_id, as_of=now())  # type: ignore[arg-type]
    except InvoiceRefused as refusal:
        messages.error(request, " ".join(refusal.problems.values()))
        return redirect("invoice-detail", invoice_id=invoice_id)
    messages.success(request, f"Invoice {row.number} is read by a second person.")
    return redirect("month", name=f"{row.month:%Y-%m}")


@require_POST
@right_required(Right.EDIT_INVOICES)
def invoice_withdraw(request: HttpRequest, invoice_id: int) -> HttpResponse:
    try:
        row = withdraw_invoice(
            actor=request.user,  # type: ignore[arg-type]
            invoice_id=invoice_id,
            reason=request.POST.get("reason", ""),
            as_of=now(),
        )
    except InvoiceRefused as refusal:
        messages.error(request, " ".join(refusal.problems.values()))
    else:
        messages.success(request, f"Invoice {row.number} is withdrawn: kept here, and not counted.")
    return redirect("invoice-detail", invoice_id=invoice_id)


def _invoice(invoice_id: int, *, withdrawn: bool = False) -> Invoice:
    row = Invoice.objects.select_related("entered_by", "checked_by", "latest_import").filter(pk=invoice_id).first()
    if row is None or (row.withdrawn_at is not None and not withdrawn):
        raise Http404(f"There is no invoice {invoice_id}, or it was withdrawn.")
    return row


urlpatterns = [
    path("invoices/", invoices, name="invoices"),
    path("invoices/new/", invoice_add, name="invoice-add"),
    path("invoices/<int:invoice_id>/", invoice_detail, name="invoice-detail"),
    path("invoices/<int:invoice_id>/edit/", invoice_edit, name="invoice-edit"),
    path("invoices/<int:invoice_id>/check/", invoice_check, name="invoice-check"),
    path("invoices/<int:invoice_id>/withdraw/", invoice_withdraw, name="invoice-withdraw"),
    path("invoices/<str:name>/", month, name="month"),
    path("invoices/<str:name>/explain/", month_explain, name="month-explain"),
    path("invoices/<str:name>/withdraw-reason/", reason_withdraw, name="reason-withdraw"),
    path("invoices/<str:name>/comment/", month_comment, name="month-comment"),
    path("invoices/<str:name>/tolerance/", month_tolerance, name="month-tolerance"),
    path("invoices/<str:name>/close/", month_close, name="month-close"),
    path("invoices/<str:name>/adjust/", month_adjust, name="month-adjust"),
    path("invoices/<str:name>/reconciliation.xlsx", month_xlsx, name="month-xlsx"),
    path("invoices/<str:name>/reconciliation.csv", month_lines_csv, name="month-csv"),
]
