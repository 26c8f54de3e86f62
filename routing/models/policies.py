"""Policies: immutable versions, the people who agreed to them, and which one is in force."""

import pgtrigger
from django.conf import settings
from django.db import models
from django.db.models import F, Q


class PolicyVersion(models.Model):
    """An immutable policy document."""

    policy = models.CharField(max_length=64)
    version = models.PositiveIntegerField()
    document = models.JSONField()
    content_hash = models.CharField(max_length=64)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["policy", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["policy", "version"], name="routing_policy_version_once"),
            models.UniqueConstraint(fields=["policy", "content_hash"], name="routing_policy_content_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="routing_policy_version_from_one"),
        ]
        triggers = [pgtrigger.Protect(name="immutable", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.policy}@{self.version}"


class ChangeRequest(models.Model):
    """A policy version on its way into force, with the evidence frozen into it."""

    class State(models.TextChoices):
        IN_REVIEW = "in_review", "In review"
        APPROVED = "approved", "Approved"
        ACTIVE = "active", "Active"
        REJECTED = "rejected", "Rejected"
        CANCELLED = "cancelled", "Cancelled"
        SUPERSEDED = "superseded", "Superseded"

    policy_version = models.ForeignKey(PolicyVersion, on_delete=models.PROTECT, related_name="change_requests")
    environment = models.CharField(max_length=32, default="prod")
    title = models.CharField(max_length=200)
    note = models.TextField(blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.IN_REVIEW)
    evidence = models.JSONField(default=dict)
    evidence_hash = models.CharField(max_length=64)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-proposed_at", "-id"]

    @property
    def is_open(self) -> bool:
        return self.state in {self.State.IN_REVIEW, self.State.APPROVED}

    @property
    def is_in_review(self) -> bool:
        return self.state == self.State.IN_REVIEW

    @property
    def is_approved(self) -> bool:
        return self.state == self.State.APPROVED

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"


class Approval(models.Model):
    """One person's approval of exactly this content and this evidence."""

    change_request = models.ForeignKey(ChangeRequest, on_delete=models.PROTECT, related_name="approvals")
    function = models.CharField(max_length=32, default="engineering")
    approver = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The proposal's author, repeated so that the database can refuse self-approval.",
    )
    content_hash = models.CharField(max_length=64)
    evidence_hash = models.CharField(max_length=64)
    comment = models.TextField(blank=True)
    approved_at = models.DateTimeField()

    class Meta:
        ordering = ["approved_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["change_request", "approver"], name="routing_approval_once_per_person"),
            models.CheckConstraint(condition=~Q(approver=F("author")), name="routing_approval_not_by_author"),
        ]


class Activation(models.Model):
    """A policy version put in force in an environment. The sequence only grows; a rollback is a new one."""

    environment = models.CharField(max_length=32)
    sequence = models.PositiveBigIntegerField()
    policy_version = models.ForeignKey(PolicyVersion, on_delete=models.PROTECT, related_name="activations")
    change_request = models.ForeignKey(ChangeRequest, null=True, on_delete=models.PROTECT, related_name="activations")
    activated_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    activated_at = models.DateTimeField()
    kill_switch = models.BooleanField(default=False)

    class Meta:
        ordering = ["environment", "-sequence"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "sequence"], name="routing_activation_sequence_once")
        ]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
