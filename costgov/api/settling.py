"""Months and invoices: reconciled, explained, commented, closed."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.core.words import channel_values
from billing.operations.invoices import CATEGORIES, LINE_KINDS, InvoiceEntry, InvoiceRefused, LineEntry, save_invoice
from billing.operations.reconciliation import (
    close_month,
    comment_month,
    explain_difference,
    record_adjustments,
    withdraw_reason,
)
from billing.operations.tax_rates import TaxRateRefused, state_tax_rate
from billing.queries.expected import StatedTaxRate, TaxRateList, stated_rate, tax_rates
from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now
from costgov.queries.reconciliation import MonthList, MonthView, NoSuchMonth, cause_choices, parse_month
from costgov.shown import month_shown, months_shown

TAG, SCOPE = "Months and invoices", "months:write"


class ExplainInput(serializers.Serializer[Any]):
    side = serializers.ChoiceField(["report", "invoice"], help_text="Which gap the line is of.")
    line = serializers.CharField(max_length=512, help_text="The line's `key`.")
    cause = serializers.ChoiceField([cause for cause, _ in cause_choices()])
    reason = serializers.CharField(max_length=2000)
    amount = serializers.DecimalField(
        max_digits=28,
        decimal_places=15,
        required=False,
        help_text="The `open_usd` you saw; another one now is refused.",
    )


class CommentInput(serializers.Serializer[Any]):
    text = serializers.CharField(max_length=2000)
    line = serializers.CharField(max_length=512, required=False, default="", allow_blank=True)


class InvoiceLineInput(serializers.Serializer[Any]):
    description = serializers.CharField(max_length=255)
    amount = serializers.DecimalField(max_digits=18, decimal_places=2)
    category = serializers.ChoiceField(CATEGORIES, default="usage")
    model = serializers.CharField(max_length=255, required=False, default="", allow_blank=True)
    token_kind = serializers.ChoiceField(["", *LINE_KINDS], required=False, default="", allow_blank=True)
    service_tier = serializers.CharField(max_length=255, required=False, default="", allow_blank=True)


class InvoiceInput(serializers.Serializer[Any]):
    issuer = serializers.CharField(max_length=120)
    number = serializers.CharField(max_length=120)
    month = serializers.CharField(help_text="The month it bills, as 2026-10.")
    issued_on = serializers.DateField()
    due_on = serializers.DateField(required=False, allow_null=True, default=None)
    total_amount = serializers.DecimalField(
        max_digits=18, decimal_places=2, help_text="Payable, tax and credits included."
    )
    currency = serializers.CharField(max_length=3, default="USD")
    channel = serializers.CharField(max_length=32, default="anthropic", help_text=f"{channel_values()}.")
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
    lines = InvoiceLineInput(many=True)
    confirm_similar = serializers.BooleanField(
        required=False,
        default=False,
        help_text="It is another invoice, though its number is held of an issuer spelled in another way.",
    )


class WithdrawInput(serializers.Serializer[Any]):
    reason_id = serializers.IntegerField(min_value=1, help_text="The `id` of the line's `reason`.")


class TaxRateInput(serializers.Serializer[Any]):
    issuer = serializers.CharField(max_length=120, help_text="As its invoices name it.")
    percent = serializers.DecimalField(
        max_digits=9, decimal_places=6, help_text="19 = 19 % of everything else on an invoice; 0 = no tax is due."
    )
    valid_from = serializers.DateField(help_text="Of invoices issued from that day on.")
    note = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)


class MonthsView(ApiView):
    @endpoint(summary="Every month and where it stands", tag=TAG, answers=MonthList)
    def get(self, request: Request) -> Response:
        """Newest first: three figures, the residual, and what stands before closing."""
        return Response(months_shown())


class MonthApi(ApiView):
    @endpoint(summary="One month reconciled", tag=TAG, answers=MonthView, refusals=(404,))
    def get(self, request: Request, month: str) -> Response:
        """Computed, cost report, invoice; causes that sum to each gap; lines; checks. A closed month is as frozen."""
        return Response(_month(month))


class ExplainView(ApiView):
    @endpoint(
        summary="Explain a difference",
        tag=TAG,
        scope=SCOPE,
        body=ExplainInput,
        answers=MonthView,
        status=201,
        refusals=(404, 409),
    )
    def post(self, request: Request, month: str) -> Response:
        """It holds while the difference has that amount. The answer is the month as it then is."""
        first = _first_day(month)
        explain_difference(actor=actor_of(request), month=first, as_of=now(), **self.given(ExplainInput))
        return Response(_month(month), status=201)


class WithdrawReasonView(ApiView):
    @endpoint(
        summary="Take an explanation back",
        tag=TAG,
        scope=SCOPE,
        body=WithdrawInput,
        answers=MonthView,
        refusals=(404, 409),
    )
    def post(self, request: Request, month: str) -> Response:
        """The difference is open again; a closed month keeps its explanations. Answers with the month."""
        _month(month)
        withdraw_reason(actor=actor_of(request), month=_first_day(month), as_of=now(), **self.given(WithdrawInput))
        return Response(_month(month))


class TaxRatesView(ApiView):
    @endpoint(summary="Stated tax rates", tag=TAG, answers=TaxRateList)
    def get(self, request: Request) -> Response:
        """What tax on invoices is compared with, by issuer; of one issuer the later counts from its day on."""
        return Response(tax_rates())

    @endpoint(summary="State a tax rate", tag=TAG, scope=SCOPE, body=TaxRateInput, answers=StatedTaxRate, status=201)
    def post(self, request: Request) -> Response:
        """Without a rate an invoice's tax is told as "not checked". Closed months stay as they are."""
        try:
            row = state_tax_rate(actor=actor_of(request), as_of=now(), **self.given(TaxRateInput))
        except TaxRateRefused as refusal:
            raise ValidationError({field: [text] for field, text in refusal.problems.items()}) from refusal
        return Response(stated_rate(row), status=201)


class CommentView(ApiView):
    @endpoint(summary="Comment on a month", tag=TAG, scope=SCOPE, body=CommentInput, answers=MonthView, status=201)
    def post(self, request: Request, month: str) -> Response:
        """A remark on the month, or on one of its lines."""
        first = _first_day(month)
        _month(month)
        comment_month(actor=actor_of(request), month=first, as_of=now(), **self.given(CommentInput))
        return Response(_month(month), status=201)


class CloseView(ApiView):
    @endpoint(summary="Close a month", tag=TAG, scope=SCOPE, answers=MonthView, refusals=(404, 409))
    def post(self, request: Request, month: str) -> Response:
        """Freezes figures, causes and prices for good; refused with the list of what is open."""
        _month(month)
        close_month(actor=actor_of(request), month=_first_day(month), as_of=now())
        return Response(_month(month))


class AdjustView(ApiView):
    @endpoint(summary="Book what came after closing", tag=TAG, scope=SCOPE, answers=MonthView, refusals=(404, 409))
    def post(self, request: Request, month: str) -> Response:
        """Books the adjustments that are due in the first open month; a second call books nothing."""
        record_adjustments(actor=actor_of(request), month=_first_day(month), as_of=now())
        return Response(_month(month))


class InvoicesView(ApiView):
    @endpoint(summary="Enter an invoice", tag=TAG, scope=SCOPE, body=InvoiceInput, answers=MonthView, status=201)
    def post(self, request: Request) -> Response:
        """As it is printed; a second person reads it afterwards. The answer is its month."""
        asked = self.given(InvoiceInput)
        name, confirmed = asked.pop("month"), asked.pop("confirm_similar")
        try:
            entry = InvoiceEntry(
                **{**asked, "month": parse_month(name), "lines": [LineEntry(**line) for line in asked["lines"]]}
            )
            save_invoice(actor=actor_of(request), entry=entry, as_of=now(), confirm_similar=confirmed)
        except InvoiceRefused as refusal:
            raise ValidationError({field: [text] for field, text in refusal.problems.items()}) from refusal
        except ValueError as error:
            raise ValidationError({"month": [str(error)]}) from error
        return Response(_month(name), status=201)


def _first_day(name: str) -> Any:
    try:
        return parse_month(name)
    except ValueError as error:
        raise NotFound(str(error)) from error


def _month(name: str) -> MonthView:
    try:
        return month_shown(month=_first_day(name))
    except NoSuchMonth as error:
        raise NotFound(str(error)) from error
