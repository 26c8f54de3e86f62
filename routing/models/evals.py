"""Evidence: eval files, their runs and cases, what was concluded from them, and what that asks of somebody."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from routing.models.classes import RequestClass


class EvalSuiteRule(models.Model):
    """Which class the cases of a suite belong to where the file does not say: the first pattern that matches."""

    pattern = models.CharField(max_length=255, unique=True, help_text="Suite name; * and ? stand for any text.")
    request_class = models.ForeignKey(RequestClass, on_delete=models.CASCADE, related_name="suite_rules")
    position = models.PositiveIntegerField(default=0)
    is_live = models.BooleanField(
        default=False, help_text="Its cases are graded samples of live traffic: they feed the monitor, no verdict."
    )

    class Meta:
        ordering = ["position", "pattern"]

    def __str__(self) -> str:
        return f"{self.pattern} → {self.request_class}"


class EvalImport(models.Model):
    """One eval file."""

    class State(models.TextChoices):
        QUEUED = "queued", "Queued"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        DELETED = "deleted", "Deleted"

    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=16, choices=State, default=State.DONE)
    problem = models.TextField(blank=True, default="", help_text="Why it failed, with the remedy.")
    options = models.JSONField(default=dict, blank=True, help_text="What the person said that the file does not.")
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
    warnings = models.JSONField(default=list, blank=True, help_text="What the reader says of it, as sentences.")
    file_path = models.CharField(
        max_length=1024, blank=True, default="", help_text="Where a waiting file lies; emptied when the import ends."
    )
    size_bytes = models.BigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    progress_share = models.FloatField(default=0)
    progress_note = models.CharField(max_length=255, blank=True, default="")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(
        null=True, blank=True, help_text="When what it brought was deleted; empty again once it is imported anew."
    )
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    deletion_reason = models.TextField(blank=True, default="")
    deleted_runs = models.JSONField(default=list, blank=True, help_text="What went, in sums: per run and model.")

    class Meta:
        ordering = ["-imported_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["sha256"], condition=~Q(state__in=["failed", "cancelled"]), name="routing_eval_file_once"
            ),
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | ~Q(deletion_reason=""), name="routing_eval_deletion_has_reason"
            ),
            models.CheckConstraint(
                condition=~Q(state="deleted") | Q(deleted_at__isnull=False), name="routing_eval_deleted_has_time"
            ),
        ]

    @property
    def is_finished(self) -> bool:
        return self.state not in {self.State.QUEUED, self.State.RUNNING}


class EvalRun(models.Model):
    """Results of one suite for one class in one file."""

    eval_import = models.ForeignKey(EvalImport, on_delete=models.CASCADE, related_name="runs")
    request_class = models.ForeignKey(RequestClass, on_delete=models.PROTECT, related_name="eval_runs")
    suite = models.CharField(max_length=255)
    suite_version = models.CharField(max_length=64, default="1")
    run_at = models.DateTimeField()
    tool = models.CharField(max_length=128, blank=True, default="", help_text="promptfoo 0.121.20")
    results = models.PositiveIntegerField(default=0, help_text="With those left out.")
    left_out = models.PositiveIntegerField(default=0)
    findings = models.JSONField(default=list, blank=True, help_text="What looks broken about it, as sentences.")
    is_live = models.BooleanField(
        default=False, help_text="Graded samples of live traffic, as the suite rule said at import: never evidence."
    )
    set_aside_at = models.DateTimeField(null=True, blank=True, help_text="From then on it is no evidence.")
    set_aside_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    set_aside_reason = models.TextField(blank=True, default="")
    filed_under = models.ForeignKey(
        RequestClass,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="The class its file put it under, where somebody moved it to another; empty = where it is.",
    )
    moved_at = models.DateTimeField(null=True, blank=True)
    moved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    move_reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-run_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(filed_under__isnull=True) | ~Q(move_reason=""), name="routing_run_moved_has_reason"
            ),
            models.CheckConstraint(
                condition=Q(set_aside_at__isnull=True) | ~Q(set_aside_reason=""),
                name="routing_run_set_aside_has_reason",
            ),
        ]


class EvalRunPart(models.Model):
    """What a run holds of one model in one mode and prompt version: sums of its cases, written with them.

    Evidence is found from these, so that the cases of epochs that no longer count need not be read.
    """

    run = models.ForeignKey(EvalRun, on_delete=models.CASCADE, related_name="parts")
    model = models.CharField(max_length=128)
    model_raw = models.CharField(max_length=255)
    prompt_version = models.CharField(max_length=128, blank=True, default="")
    mode = models.CharField(max_length=64, blank=True, default="")
    results = models.PositiveIntegerField()
    scored = models.PositiveIntegerField(help_text="With a verdict.")
    passed = models.PositiveIntegerField(help_text="With a score of 1.")
    score_sum = models.FloatField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    last_scored_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["run", "model", "model_raw", "prompt_version", "mode"], name="routing_run_part_once"
            )
        ]


class EvalCase(models.Model):
    """One result of one case on one model. No prompt, no answer."""

    run = models.ForeignKey(EvalRun, on_delete=models.CASCADE, related_name="cases")
    sample_id = models.CharField(max_length=512)
    repeat = models.CharField(max_length=64, blank=True, default="")
    prompt_version = models.CharField(max_length=128, blank=True, default="")
    mode = models.CharField(max_length=64, blank=True, default="", help_text="Settings, e.g. thinking; '' = default.")
    model = models.CharField(max_length=128)
    model_raw = models.CharField(max_length=255)
    run_at = models.DateTimeField()
    score = models.FloatField(null=True, blank=True, help_text="0..1; empty = no verdict (left out)")
    graded_score = models.FloatField(
        null=True, blank=True, help_text="0..1 where the file grades a case beside its pass or fail."
    )
    attempts = models.PositiveSmallIntegerField(null=True, blank=True, help_text="Calls it took; empty = unknown.")
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
            ),
            models.CheckConstraint(
                condition=Q(graded_score__isnull=True) | Q(graded_score__gte=0, graded_score__lte=1),
                name="routing_case_graded_is_share",
            ),
        ]


class ClassEvidence(models.Model):
    """What the cases of a class amount to, kept so that a verdict need not read them again."""

    request_class = models.OneToOneField(RequestClass, on_delete=models.CASCADE, related_name="evidence")
    fingerprint = models.CharField(max_length=64, help_text="Of everything it was made from; another = make it anew.")
    summary = models.JSONField(default=dict)
    costs = models.JSONField(null=True, help_text="What the cases took and cost; empty = not summed yet.")
    computed_at = models.DateTimeField()


class VerdictRecord(models.Model):
    """A verdict as new results left it. Written when it is new or changed; never altered."""

    request_class = models.ForeignKey(RequestClass, on_delete=models.CASCADE, related_name="verdict_records")
    model = models.CharField(max_length=128)
    at = models.DateTimeField()
    status = models.CharField(max_length=32)
    previous_status = models.CharField(max_length=32, blank=True, default="")
    passes = models.FloatField()
    cases = models.PositiveIntegerField()
    line = models.FloatField()
    lower = models.FloatField(null=True, blank=True)
    upper = models.FloatField()
    difference = models.FloatField(null=True, help_text="Mean of its scores less those of what served, case by case.")
    difference_lower = models.FloatField(null=True)
    difference_upper = models.FloatField(null=True)
    bar_version = models.PositiveIntegerField()
    epoch = models.TextField(blank=True, default="")
    stale = models.BooleanField(default=False)
    serves = models.BooleanField(default=False, help_text="Whether it served the class then.")
    reason = models.TextField(blank=True, default="", help_text="Why, in the words of the verdict.")
    eval_import = models.ForeignKey(EvalImport, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["request_class", "model", "-id"], name="routing_verdict_latest_idx")]


class WorkItem(models.Model):
    """Something about a class that somebody has to look at, until they say what came of it."""

    class Kind(models.TextChoices):
        VERDICT_CHANGED = "verdict_changed", "Verdict changed"
        WENT_STALE = "went_stale", "Evidence went stale"
        RUN_LOOKS_BROKEN = "run_looks_broken", "Run looks broken"
        BELOW_BAR = "below_bar", "Served below its bar"
        MONITOR_ALARM = "monitor_alarm", "Live samples below the line"

    request_class = models.ForeignKey(RequestClass, on_delete=models.CASCADE, related_name="work_items")
    model = models.CharField(max_length=128, blank=True, default="")
    kind = models.CharField(max_length=32, choices=Kind)
    text = models.TextField(help_text="What happened, in a sentence.")
    remedy = models.TextField(blank=True, default="", help_text="What to do about it.")
    concerns = models.CharField(max_length=255, blank=True, default="", help_text="Whom it concerns.")
    details = models.JSONField(default=dict, blank=True, help_text="Evidence before and after; the run; the import.")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    closing_note = models.TextField(blank=True, default="")
    resolved_itself = models.BooleanField(default=False, help_text="Closed because what it was about is gone.")

    class Meta:
        ordering = ["-opened_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["request_class", "model", "kind"],
                condition=Q(closed_at__isnull=True),
                name="routing_work_item_open_once",
            )
        ]
