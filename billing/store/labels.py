"""The class of rows (architecture.md §4, "Class of a row"): one evaluation per combination of facts."""
# ruff: noqa: S608 - statements are put together from constants of this module and quoted times and numbers

import json
from collections.abc import Callable
from typing import Final

from billing.importers.sql import TRAIT_COLUMNS
from billing.store.session import Session
from billing.store.sql import instant, text
from billing.store.values import Classify, ClassifyPlan

_SEPARATOR: Final = chr(31)


class Labels(Session):
    def label_traits(self, plan: ClassifyPlan) -> str:
        """Fill `labelled_traits`: each combination of traits with its class in each period it occurs in.

        Returns the SQL of a staged row's period, which a row joins with beside its traits.
        """
        run = self.connection.execute
        period = _period_sql(plan)
        pairs = "SELECT traits, -1 AS period, NULL::TIMESTAMP AS occurred_at FROM trait_combos"
        if plan.periods:
            times = " ".join(f"WHEN {i} THEN {instant(each.valid_from)}" for i, each in enumerate(plan.periods))
            pairs = (
                f"SELECT traits, period, CASE period {times} END AS occurred_at "
                f"FROM (SELECT DISTINCT traits, {period} AS period FROM staged)"
            )
        rows = (
            f"SELECT p.period, p.occurred_at, c.* EXCLUDE (is_bad) FROM ({pairs}) p JOIN trait_combos c USING (traits)"
        )
        columns = ", ".join(TRAIT_COLUMNS)
        run(
            f"CREATE OR REPLACE TABLE labelled_traits AS SELECT traits, period, {columns}, request_class, "
            f"class_origin, label_version FROM ({self.labelled(rows, plan)})"
        )
        return period

    def labelled(self, rows: str, plan: ClassifyPlan) -> str:
        """SQL of `rows` with class, its origin, rule and label version: one evaluation per combination of facts."""
        self.connection.execute("CREATE OR REPLACE TEMP TABLE registered (slug VARCHAR)")
        if plan.registered:
            self.connection.executemany(
                "INSERT INTO registered VALUES (?)", [[slug] for slug in sorted(plan.registered)]
            )
        self.connection.execute(
            "CREATE OR REPLACE TEMP TABLE verdicts (segment INTEGER, combo VARCHAR, verdict VARCHAR)"
        )
        combos = ["CASE segment"]
        for index, period in enumerate(plan.periods):
            fields = ", ".join(f"{text(name)}, json_extract(facts, {text(_path(name))})" for name in period.used_fields)
            combos.append(f"WHEN {index} THEN CAST(json_object({fields}) AS VARCHAR)")
        combo = " ".join([*combos, "END"]) if plan.periods else "NULL::VARCHAR"
        known = (
            "SELECT *, CASE WHEN decided_class <> '' THEN decided_class WHEN class_tag <> '' "
            f"AND class_tag IN (SELECT slug FROM registered) THEN class_tag END AS known_class FROM ({rows})"
        )
        segment = f"nullif({_period_sql(plan)}, -1)"
        cut = f"SELECT *, CASE WHEN known_class IS NULL THEN {segment} END AS segment FROM ({known})"
        cut = f"SELECT *, {combo} AS combo FROM ({cut})"
        for index, period in enumerate(plan.periods):
            name = f"classify_{index}_{id(period)}"
            self.connection.create_function(name, _evaluator(period.classify), ["VARCHAR"], "VARCHAR")
            try:
                self.connection.execute(
                    f"INSERT INTO verdicts SELECT {index}, combo, {name}(combo) "
                    f"FROM (SELECT DISTINCT combo FROM ({cut}) WHERE segment = {index})"
                )
            finally:
                self.connection.remove_function(name)
        versions = " ".join(f"WHEN {index} THEN {period.policy_version}" for index, period in enumerate(plan.periods))
        version = f"CASE l.segment {versions} ELSE 0 END" if versions else "0"
        parts = f"string_split(v.verdict, '{_SEPARATOR}')"
        return (
            "SELECT l.* EXCLUDE (known_class, segment, combo, rule), "
            f"coalesce(l.known_class, {parts}[2], '') AS request_class, "
            "CASE WHEN l.decided_class <> '' THEN 'decision' WHEN l.known_class IS NOT NULL THEN 'tag' "
            f"WHEN v.verdict IS NULL THEN 'none' WHEN {version} <> 0 THEN 'policy' "
            f"WHEN {parts}[2] <> '' THEN 'mapping' ELSE 'none' END AS class_origin, "
            f"CASE WHEN v.verdict IS NOT NULL THEN {parts}[1] ELSE l.rule END AS rule, {version} AS label_version "
            f"FROM ({cut}) l LEFT JOIN verdicts v ON v.segment = l.segment AND v.combo = l.combo"
        )


def _period_sql(plan: ClassifyPlan) -> str:
    """SQL of the number of the policy in force at `occurred_at`; -1 where none was."""
    if not plan.periods:
        return "-1"
    parts = ["CASE"]
    for index, period in enumerate(plan.periods):
        until = f" AND occurred_at < {instant(period.valid_to)}" if period.valid_to is not None else ""
        parts.append(f"WHEN occurred_at >= {instant(period.valid_from)}{until} THEN {index}")
    return " ".join([*parts, "ELSE -1 END"])


def _evaluator(classify: Classify) -> Callable[[str], str]:
    def evaluate(combo: str) -> str:
        rule, request_class = classify(json.loads(combo))
        return f"{rule or ''}{_SEPARATOR}{request_class}"

    return evaluate


def _path(field: str) -> str:
    return f'$."{field}"'
