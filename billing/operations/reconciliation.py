"""What people do with a month: explain differences, comment, set what is equal, close it, book what came later."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import orjson
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.pricing import plain_number
from billing.core.reconciling import CAUSES
from billing.core.settlement import MonthSettlement, Settings
from billing.models import BillingPeriod, PeriodAdjustment, PeriodComment, ResidualReason
from billing.queries.adjustments import Adjustment, due_adjustments
from billing.queries.reconciliation import month_settings, month_settlement

# What somebody may give as the cause of a difference; what the arithmetic decides alone is not offered.
GIVEN_CAUSES: Final = tuple(cause for cause in CAUSES if cause not in ("rounding", "unknown", "unchecked_tax"))
ACCEPTED: Final = "unknown"  # accepted with a reason though no cause is known
MAX_TEXT: Final = 2_000
MAX_TOLERANCE_USD: Final = Decimal(10) ** 13
_TOLERANCES: Final = (
    ("line_usd", "The tolerance of a line in dollars", MAX_TOLERANCE_USD),
    ("line_share", "The tolerance of a line as a share of its amount", Decimal(1)),
    ("invoice_line_usd", "The tolerance of an invoice for each of its lines", MAX_TOLERANCE_USD),
    ("unclassified_share", "The share of cost that may be unclassified", Decimal(1)),
)


class PeriodRefused(ValueError):
    """A step that cannot be taken with a month; `problems` say what is open, each with what to do."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        self.problems = problems
        super().__init__(message if not problems else f"{message} {' '.join(problems)}")


@transaction.atomic
def explain_difference(
    *,
    actor: AbstractBaseUser | None,
    month: date,
    side: str,
    line: str,
    cause: str,
    reason: str,
    as_of: datetime,
    amount: Decimal | None = None,
    is_demo: bool = False,
) -> ResidualReason:
    """Give what nobody explained a cause and a reason; it holds only while the difference has the same amount.

    `amount`: what the person saw; another amount now is refused. `cause` "unknown" accepts it without a known cause.
    Raises PeriodRefused, Forbidden.
    """
    (row,) = explain_differences(
        actor=actor,
        month=month,
        lines=((side, line, amount),),
        cause=cause,
        reason=reason,
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


@transaction.atomic
def explain_differences(
    *,
    actor: AbstractBaseUser | None,
    month: date,
    lines: Sequence[tuple[str, str, Decimal | None]],
    cause: str,
    reason: str,
    as_of: datetime,
    is_demo: bool = False,
) -> list[ResidualReason]:
    """Several differences (side, line, amount seen) of one cause and reason. Raises PeriodRefused, Forbidden."""
    require(actor, Right.EXPLAIN_RESIDUALS)
    _open_period(month, as_of)
    _need_text(reason, "Say why: the reason is what the next reader has.")
    if cause not in (*GIVEN_CAUSES, ACCEPTED):
        raise PeriodRefused(f"{cause!r} is no cause; use one of {', '.join((*GIVEN_CAUSES, ACCEPTED))}.")
    value = month_settlement(month=month, as_of=as_of)
    rows = []
    for side, line, amount in lines:
        now = _open_amount(value, side, line)
        if amount is not None and amount != now:
            seen = f"{plain_number(now)} usd by now, not {plain_number(amount)}"
            raise PeriodRefused(f"The difference is {seen}: look at it again.")
        rows.append(_keep_reason(actor, month, side, line, cause, now, reason.strip(), as_of))
    after = [
        {"side": row.side, "line": row.line, "cause": cause, "amount": f"{row.amount:f}", "reason": row.reason}
        for row in rows
    ]
    _record(actor, "difference.explained", month, as_of, after=after, is_demo=is_demo)
    return rows


def _keep_reason(
    actor: AbstractBaseUser | None,
    month: date,
    side: str,
    line: str,
    cause: str,
    amount: Decimal,
    reason: str,
    as_of: datetime,
) -> ResidualReason:
    held = ResidualReason.objects.filter(month=month, side=side, line=line, withdrawn_at__isnull=True)
    held.update(withdrawn_at=as_of)
    return ResidualReason.objects.create(
        month=month,
        side=side,
        line=line,
        cause=cause,
        amount=amount,
        reason=reason,
        given_by_id=actor.pk if actor is not None else None,
        given_at=as_of,
    )


@transaction.atomic
def withdraw_reason(
    *, actor: AbstractBaseUser | None, reason_id: int, as_of: datetime, month: date | None = None
) -> ResidualReason:
    """The difference is open again. `month`: the one it is of, where that is known. Raises PeriodRefused, Forbidden."""
    require(actor, Right.EXPLAIN_RESIDUALS)
    row = ResidualReason.objects.select_for_update().filter(pk=reason_id, withdrawn_at__isnull=True).first()
    if row is None or month not in (None, row.month):
        raise PeriodRefused(f"There is no reason {reason_id}, or it was withdrawn.")
    _open_period(row.month, as_of)
    row.withdrawn_at = as_of
    row.save(update_fields=["withdrawn_at"])
    before = {"side": row.side, "line": row.line, "cause": row.cause, "amount": f"{row.amount:f}", "reason": row.reason}
    _record(actor, "difference.reopened", row.month, as_of, before=before)
    return row


@transaction.atomic
def comment_month(
    *, actor: AbstractBaseUser | None, month: date, text: str, as_of: datetime, line: str = "", is_demo: bool = False
) -> PeriodComment:
    """A remark on a month, or on one of its lines; closed months take remarks too. Raises PeriodRefused, Forbidden."""
    require(actor, Right.COMMENT_PERIODS)
    _need_text(text, "Write something.")
    row = PeriodComment.objects.create(
        month=month,
        line=line[:512],
        text=text.strip(),
        author_id=actor.pk if actor is not None else None,
        created_at=as_of,
    )
    _record(actor, "month.commented", month, as_of, after={"line": line, "text": row.text}, is_demo=is_demo)
    return row


@transaction.atomic
def set_tolerance(
    *, actor: AbstractBaseUser | None, month: date, changes: Mapping[str, Decimal], as_of: datetime
) -> Settings:
    """What counts as equal in a month (fields of Settings). Raises PeriodRefused, Forbidden."""
    require(actor, Right.EXPLAIN_RESIDUALS)
    before = asdict(month_settings(month))
    strange = sorted(set(changes) - set(before))
    if strange:
        raise PeriodRefused(f"{', '.join(strange)}: not known; use {', '.join(before)}.")
    after = {**before, **changes}
    for name, what, most in _TOLERANCES:
        if not 0 <= after[name] <= most:
            limits = "0 or more" if most == MAX_TOLERANCE_USD else f"from 0 to {most}"
            raise PeriodRefused(f"{what} ({name}) cannot be {after[name]:f}: give {limits}.")
    period = _open_period(month, as_of)
    period.tolerance = {name: f"{value:f}" for name, value in after.items()}
    period.save(update_fields=["tolerance"])
    _record(
        actor,
        "tolerance.set",
        month,
        as_of,
        before={name: f"{value:f}" for name, value in before.items()},
        after=period.tolerance,
    )
    return Settings(**after)


@transaction.atomic
def close_month(
    *, actor: AbstractBaseUser | None, month: date, as_of: datetime, seen_hash: str = "", is_demo: bool = False
) -> BillingPeriod:
    """Freeze the reconciliation and the prices known now. Raises PeriodRefused with everything that is open, Forbidden.

    `seen_hash`: of the settlement the person looked at; another one by now is refused.
    """
    require(actor, Right.CLOSE_PERIODS)
    period = _open_period(month, as_of)
    value = month_settlement(month=month, as_of=as_of, known_at=as_of)
    if value.open_checks:
        said = tuple(
            f"{check.title}: {check.detail}." if check.detail else f"{check.title}." for check in value.open_checks
        )
        raise PeriodRefused(f"{month:%B %Y} cannot be closed yet.", said)
    if seen_hash and seen_hash != settlement_hash(value):
        raise PeriodRefused("The month's figures changed since you looked at them: look again, then close it.")
    period.state = BillingPeriod.State.CLOSED
    period.frozen = settlement_document(value)
    period.frozen_hash = document_hash(period.frozen)
    period.prices_known_at = period.closed_at = as_of
    period.closed_by_id = actor.pk if actor is not None else None
    period.save()
    after = {
        "hash": period.frozen_hash,
        "prices_known_at": as_of.isoformat(),
        "computed_usd": f"{value.computed_usd:f}",
        "report_usd": None if value.report_usd is None else f"{value.report_usd:f}",
        "invoice_usd": None if value.invoice_usd is None else f"{value.invoice_usd:f}",
    }
    _record(actor, "month.closed", month, as_of, after=after, is_demo=is_demo)
    return period


@transaction.atomic
def record_adjustments(
    *, actor: AbstractBaseUser | None, month: date, as_of: datetime, is_demo: bool = False
) -> tuple[Adjustment, ...]:
    """Book what came after a month was closed into the first open month; a second call finds nothing left to book.

    Raises PeriodRefused for an open month, Forbidden.
    """
    require(actor, Right.CLOSE_PERIODS)
    period = BillingPeriod.objects.select_for_update().filter(month=month).first()
    if period is None or period.state != BillingPeriod.State.CLOSED:
        raise PeriodRefused(f"{month:%B %Y} is not closed: its figures still change by themselves.")
    due = due_adjustments(month=month, as_of=as_of)
    for one in due:
        PeriodAdjustment.objects.create(
            period=period,
            cause=one.cause,
            description=one.words,
            amount=one.amount_usd,
            detail={"closed_hash": period.frozen_hash},
            found_at=as_of,
            booked_month=one.booked_month,
            recorded_by_id=actor.pk if actor is not None else None,
        )
    if due:
        after = [{"cause": one.cause, "amount": f"{one.amount_usd:f}", "booked": f"{one.booked_month}"} for one in due]
        _record(actor, "month.adjusted", month, as_of, after=after, is_demo=is_demo)
    return due


# ---- The frozen record -----------------------------------------------------------------------------------------------


def settlement_document(value: MonthSettlement) -> dict[str, Any]:
    """The settlement as JSON: decimals as plain strings."""
    document: dict[str, Any] = orjson.loads(orjson.dumps(value, default=_plain, option=orjson.OPT_UTC_Z))
    return document


def document_hash(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()


def settlement_hash(value: MonthSettlement) -> str:
    """Hash of what a person sees: the instant it was computed does not count."""
    document = settlement_document(value)
    document.pop("prices_known_at")
    return document_hash(document)


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


# ---- Parts -----------------------------------------------------------------------------------------------------------


def _open_period(month: date, as_of: datetime) -> BillingPeriod:
    """The month's row, locked. Raises PeriodRefused when it is closed or not a month's first day."""
    if month.day != 1:
        raise PeriodRefused(f"{month} is not the first day of a month.")
    BillingPeriod.objects.get_or_create(month=month)
    period = BillingPeriod.objects.select_for_update().get(month=month)
    if period.state == BillingPeriod.State.CLOSED:
        raise PeriodRefused(
            f"{month:%B %Y} was closed on {period.closed_at:%Y-%m-%d}: what came later is booked as an adjustment."
        )
    return period


def _open_amount(value: MonthSettlement, side: str, line: str) -> Decimal:
    found: Any = next((one for one in value.lines if side == "report" and one.key == line), None)
    found = found or next((one for one in value.invoice_lines if side == "invoice" and one.key == line), None)
    if found is None:
        raise PeriodRefused(f"There is no line {line!r} between computed, report and invoice of {value.month:%B %Y}.")
    causes = {part.cause for part in found.parts}
    to_explain = bool(causes & {"unknown", "missing_price", "unchecked_tax"}) or found.reason is not None
    if not (to_explain or getattr(found, "needs_price", False)):
        raise PeriodRefused("Every part of that difference has its cause already: there is nothing to explain.")
    amount: Decimal = found.open_usd
    return amount


def _need_text(text: str, message: str) -> None:
    if not text.strip():
        raise PeriodRefused(message)
    if len(text) > MAX_TEXT:
        raise PeriodRefused(f"At most {MAX_TEXT:,} characters, got {len(text):,}.")


def _record(
    actor: AbstractBaseUser | None,
    action: str,
    month: date,
    as_of: datetime,
    *,
    before: Any = None,
    after: Any = None,
    is_demo: bool = False,
) -> None:
    audit.record(
        actor=actor,
        action=action,
        object_type="month",
        object_id=f"{month:%Y-%m}",
        object_label=f"{month:%B %Y}",
        as_of=as_of,
        before=before,
        after=after,
        is_demo=is_demo,
    )
