"""Models and their dated list prices."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class ModelRelease(models.Model):
    """A model somebody has placed: canonical id, tier, limits, retirement."""

    class Tier(models.TextChoices):
        FRONTIER = "frontier", "Frontier"
        BALANCED = "balanced", "Balanced"
        FAST = "fast", "Fast"
        OTHER = "other", "Other"

    canonical_id = models.CharField(max_length=128, unique=True)
    display_name = models.CharField(max_length=128)
    family = models.CharField(max_length=64, blank=True)
    tier = models.CharField(max_length=16, choices=Tier, default=Tier.OTHER)
    tokenizer_generation = models.PositiveSmallIntegerField(null=True, blank=True)
    max_input_tok = models.PositiveIntegerField(null=True, blank=True)
    min_cacheable_tok = models.PositiveIntegerField(null=True, blank=True)
    released_on = models.DateField(null=True, blank=True)
    retires_on = models.DateField(null=True, blank=True)
    source = models.TextField(blank=True)
    checked_on = models.DateField(null=True, blank=True)
    is_allowed = models.BooleanField(default=True, help_text="May be a routing target.")

    class Meta:
        ordering = ["canonical_id"]

    def __str__(self) -> str:
        return self.canonical_id


class ModelAlias(models.Model):
    alias = models.CharField(max_length=255, unique=True)
    release = models.ForeignKey(ModelRelease, on_delete=models.CASCADE, related_name="aliases")


class Price(models.Model):
    """A dated list price. Append-only: a new row from a later day replaces an older one from that day on."""

    model = models.CharField(max_length=128)
    token_kind = models.CharField(max_length=32)
    service_tier = models.CharField(max_length=32, default="standard")
    prompt_length_band = models.CharField(max_length=32, default="all")
    geo = models.CharField(max_length=32, default="global")
    speed = models.CharField(max_length=32, default="standard")
    usd_per_unit = models.DecimalField(
        max_digits=18, decimal_places=9, help_text="usd per million tokens; per 1,000 web searches"
    )
    valid_from = models.DateField(null=True, blank=True, help_text="empty = from the model's release")
    valid_to = models.DateField(null=True, blank=True, help_text="first day it no longer holds")
    source = models.TextField()
    checked_on = models.DateField()
    note = models.TextField(blank=True)
    proposed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    proposed_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    approved_at = models.DateTimeField(null=True, blank=True, help_text="empty = proposed, not used yet")

    class Meta:
        ordering = ["model", "service_tier", "speed", "geo", "prompt_length_band", "token_kind", "valid_from"]
        constraints = [
            models.UniqueConstraint(
                fields=["model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "valid_from"],
                name="billing_price_one_per_start",
                nulls_distinct=False,
            ),
            models.CheckConstraint(condition=Q(usd_per_unit__gte=0), name="billing_price_not_negative"),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
                name="billing_price_start_before_end",
            ),
        ]
