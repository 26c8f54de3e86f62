"""What is stored, summed up."""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths and numbers

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from billing.store.session import Session
from billing.store.values import COUNTER_COLUMNS, KEY_COLUMNS, StoredImport, Summary

_FETCHED_AT_ONCE: Final = 10_000


class Reading(Session):
    def hourly(
        self, imports: Sequence[StoredImport], source_id: int, hours: Sequence[datetime]
    ) -> Iterator[tuple[Any, ...]]:
        """Rows (hour, *KEY_COLUMNS, *counters, requests, failed, latest import) of a source in some hours.

        Read them all before the next query.
        """
        stored = self.store.rows(imports, [hour.date() for hour in hours])
        if not stored or not hours:
            return
        self.connection.execute("CREATE OR REPLACE TEMP TABLE hours (hour TIMESTAMP)")
        self.connection.executemany("INSERT INTO hours VALUES (?)", [[hour.replace(tzinfo=None)] for hour in hours])
        keys = ", ".join(
            f"CASE WHEN class_origin = 'decision' THEN {name} ELSE {empty} END AS {name}"
            if (empty := {"policy_version": "0", "arm": "''"}.get(name))
            else name
            for name in KEY_COLUMNS
        )
        sums = ", ".join(f"CAST(sum({name}) AS BIGINT)" for name in (*COUNTER_COLUMNS, "requests"))
        found = self.connection.execute(
            f"SELECT hour, {', '.join(KEY_COLUMNS)}, {sums}, count(*) FILTER (is_failed), "
            "max(import_id) FROM ("
            f"SELECT date_trunc('hour', occurred_at) AS hour, {keys}, {', '.join(COUNTER_COLUMNS)}, requests, "
            f"is_failed, import_id FROM {stored} "
            f"WHERE source_id = {source_id}) WHERE hour IN (SELECT hour FROM hours) GROUP BY ALL"
        )
        while rows := found.fetchmany(_FETCHED_AT_ONCE):
            yield from rows

    def hours_of(self, imports: Sequence[StoredImport]) -> dict[int, list[datetime]]:
        """Hours with rows of these imports, by source."""
        stored = self.store.rows(imports)
        found: dict[int, list[datetime]] = {}
        if stored:
            rows = self.connection.execute(
                f"SELECT DISTINCT source_id, date_trunc('hour', occurred_at) AS hour FROM {stored} ORDER BY ALL"
            ).fetchall()
            for source_id, hour in rows:
                found.setdefault(source_id, []).append(hour)
        return found

    def summary(self, item: StoredImport) -> Summary:
        """Counts of one import's own rows, for its entry and findings."""
        table = self.store.rows([item])
        if not table:
            return Summary(0, 0, 0, 0, None, None, (), 0)
        rows, failed, split, cached, first, last, unlabelled = self.one(
            "SELECT count(*), count(*) FILTER (is_failed), count(*) FILTER (is_split_assumed), "
            "count(*) FILTER (is_gateway_cache_hit), min(occurred_at), max(occurred_at), "
            f"count(*) FILTER (request_class = '') FROM {table}"
        )
        models = self.connection.execute(
            f"SELECT model, sum(requests), sum(total_input_tok + output_tok) FROM {table} "
            "WHERE NOT is_failed GROUP BY model ORDER BY model"
        ).fetchall()
        return Summary(rows, failed, split, cached, first, last, tuple(models), unlabelled)
