"""Counted usage of a window, per class and model: what serves a class now and how many tokens it takes."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from django.db.models import Count, F, Q, Sum

from billing.models import DailyUsage
from billing.queries.named_models import model_expression, named_models

_BATCH = Q(service_tier="batch")


@dataclass(frozen=True, slots=True)
class ServedUsage:
    """Counted usage of one class on one model in a window. `requests` is None where a counted source has no counts.

    The `batch_…` figures are the part of the others that was sent in batch.
    """

    request_class: str
    model: str
    requests: int | None
    batch_requests: int | None
    uncached_input_tok: int
    cache_read_tok: int
    cache_write_5m_tok: int
    cache_write_1h_tok: int
    output_tok: int
    batch_cache_read_tok: int = 0
    batch_cache_write_5m_tok: int = 0
    batch_cache_write_1h_tok: int = 0

    @property
    def input_tok(self) -> int:
        """All input tokens, cached or not."""
        return self.uncached_input_tok + self.cache_read_tok + self.cache_write_tok

    @property
    def cache_write_tok(self) -> int:
        return self.cache_write_5m_tok + self.cache_write_1h_tok


def served_usage(*, start: date, end: date) -> list[ServedUsage]:
    """Usage that counts on days [start, end), per class and model, in that order; unclassified usage left out.

    Of very many unknown models most are one (`billing.queries.named_models`).
    """
    rows = (
        DailyUsage.objects.filter(date__gte=start, date__lt=end)
        .exclude(request_class="")
        .annotate(told=model_expression(named_models(start=start, end=end)))
        .values("request_class", "told")
        .annotate(
            known_requests=Sum("requests"),
            unknown_rows=Count("id", filter=Q(requests__isnull=True)),
            known_batch_requests=Sum("requests", filter=_BATCH, default=0),
            batch_read=Sum("cache_read_tok", filter=_BATCH, default=0),
            batch_write_5m=Sum("cache_write_5m_tok", filter=_BATCH, default=0),
            batch_write_1h=Sum("cache_write_1h_tok", filter=_BATCH, default=0),
            uncached=Sum("uncached_input_tok"),
            read=Sum("cache_read_tok"),
            write_5m=Sum("cache_write_5m_tok"),
            write_1h=Sum("cache_write_1h_tok"),
            out=Sum("output_tok"),
        )
        .order_by(F("request_class"), F("told"))
    )
    return [
        ServedUsage(
            request_class=row["request_class"],
            model=row["told"],
            requests=None if row["unknown_rows"] else int(row["known_requests"]),
            batch_requests=None if row["unknown_rows"] else int(row["known_batch_requests"]),
            uncached_input_tok=int(row["uncached"]),
            cache_read_tok=int(row["read"]),
            cache_write_5m_tok=int(row["write_5m"]),
            cache_write_1h_tok=int(row["write_1h"]),
            output_tok=int(row["out"]),
            batch_cache_read_tok=int(row["batch_read"]),
            batch_cache_write_5m_tok=int(row["batch_write_5m"]),
            batch_cache_write_1h_tok=int(row["batch_write_1h"]),
        )
        for row in rows
    ]


def served_by_day(*, classes: Collection[str], start: date, end: date) -> dict[date, list[ServedUsage]]:
    """Requests and input tokens of each day of [start, end), per class and model; the other figures are 0."""
    rows = (
        DailyUsage.objects.filter(date__gte=start, date__lt=end, request_class__in=list(classes))
        .values_list("date", "request_class", "model")
        .annotate(
            known=Sum("requests"),
            unknown=Count("id", filter=Q(requests__isnull=True)),
            uncached=Sum("uncached_input_tok"),
            read=Sum("cache_read_tok"),
            write_5m=Sum("cache_write_5m_tok"),
            write_1h=Sum("cache_write_1h_tok"),
        )
        .order_by("date", "request_class", "model")
    )
    found: dict[date, list[ServedUsage]] = defaultdict(list)
    for day, slug, model, requests, unknown, uncached, read, write_5m, write_1h in rows:
        found[day].append(
            ServedUsage(
                request_class=slug,
                model=model,
                requests=None if unknown else int(requests),
                batch_requests=None,
                uncached_input_tok=int(uncached),
                cache_read_tok=int(read),
                cache_write_5m_tok=int(write_5m),
                cache_write_1h_tok=int(write_1h),
                output_tok=0,
            )
        )
    return dict(found)
