"""One row per request: what occurs twice in the file, and what is stored already.

Ids are compared by a 64-bit hash first, some million at a time: grouping numbers is cheap, and a file without
repetitions, the usual one, is done with that. What shares a hash is then compared by its text, so that two ids that
only collide stay apart. Records that share an id, in chains, are one request; `canonical.py` makes one record of them.
"""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths

from collections.abc import Sequence
from functools import partial
from typing import Final

from billing.importers.sql import ROW_COLUMNS
from billing.store.canonical import Canonical
from billing.store.staging import REQUEST_ID
from billing.store.values import COUNTER_COLUMNS, NO_SOURCES, STORE_COLUMNS, Conflict, Sources, StoredImport

_SHOWN: Final = 100
HASHES_AT_ONCE: Final = 3_000_000  # grouped in some 100 MB
_KINDS: Final = {
    "p": ("provider_id", "provider_id <> ''"),
    "r": ("response_id", "response_id <> ''"),
    "o": ("request_id", "provider_id = '' AND response_id = ''"),
}
_IS_TWICE: Final = " OR ".join(
    f"({condition} AND {column} IN (SELECT id FROM twice WHERE kind = '{kind}'))"
    for kind, (column, condition) in _KINDS.items()
)
# A log that does not tell the lifetime of cache writes says the same as one that does.
_COUNTS: Final = (
    "(uncached_input_tok, cache_read_tok, cache_write_5m_tok + cache_write_1h_tok, output_tok, web_searches)"
)
_SPLIT: Final = "(cache_write_5m_tok, cache_write_1h_tok)"
_DIFFER: Final = f"count(DISTINCT {_COUNTS}) > 1 OR count(DISTINCT {_SPLIT}) FILTER (NOT is_split_assumed) > 1"


class Identity(Canonical):
    def merge_duplicates(
        self, existing: Sequence[StoredImport], *, replace: bool, sources: Sources = NO_SOURCES
    ) -> tuple[int, list[Conflict], int]:
        """Find requests that occur twice in the file or are stored already. Returns (duplicates, conflicts, how many).

        Afterwards `dropped` holds the rows not to keep, `superseded` the stored ones that must go, and `merged` the
        records that stand for both. With `replace` conflicts are settled for the file's (later) row.
        """
        return self.in_little_memory(partial(self._merge_duplicates, existing, replace=replace, sources=sources))

    def _merge_duplicates(
        self, existing: Sequence[StoredImport], *, replace: bool, sources: Sources
    ) -> tuple[int, list[Conflict], int]:
        self.drop_none()
        if self._find_twice("ids"):
            self._drop_copies()
            self._find_twice("fresh")
        self._find_earlier(self.store.rows(existing))
        if not self._find_members():
            return self._dropped(), [], 0
        self.tell_sources(sources)
        self.fill_told()
        conflicts, count = self._conflicts(replace=replace)
        if conflicts and not replace:
            return self._dropped(), conflicts, count
        self.fill_canonical()
        new = self.settle()
        return self._dropped() - new, conflicts, count

    def drop_none(self) -> None:
        """`dropped`, `superseded` and `merged` empty; `ids` of every staged row, `fresh` of those not dropped."""
        run = self.connection.execute
        run("CREATE OR REPLACE TABLE dropped (row_no BIGINT)")
        run("CREATE OR REPLACE TEMP TABLE superseded (import_id BIGINT, request_id VARCHAR)")
        run("CREATE OR REPLACE TEMP TABLE merged (owner BIGINT)")
        run(
            "CREATE OR REPLACE TEMP VIEW ids AS SELECT rowid AS row_no, occurred_at, provider_id, response_id, "
            f"{REQUEST_ID} AS request_id, provider_hash AS p_hash, response_hash AS r_hash, "
            f"CASE WHEN provider_hash IS NULL AND response_hash IS NULL THEN hash({REQUEST_ID}) END AS o_hash "
            "FROM staged"
        )
        run("CREATE OR REPLACE TEMP VIEW fresh AS SELECT * FROM ids WHERE row_no NOT IN (SELECT row_no FROM dropped)")

    def ids_told_before(self, stored: str) -> list[str]:
        """SQL conditions of rows of `fresh` that share an id with another of them, or with one that is stored."""
        conditions = [_IS_TWICE] if self._find_twice("fresh") else []
        self._find_earlier(stored)
        if self.has_earlier:
            conditions += [
                f"({condition} AND {column} IN (SELECT {column} FROM earlier WHERE {condition}))"
                for column, condition in _KINDS.values()
            ]
        return conditions

    def _dropped(self) -> int:
        return int(self.one("SELECT count(*) FROM dropped")[0])

    def _find_twice(self, rows: str) -> bool:
        """Fill `twice` with the ids that more than one of `rows` has; whether there are any."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE twice (kind VARCHAR, id VARCHAR)")
        for kind, (column, condition) in _KINDS.items():
            (count,) = self.one(f"SELECT count({kind}_hash) FROM {rows}")
            parts = count // HASHES_AT_ONCE + 1
            run("CREATE OR REPLACE TEMP TABLE alike (h UBIGINT)")
            for part in range(parts if count > 1 else 0):
                run(
                    f"INSERT INTO alike SELECT {kind}_hash FROM {rows} WHERE {kind}_hash IS NOT NULL "
                    f"AND {kind}_hash % {parts} = {part} GROUP BY {kind}_hash HAVING count(*) > 1"
                )
            if self.one("SELECT count(*) FROM alike")[0]:
                run(
                    f"INSERT INTO twice SELECT '{kind}', {column} FROM {rows} WHERE {condition} "
                    f"AND {kind}_hash IN (SELECT h FROM alike) GROUP BY ALL HAVING count(*) > 1"
                )
        return bool(self.one("SELECT count(*) FROM twice")[0])

    def _drop_copies(self) -> None:
        """Rows that tell the same in every column: one of them is enough."""
        every = ", ".join(ROW_COLUMNS)
        self.connection.execute(
            "INSERT INTO dropped SELECT row_no FROM (SELECT row_no, row_number() OVER ("
            f"PARTITION BY {every}, names, traits ORDER BY row_no) AS copy FROM "
            f"(SELECT i.row_no, i.request_id, s.* FROM ids i JOIN staged s ON s.rowid = i.row_no) WHERE {_IS_TWICE}) "
            "WHERE copy > 1"
        )

    def _find_earlier(self, stored: str) -> None:
        """`earlier`: stored records (SQL of them, '' where there are none) that share an id with the file.

        They are numbered below 0.
        """
        run = self.connection.execute
        columns = ", ".join(STORE_COLUMNS)
        run("CREATE OR REPLACE TEMP SEQUENCE node_numbers START -1 INCREMENT -1 MAXVALUE -1 MINVALUE -9000000000000000")
        self.has_earlier = False
        if not stored:
            return
        run(f"CREATE OR REPLACE TEMP TABLE earlier AS SELECT -1::BIGINT AS node, {columns} FROM {stored} LIMIT 0")
        for kind, (column, condition) in _KINDS.items():
            run(
                f"CREATE OR REPLACE TEMP TABLE alike AS SELECT DISTINCT h FROM (SELECT hash({column}) AS h "
                f"FROM {stored} WHERE {condition}) WHERE h IN (SELECT {kind}_hash FROM fresh)"
            )
            if not self.one("SELECT count(*) FROM alike")[0]:
                continue
            run(
                f"INSERT INTO earlier SELECT nextval('node_numbers'), {columns} FROM (SELECT * FROM {stored} "
                f"WHERE {condition} AND hash({column}) IN (SELECT h FROM alike) "
                f"AND {column} IN (SELECT {column} FROM fresh WHERE {condition})) e "
                "ANTI JOIN earlier USING (import_id, request_id)"
            )
        self.has_earlier = bool(self.one("SELECT count(*) FROM earlier")[0])

    def _find_members(self) -> bool:
        """`members`: records that share ids, by chains, each with the number of its group. Whether there are any."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE keys (node BIGINT, kind VARCHAR, id VARCHAR)")
        if not self.has_earlier and not self.one("SELECT count(*) FROM twice")[0]:
            return False
        for kind, (column, condition) in _KINDS.items():
            if self.has_earlier:
                run(f"INSERT INTO keys SELECT node, '{kind}', {column} FROM earlier WHERE {condition}")
            run(
                f"INSERT INTO keys SELECT row_no, '{kind}', {column} FROM fresh WHERE {condition} AND "
                f"({column} IN (SELECT id FROM twice WHERE kind = '{kind}') "
                f"OR {column} IN (SELECT id FROM keys WHERE kind = '{kind}'))"
            )
        # Every record takes the smallest number it can reach, in steps that double.
        run("CREATE OR REPLACE TEMP TABLE members AS SELECT DISTINCT node, node AS comp FROM keys")
        while True:
            run(
                "CREATE OR REPLACE TEMP TABLE reach AS SELECT k.node, min(l.least) AS least FROM keys k JOIN ("
                "SELECT kind, id, min(comp) AS least FROM keys JOIN members USING (node) GROUP BY ALL"
                ") l USING (kind, id) GROUP BY k.node"
            )
            run(
                "CREATE OR REPLACE TEMP TABLE hooked AS SELECT m.node, "
                "least(m.comp, r.least, coalesce(h.least, m.comp)) AS comp FROM members m JOIN reach r USING (node) "
                "LEFT JOIN (SELECT m.comp AS node, min(r.least) AS least FROM members m JOIN reach r USING (node) "
                "GROUP BY ALL) h USING (node)"
            )
            run(
                "CREATE OR REPLACE TEMP TABLE next_members AS SELECT h.node, least(h.comp, j.comp) AS comp "
                "FROM hooked h JOIN hooked j ON j.node = h.comp"
            )
            (changed,) = self.one(
                "SELECT count(*) FROM members m JOIN next_members n USING (node) WHERE m.comp <> n.comp"
            )
            run("CREATE OR REPLACE TEMP TABLE members AS SELECT * FROM next_members")
            if not changed:
                return True

    def _conflicts(self, *, replace: bool) -> tuple[list[Conflict], int]:
        """Records of one request with other counts. With `replace` they leave `told`, and what they came from."""
        run = self.connection.execute
        run(f"CREATE OR REPLACE TEMP TABLE differing AS SELECT comp FROM told GROUP BY comp HAVING {_DIFFER}")
        (count,) = self.one("SELECT count(*) FROM differing")
        if not count:
            return [], 0
        if not replace:
            return self._named_conflicts(), count
        run(
            f"CREATE OR REPLACE TEMP TABLE beaten AS SELECT t.node, t.import_id, t.request_id FROM told t JOIN ("
            f"SELECT comp, arg_max({_COUNTS}, (occurred_at, node)) AS counts, arg_max({_SPLIT}, (occurred_at, node)) "
            "AS split, arg_max(is_split_assumed, (occurred_at, node)) AS is_assumed FROM told "
            "WHERE node >= 0 AND comp IN (SELECT comp FROM differing) GROUP BY comp) w USING (comp) "
            f"WHERE {_COUNTS} <> w.counts OR ({_SPLIT} <> w.split AND NOT is_split_assumed AND NOT w.is_assumed)"
        )
        run("INSERT INTO dropped SELECT node FROM beaten WHERE node >= 0")
        run("INSERT INTO superseded SELECT DISTINCT import_id, request_id FROM beaten WHERE node < 0")
        run("DELETE FROM told WHERE node IN (SELECT node FROM beaten)")
        return [], 0

    def _named_conflicts(self) -> list[Conflict]:
        rows = self.connection.execute(
            f"SELECT comp, import_id, request_id, {', '.join(COUNTER_COLUMNS)} FROM told WHERE comp IN "
            f"(SELECT comp FROM differing ORDER BY comp LIMIT {_SHOWN}) "
            "ORDER BY comp, import_id NULLS LAST, occurred_at, node"
        ).fetchall()
        groups: dict[int, list[tuple[int | None, str, tuple[int, ...]]]] = {}
        for comp, import_id, request_id, *counts in rows:
            groups.setdefault(comp, []).append((import_id, request_id, tuple(counts)))
        conflicts = []
        for members in groups.values():
            # The file's row that differs from what came before it; else two stored records that it makes one.
            pairs = [(one, other) for other in members[1:] for one in members if one[2] != other[2]]
            one, other = min(pairs, key=lambda pair: (_sums(pair[0][2]) == _sums(pair[1][2]), pair[1][0] is not None))
            index = next(i for i, (before, now) in enumerate(zip(one[2], other[2], strict=True)) if before != now)
            conflicts.append(Conflict(one[1], COUNTER_COLUMNS[index], one[2][index], other[2][index], one[0]))
        return conflicts

    def superseded_imports(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT DISTINCT import_id FROM superseded").fetchall()]


def _sums(counts: Sequence[int]) -> tuple[int, ...]:
    """Counts with the cache writes of both lifetimes together."""
    return (*counts[:2], counts[2] + counts[3], *counts[4:])
