"""The Imports page: recent files, sources, and what is odd about the data, each with what to do."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from billing.queries.counting import logs_above_reports
from billing.queries.import_pages import ImportRow, SourceRow, import_rows, imported_period, source_rows
from billing.queries.usage import PricedUsage, priced_usage, usage_days
from costgov.templatetags.costgov_format import integer, period_text, tok

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Remark:
    """Something odd about the data. `target` names the page that mends it."""

    level: str
    title: str
    text: str
    target: str = ""
    action: str = ""


@dataclass(frozen=True, slots=True)
class ImportsPage:
    """What was imported, from where, and what to look at. `days`: first and last day with usage."""

    imports: tuple[ImportRow, ...]
    sources: tuple[SourceRow, ...]
    remarks: tuple[Remark, ...]
    days: tuple[date, date] | None
    accepted: int
    running: int


def imports_page() -> ImportsPage:
    rows, sources = import_rows(), source_rows()
    return ImportsPage(
        imports=rows,
        sources=sources,
        remarks=data_remarks(sources),
        days=imported_period(),
        accepted=sum(row.accepted or 0 for row in rows),
        running=sum(row.is_running for row in rows),
    )


def data_remarks(sources: Sequence[SourceRow]) -> tuple[Remark, ...]:
    """Unpriced and unclassified usage, days without data, logs above the provider's report."""
    days = usage_days()
    if days is None:
        return ()
    usage = priced_usage(start=days[0], end=days[1] + timedelta(days=1), by=("class",))
    return (*_unpriced(usage), *_unclassified(usage), *_above(), *_gaps(sources))


def _unpriced(usage: PricedUsage) -> list[Remark]:
    by_model: dict[str, tuple[int, str, str]] = {}
    searches = 0
    for line in usage.unpriced:
        if line.token_kind == "web_search":  # noqa: S105 - a kind of usage
            searches += line.quantity
            continue
        tokens, *_ = by_model.get(line.model, (0, "", ""))
        by_model[line.model] = (tokens + line.quantity, line.reason, line.remedy)
    found = [
        Remark(
            "warn",
            f"{tok(tokens)} of {model or 'no named model'} have no price",
            f"{_sentence(reason)} They count in no sum of money. {_sentence(remedy)}",
            "prices",
            "Open Prices",
        )
        for model, (tokens, reason, remedy) in sorted(by_model.items(), key=lambda item: (-item[1][0], item[0]))
    ]
    if len(found) > _SHOWN:
        rest = len(found) - _SHOWN
        found = [*found[:_SHOWN], Remark("warn", f"{rest} more models have no price", "", "prices", "Open Prices")]
    if searches:
        found.append(
            Remark(
                "warn",
                f"{integer(searches)} web searches have no price",
                "They count in no sum of money.",
                "prices",
                "Open Prices",
            )
        )
    return found


def _unclassified(usage: PricedUsage) -> list[Remark]:
    group = next((item for item in usage.groups if item.values == ("",)), None)
    tokens = sum(count for name, count in group.counts.items() if name != "web_searches") if group else 0
    total = sum(count for item in usage.groups for name, count in item.counts.items() if name != "web_searches")
    if not tokens or not total:
        return []
    return [
        Remark(
            "info",
            f"{tok(tokens)} have no class ({100 * tokens / total:.1f}% of all)",
            "No decision, class tag or policy at the time and no mapping of their API key says what they were for.",
            "classes",
            "Open Classes",
        )
    ]


def _above() -> list[Remark]:
    by_place: dict[tuple[str, str], list[tuple[date, int, int]]] = defaultdict(list)
    for day, item in logs_above_reports():
        by_place[item.place, item.model].append((day, item.logged, item.reported))
    found = []
    for (place, model), places in sorted(by_place.items(), key=lambda item: -len(item[1])):
        days = sorted({day for day, _, _ in places})
        day, logged, reported = max(places, key=lambda item: item[1] - item[2])
        found.append(
            Remark(
                "warn",
                f"Logs say more than the provider's report for {model or 'all models'} "
                f"on {len(days)} {'day' if len(days) == 1 else 'days'}",
                f"Most on {period_text(day, day)}: {integer(logged)} logged, {integer(reported)} reported "
                f"({place}). The logs count. Look for a log "
                "imported under another organisation, one written twice, or a report fetched before the day was over.",
            )
        )
    if len(found) > _SHOWN:
        found = [
            *found[:_SHOWN],
            Remark("warn", f"{len(found) - _SHOWN} more places where logs are above a report", ""),
        ]
    return found


def _gaps(sources: Sequence[SourceRow]) -> list[Remark]:
    found = []
    for source in sources:
        if source.gaps:
            shown = ", ".join(period_text(first, last) for first, last in source.gaps[:4])
            more = f" and {len(source.gaps) - 4} more" if len(source.gaps) > 4 else ""
            found.append(
                Remark(
                    "info",
                    f"{source.name} has no usage on some days",
                    f"Nothing of {shown}{more}. If there was traffic, import the missing files.",
                )
            )
    return found


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""
