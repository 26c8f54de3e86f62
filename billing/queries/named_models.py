"""Which models of usage are told one by one where a log names more of them than anybody reads.

A log with another name on every line would make as many lines, look-ups and rows of a page as it has requests. Models
that somebody has placed, priced, agreed on in a contract or billed are always told, as are the UNKNOWN_SHOWN others of
most tokens; what is left is one model OTHERS, which has no price. Sums stay exact, nothing is left out.
"""
# ruff: noqa: S608 - table and column names are constants of this module

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from django.db import connection
from django.db.models import Case, CharField, Expression, F, Value, When

from audit.queries import data_version
from billing.core.usage import COUNTERS
from billing.core.usage_table import UNKNOWN_SHOWN
from billing.models import ContractRate, CostReportLine, DailyUsage, ModelRelease, Price

OTHERS: Final = "(other models)"


_Asked = tuple[str, int, date, date, frozenset[str], int]
_answers: dict[_Asked, tuple[str, ...] | None] = {}
_MOST_ANSWERS: Final = 64


def named_models(*, start: date, end: date, keep: Iterable[str] = ()) -> tuple[str, ...] | None:
    """Models of days [start, end) that are told one by one; None where all are. `keep`: told in any case.

    A page asks several times: outside of a transaction, which may see what is never committed, the answer is kept until
    an audited change.
    """
    kept = frozenset(keep)
    if connection.in_atomic_block:
        return _named_models(start, end, kept)
    where = connection.settings_dict
    database = f"{where.get('HOST')}:{where.get('PORT')}:{where['NAME']}"
    asked = (database, data_version(), start, end, kept, UNKNOWN_SHOWN)
    held = dict(_answers)  # another thread may empty it
    if asked not in held:
        if len(held) >= _MOST_ANSWERS:
            _answers.clear()
        held[asked] = _answers[asked] = _named_models(start, end, kept)
    return held[asked]


def _named_models(start: date, end: date, keep: frozenset[str]) -> tuple[str, ...] | None:
    known = {"", *keep}
    for rows, name in (
        (Price, "model"),
        (ModelRelease, "canonical_id"),
        (ContractRate, "model"),
        (CostReportLine, "model"),
    ):
        known |= set(rows.objects.order_by().values_list(name, flat=True).distinct())
    tokens = " + ".join(COUNTERS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT model FROM {DailyUsage._meta.db_table} WHERE date >= %s AND date < %s AND model <> ALL(%s) "
            f'GROUP BY model ORDER BY sum({tokens}) DESC, model COLLATE "C" LIMIT {UNKNOWN_SHOWN + 1}',
            [start, end, sorted(known)],
        )
        largest = [model for (model,) in cursor.fetchall()]
    if len(largest) <= UNKNOWN_SHOWN:
        return None
    return (*sorted(known), *largest[:UNKNOWN_SHOWN])


def model_sql(named: Sequence[str] | None) -> tuple[str, list[list[str]]]:
    """SQL of a row's model, the unnamed ones as OTHERS, and its parameters."""
    if named is None:
        return "model", []
    return f"CASE WHEN model = ANY(%s) THEN model ELSE '{OTHERS}' END", [list(named)]


def model_expression(named: Sequence[str] | None) -> Expression | F:
    """The same for the ORM."""
    if named is None:
        return F("model")
    return Case(When(model__in=named, then=F("model")), default=Value(OTHERS), output_field=CharField())
