"""Facts about money: where usage came from, how much of it there was, what it costs, what lies ahead."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q

TEXT: dict[str, Any] = {"max_length": 255, "blank": True, "default": ""}


class Organisation(models.Model):
    """The organisation whose bill is governed here (one row)."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    name = models.CharField(max_length=120)
    baseline_model = models.CharField(max_length=128, blank=True, help_text="Model of the 'uniform' counterfactual.")
    notice = models.TextField(blank=True, help_text="Shown on every page, e.g. that this is the demo organisation.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="billing_organisation_single_row")]

    def __str__(self) -> str:
        return self.name


class UsageSource(models.Model):
    """Where usage comes from: a log (request-level) or a provider report (bucketed)."""

    class Grain(models.TextChoices):
        REQUEST = "request", "Request-level"
        BUCKET = "bucket", "Bucketed"

    name = models.CharField(max_length=120, unique=True)
    grain = models.CharField(max_length=16, choices=Grain)
    channel = models.CharField(max_length=32, default="anthropic")
    scope = models.JSONField(
        default=list,
        blank=True,
        help_text="[workspace, api_key] pairs a log explains where its rows name none; empty = whole channel.",
    )

    def __str__(self) -> str:
        return self.name


class Import(models.Model):
    """One file: the provenance every imported row points at."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    kind = models.CharField(max_length=16, default="usage")
    source = models.ForeignKey(UsageSource, null=True, blank=True, on_delete=models.PROTECT, related_name="imports")
    file_name = models.CharField(max_length=255)
    file_path = models.CharField(
        max_length=1024, blank=True, help_text="Where the waiting file lies; emptied when the import ends."
    )
    size_bytes = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64)
    format = models.CharField(max_length=64, blank=True)
    options = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    progress_share = models.FloatField(default=0)
    progress_note = models.CharField(max_length=255, blank=True)
    accepted = models.BigIntegerField(default=0)
    duplicates = models.BigIntegerField(default=0)
    rejected = models.BigIntegerField(default=0)
    failed_requests = models.BigIntegerField(default=0)
    error = models.TextField(blank=True)
    problems = models.JSONField(
        default=list, blank=True, help_text="Rejected rows: line, field, value, message (no prompt text)."
    )
    findings = models.JSONField(default=list, blank=True, help_text="Data-health remarks, e.g. unknown models.")
    period_start = models.DateTimeField(null=True, blank=True)
    period_end = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "sha256"], condition=Q(state="done"), name="billing_import_same_bytes_once"
            ),
            models.CheckConstraint(
                condition=Q(accepted__gte=0, duplicates__gte=0, rejected__gte=0),
                name="billing_import_counts_not_negative",
            ),
        ]

    @property
    def is_finished(self) -> bool:
        return self.state in {self.State.DONE, self.State.FAILED, self.State.CANCELLED}

    def __str__(self) -> str:
        return f"{self.file_name} ({self.state})"


class UsageCounters(models.Model):
    """Disjoint counters: no token is in two of them."""

    uncached_input_tok = models.BigIntegerField(default=0)
    cache_read_tok = models.BigIntegerField(default=0)
    cache_write_5m_tok = models.BigIntegerField(default=0)
    cache_write_1h_tok = models.BigIntegerField(default=0)
    output_tok = models.BigIntegerField(default=0)
    web_searches = models.BigIntegerField(default=0)
    requests = models.BigIntegerField(null=True, blank=True, help_text="null = the source does not say")

    class Meta:
        abstract = True


COUNTERS_NOT_NEGATIVE = Q(
    uncached_input_tok__gte=0,
    cache_read_tok__gte=0,
    cache_write_5m_tok__gte=0,
    cache_write_1h_tok__gte=0,
    output_tok__gte=0,
    web_searches__gte=0,
) & (Q(requests__isnull=True) | Q(requests__gte=0))


class UsageKey(models.Model):
    """What usage is told apart by. Text, never null: '' unknown; '(not grouped)', '(default)', '(none)' stay apart."""

    organisation = models.CharField(**TEXT)
    channel = models.CharField(**TEXT)
    workspace = models.CharField(**TEXT)
    api_key = models.CharField(**TEXT)
    model = models.CharField(**TEXT, help_text="Canonical model id, or the raw one where nobody has placed it.")
    service_tier = models.CharField(**TEXT)
    prompt_length_band = models.CharField(**TEXT)
    geo = models.CharField(**TEXT)
    speed = models.CharField(**TEXT)
    request_class = models.CharField(**TEXT, help_text="Label, not a foreign key; '' = unclassified.")
    policy_version = models.PositiveIntegerField(default=0, help_text="0 = no policy decided this usage")
    arm = models.CharField(**TEXT)

    class Meta:
        abstract = True


USAGE_KEY_FIELDS = [
    "organisation",
    "channel",
    "workspace",
    "api_key",
    "model",
    "service_tier",
    "prompt_length_band",
    "geo",
    "speed",
    "request_class",
    "policy_version",
    "arm",
]


class UsageRollup(UsageKey, UsageCounters):
    """Usage of one source per hour (or UTC day where the source knows only days). Every source, counted or not."""

    bucket_start = models.DateTimeField()
    bucket_hours = models.PositiveSmallIntegerField(default=1)
    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="+")
    latest_import = models.ForeignKey(Import, on_delete=models.PROTECT, related_name="+")
    failed_requests = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["bucket_start", "bucket_hours", "source", *USAGE_KEY_FIELDS],
                name="billing_usage_rollup_natural_key",
            ),
            models.CheckConstraint(condition=COUNTERS_NOT_NEGATIVE, name="billing_usage_rollup_not_negative"),
            models.CheckConstraint(condition=Q(bucket_hours__in=[1, 24]), name="billing_usage_rollup_hour_or_day"),
        ]


class DailyUsage(UsageKey, UsageCounters):
    """What counts, per UTC day (architecture.md §4, "Which usage counts"). Pages and forecasts read this table."""

    class Origin(models.TextChoices):
        LOG = "log", "Request log"
        REPORT = "report", "Provider report"
        REMAINDER = "remainder", "Not in the logs"

    date = models.DateField()
    origin = models.CharField(max_length=16, choices=Origin)
    source = models.ForeignKey(UsageSource, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["date", "origin", "source", *USAGE_KEY_FIELDS], name="billing_daily_usage_natural_key"
            ),
            models.CheckConstraint(condition=COUNTERS_NOT_NEGATIVE, name="billing_daily_usage_not_negative"),
        ]


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
