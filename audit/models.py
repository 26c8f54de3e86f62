"""The audit trail: who did what to which object, and when. Append-only, enforced in the database."""

import pgtrigger
from django.conf import settings
from django.db import models


class AuditEntry(models.Model):
    """One action of one person (or of the system). Written in the transaction of the change it tells of."""

    at = models.DateTimeField(db_index=True, help_text="When the action took place (the as_of of the operation).")
    recorded_at = models.DateTimeField(auto_now_add=True, help_text="When the row was written.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    actor_name = models.CharField(max_length=150, help_text="Name at the time; 'system' for automatic actions.")
    action = models.CharField(max_length=64, help_text="Verb and object, e.g. policy.approved.")
    object_type = models.CharField(max_length=64)
    object_id = models.CharField(max_length=128)
    object_label = models.CharField(max_length=255, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    note = models.TextField(blank=True)
    is_demo = models.BooleanField(default=False, help_text="Part of the demo organisation's invented past.")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["object_type", "object_id"], name="audit_entry_object_idx")]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor_name} {self.action} {self.object_label or self.object_id}"


class DataVersion(models.Model):
    """One row, bumped by every audited change: finished figures are cached under its number.

    A counter row rather than max(AuditEntry.id): ids are handed out before commit, so a reader could
    cache under an id whose neighbour is not visible yet. The row lock makes versions follow commits.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    version = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audit_data_version_single_row")]
