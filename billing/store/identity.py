"""One row per request: what occurs twice in the file, and what is stored already.

Ids are compared by a 64-bit hash first: grouping numbers is cheap, and a file without repetitions, the usual one, is
done with that. What shares a hash is then compared by its text, so that two ids that only collide stay apart.
"""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted paths

from collections.abc import Sequence
from typing import Any, Final

from billing.store.session import Session
from billing.store.sql import listed, quoted
from billing.store.staging import REQUEST_ID
from billing.store.values import COUNTER_COLUMNS, Conflict, StoredImport

_SHOWN: Final = 100
_WRITES: Final = ("cache_write_5m_tok", "cache_write_1h_tok")
_COUNTS: Final = (*COUNTER_COLUMNS, "is_split_assumed")
_KINDS: Final = {
    "p": ("provider_id", "provider_id <> ''"),
    "r": ("response_id", "response_id <> ''"),
    "o": ("request_id", "provider_id = '' AND response_id = ''"),
}
_IS_TWICE: Final = " OR ".join(
    f"({condition} AND {column} IN (SELECT id FROM twice WHERE kind = '{kind}'))"
    for kind, (column, condition) in _KINDS.items()
)


class Identity(Session):
    def merge_duplicates(self, existing: Sequence[StoredImport], *, replace: bool) -> tuple[int, list[Conflict], int]:
        """Find requests that occur twice in the file or are stored already. Returns (duplicates, conflicts, how many).

        Afterwards `dropped` holds the rows not to keep. With `replace` conflicts are settled for the file's (later) row
        and `superseded` names the stored rows that must go.
        """
        self.connection.execute("CREATE OR REPLACE TEMP TABLE dropped (row_no BIGINT)")
        self.connection.execute("CREATE OR REPLACE TEMP TABLE superseded (import_id BIGINT, request_id VARCHAR)")
        counts = ", ".join(_COUNTS)
        self.connection.execute(
            "CREATE OR REPLACE TEMP VIEW ids AS SELECT rowid AS row_no, occurred_at, provider_id, response_id, "
            f"{REQUEST_ID} AS request_id, {counts} FROM staged"
        )
        self.connection.execute(
            "CREATE OR REPLACE TEMP VIEW fresh AS SELECT * FROM ids WHERE row_no NOT IN (SELECT row_no FROM dropped)"
        )
        conflicts, count = self._merge_within_file(replace=replace)
        files = self.store.files(existing)
        if files:
            more, more_count = self._merge_with_store(files, replace=replace)
            conflicts, count = (conflicts + more)[:_SHOWN], count + more_count
        (duplicates,) = self.one("SELECT count(*) FROM dropped")
        return duplicates, conflicts, count

    def _merge_within_file(self, *, replace: bool) -> tuple[list[Conflict], int]:
        if not self._find_twice("ids"):
            return [], 0
        # Exact copies go first and by SQL: a file that holds every row twice must not fill the memory of Python. Of
        # copies the first stays; with `replace`, where later rows win, the last.
        order = "DESC" if replace else "ASC"
        self.connection.execute(
            "INSERT INTO dropped SELECT row_no FROM (SELECT row_no, row_number() OVER ("
            f"PARTITION BY provider_id, response_id, request_id, {', '.join(COUNTER_COLUMNS)} "
            f"ORDER BY occurred_at {order}, row_no {order}) AS copy FROM ids WHERE {_IS_TWICE}) WHERE copy > 1"
        )
        if not self._find_twice("fresh"):
            return [], 0
        rows = self.connection.execute(
            f"SELECT row_no, provider_id, response_id, request_id, {', '.join(_COUNTS)} FROM fresh "
            f"WHERE {_IS_TWICE} ORDER BY occurred_at, row_no"
        ).fetchall()
        drop, conflicts, count = _settle(rows, replace=replace)
        listing = self.folder / "dropped.csv"
        listing.write_text("row_no\n" + "".join(f"{number}\n" for number in drop))
        self.connection.execute(
            f"INSERT INTO dropped SELECT row_no FROM read_csv({quoted(listing)}, header = true, "
            "columns = {'row_no': 'BIGINT'})"
        )
        return conflicts, count

    def _find_twice(self, rows: str) -> bool:
        """Fill `twice` with the ids that more than one of `rows` has; whether there are any."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE twice (kind VARCHAR, id VARCHAR)")
        for kind, (column, condition) in _KINDS.items():
            run(
                "CREATE OR REPLACE TEMP TABLE alike AS SELECT h FROM "
                f"(SELECT hash({column}) AS h FROM {rows} WHERE {condition}) GROUP BY h HAVING count(*) > 1"
            )
            if self.one("SELECT count(*) FROM alike")[0]:
                run(
                    f"INSERT INTO twice SELECT '{kind}', {column} FROM {rows} WHERE {condition} "
                    f"AND hash({column}) IN (SELECT h FROM alike) GROUP BY ALL HAVING count(*) > 1"
                )
        return bool(self.one("SELECT count(*) FROM twice")[0])

    def _merge_with_store(self, files: Sequence[str], *, replace: bool) -> tuple[list[Conflict], int]:
        stored = f"read_parquet({listed(files)}, hive_partitioning = false)"
        unequal = " OR ".join(f"n.{name} <> e.{name}" for name in COUNTER_COLUMNS)
        # A log that does not tell the lifetime of cache writes says the same as one that does; the latter is kept.
        alike = " AND ".join(f"n.{name} = e.{name}" for name in COUNTER_COLUMNS if name not in _WRITES)
        alike += f" AND {' + '.join(f'n.{name}' for name in _WRITES)} = {' + '.join(f'e.{name}' for name in _WRITES)}"
        alike = f"(({alike}) AND (n.is_split_assumed OR e.is_split_assumed))"
        counts = ", ".join(_COUNTS)
        run = self.connection.execute
        run(
            "CREATE OR REPLACE TEMP TABLE matches (row_no BIGINT, import_id BIGINT, request_id VARCHAR, "
            "differs BOOLEAN, wins BOOLEAN)"
        )
        run(
            "CREATE OR REPLACE TEMP TABLE earlier AS SELECT import_id, provider_id, response_id, request_id, "
            f"{counts} FROM {stored} LIMIT 0"
        )
        for column, condition in _KINDS.values():
            run(
                f"CREATE OR REPLACE TEMP TABLE alike AS SELECT DISTINCT h FROM (SELECT hash({column}) AS h "
                f"FROM {stored} WHERE {condition}) WHERE h IN (SELECT hash({column}) FROM fresh WHERE {condition})"
            )
            if not self.one("SELECT count(*) FROM alike")[0]:
                continue
            known = f"hash({column}) IN (SELECT h FROM alike)"
            run(
                "CREATE OR REPLACE TEMP TABLE known AS SELECT import_id, provider_id, response_id, request_id, "
                f"{counts} FROM {stored} WHERE {condition} AND {known}"
            )
            run("INSERT INTO earlier SELECT * FROM known")
            run(
                f"INSERT INTO matches SELECT n.row_no, e.import_id, e.request_id, (({unequal}) AND NOT {alike}), "
                f"(({unequal}) AND (NOT {alike} OR NOT n.is_split_assumed)) "
                f"FROM (SELECT * FROM fresh WHERE {condition} AND {known}) n JOIN known e USING ({column})"
            )
        (count,) = self.one("SELECT count(DISTINCT row_no) FROM matches WHERE differs")
        conflicts: list[Conflict] = []
        if count and not replace:
            pairs = run(
                "SELECT DISTINCT m.row_no, m.import_id, m.request_id, "
                + ", ".join(f"e.{name}, n.{name}" for name in COUNTER_COLUMNS)
                + f" FROM (SELECT DISTINCT * FROM matches WHERE differs ORDER BY row_no LIMIT {_SHOWN}) m "
                "JOIN fresh n USING (row_no) JOIN earlier e "
                "ON e.import_id = m.import_id AND e.request_id = m.request_id "
                "ORDER BY m.row_no, m.import_id"
            ).fetchall()
            for _, import_id, request_id, *values in pairs:
                name, before, now = next(
                    (name, values[2 * i], values[2 * i + 1])
                    for i, name in enumerate(COUNTER_COLUMNS)
                    if values[2 * i] != values[2 * i + 1]
                )
                conflicts.append(Conflict(request_id, name, before, now, import_id))
        run("INSERT INTO superseded SELECT DISTINCT import_id, request_id FROM matches WHERE wins")
        run(
            "INSERT INTO dropped SELECT DISTINCT row_no FROM matches WHERE NOT wins "
            "AND row_no NOT IN (SELECT row_no FROM matches WHERE wins)"
        )
        # A row that equals one stored record but not another: the unequal one goes, the equal one stays and is enough.
        run(
            "INSERT INTO dropped SELECT DISTINCT a.row_no FROM matches a JOIN matches b USING (row_no) "
            "WHERE NOT a.wins AND b.wins"
        )
        return conflicts, count

    def superseded_imports(self) -> list[int]:
        return [row[0] for row in self.connection.execute("SELECT DISTINCT import_id FROM superseded").fetchall()]


def _settle(rows: Sequence[tuple[Any, ...]], *, replace: bool) -> tuple[list[int], list[Conflict], int]:
    """Of records that share an id keep one: the first where counts agree, the latest where they do not and may not."""
    parent = list(range(len(rows)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first_with: dict[tuple[str, str], int] = {}
    for i, (_, provider_id, response_id, request_id, *_rest) in enumerate(rows):
        keys = [("p", provider_id), ("r", response_id)] if provider_id or response_id else [("o", request_id)]
        for key in keys:
            if key[1]:
                parent[root(i)] = root(first_with.setdefault(key, i))
    groups: dict[int, list[tuple[Any, ...]]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(root(i), []).append(row)
    drop: list[int] = []
    conflicts: list[Conflict] = []
    count = 0
    for members in groups.values():
        different = next((row for row in members if row[4:10] != members[0][4:10]), None)
        if different is None:
            drop += [row[0] for row in members[1:]]
            continue
        kept = _told_best(members)
        if kept is not None:
            drop += [row[0] for row in members if row is not kept]
            continue
        drop += [row[0] for row in members[:-1]]
        if not replace:
            count += 1
            index = next(i for i in range(4, 10) if different[i] != members[0][i])
            name = COUNTER_COLUMNS[index - 4]
            conflicts.append(Conflict(members[0][3], name, members[0][index], different[index], None))
    return drop, conflicts[:_SHOWN], count


def _told_best(members: Sequence[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Of records that differ only in how cache writes are split: the one that tells it. None where they contradict."""
    exact = [row for row in members if not row[10]]
    sums = {(*row[4:6], row[6] + row[7], *row[8:10]) for row in members}
    if len(sums) > 1 or len({row[4:10] for row in exact}) > 1:
        return None
    return exact[0] if exact else None
