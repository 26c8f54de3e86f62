"""Decisions about traffic: classes and their bars, the evidence, policies and who agreed to them."""

import pgtrigger
from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

SLUG = RegexValidator(
    r"^[a-z][a-z0-9_.-]{0,63}$", "Start with a lower-case letter; then letters, digits, '_', '.', '-'; at most 64."
)


class RequestClass(models.Model):
    """A kind of work, with its quality bar and its owners: the register of classes."""

    class Latency(models.TextChoices):
        INTERACTIVE = "interactive", "Interactive"
        BATCHABLE = "batchable", "Can wait (batch)"

    slug = models.CharField(max_length=64, unique=True, validators=[SLUG])
    title = models.CharField(max_length=120)
    quality_owner = models.CharField(max_length=120, blank=True)
    spend_owner = models.CharField(max_length=120, blank=True)
    bar = models.DecimalField(max_digits=9, decimal_places=6, default="0.95")
    tolerance = models.DecimalField(max_digits=9, decimal_places=6, default="0.02")
    alpha = models.DecimalField(max_digits=9, decimal_places=6, default="0.05")
    max_age_days = models.PositiveIntegerField(default=90)
    latency = models.CharField(max_length=16, choices=Latency, default=Latency.INTERACTIVE)
    batchable_share = models.DecimalField(
        max_digits=9, decimal_places=6, null=True, blank=True, help_text="empty = 1 if batchable, else 0"
    )
    keeps_own_caching = models.BooleanField(
        default=False, help_text="The client caches by itself, also in the uniform baseline."
    )
    reuse = models.JSONField(
        default=dict, blank=True, help_text="Reuse facts: prefix_tok, hit_share_5m, hit_share_1h, source, assumed."
    )
    plan_candidates = models.JSONField(
        default=list, blank=True, help_text="Evaluation plan: candidate models; empty = those that ever had a case."
    )
    note = models.TextField(
        blank=True, help_text="Shown wherever the class is, e.g. that its evals are generated for the demo."
    )

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(bar__gt=0, bar__lt=1), name="routing_class_bar_below_one"),
            models.CheckConstraint(
                condition=Q(tolerance__gte=0) & Q(tolerance__lt=F("bar")), name="routing_class_line_above_zero"
            ),
            models.CheckConstraint(condition=Q(alpha__gt=0, alpha__lt=1), name="routing_class_alpha_is_probability"),
            models.CheckConstraint(
                condition=Q(batchable_share__isnull=True) | Q(batchable_share__gte=0, batchable_share__lte=1),
                name="routing_class_batchable_is_share",
            ),
        ]

    @property
    def planned_batch_share(self) -> float:
        if self.batchable_share is not None:
            return float(self.batchable_share)
        return 1.0 if self.latency == self.Latency.BATCHABLE else 0.0

    def __str__(self) -> str:
        return self.slug


class ClassMapping(models.Model):
    """Which class bucketed usage of a workspace and api key belongs to, from a day on. Empty text = any."""

    request_class = models.ForeignKey(RequestClass, on_delete=models.CASCADE, related_name="mappings")
    channel = models.CharField(max_length=32, blank=True, default="")
    workspace = models.CharField(max_length=255, blank=True, default="")
    api_key = models.CharField(max_length=255, blank=True, default="")
    valid_from = models.DateField(null=True, blank=True)
    valid_to = models.DateField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "workspace", "api_key", "valid_from"],
                name="routing_mapping_one_per_start",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=Q(valid_from__isnull=True) | Q(valid_to__isnull=True) | Q(valid_from__lt=F("valid_to")),
                name="routing_mapping_start_before_end",
            ),
            models.CheckConstraint(
                condition=~Q(workspace="", api_key="", channel=""), name="routing_mapping_names_something"
            ),
        ]


class ClassException(models.Model):
    """An owner's dated permission to use a model that has not cleared the bar (methods.md §4.1)."""

    request_class = models.ForeignKey(RequestClass, on_delete=models.CASCADE, related_name="exceptions")
    model = models.CharField(max_length=128)
    reason = models.TextField()
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    valid_from = models.DateField()
    valid_to = models.DateField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(valid_from__lt=F("valid_to")), name="routing_exception_start_before_end")
        ]


class EvalImport(models.Model):
    """One eval file."""

    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64, unique=True)
    format = models.CharField(max_length=64)
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    imported_at = models.DateTimeField()
    cases = models.PositiveIntegerField(default=0)
    left_out = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    rejected = models.PositiveIntegerField(default=0)
    rejected_rows = models.JSONField(default=list, blank=True, help_text="What was wrong with each, the first 200.")

    class Meta:
        ordering = ["-imported_at", "-id"]


class EvalRun(models.Model):
    """Results of one suite for one class in one file."""

    eval_import = models.ForeignKey(EvalImport, on_delete=models.CASCADE, related_name="runs")
    request_class = models.ForeignKey(RequestClass, on_delete=models.PROTECT, related_name="eval_runs")
    suite = models.CharField(max_length=255)
    suite_version = models.CharField(max_length=64, default="1")
    run_at = models.DateTimeField()

    class Meta:
        ordering = ["-run_at", "-id"]


class EvalCase(models.Model):
    """One result of one case on one model. No prompt, no answer."""

    run = models.ForeignKey(EvalRun, on_delete=models.CASCADE, related_name="cases")
    sample_id = models.CharField(max_length=512)
    repeat = models.CharField(max_length=64, blank=True, default="")
    prompt_version = models.CharField(max_length=128, blank=True, default="")
    model = models.CharField(max_length=128)
    model_raw = models.CharField(max_length=255)
    run_at = models.DateTimeField()
    score = models.FloatField(null=True, blank=True, help_text="0..1; empty = no verdict (left out)")
    error = models.CharField(max_length=255, blank=True, default="", help_text="Kind of error, never its text.")
    uncached_input_tok = models.BigIntegerField(null=True, blank=True)
    cache_read_tok = models.BigIntegerField(null=True, blank=True)
    cache_write_5m_tok = models.BigIntegerField(null=True, blank=True)
    cache_write_1h_tok = models.BigIntegerField(null=True, blank=True)
    output_tok = models.BigIntegerField(null=True, blank=True)
    cost_usd = models.DecimalField(max_digits=28, decimal_places=15, null=True, blank=True)
    latency_ms = models.FloatField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["run", "model"], name="routing_case_run_model_idx")]
        constraints = [
            models.CheckConstraint(
                condition=Q(score__isnull=True) | Q(score__gte=0, score__lte=1), name="routing_case_score_is_share"
            )
        ]


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
