"""What providers and clouds say usage cost, invoices, and the months that are settled with them."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.usage import TEXT, Import, UsageSource

AMOUNT: dict[str, Any] = {"max_digits": 28, "decimal_places": 15}


class CostReportLine(models.Model):
    """One line of a cost report or cloud bill, as stated. Never summed with computed cost: reconciled with it."""

    class Basis(models.TextChoices):
        BILLED = "billed", "Billed"
        LIST = "list", "List"
        CONTRACTED = "contracted", "Contracted"
        EFFECTIVE = "effective", "Effective"
        ESTIMATED = "estimated", "Estimated"

    class Category(models.TextChoices):
        USAGE = "usage", "Usage"
        PURCHASE = "purchase", "Purchase"
        TAX = "tax", "Tax"
        CREDIT = "credit", "Credit"
        ADJUSTMENT = "adjustment", "Adjustment"

    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="+")
    latest_import = models.ForeignKey(Import, on_delete=models.PROTECT, related_name="cost_lines")
    position = models.PositiveIntegerField(help_text="line or item of the file, from 1")
    part = models.PositiveSmallIntegerField(default=0, help_text="0, or the number of a credit stated in that line")
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(help_text="exclusive")
    billing_month = models.DateField(help_text="first day of the month it is billed in; a correction's is a later one")
    category = models.CharField(max_length=16, choices=Category, default=Category.USAGE)
    is_correction = models.BooleanField(default=False)
    cost_type = models.CharField(max_length=32, help_text="tokens, web_search, code_execution, session_usage, other …")
    token_kind = models.CharField(max_length=32, blank=True, default="", help_text="priced kind, '' = not of one kind")
    channel = models.CharField(**TEXT)
    organisation = models.CharField(**TEXT)
    workspace = models.CharField(**TEXT)
    api_key = models.CharField(**TEXT)
    model = models.CharField(**TEXT)
    service_tier = models.CharField(**TEXT)
    prompt_length_band = models.CharField(**TEXT)
    geo = models.CharField(**TEXT)
    speed = models.CharField(**TEXT)
    description = models.TextField(blank=True, default="")
    invoice_number = models.CharField(**TEXT)
    amount = models.DecimalField(**AMOUNT, help_text="in `currency`, on `basis`, unrounded")
    basis = models.CharField(max_length=16, choices=Basis, default=Basis.BILLED)
    list_amount = models.DecimalField(**AMOUNT, null=True, blank=True)
    contracted_amount = models.DecimalField(**AMOUNT, null=True, blank=True)
    effective_amount = models.DecimalField(**AMOUNT, null=True, blank=True)
    currency = models.CharField(max_length=32, default="USD")
    quantity = models.DecimalField(**AMOUNT, null=True, blank=True)
    unit = models.CharField(**TEXT)
    commitment = models.CharField(**TEXT, help_text="commitment or contract it draws on")
    commitment_status = models.CharField(**TEXT)
    tags = models.JSONField(default=dict, blank=True)

    class Meta:
        indexes = [models.Index(fields=["billing_month", "source"], name="billing_cost_line_month")]
        constraints = [
            models.UniqueConstraint(
                fields=["latest_import", "position", "part"], name="billing_cost_line_once_per_file"
            ),
            models.CheckConstraint(
                condition=Q(period_start__lt=F("period_end")), name="billing_cost_line_start_before_end"
            ),
            models.CheckConstraint(condition=Q(billing_month__day=1), name="billing_cost_line_month_first_day"),
        ]


class Invoice(models.Model):
    """An invoice as issued, typed in or imported. `total_amount` is payable, tax and credits included."""

    issuer = models.CharField(max_length=120)
    number = models.CharField(max_length=120)
    channel = models.CharField(max_length=32, default="anthropic")
    month = models.DateField(help_text="first day of the month it bills")
    issued_on = models.DateField()
    due_on = models.DateField(null=True, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    total_amount = models.DecimalField(max_digits=18, decimal_places=2)
    note = models.TextField(blank=True, default="")
    latest_import = models.ForeignKey(Import, null=True, blank=True, on_delete=models.PROTECT, related_name="invoices")
    entered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    entered_at = models.DateTimeField()
    checked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    checked_at = models.DateTimeField(null=True, blank=True, help_text="read by a second person")
    withdrawn_at = models.DateTimeField(null=True, blank=True, help_text="entered by mistake: kept, not counted")
    withdrawn_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-month", "issuer", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "number"],
                condition=Q(withdrawn_at__isnull=True),
                name="billing_invoice_number_once",
            ),
            models.CheckConstraint(condition=Q(month__day=1), name="billing_invoice_month_first_day"),
        ]

    def __str__(self) -> str:
        return f"{self.issuer} {self.number}"


class InvoiceLine(models.Model):
    """One line of an invoice, before tax unless it is the tax."""

    class Category(models.TextChoices):
        USAGE = "usage", "Usage"
        COMMITMENT = "commitment", "Commitment"
        DISCOUNT = "discount", "Discount"
        CREDIT = "credit", "Credit"
        TAX = "tax", "Tax"
        ADJUSTMENT = "adjustment", "Adjustment of an earlier month"
        OTHER = "other", "Other"

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE, related_name="lines")
    position = models.PositiveSmallIntegerField()
    category = models.CharField(max_length=16, choices=Category, default=Category.USAGE)
    description = models.CharField(max_length=255)
    model = models.CharField(**TEXT)
    token_kind = models.CharField(max_length=32, blank=True, default="")
    service_tier = models.CharField(**TEXT)
    quantity = models.DecimalField(max_digits=28, decimal_places=9, null=True, blank=True)
    amount = models.DecimalField(max_digits=18, decimal_places=2)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "position"], name="billing_invoice_line_position_once")
        ]


class TaxRate(models.Model):
    """The tax an issuer charges on everything else of its invoices, as the organisation states it."""

    issuer = models.CharField(max_length=120)
    percent = models.DecimalField(max_digits=9, decimal_places=6, help_text="19 = 19 % of the net")
    valid_from = models.DateField(help_text="of invoices issued from that day on, until a later rate")
    note = models.TextField(blank=True, default="")
    stated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    stated_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["issuer", "valid_from", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(percent__gte=0, percent__lte=100), name="billing_tax_rate_percent")
        ]

    def __str__(self) -> str:
        return f"{self.issuer} {self.percent.normalize():f} %"


class BillingPeriod(models.Model):
    """A month to settle: open → closed. Closing keeps the reconciliation and the prices used; nothing reopens it."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        CLOSED = "closed", "Closed"

    month = models.DateField(unique=True, help_text="first day")
    state = models.CharField(max_length=16, choices=State, default=State.OPEN)
    tolerance = models.JSONField(default=dict, blank=True, help_text="usd per line, share per line, usd per invoice")
    prices_known_at = models.DateTimeField(
        null=True, blank=True, help_text="closed: prices approved until then price its usage for ever"
    )
    frozen = models.JSONField(default=dict, blank=True, help_text="the reconciliation as it was when closed")
    frozen_hash = models.CharField(max_length=64, blank=True, default="")
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-month"]
        constraints = [
            models.CheckConstraint(condition=Q(month__day=1), name="billing_period_first_day"),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True, prices_known_at__isnull=True)
                | Q(state="closed", closed_at__isnull=False, prices_known_at__isnull=False),
                name="billing_period_closed_is_frozen",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.month:%Y-%m} ({self.state})"


class PeriodAdjustment(models.Model):
    """What a closed month would be now against what was closed: dated, never written into the month itself."""

    period = models.ForeignKey(BillingPeriod, on_delete=models.PROTECT, related_name="adjustments")
    cause = models.CharField(max_length=32, help_text="late_usage, price_change, cost_report, invoice …")
    description = models.TextField()
    amount = models.DecimalField(**AMOUNT, help_text="usd; adds to the closed figure")
    detail = models.JSONField(default=dict, blank=True)
    found_at = models.DateTimeField()
    booked_month = models.DateField(help_text="first day of the open month that carries it")
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["period", "found_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(booked_month__day=1), name="billing_adjustment_month_first_day")
        ]


class ResidualReason(models.Model):
    """Somebody's explanation of one difference; it holds while the difference has that amount."""

    month = models.DateField()
    side = models.CharField(max_length=16, help_text="report or invoice: which gap")
    line = models.CharField(max_length=512, help_text="the reconciliation line's key")
    cause = models.CharField(max_length=32)
    amount = models.DecimalField(**AMOUNT)
    reason = models.TextField()
    given_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    given_at = models.DateTimeField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["month", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["month", "side", "line"],
                condition=Q(withdrawn_at__isnull=True),
                name="billing_residual_reason_one_per_line",
            ),
            models.CheckConstraint(condition=Q(month__day=1), name="billing_residual_month_first_day"),
        ]


class PeriodComment(models.Model):
    """A remark on a month or one of its lines."""

    month = models.DateField()
    line = models.CharField(max_length=512, blank=True, default="")
    text = models.TextField()
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [models.CheckConstraint(condition=Q(month__day=1), name="billing_comment_month_first_day")]
