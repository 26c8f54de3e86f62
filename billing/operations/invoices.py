"""Invoices: entered or corrected by one person, read by another, withdrawn when entered by mistake."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.issuers import issuer_key, number_key
from billing.core.usage import PRICED_KINDS
from billing.core.words import CHANNELS
from billing.models import BillingPeriod, Invoice, InvoiceLine

MAX_LINES: Final = 500
MAX_USD: Final = Decimal(10) ** 13
MAX_NOTE: Final = 2000
FIRST_MONTH: Final = date(2020, 1, 1)  # nobody was invoiced for Claude before
MONTHS_AHEAD: Final = 12  # a prepayment is invoiced before the month it is for
CATEGORIES: Final = tuple(InvoiceLine.Category.values)
LINE_KINDS: Final = (*PRICED_KINDS, "code_execution", "session_usage")
_ONCE: Final = "billing_invoice_number_once"
_LOWERING: Final = ("credit", "discount")


class InvoiceRefused(ValueError):
    """An invoice that cannot be kept; `problems` maps each field to what is wrong and what to do."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{field}: {text}" for field, text in problems.items()))


class SimilarInvoice(InvoiceRefused):
    """The number is held already of an issuer that may be the same one; whoever enters it says that it is not."""

    def __init__(self, problems: dict[str, str], found: Invoice) -> None:
        self.found = found
        super().__init__(problems)


@dataclass(frozen=True, slots=True)
class LineEntry:
    """One line as it stands on the invoice; empty words = the line does not say."""

    description: str
    amount: Decimal
    category: str = "usage"
    model: str = ""
    token_kind: str = ""
    service_tier: str = ""
    quantity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class InvoiceEntry:
    """An invoice as it was issued. `month`: first day of the month it bills; `total_amount`: payable, in `currency`."""

    issuer: str
    number: str
    month: date
    issued_on: date
    total_amount: Decimal
    lines: Sequence[LineEntry]
    due_on: date | None = None
    currency: str = "USD"
    channel: str = "anthropic"
    note: str = ""


@transaction.atomic
def save_invoice(
    *,
    actor: AbstractBaseUser | None,
    entry: InvoiceEntry,
    as_of: datetime,
    invoice_id: int | None = None,
    seen_at: datetime | None = None,
    confirm_similar: bool = False,
    is_demo: bool = False,
) -> Invoice:
    """Keep a new invoice, or another reading of one (`invoice_id`); whoever corrects it takes the second reading away.

    `seen_at`: when the reading was entered that is being corrected; another one kept since then is not overwritten.
    `confirm_similar`: it is another one, though the number is held of an issuer spelled in another way. Raises
    InvoiceRefused with every problem, SimilarInvoice where that is the only one, Forbidden.
    """
    require(actor, Right.EDIT_INVOICES)
    problems = _problems(entry, as_of)
    row = Invoice() if invoice_id is None else _held(invoice_id)
    if row.pk is not None and seen_at is not None and row.entered_at != seen_at:
        who = row.entered_by.get_username() if row.entered_by is not None else "somebody"
        problems["invoice"] = (
            f"{who} corrected this invoice on {row.entered_at:%-d %b %Y, %H:%M} UTC, while you had it open: nothing of "
            "yours was kept. Open it again and correct what stands there now."
        )
    if row.pk is not None and _is_frozen(row):
        problems["month"] = _frozen_words(row, "corrected")
    same = Invoice.objects.filter(issuer=entry.issuer.strip(), number=entry.number.strip(), withdrawn_at__isnull=True)
    if same.exclude(pk=row.pk).exists():
        problems["number"] = _entered_already(entry)
    if problems:
        raise InvoiceRefused(problems)
    similar = similar_invoice(entry.issuer, entry.number, besides=row.pk)
    if similar is not None and not confirm_similar:
        said = (
            f"Invoice {similar.number} of {similar.issuer} is entered already, for {similar.month:%B %Y} over "
            f"{similar.total_amount:f} {similar.currency}: open that one, or say that this is another invoice."
        )
        raise SimilarInvoice({"number": said}, similar)
    before = invoice_record(row) if row.pk is not None else None
    row.issuer, row.number, row.channel = entry.issuer.strip(), entry.number.strip(), entry.channel
    row.month, row.issued_on, row.due_on = entry.month, entry.issued_on, entry.due_on
    row.currency, row.total_amount, row.note = entry.currency, entry.total_amount, entry.note.strip()
    row.entered_by_id, row.entered_at = (actor.pk if actor is not None else None), as_of
    row.checked_by, row.checked_at = None, None
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:
        if _ONCE not in str(error):
            raise
        # Somebody kept the same one in this very moment: a double click.
        raise InvoiceRefused({"number": _entered_already(entry)}) from error
    row.lines.all().delete()
    InvoiceLine.objects.bulk_create(
        InvoiceLine(
            invoice=row,
            position=position,
            category=line.category,
            description=line.description.strip(),
            model=line.model.strip(),
            token_kind=line.token_kind,
            service_tier=line.service_tier,
            quantity=line.quantity,
            amount=line.amount,
        )
        for position, line in enumerate(entry.lines, 1)
    )
    _record(row, actor, "invoice.entered" if before is None else "invoice.corrected", as_of, before, is_demo)
    return row


@transaction.atomic
def check_invoice(
    *, actor: AbstractBaseUser | None, invoice_id: int, as_of: datetime, is_demo: bool = False
) -> Invoice:
    """A second person has read it against the document. Raises InvoiceRefused for whoever entered it, Forbidden."""
    require(actor, Right.EDIT_INVOICES)
    row = _held(invoice_id)
    if row.checked_at is not None:
        return row
    if actor is not None and row.entered_by_id == actor.pk:
        raise InvoiceRefused({"checked_by": "You entered it: somebody else compares it with the document."})
    before = invoice_record(row)
    row.checked_by_id, row.checked_at = (actor.pk if actor is not None else None), as_of
    row.save(update_fields=["checked_by", "checked_at"])
    _record(row, actor, "invoice.checked", as_of, before, is_demo)
    return row


@transaction.atomic
def withdraw_invoice(
    *, actor: AbstractBaseUser | None, invoice_id: int, reason: str, as_of: datetime, is_demo: bool = False
) -> Invoice:
    """It was entered by mistake: kept, not counted. Raises InvoiceRefused without a reason, Forbidden."""
    require(actor, Right.EDIT_INVOICES)
    row = _held(invoice_id)
    if not reason.strip():
        raise InvoiceRefused({"reason": "Say why it is withdrawn: the reason stays with it."})
    before = invoice_record(row)
    row.withdrawn_at, row.withdrawn_reason = as_of, reason.strip()
    row.save(update_fields=["withdrawn_at", "withdrawn_reason"])
    _record(row, actor, "invoice.withdrawn", as_of, before, is_demo)
    return row


def similar_invoice(issuer: str, number: str, *, besides: int | None = None) -> Invoice | None:
    """One that counts, of that number and issuer whatever their case, spaces and punctuation; None for none."""
    wanted = (issuer_key(issuer), number_key(number))
    for row in Invoice.objects.filter(withdrawn_at__isnull=True).order_by("pk"):
        if row.pk != besides and (issuer_key(row.issuer), number_key(row.number)) == wanted:
            return row
    return None


def invoice_record(row: Invoice) -> dict[str, Any]:
    """The invoice as the audit trail keeps it."""
    return {
        "issuer": row.issuer,
        "number": row.number,
        "channel": row.channel,
        "month": row.month.isoformat(),
        "issued_on": row.issued_on.isoformat(),
        "due_on": row.due_on.isoformat() if row.due_on else None,
        "currency": row.currency,
        "total_amount": f"{row.total_amount:f}",
        "note": row.note,
        "checked_by": row.checked_by.get_username() if row.checked_by is not None else None,
        "withdrawn": row.withdrawn_reason if row.withdrawn_at is not None else None,
        "lines": [
            {
                "category": line.category,
                "description": line.description,
                "model": line.model,
                "token_kind": line.token_kind,
                "service_tier": line.service_tier,
                "quantity": None if line.quantity is None else f"{line.quantity:f}",
                "amount": f"{line.amount:f}",
            }
            for line in row.lines.order_by("position")
        ],
    }


def _entered_already(entry: InvoiceEntry) -> str:
    return f"Invoice {entry.number} of {entry.issuer} is entered already: open that one."


def _held(invoice_id: int) -> Invoice:
    row = Invoice.objects.select_for_update().filter(pk=invoice_id, withdrawn_at__isnull=True).first()
    if row is None:
        raise InvoiceRefused({"invoice": f"There is no invoice {invoice_id}, or it was withdrawn."})
    return row


def _is_frozen(row: Invoice) -> bool:
    """It was part of a month's closing: what it said then stays."""
    period = BillingPeriod.objects.filter(month=row.month, state=BillingPeriod.State.CLOSED).first()
    return period is not None and period.closed_at is not None and row.entered_at <= period.closed_at


def _frozen_words(row: Invoice, what: str) -> str:
    return (
        f"{row.month:%B %Y} was closed with this invoice: it cannot be {what} any more. Withdraw it and enter the "
        "corrected one; the difference appears as a dated adjustment of an open month."
    )


def _problems(entry: InvoiceEntry, as_of: datetime) -> dict[str, str]:
    problems: dict[str, str] = {}
    for name, limit in (("issuer", 120), ("number", 120)):
        text = str(getattr(entry, name)).strip()
        if not text or len(text) > limit:
            problems[name] = f"Give its {name}, at most {limit} characters."
    if entry.month.day != 1:
        problems["month"] = f"{entry.month} is not the first day of a month."
    elif not FIRST_MONTH <= entry.month <= _months_after(as_of.date(), MONTHS_AHEAD):
        problems["month"] = (
            f"{entry.month.isoformat()[:7]} cannot be right: give the month it bills, from {FIRST_MONTH:%Y-%m} to "
            f"{_months_after(as_of.date(), MONTHS_AHEAD):%Y-%m}."
        )
    if entry.issued_on > as_of.date():
        problems["issued_on"] = f"{entry.issued_on} lies ahead: give the date printed on the invoice."
    elif entry.issued_on < FIRST_MONTH:
        problems["issued_on"] = f"{entry.issued_on} cannot be right: give the date printed on the invoice."
    if len(entry.note) > MAX_NOTE:
        problems["note"] = f"{len(entry.note):,} characters: write at most {MAX_NOTE:,}."
    if entry.due_on is not None and entry.due_on < entry.issued_on:
        problems["due_on"] = f"It would be due on {entry.due_on}, before it was issued on {entry.issued_on}."
    if len(entry.currency) != 3 or not entry.currency.isalpha() or not entry.currency.isupper():
        problems["currency"] = f"{entry.currency!r} is not a currency; write it like USD."
    if entry.channel not in CHANNELS:
        problems["channel"] = f"{entry.channel[:40]!r} is no channel; use one of {', '.join(CHANNELS)}."
    if problem := _amount_problem(entry.total_amount):
        problems["total_amount"] = problem
    if not entry.lines:
        problems["lines"] = "Enter at least one line: without lines no difference can be named."
    if len(entry.lines) > MAX_LINES:
        problems["lines"] = (
            f"{len(entry.lines)} lines are more than the {MAX_LINES} that can be typed: import the bill."
        )
    for position, line in enumerate(entry.lines, 1):
        problems |= _line_problems(position, line)
    return problems


def _months_after(day: date, count: int) -> date:
    months = day.year * 12 + day.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)


def _line_problems(position: int, line: LineEntry) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not line.description.strip() or len(line.description) > 255:
        problems[f"line-{position}-description"] = (
            f"Line {position}: write what the invoice says, up to 255 characters."
        )
    for name, text in (("model", line.model), ("service_tier", line.service_tier)):
        if len(text) > 255:
            problems[f"line-{position}-{name}"] = f"Line {position}: {name} has {len(text):,} characters, at most 255."
    if line.category not in CATEGORIES:
        problems[f"line-{position}-category"] = (
            f"Line {position}: {line.category!r} is none of {', '.join(CATEGORIES)}."
        )
    if line.token_kind and line.token_kind not in LINE_KINDS:
        problems[f"line-{position}-kind"] = f"Line {position}: {line.token_kind!r} is none of {', '.join(LINE_KINDS)}."
    if problem := _amount_problem(line.amount):
        problems[f"line-{position}-amount"] = f"Line {position}: {problem}"
    elif line.category in _LOWERING and line.amount > 0:
        problems[f"line-{position}-amount"] = (
            f"Line {position}: a {line.category} lowers the invoice, write -{line.amount:f}; "
            "one that is taken back is an adjustment."
        )
    return problems


def _amount_problem(amount: Decimal) -> str:
    if not amount.is_finite() or abs(amount) >= MAX_USD:
        return f"{amount} is not an amount of money."
    if amount != amount.quantize(Decimal("0.01")):
        return f"{amount:f} has more than two places: give the amount as printed."
    return ""


def _record(
    row: Invoice,
    actor: AbstractBaseUser | None,
    action: str,
    as_of: datetime,
    before: dict[str, Any] | None,
    is_demo: bool,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="invoice",
        object_id=row.pk,
        object_label=f"{row.issuer} {row.number}",
        as_of=as_of,
        before=before,
        after=invoice_record(row),
        is_demo=is_demo,
    )
