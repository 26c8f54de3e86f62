"""Counted usage day by day: what a time axis of a class or a model tier is drawn from."""

from dataclasses import dataclass
from datetime import date

from django.db.models import Count, F, Q, Sum

from billing.models import DailyUsage, ModelRelease
from billing.queries.named_models import OTHERS, model_expression, named_models

_INPUT_TOK = F("uncached_input_tok") + F("cache_read_tok") + F("cache_write_5m_tok") + F("cache_write_1h_tok")


@dataclass(frozen=True, slots=True)
class DayOfUsage:
    """Counted usage of one class ('' = unclassified) on one model on one UTC day.

    `requests` is None where a counted source does not tell. `input_tok`: all input tokens, cached or not.
    """

    on: date
    request_class: str
    model: str
    requests: int | None
    input_tok: int
    output_tok: int


@dataclass(frozen=True, slots=True)
class ModelName:
    """How a model is written for people, and its tier."""

    name: str
    tier: str


def daily_usage(*, start: date, end: date, request_class: str | None = None) -> list[DayOfUsage]:
    """Usage that counts on days [start, end) per day, class and model, in that order; one class where it is named.

    Of very many unknown models most are one (`billing.queries.named_models`).
    """
    rows = DailyUsage.objects.filter(date__gte=start, date__lt=end)
    if request_class is not None:
        rows = rows.filter(request_class=request_class)
    sums = (
        rows.annotate(told=model_expression(named_models(start=start, end=end)))
        .values("date", "request_class", "told")
        .annotate(
            known=Sum("requests"),
            untold=Count("id", filter=Q(requests__isnull=True)),
            input=Sum(
                F("uncached_input_tok") + F("cache_read_tok") + F("cache_write_5m_tok") + F("cache_write_1h_tok")
            ),
            output=Sum("output_tok"),
        )
        .order_by("date", "request_class", "told")
    )
    return [
        DayOfUsage(
            on=row["date"],
            request_class=row["request_class"],
            model=row["told"],
            requests=None if row["untold"] else int(row["known"]),
            input_tok=int(row["input"]),
            output_tok=int(row["output"]),
        )
        for row in sums
    ]


def models_without_request_counts() -> frozenset[str]:
    """Models with counted usage, on any day, whose source does not tell how many requests it was."""
    rows = DailyUsage.objects.filter(requests__isnull=True).order_by().values_list("model", flat=True).distinct()
    found = frozenset(rows)
    return found | {OTHERS} if found else found


def model_names() -> dict[str, ModelName]:
    """Names of every placed model by canonical id. All are Claude models, so the word is left out."""
    rows = ModelRelease.objects.values_list("canonical_id", "display_name", "tier")
    return {model: ModelName(name.removeprefix("Claude ") or model, tier) for model, name, tier in rows}


def model_name(names: dict[str, ModelName], model: str) -> ModelName:
    """A model nobody has placed goes by its id, in tier other."""
    return names.get(model) or ModelName(model, "other")
