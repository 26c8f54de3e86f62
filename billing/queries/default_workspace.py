"""What logs and reports tell of workspaces that may be one: the default workspace, by its id and by no name."""
# ruff: noqa: S608 - table and column names are constants of this module

from collections import defaultdict
from datetime import date
from typing import Final

from django.db import connection

from billing.core.default_workspace import Cell, LikelyDefault, LoggedWorkspace, ReportedDefault, likely_defaults
from billing.core.usage import COUNTERS, DEFAULT_WORKSPACE, UNTOLD
from billing.models import UsageRollup, UsageSource
from billing.queries.counting import log_scopes, said_of_sources, sources_with_key_names
from billing.queries.imports import model_aliases

_TOKENS: Final = " + ".join(name for name in COUNTERS if name != "web_searches")
_TABLE: Final = UsageRollup._meta.db_table
_DAY: Final = "(bucket_start AT TIME ZONE 'UTC')::date"


def default_workspaces_by_two_names() -> tuple[LikelyDefault, ...]:
    """Workspaces that logs name, no report does, and that fit what reports tell of the default workspace."""
    sources = dict(UsageSource.objects.values_list("pk", "grain"))
    reports = [pk for pk, grain in sources.items() if grain == UsageSource.Grain.BUCKET]
    named = sources_with_key_names()  # their workspaces are names, and logs explain them as a whole
    with_ids = [pk for pk in reports if pk not in named]
    scopes = log_scopes()
    logs = [
        pk for pk, grain in sources.items() if grain == UsageSource.Grain.REQUEST and scopes[pk].names_provider_keys
    ]
    if not with_ids or not logs:
        return ()
    reported = _reported(with_ids)
    if not reported or _is_said(reported):
        return ()
    told = _told(reports)
    logged = [one for one in _logged(logs) if (one.channel, one.workspace) not in told]
    return likely_defaults(logged, reported)


def _is_said(reported: list[ReportedDefault]) -> bool:
    """The id is known, and there is one organisation: no other workspace can be the default one."""
    organisations = {one.organisation for one in reported} - UNTOLD
    return bool(said_of_sources().default_workspaces) and len(organisations) < 2


def _told(reports: list[int]) -> set[tuple[str, str]]:
    """Workspaces that reports name, on any day."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT channel, workspace FROM {_TABLE} WHERE source_id = ANY(%s)", [reports])
        return set(cursor.fetchall())


def _logged(logs: list[int]) -> list[LoggedWorkspace]:
    said, aliases = said_of_sources(), model_aliases()
    found: dict[tuple[str, str, str], dict[Cell, int]] = defaultdict(lambda: defaultdict(int))
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT source_id, {_DAY}, channel, organisation, workspace, model, sum({_TOKENS})::int8 FROM {_TABLE} "
            "WHERE source_id = ANY(%s) AND NOT workspace = ANY(%s) GROUP BY 1, 2, 3, 4, 5, 6",
            [logs, sorted({DEFAULT_WORKSPACE, *UNTOLD, *said.default_workspaces})],
        )
        for source, day, channel, organisation, workspace, model, tokens in cursor.fetchall():
            whose = said.organisations.get(source, organisation) if organisation in UNTOLD else organisation
            found[channel, whose, workspace][day, aliases.get(model, model)] += tokens
    return [LoggedWorkspace(*place, dict(cells)) for place, cells in sorted(found.items())]


def _reported(reports: list[int]) -> list[ReportedDefault]:
    """By organisation; of several reports of a day and model the one that tells most."""
    said, aliases = said_of_sources(), model_aliases()
    sums: dict[tuple[str, str], dict[tuple[int, int], dict[Cell, int]]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT source_id, bucket_hours, {_DAY}, channel, organisation, model, sum({_TOKENS})::int8 FROM {_TABLE} "
            "WHERE source_id = ANY(%s) AND workspace = %s GROUP BY 1, 2, 3, 4, 5, 6",
            [reports, DEFAULT_WORKSPACE],
        )
        for source, hours, day, channel, organisation, model, tokens in cursor.fetchall():
            whose = said.organisations.get(source, organisation) if organisation in UNTOLD else organisation
            cells = sums[channel, whose].setdefault((source, hours), {})
            cell: tuple[date, str] = (day, aliases.get(model, model))
            cells[cell] = cells.get(cell, 0) + tokens
    found = []
    for (channel, whose), tables in sorted(sums.items()):
        most: dict[Cell, int] = {}
        for cells in tables.values():
            for cell, tokens in cells.items():
                most[cell] = max(most.get(cell, 0), tokens)
        found.append(ReportedDefault(channel, whose, most))
    return found
