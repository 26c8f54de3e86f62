"""What happened to models that evidence may be older than: retirement, newer snapshots, other list prices."""

from collections import defaultdict
from datetime import datetime

from billing.queries.imports import model_aliases
from billing.queries.price_days import price_change_days
from billing.queries.prices import release_facts
from routing.core.freshness import ModelChanges
from routing.core.models import model_snapshot


def model_changes(*, as_of: datetime) -> dict[str, ModelChanges]:
    """By model, as of an instant. Snapshots are the dated names the register knows, dated up to then."""
    until = f"{as_of:%Y%m%d}"
    snapshots: dict[str, set[str]] = defaultdict(set)
    for name, model in model_aliases().items():
        snapshot = model_snapshot(name)
        if snapshot and snapshot <= until:
            snapshots[model].add(snapshot)
    prices, releases = price_change_days(as_of=as_of), release_facts()
    return {
        model: ModelChanges(
            retires_on=releases[model].retires_on if model in releases else None,
            snapshots=tuple(sorted(snapshots.get(model, ()))),
            price_days=prices.get(model, ()),
        )
        for model in sorted({*releases, *prices, *snapshots})
    }
