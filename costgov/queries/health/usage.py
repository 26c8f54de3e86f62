"""Usage without a price or class, models nobody has placed or that are retired, prices nobody has looked at."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, Max, Min, Sum

from billing.core.health import LEVELS, Finding, Level
from billing.core.money import ZERO, sum_usd
from billing.core.usage import COUNTERS
from billing.core.usage_table import OtherUnpriced
from billing.models import DailyUsage, ModelRelease, Price
from billing.queries.usage import PricedGroup, UnpricedUsage, priced_usage
from billing.queries.usage_table import list_book
from costgov.queries.health.words import day_words, link, sentence, some
from costgov.templatetags.costgov_format import integer, tok

UNCHECKED_DAYS: Final = 90
RECENT_DAYS: Final = 30
SOON_DAYS: Final = 60
UNCLASSIFIED_SHARE: Final = Decimal("0.05")
_SHOWN: Final = 8
_SEARCH: Final = "web_search"
_TOKENS: Final = [name for name in COUNTERS if name != "web_searches"]


def usage_findings(*, start: date, end: date, as_of: datetime) -> tuple[list[Finding], Decimal]:
    """Findings about usage of days [start, end), and its cost."""
    usage = priced_usage(start=start, end=end, by=("class", "workspace", "api_key"))
    total = sum_usd(group.cost_usd for group in usage.groups)
    found = [*_unpriced(usage.unpriced, usage.unpriced_rest), *_unclassified(usage.groups, total, start, end)]
    found += _models(as_of, frozenset(line.model for line in usage.unpriced))
    return found, total


def _unpriced(lines: Sequence[UnpricedUsage], rest: OtherUnpriced | None) -> list[Finding]:
    """One per model and reason; where its price is known within bounds it is a warning with the most it can be."""
    groups: dict[tuple[str, str, str], list[UnpricedUsage]] = defaultdict(list)
    for line in lines:
        groups[line.model, line.reason, line.remedy].append(line)
    found = []
    for (model, reason, remedy), parts in groups.items():
        bounded = all(part.highest_usd is not None for part in parts)
        most = sum_usd(part.highest_usd or ZERO for part in parts) if bounded else None
        least = sum_usd(part.lowest_usd or ZERO for part in parts) if bounded else None
        tokens = sum(part.quantity for part in parts if part.token_kind != _SEARCH)
        searches = sum(part.quantity for part in parts if part.token_kind == _SEARCH)
        what = tok(tokens) if tokens else f"{integer(searches)} web searches"
        kinds = ", ".join(sorted({part.token_kind.replace("_", " ") for part in parts}))
        text = f"{sentence(reason)} Kinds: {kinds}. They count in no sum of money"
        text += f"; they cost between ${least:,.2f} and ${most:,.2f}." if most is not None else "."
        found.append(
            Finding(
                level="warning" if bounded else "error",
                topic="prices",
                key=f"unpriced:{model}",
                title=f"{what} of {model or 'no named model'} have no price",
                text=text,
                remedy=sentence(remedy),
                usd=most,
                is_estimate=most is not None,
                tokens=tokens or None,
                first=min(part.first_day for part in parts),
                last=max(part.last_day for part in parts),
                link=link("prices"),
                action="Open Prices",
            )
        )
    return _shortened(found, "models without a price", "Open Prices", link("prices"), rest)


def _unclassified(groups: Sequence[PricedGroup], total: Decimal, start: date, end: date) -> list[Finding]:
    """By workspace and API key, the dearest first: a mapping gives each its class."""
    none = [group for group in groups if group.values[0] == ""]
    whole = sum_usd(group.cost_usd for group in none)
    days = _unclassified_days(start, end) if none else {}
    level: Level = "warning" if total and whole / total > UNCLASSIFIED_SHARE else "note"
    found = []
    for group in none:
        tokens = sum(group.counts[name] for name in _TOKENS)
        _, workspace, api_key = group.values
        if not tokens and not group.cost_usd:
            continue
        first, last = days.get((workspace, api_key), (None, None))
        place = f"workspace {_named(workspace)}, API key {_named(api_key)}"
        found.append(
            Finding(
                level=level,
                topic="classes",
                key=f"unclassified:{workspace}:{api_key}",
                title=f"{tok(tokens)} of {place} are unclassified",
                text="No decision, class tag or policy at the time and no mapping of the key says what they were for.",
                remedy="Map the workspace or API key to a class, then classify again.",
                usd=group.cost_usd,
                tokens=tokens,
                first=first,
                last=last,
                link=link("classes"),
                action="Open Classes",
            )
        )
    found.sort(key=lambda one: -(one.usd or ZERO))
    return _shortened(found, "unclassified workspaces and API keys", "Open Classes", link("classes"))


def _unclassified_days(start: date, end: date) -> dict[tuple[str, str], tuple[date | None, date | None]]:
    """First and last day of unclassified usage, by workspace and API key."""
    rows = (
        DailyUsage.objects.filter(date__gte=start, date__lt=end, request_class="")
        .values_list("workspace", "api_key")
        .annotate(first=Min("date"), last=Max("date"))
        .order_by()
    )
    return {(workspace, api_key): (first, last) for workspace, api_key, first, last in rows}


def _models(as_of: datetime, unpriced: frozenset[str]) -> list[Finding]:
    """Models nobody has placed, retired ones still used, and prices of used ones nobody has looked at lately."""
    today = as_of.date()
    tokens = sum((F(name) for name in _TOKENS[1:]), F(_TOKENS[0]))
    releases = {row.canonical_id: row for row in ModelRelease.objects.all()}
    # Of what has neither a place nor a price the findings above speak; there may be very many of them.
    rows = DailyUsage.objects.filter(model__in={*releases, *list_book().priced_models}).values("model")
    rows = rows.annotate(total=Sum(tokens), first=Min("date"), last=Max("date"))
    used = {row["model"]: row for row in rows if row["model"] and not row["model"].startswith("(")}
    found: list[Finding] = []
    for model, row in sorted(used.items()):
        release = releases.get(model)
        if release is None:
            if model not in unpriced:
                found.append(_unplaced(model, row))
        elif release.retires_on is not None:
            found += _retired(release, row, tokens, today)
    return [*found, *_unchecked([model for model, row in used.items() if _is_recent(row, today)], today)]


def _unplaced(model: str, row: Mapping[str, object]) -> Finding:
    return Finding(
        level="note",
        topic="prices",
        key=f"unplaced:{model}",
        title=f"{model} has a price but no place",
        text="Nobody has said of which model it is a name, nor of which tier it is: it counts as other.",
        remedy="Add it as a name of a known model where it is one.",
        tokens=_int(row["total"]),
        first=_date(row["first"]),
        last=_date(row["last"]),
        link=link("model-alias"),
        action="Add a name of a model",
    )


def _retired(release: ModelRelease, row: Mapping[str, object], tokens: F, today: date) -> list[Finding]:
    end, last = release.retires_on, _date(row["last"])
    if end is None or last is None or not _is_recent(row, today):
        return []
    if last < end:
        if (end - today).days > SOON_DAYS:
            return []
        return [
            Finding(
                level="note",
                topic="prices",
                key=f"retires:{release.canonical_id}",
                title=f"{release.display_name} retires on {day_words(end)} and is still used",
                text="Requests to it fail from that day on.",
                remedy="Move its classes to another model before.",
                tokens=_int(row["total"]),
                first=_date(row["first"]),
                last=last,
                link=link("policies"),
                action="Open Policies",
            )
        ]
    after = DailyUsage.objects.filter(model=release.canonical_id, date__gte=end).aggregate(total=Sum(tokens))["total"]
    return [
        Finding(
            level="warning",
            topic="prices",
            key=f"retired:{release.canonical_id}",
            title=f"{release.display_name} is used after its retirement on {day_words(end)}",
            text="Its day of retirement or its name in the logs is wrong, or a channel still offers it.",
            remedy="Check the day on the model's page, and the names that count as it.",
            tokens=_int(after),
            first=end,
            last=last,
            link=link("prices"),
            action="Open Prices",
        )
    ]


def _unchecked(models: Sequence[str], today: date) -> list[Finding]:
    """One finding for all of them: looking at a price list is one errand."""
    checked = (
        Price.objects.filter(model__in=models, approved_at__isnull=False)
        .values_list("model")
        .annotate(latest=Max("checked_on"))
    )
    old = sorted((latest, model) for model, latest in checked if (today - latest).days > UNCHECKED_DAYS)
    if not old:
        return []
    names = some([model for _, model in old], shown=_SHOWN)
    return [
        Finding(
            level="note",
            topic="prices",
            key="unchecked",
            title=f"Prices of {len(old)} used model{'s' if len(old) > 1 else ''} were last checked "
            f"more than {UNCHECKED_DAYS} days ago",
            text=f"The oldest on {day_words(old[0][0])}: {names}.",
            remedy="Compare them with the provider's list and note the day.",
            first=old[0][0],
            last=old[-1][0],
            link=link("prices"),
            action="Open Prices",
        )
    ]


def _shortened(
    found: list[Finding], what: str, action: str, to: str, unnamed: OtherUnpriced | None = None
) -> list[Finding]:
    """The first few, and one for the rest together, with what nobody named one by one."""
    if len(found) <= _SHOWN + 1 and unnamed is None:
        return found
    kept, rest = found[:_SHOWN], found[_SHOWN:]
    amounts = [one.usd for one in rest if one.usd is not None]
    count, tokens = len(rest), sum(one.tokens or 0 for one in rest)
    firsts, lasts = [one.first for one in rest if one.first], [one.last for one in rest if one.last]
    if unnamed is not None:
        count, tokens = count + unnamed.models, tokens + unnamed.tokens
        firsts, lasts = [*firsts, unnamed.first_day], [*lasts, unnamed.last_day]
    return [
        *kept,
        Finding(
            level="error" if unnamed else min((one.level for one in rest), key=LEVELS.index),
            topic=found[0].topic,
            key=f"{found[0].key.partition(':')[0]}:rest",
            title=f"{count:,} more {what}",
            text="Each alone is smaller than those named.",
            remedy="So many names are rarely models: look at the log that brought them. The page names the largest."
            if unnamed
            else "The page lists them all.",
            usd=sum_usd(amounts) if amounts else None,
            is_estimate=any(one.is_estimate for one in rest),
            tokens=tokens or None,
            first=min(firsts, default=None),
            last=max(lasts, default=None),
            link=to,
            action=action,
        ),
    ]


def _is_recent(row: Mapping[str, object], today: date) -> bool:
    last = _date(row["last"])
    return last is not None and last >= today - timedelta(days=RECENT_DAYS)


def _named(name: str) -> str:
    return name if name else "not told"


def _int(value: object) -> int | None:
    return int(value) if isinstance(value, int | Decimal) else None


def _date(value: object) -> date | None:
    return value if isinstance(value, date) else None
