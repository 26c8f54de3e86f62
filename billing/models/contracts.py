"""What was agreed beside the list: rates, credits, and price books for questions of the kind "what if"."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.usage import TEXT


class Contract(models.Model):
    """An agreement with its dated rates and credits; used once approved."""

    name = models.CharField(max_length=120, unique=True)
    channel = models.CharField(max_length=32, default="anthropic")
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True, help_text="first day it no longer holds")
    source = models.TextField(help_text="document or message it is taken from")
    checked_on = models.DateField()
    note = models.TextField(blank=True, default="")
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    proposed_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="withdrawn before approval, or ended early")

    class Meta:
        ordering = ["valid_from", "name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
                name="billing_contract_start_before_end",
            )
        ]

    def __str__(self) -> str:
        return self.name


class ContractRate(models.Model):
    """A percentage off the list, or a fixed price, for some models and kinds ('' = any) over part of the contract."""

    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="rates")
    model = models.CharField(**TEXT)
    token_kind = models.CharField(max_length=32, blank=True, default="")
    service_tier = models.CharField(**TEXT)
    percent_off = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    usd_per_unit = models.DecimalField(
        max_digits=18, decimal_places=9, null=True, blank=True, help_text="as Price.usd_per_unit"
    )
    valid_from = models.DateField(null=True, blank=True, help_text="empty = the contract's start")
    valid_to = models.DateField(null=True, blank=True, help_text="empty = the contract's end")

    class Meta:
        ordering = ["contract", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["contract", "model", "token_kind", "service_tier", "valid_from"],
                name="billing_contract_rate_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(percent_off__isnull=True, usd_per_unit__gte=0)
                | Q(usd_per_unit__isnull=True, percent_off__gte=0, percent_off__lte=100),
                name="billing_contract_rate_percent_or_price",
            ),
        ]


class ContractCredit(models.Model):
    """An amount the provider grants, used up over a period."""

    contract = models.ForeignKey(Contract, on_delete=models.CASCADE, related_name="credits")
    name = models.CharField(max_length=120)
    amount_usd = models.DecimalField(max_digits=18, decimal_places=2)
    valid_from = models.DateField()
    valid_to = models.DateField(null=True, blank=True)

    class Meta:
        ordering = ["valid_from", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(amount_usd__gt=0), name="billing_contract_credit_positive"),
            models.CheckConstraint(
                condition=Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
                name="billing_contract_credit_start_before_end",
            ),
        ]


class PriceScenario(models.Model):
    """A named what-if price book: changes laid over the approved prices. Never prices anything real."""

    name = models.CharField(max_length=120, unique=True)
    document = models.JSONField(help_text="costgov.price_scenario/1")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
