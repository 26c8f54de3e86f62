"""Which usage counts, per UTC day and channel (architecture.md §4, docs/algorithms/usage.md).

Logs explain a report and never add to it. Within a scope (organisations, workspaces and API keys that logs speak for)
the log rows count, plus per model, service tier, geo, speed and token kind the *remainder* `max(0, report − logs)`.
Of the reports of one organisation one counts; those of several are disjoint money and all count.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

from billing.core.usage import COUNTERS, NOT_GROUPED, UNKNOWN, UNTOLD, TokenCounts, UsageKey, sum_counts

TOLERANCE: Final = Fraction(1, 1000)  # logs above the report by more than this share are a data-health finding
Origin = Literal["log", "report", "remainder"]
ClassOf = Callable[[UsageKey], str]
_Pair = tuple[str, str]
_Place = tuple[str, str, str]  # organisation, workspace, API key; ANY where nobody says
_ANY: Final = "\0any"
_Group = tuple[str, str, str, str]
_UNKNOWN_GEO: Final = frozenset({UNKNOWN, "not_available", "(none)"})


@dataclass(frozen=True, slots=True)
class DayRow:
    """Usage of one source and key on one day. `requests` None = the source does not say."""

    source: int
    key: UsageKey
    counts: TokenCounts
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class ReportOfDay:
    """One report (source and grain) of a day and channel. Higher `rank` = usage report before CSV."""

    source: int
    bucket_hours: int
    latest_import: int
    rows: tuple[DayRow, ...]
    rank: int = 0
    organisation: str = UNKNOWN
    """Whose report it is: all its rows are this one's. Unknown: whoever has reports that day, if only one has."""
    is_whole: bool = True
    """The provider's own: logs above it are odd. Sums of a gateway, or a table of one's own, may tell a part."""
    has_key_ids: bool = True
    """Its workspaces and API keys are the ids that logs know. Where they are names logs explain the whole report."""

    @property
    def dimensions(self) -> int:
        """Number of dimensions the report separates."""
        return sum(any(getattr(row.key, name) != NOT_GROUPED for row in self.rows) for name in _DIMENSIONS)


_DIMENSIONS: Final = (
    "workspace", "api_key", "model", "service_tier", "prompt_length_band", "geo", "speed",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LogScope:
    """What the logs of a source speak for where a row does not say.

    `names_provider_keys`: its rows carry the provider's own workspace and API key. `pairs`: the declared
    (workspace, API key) list, '' = any; empty = the whole channel.
    """

    names_provider_keys: bool = True
    pairs: tuple[_Pair, ...] = ()


@dataclass(frozen=True, slots=True)
class CountedRow:
    """Usage that counts."""

    origin: Origin
    source: int
    key: UsageKey
    counts: TokenCounts
    requests: int | None


@dataclass(frozen=True, slots=True)
class Excess:
    """Logs above the report: a sign of a wrong scope, duplicated logs or a report fetched too early."""

    channel: str
    workspace: str
    api_key: str
    model: str
    counter: str
    logged: int
    reported: int

    @property
    def place(self) -> str:
        """Whose usage it is, in words."""
        workspace, api_key = ("any" if name in UNTOLD else name for name in (self.workspace, self.api_key))
        return f"workspace {workspace}, API key {api_key}"


def chosen_report(reports: Sequence[ReportOfDay]) -> ReportOfDay | None:
    """Of several reports or grains one counts: by rank, then more dimensions, then the later import, then hours."""
    if not reports:
        return None
    return max(reports, key=lambda item: (item.rank, item.dimensions, item.latest_import, -item.bucket_hours))


def chosen_reports(reports: Sequence[ReportOfDay]) -> tuple[ReportOfDay, ...]:
    """The report that counts of each organisation, by name.

    Reports that name no organisation are of the one that others name. Beside several they could be anybody's: they
    count nothing then, rather than twice.
    """
    named = sorted({item.organisation for item in reports} - {UNKNOWN})
    if len(named) < 2:
        one = chosen_report(reports)
        return () if one is None else (one,)
    chosen = (chosen_report([item for item in reports if item.organisation == name]) for name in named)
    return tuple(item for item in chosen if item is not None)


def left_out(reports: Sequence[ReportOfDay]) -> tuple[ReportOfDay, ...]:
    """Reports that name no organisation on a day when several others do: nobody can say whose they are."""
    if len({item.organisation for item in reports} - {UNKNOWN}) < 2:
        return ()
    return tuple(item for item in reports if item.organisation == UNKNOWN)


def remainder(reported: TokenCounts, logged: TokenCounts) -> TokenCounts:
    """`max(0, report − logs)` per counter: what the logs do not explain.

    >>> remainder(TokenCounts(output_tok=10, cache_read_tok=5), TokenCounts(output_tok=4, cache_read_tok=9)).output_tok
    6
    """
    return reported.shortfall(logged)


def count_day(
    logs: Sequence[DayRow],
    reports: Sequence[ReportOfDay],
    scopes: Mapping[int, LogScope],
    class_of: ClassOf,
) -> tuple[list[CountedRow], list[Excess]]:
    """What counts on one day of one channel, and where logs exceed the reports.

    `reports`: what `chosen_reports` gave. `class_of` gives the class of what the logs do not explain, from channel,
    workspace and API key.
    """
    counted = [CountedRow("log", row.source, row.key, row.counts, row.requests) for row in logs]
    excess: list[Excess] = []
    if not reports:
        return counted, excess
    for logged, reported in _scopes(logs, reports, scopes):
        if not logged:
            counted += [
                CountedRow("report", row.source, row.key, row.counts, row.requests)
                for _, row in reported
                if not row.counts.is_zero
            ]
            continue
        left, above = _explained(logged, reported, reports, class_of)
        counted += left
        excess += above
    return counted, excess


_Reported = list[tuple[ReportOfDay, DayRow]]


def _scopes(
    logs: Sequence[DayRow], reports: Sequence[ReportOfDay], scopes: Mapping[int, LogScope]
) -> list[tuple[list[DayRow], _Reported]]:
    """Log and report rows that speak for the same keys, together: keys covered by one log row are one scope."""
    reported: _Reported = []
    place_of: dict[int, _Place] = {}  # by position in `reported`
    for report in reports:
        # A name never meets a log's id: compared with it, what both tell would count twice.
        tells_workspace = report.has_key_ids and any(row.key.workspace != NOT_GROUPED for row in report.rows)
        tells_key = report.has_key_ids and any(row.key.api_key != NOT_GROUPED for row in report.rows)
        for row in report.rows:
            place_of[len(reported)] = (
                report.organisation or _ANY,
                row.key.workspace if tells_workspace else _ANY,
                row.key.api_key if tells_key else _ANY,
            )
            reported.append((report, row))
    places = sorted(set(place_of.values()))
    parent: dict[_Place, _Place] = {item: item for item in places}

    def root(item: _Place) -> _Place:
        while parent[item] != item:
            item = parent[item]
        return item

    anchors: dict[tuple[int, _Place], _Place] = {}
    outside: _Place = ("(outside the report)",) * 3
    for row in logs:
        scope = scopes.get(row.source, LogScope())
        named = _named(row.key, scope)
        if (row.source, named) in anchors:
            continue
        wanted: tuple[_Place, ...] = (named,)
        if named[1:] == (_ANY, _ANY) and scope.pairs:
            wanted = tuple((named[0], one or _ANY, other or _ANY) for one, other in scope.pairs)
        covered = [item for item in places if any(_matches(item, one) for one in wanted)]
        for item in covered[1:]:
            parent[root(item)] = root(covered[0])
        anchors[row.source, named] = covered[0] if covered else outside
    by_root: dict[_Place, tuple[list[DayRow], _Reported]] = defaultdict(lambda: ([], []))
    for number, pair in enumerate(reported):
        by_root[root(place_of[number])][1].append(pair)
    for row in logs:
        anchor = anchors[row.source, _named(row.key, scopes.get(row.source, LogScope()))]
        by_root[anchor if anchor == outside else root(anchor)][0].append(row)
    return [by_root[item] for item in sorted(by_root)]


def _named(key: UsageKey, scope: LogScope) -> _Place:
    """What a log row says it is about. The name of an organisation is the provider's whatever the keys are."""
    workspace, api_key = (key.workspace, key.api_key) if scope.names_provider_keys else (UNKNOWN, UNKNOWN)
    return key.organisation or _ANY, workspace or _ANY, api_key or _ANY


def _matches(item: _Place, wanted: _Place) -> bool:
    return all(_ANY in (want, have) or want == have for have, want in zip(item, wanted, strict=True))


def _explained(
    logs: Sequence[DayRow], reported: _Reported, reports: Sequence[ReportOfDay], class_of: ClassOf
) -> tuple[list[CountedRow], list[Excess]]:
    told_by = list({id(report): report for report, _ in reported}.values()) or list(reports)
    # Of several reports in one scope only what all of them separate is compared.
    untold = tuple(
        any(all(getattr(row.key, name) == NOT_GROUPED for row in report.rows) for report in told_by)
        for name in ("model", "service_tier", "geo", "speed")
    )
    log_groups: dict[_Group, list[DayRow]] = defaultdict(list)
    report_groups: dict[_Group, _Reported] = defaultdict(list)
    for row in logs:
        log_groups[_group(row.key, untold)].append(row)
    for report, row in reported:
        report_groups[_group(row.key, untold)].append((report, row))
    left: list[CountedRow] = []
    above: list[Excess] = []
    for group in sorted(log_groups.keys() | report_groups.keys()):
        log_rows, report_rows = log_groups.get(group, []), [row for _, row in report_groups.get(group, [])]
        logged, said = sum_counts(row.counts for row in log_rows), sum_counts(row.counts for row in report_rows)
        left += _remainders(report_rows, log_rows, remainder(said, logged), class_of)
        if not all(report.is_whole for report in told_by):
            continue
        sample = _common_key([row.key for row in (report_rows or log_rows)])
        for name in COUNTERS:
            ours, theirs = getattr(logged, name), getattr(said, name)
            if ours > theirs and Fraction(ours) > theirs * (1 + TOLERANCE):
                above.append(Excess(sample.channel, sample.workspace, sample.api_key, sample.model, name, ours, theirs))
    return left, above


def _remainders(
    report_rows: Sequence[DayRow],
    log_rows: Sequence[DayRow],
    total: TokenCounts,
    class_of: ClassOf,
) -> list[CountedRow]:
    """The remainder by prompt-length band: where the bands fall short, lowest first, up to the total."""
    if total.is_zero:
        return []
    source = min(row.source for row in report_rows)
    bands = sorted({row.key.prompt_length_band for row in report_rows})
    open_counts = {name: getattr(total, name) for name in COUNTERS}
    rows = []
    for band in bands:
        said = sum_counts(row.counts for row in report_rows if row.key.prompt_length_band == band)
        explained = sum_counts(row.counts for row in log_rows if _within(row.key.prompt_length_band, band))
        short = remainder(said, explained)
        taken = {name: min(getattr(short, name), open_counts[name]) for name in COUNTERS}
        for name, count in taken.items():
            open_counts[name] -= count
        counts = TokenCounts(**taken)
        if counts.is_zero:
            continue
        key = _common_key([row.key for row in report_rows if row.key.prompt_length_band == band])
        rows.append(CountedRow("remainder", source, replace(key, request_class=class_of(key)), counts, None))
    rest = TokenCounts(**open_counts)
    if not rest.is_zero:
        # Only where a report mixes told and untold bands: what no band can be given keeps an unknown one.
        key = _common_key([row.key for row in report_rows])
        rows.append(CountedRow("remainder", source, replace(key, request_class=class_of(key)), rest, None))
    return rows


def _within(log_band: str, report_band: str) -> bool:
    if report_band == "0-200k":
        return log_band in ("0-100k", "100k-200k", "0-200k", UNKNOWN)
    return report_band in (NOT_GROUPED, UNKNOWN) or log_band == report_band


def _group(key: UsageKey, untold: tuple[bool, ...]) -> _Group:
    """What is compared. Logs of older responses lack tier, geo and speed: these mean the standard, global ones."""
    model, tier, geo, speed = (
        key.model,
        key.service_tier or "standard",
        "global" if key.geo in _UNKNOWN_GEO else key.geo,
        key.speed or "standard",
    )
    told = (model, tier, geo, speed)
    one, two, three, four = (NOT_GROUPED if hidden else value for value, hidden in zip(told, untold, strict=True))
    return one, two, three, four


def _common_key(keys: Sequence[UsageKey]) -> UsageKey:
    """The key all share; a dimension in which they differ becomes unknown. No class, no policy: nobody decided it."""

    def shared(name: str) -> str:
        values = {str(getattr(key, name)) for key in keys}
        return values.pop() if len(values) == 1 else UNKNOWN

    return UsageKey(
        organisation=shared("organisation"),
        channel=shared("channel"),
        workspace=shared("workspace"),
        api_key=shared("api_key"),
        model=shared("model"),
        service_tier=shared("service_tier"),
        prompt_length_band=shared("prompt_length_band"),
        geo=shared("geo"),
        speed=shared("speed"),
    )
