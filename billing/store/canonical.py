"""One record of a request that several logs tell, field by field, whatever the order of their imports.

Each field is a choice that does not depend on order (docs/algorithms/usage.md, "One request, once"): what is told
beats what is not, a special value beats the usual one, and of two others the smaller text stands.
"""
# ruff: noqa: S608 - statements are put together from constants of this module

import json
from collections.abc import Sequence
from typing import Any, Final

from billing.importers.sql import NAME_COLUMNS, ROW_COLUMNS, TRAIT_COLUMNS
from billing.store.session import Session
from billing.store.staging import REQUEST_ID
from billing.store.values import Sources

FIELDS: Final = (*ROW_COLUMNS, *NAME_COLUMNS, *TRAIT_COLUMNS, "source_id")
LABELS: Final = ("request_class", "class_origin", "label_version")
_USUAL: Final = {
    "channel": ("anthropic",),
    "service_tier": ("standard",),
    "geo": ("global", "not_available", "(none)"),  # the first of them that is told
    "speed": ("standard",),
}


def _told(name: str) -> str:
    return f"coalesce(min(nullif({name}, '')), '')"


def _special(name: str) -> str:
    """The special value, else the usual one, else untold."""
    usual = _USUAL[name]
    no = ", ".join(f"'{value}'" for value in ("", *usual))
    some = ", ".join(f"max({name}) FILTER ({name} = '{value}')" for value in usual)
    return f"coalesce(min({name}) FILTER ({name} NOT IN ({no})), {some}, '')"


def _of_keys(name: str) -> str:
    """A workspace or key: a gateway's own say nothing where a log tells the provider's."""
    told = f"min(nullif({name}, ''))"
    return f"coalesce(CASE WHEN bool_and(has_own_keys) THEN {told} ELSE {told} FILTER (NOT has_own_keys) END, '')"


_WRITTEN: Final = "any_value(cache_write_5m_tok + cache_write_1h_tok)"
_WRITTEN_5M: Final = "coalesce(max(cache_write_5m_tok) FILTER (NOT is_split_assumed), max(cache_write_5m_tok))"
_CHOICE: Final = {
    "occurred_at": "min(occurred_at)",
    "provider_id": _told("provider_id"),
    "response_id": f"coalesce(min(response_id) FILTER (starts_with(response_id, 'msg_')), {_told('response_id')})",
    "own_id": _told("own_id"),
    "is_failed": "bool_or(is_failed)",
    "requests": "CASE WHEN bool_or(is_failed OR is_gateway_cache_hit) THEN 0 ELSE max(requests) END",
    "latency_ms": "max(latency_ms)",
    **{
        name: f"any_value({name})"
        for name in ("uncached_input_tok", "cache_read_tok", "output_tok", "web_searches")
    },
    "cache_write_5m_tok": _WRITTEN_5M,
    "cache_write_1h_tok": f"{_WRITTEN} - {_WRITTEN_5M}",
    "is_split_assumed": "bool_and(is_split_assumed)",
    "is_gateway_cache_hit": "bool_or(is_gateway_cache_hit)",
    "organisation": _told("organisation"),
    **{name: _special(name) for name in _USUAL},
    "workspace": _of_keys("workspace"),
    "api_key": _of_keys("api_key"),
    # A dated id is longer than its alias, and the provider's names begin with its own.
    "model_raw": "coalesce(max(struct_pack(a := starts_with(model_raw, 'claude'), b := strlen(model_raw), "
    "c := model_raw)).c, '')",
    "class_tag": _told("class_tag"),
    "source_id": "arg_min(source_id, struct_pack(a := has_own_keys, b := source_name))",
}  # fmt: skip
_DECISION: Final = ("decided_class", "rule", "policy_version", "arm")


class Canonical(Session):
    new_source: int
    has_earlier: bool

    def tell_sources(self, sources: Sources) -> None:
        """Fill `sources`: whose keys the rows of each carry."""
        run = self.connection.execute
        run("CREATE OR REPLACE TEMP TABLE sources (source_id BIGINT, has_own_keys BOOLEAN, source_name VARCHAR)")
        self.new_source = sources.new.source_id
        for each in (sources.new, *(each for each in sources.stored if each.source_id != self.new_source)):
            run("INSERT INTO sources VALUES (?, ?, ?)", [each.source_id, each.has_own_keys, each.name])

    def fill_told(self) -> None:
        """`told`: every record of `members` (comp, node), of the file (node = its row) or the store (below 0)."""
        of_file = [f"s.{name}" for name in ROW_COLUMNS] + [f"n.{name}" for name in NAME_COLUMNS]
        of_file += [f"t.{name}" for name in TRAIT_COLUMNS]
        stored = (
            f" UNION ALL SELECT m.comp, m.node, import_id, request_id, {', '.join((*FIELDS, *LABELS))}, rule "
            "FROM members m JOIN earlier e USING (node)"
        )
        stored = stored if self.has_earlier else ""
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE told AS SELECT r.* REPLACE ("
            # The rule that a policy gave an undecided request is not the record's.
            "CASE WHEN decided_class <> '' THEN rule ELSE '' END AS rule, coalesce(facts, '{}') AS facts), "
            "coalesce(o.has_own_keys, false) AS has_own_keys, coalesce(o.source_name, '') AS source_name FROM ("
            f"SELECT m.comp, m.node, NULL::BIGINT AS import_id, {REQUEST_ID} AS request_id, {', '.join(of_file)}, "
            f"{self.new_source}::BIGINT AS source_id, '' AS request_class, '' AS class_origin, 0 AS label_version, "
            "'' AS labelled_rule FROM members m JOIN staged s ON s.rowid = m.node JOIN name_combos n USING (names) "
            f"JOIN trait_combos t USING (traits){stored}) r LEFT JOIN sources o USING (source_id)"
        )

    def fill_canonical(self) -> None:
        """`canonical`: one row a comp, with FIELDS, `owner` (the earliest import that holds it; null = this file)."""
        chosen = ", ".join(f"{sql} AS {name}" for name, sql in _CHOICE.items())
        decision = ", ".join(f"decision.{name} AS {name}" for name in _DECISION)
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE canonical AS SELECT * EXCLUDE (decision, lowest, highest), {decision}, "
            "coalesce(lowest, '{}') AS facts, lowest <> highest AS is_mixed FROM ("
            f"SELECT comp, min(import_id) AS owner, count(*) FILTER (node < 0) AS held, {chosen}, "
            "max(struct_pack(is_decided := decided_class <> '', policy_version := policy_version, "
            "decided_class := decided_class, rule := rule, arm := arm)) AS decision, "
            "min(facts) FILTER (facts <> '{}') AS lowest, max(facts) FILTER (facts <> '{}') AS highest "
            "FROM told GROUP BY comp)"
        )
        self._mix_facts()

    def _mix_facts(self) -> None:
        """Facts that differ become one set; each distinct combination is put together once."""
        run = self.connection.execute
        run(
            "CREATE OR REPLACE TEMP TABLE mixes AS SELECT comp, "
            "CAST(to_json(list_sort(list(DISTINCT facts))) AS VARCHAR) AS mix FROM told "
            "WHERE comp IN (SELECT comp FROM canonical WHERE is_mixed) GROUP BY comp"
        )
        if not run("SELECT 1 FROM mixes LIMIT 1").fetchall():
            return
        self.connection.create_function("mixed_facts", mixed_facts, ["VARCHAR"], "VARCHAR")
        try:
            run(
                "CREATE OR REPLACE TEMP TABLE mixed AS SELECT mix, mixed_facts(mix) AS facts "
                "FROM (SELECT DISTINCT mix FROM mixes)"
            )
        finally:
            self.connection.remove_function("mixed_facts")
        run(
            "UPDATE canonical SET facts = f.facts FROM (SELECT comp, facts FROM mixes JOIN mixed USING (mix)) f "
            "WHERE canonical.comp = f.comp"
        )

    def settle(self) -> int:
        """Keep what already is the canonical record; where none is, `merged` holds it and the others go.

        Fills `merged`, `dropped`, `superseded`. Returns how many requests of the file alone are in `merged`.
        """
        run = self.connection.execute
        same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM c.{name}" for name in FIELDS)
        # One stored record that is it, else (with none stored) the first of the file.
        run(
            "CREATE OR REPLACE TEMP TABLE kept AS SELECT t.comp, min(t.node) AS node FROM told t "
            f"JOIN canonical c USING (comp) WHERE ((c.held = 1 AND t.node < 0) OR c.held = 0) AND {same} "
            "GROUP BY t.comp"
        )
        gone = "node NOT IN (SELECT node FROM kept)"
        run(f"INSERT INTO dropped SELECT node FROM told WHERE node >= 0 AND {gone}")
        run(f"INSERT INTO superseded SELECT DISTINCT import_id, request_id FROM told WHERE node < 0 AND {gone}")
        labels = ", ".join(f"best.{name} AS held_{name}" for name in (*LABELS, "labelled_rule"))
        packed = ", ".join(f"{name} := t.{name}" for name in (*LABELS, "labelled_rule"))
        alike = " AND ".join(f"t.{name} = c.{name}" for name in TRAIT_COLUMNS)
        # Of a stored record that tells the same traits the class stays.
        run(
            f"CREATE OR REPLACE TEMP TABLE merged AS SELECT c.* EXCLUDE (held, is_mixed), {labels}, "
            "coalesce(best.is_alike, false) AS is_alike FROM canonical c LEFT JOIN ("
            f"SELECT comp, max(struct_pack(is_alike := {alike}, {packed})) AS best FROM told t "
            "JOIN canonical c USING (comp) WHERE t.node < 0 GROUP BY comp"
            ") l USING (comp) WHERE c.comp NOT IN (SELECT comp FROM kept)"
        )
        return int(self.one("SELECT count(*) FROM merged WHERE owner IS NULL")[0])


def mixed_facts(mix: str) -> str:
    """Several sets of facts as one: of two values of a fact the smaller text stands.

    >>> mixed_facts('["{\\\\"team\\\\":\\\\"a\\\\"}", "{\\\\"team\\\\": \\\\"b\\\\", \\\\"stream\\\\": true}"]')
    '{"stream":true,"team":"a"}'
    """
    found: dict[str, tuple[str, Any]] = {}
    texts: Sequence[str] = json.loads(mix)
    for text in texts:
        for key, value in json.loads(text).items():
            told = (json.dumps(value, ensure_ascii=False, sort_keys=True), value)
            found[key] = min(found.get(key, told), told, key=lambda item: item[0])
    return json.dumps(
        {key: found[key][1] for key in sorted(found)}, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )
