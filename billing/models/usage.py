"""Where usage came from and how much of it there was."""

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q

TEXT: dict[str, Any] = {"max_length": 255, "blank": True, "default": ""}


class UsageSource(models.Model):
    """Where usage comes from: a log (request-level) or a provider report (bucketed)."""

    class Grain(models.TextChoices):
        REQUEST = "request", "Request-level"
        BUCKET = "bucket", "Bucketed"
        COST = "cost", "Cost report"

    name = models.CharField(max_length=120, unique=True)
    grain = models.CharField(max_length=16, choices=Grain)
    channel = models.CharField(max_length=32, default="anthropic")
    scope = models.JSONField(
        default=list,
        blank=True,
        help_text="[workspace, api_key] pairs a log explains where its rows name none; empty = whole channel.",
    )

    settings = models.JSONField(
        default=dict, blank=True, help_text="how its files are read, e.g. whether input includes cached tokens"
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
        DELETED = "deleted", "Deleted"

    kind = models.CharField(max_length=16, default="usage", help_text="usage or costs")
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
    superseded_by = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The import of the same bytes that was read another way since: a source's answer was changed.",
    )

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "sha256"],
                condition=Q(state="done", superseded_by=None),
                name="billing_import_same_bytes_once",
            ),
            models.CheckConstraint(
                condition=Q(accepted__gte=0, duplicates__gte=0, rejected__gte=0),
                name="billing_import_counts_not_negative",
            ),
        ]

    @property
    def is_finished(self) -> bool:
        return self.state not in {self.State.QUEUED, self.State.RUNNING}

    def __str__(self) -> str:
        return f"{self.file_name} ({self.state})"


class StorePack(models.Model):
    """One file of the request store with the requests that several imports have on one UTC day (`pack-<id>.parquet`).

    Rows of an import count only while it is one of `members`: what left since is still in the file until it is
    written anew.
    """

    day = models.DateField(db_index=True)
    imports = models.PositiveIntegerField(help_text="How many imports have rows in the file, members or not.")

    def __str__(self) -> str:
        return f"pack-{self.pk}.parquet ({self.day})"


class PackedImport(models.Model):
    """An import whose requests of a day are in a pack; files of its own of that day do not count."""

    pack = models.ForeignKey(StorePack, on_delete=models.CASCADE, related_name="members")
    of_import = models.ForeignKey(Import, on_delete=models.PROTECT, related_name="packed")
    day = models.DateField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["of_import", "day"], name="billing_packed_import_day_once")]


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
    """Usage of one source per hour (or UTC day where the source knows only days). Every source, counted or not.

    Partitioned by month (billing/operations/months.py). The natural key is its only index: `id` is Django's name for a
    row, without an index of its own, so change many rows by their bucket and source, never one by one by id.
    """

    bucket_start = models.DateTimeField()
    bucket_hours = models.PositiveSmallIntegerField(default=1)
    source = models.ForeignKey(
        UsageSource, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
    latest_import = models.ForeignKey(
        Import, on_delete=models.PROTECT, related_name="+", db_constraint=False, db_index=False
    )
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
