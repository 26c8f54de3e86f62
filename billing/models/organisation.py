"""The organisation whose bill is governed here."""

from django.db import models
from django.db.models import Q


class Organisation(models.Model):
    """The organisation whose bill is governed here (one row)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=120)
    baseline_model = models.CharField(max_length=128, blank=True, help_text="Model of the 'uniform' counterfactual.")
    notice = models.TextField(blank=True, help_text="Shown on every page, e.g. that this is the demo organisation.")

    requests_kept_from = models.DateField(
        null=True, blank=True, help_text="Requests of earlier days were forgotten (apply_retention); empty = none were."
    )
    hours_kept_from = models.DateField(
        null=True, blank=True, help_text="Hourly usage of earlier days was forgotten; what counted per day is kept."
    )

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="billing_organisation_single_row")]

    def __str__(self) -> str:
        return self.name
