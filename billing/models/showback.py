"""Who carries which cost, and how a table of somebody else's is read."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from billing.models.usage import TEXT


class CostCentre(models.Model):
    """A place in the organisation that carries cost."""

    code = models.CharField(max_length=64, unique=True)
    name = models.CharField(max_length=120)
    team = models.CharField(**TEXT)
    owner = models.CharField(**TEXT)

    class Meta:
        ordering = ["code"]

    def __str__(self) -> str:
        return self.code


class CostCentreMapping(models.Model):
    """Usage that a cost centre carries from a day on; '' matches anything, the mapping that says most wins."""

    cost_centre = models.ForeignKey(CostCentre, on_delete=models.PROTECT, related_name="mappings")
    channel = models.CharField(**TEXT)
    workspace = models.CharField(**TEXT)
    api_key = models.CharField(**TEXT)
    request_class = models.CharField(**TEXT)
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["cost_centre", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "workspace", "api_key", "request_class", "valid_from"],
                name="billing_cost_centre_mapping_once",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
                name="billing_cost_centre_mapping_start_before_end",
            ),
        ]


class ColumnMapping(models.Model):
    """How a table with these columns is read, remembered for the next file with the same header."""

    name = models.CharField(max_length=120)
    header_hash = models.CharField(max_length=64, unique=True)
    header = models.JSONField()
    document = models.JSONField(help_text="costgov.column_mapping/1")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    updated_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name
