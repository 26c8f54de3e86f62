"""What lies ahead: forecasts, offers, sizings."""

from django.conf import settings
from django.db import models


class Forecast(models.Model):
    """A finished forecast with what it rests on. `paths` holds the sample paths (npz: policy × path × month)."""

    cutoff_date = models.DateField(help_text="last day of history used")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    scenario = models.JSONField(default=dict)
    inputs = models.JSONField(
        default=dict, help_text="versions: data, prices, policy hash; seed, number of paths, settings version"
    )
    inputs_hash = models.CharField(max_length=64, unique=True)
    result = models.JSONField(default=dict)
    paths = models.BinaryField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]


class CommitmentTerms(models.Model):
    """An offer as typed in: costgov.terms/1."""

    name = models.CharField(max_length=120)
    document = models.JSONField()
    content_hash = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]


class CommitmentSizing(models.Model):
    """What was recommended under an offer, and on what it rests."""

    forecast = models.ForeignKey(Forecast, on_delete=models.PROTECT, related_name="sizings")
    terms = models.ForeignKey(CommitmentTerms, on_delete=models.PROTECT, related_name="sizings")
    policy_hash = models.CharField(max_length=64, blank=True)
    result = models.JSONField()
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["forecast", "terms"], name="billing_sizing_one_per_forecast_and_terms")
        ]
