"""Counted usage written straight to the daily table: what an import would leave, for tests of pricing."""

from datetime import date

from billing.models import DailyUsage, UsageSource


def count_usage(model, on, *, origin="report", request_class="", **facts):
    """One counted row. Without more it states everything a price needs."""
    source, _ = UsageSource.objects.get_or_create(name="test report", grain=UsageSource.Grain.BUCKET)
    key = {"service_tier": "standard", "prompt_length_band": "0-100k", "geo": "global", "speed": "standard"}
    return DailyUsage.objects.create(
        model=model, date=date.fromisoformat(on) if isinstance(on, str) else on, origin=origin, source=source,
        request_class=request_class, channel="anthropic", **{**key, **facts},
    )  # fmt: skip
