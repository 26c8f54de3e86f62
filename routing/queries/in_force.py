"""What served each class and what its bar asked, at every instant of a span: by policy, else by usage day by day."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from billing.queries.profiles import ServedUsage, served_by_day
from routing.core.bars import BarHistory
from routing.core.monitor import InForce
from routing.queries.incumbents import ActivePolicy, active_policies, incumbents
from routing.queries.recommendation import WINDOW_DAYS
from routing.queries.serving import PROD

_DAY = timedelta(days=1)
_DayUsage = Mapping[date, Sequence[ServedUsage]]


@dataclass(frozen=True, slots=True)
class ServedBefore:
    """The model that served a class before the one that serves it now. `policy`, `policy_version`: what last sent the
    class to it, '' and None where usage alone says so."""

    model: str
    policy: str = ""
    policy_version: int | None = None


def in_force(*, bars: Mapping[str, BarHistory], since: datetime, until: datetime) -> dict[str, tuple[InForce, ...]]:
    """By class, rising, for [since, until): at each instant the incumbent of `serving_models` and the bar of the time.

    `bars`: the histories of the classes that are asked for.
    """
    serving = _serving(bars, since, until)
    found = {}
    for slug, history in bars.items():
        models = serving[slug]
        changes = {at for at, _ in models} | {at for at, _ in history.versions if since < at < until}
        found[slug] = tuple(InForce(at, _at(models, at), history.at(at)) for at in sorted(changes))
    return found


def served_before(*, slug: str, model: str, as_of: datetime) -> ServedBefore | None:
    """Where a class would go back to: what the newest policy sent it to that did not send it to this model; without
    one, the other model with most requests in the 28 days before this one was settled on."""
    policies = active_policies(environment=PROD, as_of=as_of)
    settled_at: datetime | None = None
    for policy in reversed(policies):
        target = policy.settled_target(slug)
        if target == model:
            settled_at = policy.activated_at
        elif target is not None:
            return ServedBefore(target, policy.name, policy.version)
    if settled_at is None:
        return None
    day = settled_at.astimezone(UTC).date()
    usage = [
        row
        for row in _window(served_by_day(classes=[slug], start=day - WINDOW_DAYS * _DAY, end=day), day)
        if row.model != model
    ]
    found = incumbents(policy=None, usage=usage, slugs=[slug]).get(slug)
    return ServedBefore(found) if found is not None else None


def _at(models: Sequence[tuple[datetime, str | None]], instant: datetime) -> str | None:
    return next((model for at, model in reversed(models) if at <= instant), None)


def _serving(slugs: Collection[str], since: datetime, until: datetime) -> dict[str, list[tuple[datetime, str | None]]]:
    """What served each class from when on, the first entry at `since`."""
    usage: _DayUsage | None = None
    found: dict[str, list[tuple[datetime, str | None]]] = {slug: [] for slug in slugs}
    for begins, ends, policy in _stretches(since, until):
        settled = {slug: policy.settled_target(slug) if policy is not None else None for slug in slugs}
        for slug, target in settled.items():
            if target is not None:
                _append(found[slug], begins, target)
        open_ones = [slug for slug, target in settled.items() if target is None]
        if not open_ones:
            continue
        if usage is None:
            first, last = (at.astimezone(UTC).date() for at in (since, until))
            usage = served_by_day(classes=slugs, start=first - WINDOW_DAYS * _DAY, end=last)
        for at in _days(begins, ends):
            models = incumbents(policy=None, usage=_window(usage, at.date()), slugs=open_ones)
            for slug in open_ones:
                _append(found[slug], at, models.get(slug))
    return found


def _append(models: list[tuple[datetime, str | None]], at: datetime, model: str | None) -> None:
    if not models or models[-1][1] != model:
        models.append((at, model))


def _stretches(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, ActivePolicy | None]]:
    """The policies in force one after another, cut to [since, until); None before the first."""
    policies = active_policies(environment=PROD, as_of=until)
    begins = since
    before: ActivePolicy | None = None
    for policy in policies:
        if begins < policy.activated_at < until:
            yield begins, policy.activated_at, before
            begins = policy.activated_at
        before = policy
    yield begins, until, before


def _days(begins: datetime, ends: datetime) -> Iterator[datetime]:
    """`begins`, then each midnight (UTC) before `ends`: usage of whole days decides, so a day changes it."""
    at = begins.astimezone(UTC)
    while at < ends:
        yield at
        at = datetime.combine(at.date() + _DAY, time(), tzinfo=UTC)


def _window(usage: _DayUsage, end: date) -> list[ServedUsage]:
    """The 28 whole days before a day, per class and model."""
    sums: dict[tuple[str, str], list[int | None]] = {}
    for number in range(1, WINDOW_DAYS + 1):
        for row in usage.get(end - number * _DAY, ()):
            held = sums.setdefault((row.request_class, row.model), [0, 0])
            held[0] = None if held[0] is None or row.requests is None else held[0] + row.requests
            held[1] = (held[1] or 0) + row.input_tok
    return [
        ServedUsage(slug, model, requests, None, tokens or 0, 0, 0, 0, 0)
        for (slug, model), (requests, tokens) in sorted(sums.items())
    ]
