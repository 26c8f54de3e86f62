"""Classes of work: their bars, who owns them, what belongs to them, and what the estate as a whole has to keep."""

from functools import reduce
from operator import or_

import pgtrigger
from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

SLUG = RegexValidator(
    r"^[a-z][a-z0-9_.-]{0,63}$", "Start with a lower-case letter; then letters, digits, '_', '.', '-'; at most 64."
)

BAR_FIELDS = (
    "bar",
    "tolerance",
    "alpha",
    "max_age_days",
    "metric",
    "standard",
    "margin",
    "min_cases",
    "suites",
    "plan_candidates",
)
_OTHER_BAR = reduce(or_, (pgtrigger.Q(**{f"old__{name}__df": pgtrigger.F(f"new__{name}")}) for name in BAR_FIELDS))


class RequestClass(models.Model):
    """A kind of work, with its quality bar and its owners: the register of classes."""

    class Latency(models.TextChoices):
        INTERACTIVE = "interactive", "Interactive"
        BATCHABLE = "batchable", "Can wait (batch)"

    class Metric(models.TextChoices):
        PASS_RATE = "pass_rate", "Pass rate"
        MEAN_SCORE = "mean_score", "Mean score"

    class Standard(models.TextChoices):
        ABSOLUTE = "absolute", "At or above the bar"
        NOT_WORSE = "not_worse", "Not worse than the model that serves, on the same cases"
        BOTH = "both", "Both"

    slug = models.CharField(max_length=64, unique=True, validators=[SLUG])
    title = models.CharField(max_length=120)
    quality_owner = models.CharField(max_length=120, blank=True)
    spend_owner = models.CharField(max_length=120, blank=True)
    bar = models.DecimalField(max_digits=9, decimal_places=6, default="0.95")
    tolerance = models.DecimalField(max_digits=9, decimal_places=6, default="0.02")
    alpha = models.DecimalField(max_digits=9, decimal_places=6, default="0.05")
    max_age_days = models.PositiveIntegerField(default=90)
    metric = models.CharField(max_length=16, choices=Metric, default=Metric.PASS_RATE)
    standard = models.CharField(max_length=16, choices=Standard, default=Standard.ABSOLUTE)
    margin = models.DecimalField(
        max_digits=9, decimal_places=6, null=True, blank=True, help_text="By how much a model may be worse, paired."
    )
    min_cases = models.PositiveIntegerField(default=30)
    suites = models.JSONField(default=list, blank=True, help_text="Suites that count; empty = all of the class.")
    bar_version = models.PositiveIntegerField(default=1)
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
    allowed_models = models.JSONField(
        default=list, blank=True, help_text="Models that may serve it; empty = all the organisation allows."
    )
    required_geo = models.CharField(
        max_length=32, blank=True, default="", help_text="Inference geo its requests must stay in; empty = any."
    )
    is_protected = models.BooleanField(default=False, help_text="No move is recommended without its owner's word.")
    failure_usd = models.DecimalField(
        max_digits=18, decimal_places=9, null=True, blank=True, help_text="What a failed answer costs (methods §2, φ)."
    )
    cascade = models.JSONField(
        default=dict,
        blank=True,
        help_text="Stated cascade (empty = none): cheap, check_usd, strong, good_accepted, bad_accepted, check_suite, "
        "evaluated_as, source.",
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
            models.CheckConstraint(
                condition=Q(margin__isnull=True) | Q(margin__gt=0, margin__lt=1), name="routing_class_margin_is_share"
            ),
            models.CheckConstraint(
                condition=Q(standard="absolute") | Q(margin__isnull=False), name="routing_class_paired_has_margin"
            ),
            models.CheckConstraint(condition=Q(min_cases__gte=30), name="routing_class_min_cases_from_30"),
            models.CheckConstraint(
                condition=Q(failure_usd__isnull=True) | Q(failure_usd__gte=0), name="routing_class_failure_not_negative"
            ),
        ]
        # A bar that changes without a version would judge by something nobody can look up again.
        triggers = [
            pgtrigger.Trigger(
                name="bar_has_version",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=_OTHER_BAR & pgtrigger.Q(old__bar_version=pgtrigger.F("new__bar_version")),
                func="RAISE EXCEPTION 'the bar of class % changed without a version of its own', NEW.slug;",
            )
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


class QualityBar(models.Model):
    """One version of a class's quality bar: what was asked of a model from `set_at` on. The newest is in the class."""

    request_class = models.ForeignKey(RequestClass, on_delete=models.PROTECT, related_name="bars")
    version = models.PositiveIntegerField()
    metric = models.CharField(max_length=16, choices=RequestClass.Metric)
    standard = models.CharField(max_length=16, choices=RequestClass.Standard)
    bar = models.DecimalField(max_digits=9, decimal_places=6)
    tolerance = models.DecimalField(max_digits=9, decimal_places=6)
    alpha = models.DecimalField(max_digits=9, decimal_places=6)
    margin = models.DecimalField(max_digits=9, decimal_places=6, null=True, blank=True)
    min_cases = models.PositiveIntegerField()
    max_age_days = models.PositiveIntegerField()
    suites = models.JSONField(default=list, blank=True)
    plan_candidates = models.JSONField(default=list, blank=True)
    reason = models.TextField(blank=True)
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    set_at = models.DateTimeField()

    class Meta:
        ordering = ["request_class", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["request_class", "version"], name="routing_bar_version_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="routing_bar_version_from_1"),
            models.CheckConstraint(condition=Q(bar__gt=0, bar__lt=1), name="routing_bar_below_one"),
            models.CheckConstraint(
                condition=Q(tolerance__gte=0) & Q(tolerance__lt=F("bar")), name="routing_bar_line_above_zero"
            ),
            models.CheckConstraint(condition=Q(alpha__gt=0, alpha__lt=1), name="routing_bar_alpha_is_probability"),
            models.CheckConstraint(
                condition=Q(margin__isnull=True) | Q(margin__gt=0, margin__lt=1), name="routing_bar_margin_is_share"
            ),
            models.CheckConstraint(
                condition=Q(standard="absolute") | Q(margin__isnull=False), name="routing_bar_paired_has_margin"
            ),
            models.CheckConstraint(condition=Q(min_cases__gte=30), name="routing_bar_min_cases_from_30"),
        ]
        triggers = [pgtrigger.Protect(name="bar_immutable", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"{self.request_class} bar {self.version}"


class EstateConstraints(models.Model):
    """What the estate as a whole has to keep beside each bar (methods.md §4). The newest version is in force."""

    version = models.PositiveIntegerField(unique=True)
    quality_floor = models.DecimalField(
        max_digits=9, decimal_places=6, null=True, blank=True, help_text="Volume-weighted pass rate over all classes."
    )
    move_share = models.DecimalField(
        max_digits=9, decimal_places=6, null=True, blank=True, help_text="Share of all requests that may move at once."
    )
    model_caps = models.JSONField(default=dict, blank=True, help_text="Model → most share of all requests, as text.")
    reason = models.TextField(blank=True)
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    set_at = models.DateTimeField()

    class Meta:
        ordering = ["-version"]
        constraints = [
            models.CheckConstraint(
                condition=Q(quality_floor__isnull=True) | Q(quality_floor__gt=0, quality_floor__lt=1),
                name="routing_estate_floor_is_share",
            ),
            models.CheckConstraint(
                condition=Q(move_share__isnull=True) | Q(move_share__gte=0, move_share__lte=1),
                name="routing_estate_move_is_share",
            ),
        ]
        triggers = [pgtrigger.Protect(name="estate_append_only", operation=pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return f"constraints {self.version}"
