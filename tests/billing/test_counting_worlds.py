"""Random small worlds of logs and reports: the days written by real imports against a slow, obvious rule.

The rule, as one would do it on paper: join report keys and log rows that speak for each other into heaps; in a heap
without logs the report counts; in one with logs they count, and of each model and token kind what the report has more.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.usage import COUNTERS
from billing.models import DailyUsage
from billing.operations.imports import ImportOptions, import_file
from tests.billing.conftest import AS_OF
from tests.billing.worlds import daily_sums, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

FIRST = datetime(2026, 11, 9, tzinfo=UTC)
MODELS = ("claude-haiku-4-5", "claude-opus-4-5")
KEYS = ("k1", "k2", "k3")


@dataclass(frozen=True)
class Logged:
    """A request: of the provider's log (`key` '' = not logged), or of LiteLLM, whose keys are its own."""

    day: int
    hour: int
    model: str
    key: str
    fresh: int
    out: int
    is_litellm: bool


@dataclass(frozen=True)
class Reported:
    """A report of some days: by key and model, by model only, or not grouped."""

    grouped_by: tuple[str, ...]
    hourly: bool
    rows: tuple[tuple[int, int, str, str, int, int], ...]  # day, hour, model, key, fresh, out


counts = st.integers(0, 40)
logged = st.builds(
    Logged, st.integers(0, 1), st.integers(0, 23), st.sampled_from(MODELS), st.sampled_from((*KEYS, "")), counts,
    counts, st.booleans(),
)  # fmt: skip
reported = st.builds(
    Reported,
    st.sampled_from([("api_key_id", "model"), ("model",), ()]),
    st.booleans(),
    st.lists(
        st.tuples(
            st.integers(0, 1), st.integers(0, 23), st.sampled_from(MODELS), st.sampled_from(KEYS), counts, counts
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
)


def pages(item: Reported) -> dict[str, Any]:
    """The report as the API would give it: one bucket per hour (or day) with rows, grouped as asked."""
    sums: dict[tuple[datetime, str | None, str | None], list[int]] = defaultdict(lambda: [0, 0])
    for day, hour, model, key, fresh, out in item.rows:
        start = FIRST + timedelta(days=day, hours=hour if item.hourly else 0)
        place = (start, model if "model" in item.grouped_by else None, key if "api_key_id" in item.grouped_by else None)
        sums[place][0] += fresh
        sums[place][1] += out
    buckets: dict[datetime, list[dict[str, Any]]] = defaultdict(list)
    for (start, told_model, told_key), (fresh, out) in sums.items():
        row = result(model=told_model, api_key_id=told_key, uncached_input_tokens=fresh, output_tokens=out)
        buckets[start].append(row)
    width = timedelta(hours=1) if item.hourly else timedelta(days=1)
    return report(*((start.isoformat(), (start + width).isoformat(), rows) for start, rows in sorted(buckets.items())))


def files(folder: Path, logs: list[Logged], reports: list[Reported]) -> list[tuple[Path, str]]:
    own, litellm = [], []
    for number, item in enumerate(logs):
        at = FIRST + timedelta(days=item.day, hours=item.hour, minutes=number)
        if item.is_litellm:
            usage: dict[str, Any] = {"user_api_key_alias": f"alias-{item.key}", "usage_object": {}}
            litellm.append(
                payload(
                    number,
                    at.timestamp(),
                    model=item.model,
                    prompt_tokens=item.fresh,
                    completion_tokens=item.out,
                    metadata=usage,
                )
            )
        else:
            usage = {"input_tokens": item.fresh, "output_tokens": item.out}
            named = {"api_key_id": item.key or None, "workspace_id": None}
            own.append(envelope(number, at.isoformat(), model=item.model, usage=usage, **named))
    found = [
        (write_lines(folder / f"{name}.jsonl", rows), "") for name, rows in (("own", own), ("litellm", litellm)) if rows
    ]
    return found + [(write_json(folder / f"r{i}.json", pages(item)), f"report {i}") for i, item in enumerate(reports)]


# --- the slow rule ---


def counted_on_paper(logs: list[Logged], reports: list[Reported]) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """(day, origin) → (uncached input, output) that count."""
    found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])

    def add(day: int, origin: str, fresh: int, out: int) -> None:
        found[(FIRST + timedelta(days=day)).date(), origin][0] += fresh
        found[(FIRST + timedelta(days=day)).date(), origin][1] += out

    for day in (0, 1):
        today = [item for item in logs if item.day == day]
        for item in today:
            add(day, "log", item.fresh, item.out)
        chosen = _chosen(reports, day)
        if chosen is None:
            continue
        keyed, by_model = "api_key_id" in chosen.grouped_by, "model" in chosen.grouped_by
        rows = [row for row in chosen.rows if row[0] == day]
        for some_logs, keys in _heaps(today, {row[3] if keyed else "" for row in rows}, keyed):
            groups: dict[str, list[int]] = defaultdict(lambda: [0, 0])
            for _, _, model, key, fresh, out in rows:
                if (key if keyed else "") in keys:
                    groups[model if by_model else ""][0] += fresh
                    groups[model if by_model else ""][1] += out
            for group, (fresh, out) in groups.items():
                alike = [item for item in some_logs if not by_model or item.model == group]
                if not some_logs:
                    add(day, "report", fresh, out)
                else:
                    more = (fresh - sum(item.fresh for item in alike), out - sum(item.out for item in alike))
                    add(day, "remainder", max(0, more[0]), max(0, more[1]))
    return {key: tuple(pair) for key, pair in found.items() if any(pair)}


def _chosen(reports: list[Reported], day: int) -> Reported | None:
    """More dimensions first, then the later import; a report without rows of the day says nothing about it."""
    known = [
        (len(item.grouped_by), number, item)
        for number, item in enumerate(reports)
        if any(row[0] == day and (row[4] or row[5]) for row in item.rows)
    ]
    return max(known, key=lambda found: found[:2])[2] if known else None


def _heaps(logs: list[Logged], keys: set[str], keyed: bool) -> list[tuple[list[Logged], set[str]]]:
    """Logs and report keys that speak for each other. A log that names no key of the provider speaks for all."""
    heaps: list[tuple[list[Logged], set[str]]] = [([], {key}) for key in sorted(keys)]
    for item in logs:
        speaks_for = {item.key} if keyed and item.key and not item.is_litellm else set(keys)
        touched = [heap for heap in heaps if heap[1] & speaks_for]
        if touched:
            heaps = [heap for heap in heaps if heap not in touched]
            heaps.append(
                ([*(one for heap in touched for one in heap[0]), item], {key for heap in touched for key in heap[1]})
            )
    return heaps


@pytest.mark.django_db
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(logs=st.lists(logged, max_size=6), reports=st.lists(reported, max_size=2))
def test_days_are_counted_as_on_paper(logs: list[Logged], reports: list[Reported]) -> None:
    places = [COUNTERS.index("uncached_input_tok"), COUNTERS.index("output_tok")]
    with throw_away_installation() as folder:
        for path, source in files(folder, logs, reports):
            import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(source=source))
        found = {key: tuple(sums[i] for i in places) for key, sums in daily_sums("date", "origin").items()}
        assert {key: pair for key, pair in found.items() if any(pair)} == counted_on_paper(logs, reports)
        # Requests are known of logs, unknown of everything else.
        assert not DailyUsage.objects.filter(origin="log", requests=None).exists()
        assert not DailyUsage.objects.exclude(origin="log").exclude(requests=None).exists()
