"""The hourly roll-up by month: partitions come when first needed, also when two need them; old rows move."""

import importlib
import threading
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction

from billing.models import Import, UsageRollup, UsageSource
from billing.operations.months import drop_month, ensure_months, partition_name, stored_months
from billing.operations.rollups import replace_hours

EMPTY = ("",) * 10


def at(month: int, day: int, hour: int = 0, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.fixture
def item(db: None) -> Import:
    source = UsageSource.objects.create(name="log", grain=UsageSource.Grain.REQUEST)
    return Import.objects.create(source=source, file_name="f", sha256="0", created_at=at(11, 1), state="done")


def row(item: Import, when: datetime, output: int, model: str = "m", requests: int | None = 1) -> tuple[Any, ...]:
    key = ("", "anthropic", "", "", model, "standard", "0-100k", "global", "standard", "", 0, "")
    return (when, item.pk, *key, 0, 0, 0, 0, output, 0, requests, 0)


def write(item: Import, buckets: list[datetime], *rows: tuple[Any, ...]) -> int:
    assert item.source_id is not None
    return replace_hours(source_id=item.source_id, bucket_hours=1, buckets=buckets, rows=rows)


def held() -> list[tuple[datetime, str, int, int | None]]:
    names = ("bucket_start", "model", "output_tok", "requests")
    return sorted(UsageRollup.objects.values_list(*names))


def test_a_month_comes_with_its_first_row_and_ends_at_midnight_utc(item: Import) -> None:
    before = set(stored_months())
    buckets = [at(10, 31, 23), at(11, 1, 0), at(12, 31, 23), at(1, 1, 0, 2027)]
    write(item, buckets, *(row(item, when, n) for n, when in enumerate(buckets, 1)))
    assert set(stored_months()) - before == {date(2026, 10, 1), date(2026, 11, 1), date(2026, 12, 1), date(2027, 1, 1)}
    with connection.cursor() as cursor:
        for month, output in ((date(2026, 10, 1), 1), (date(2026, 11, 1), 2), (date(2026, 12, 1), 3)):
            cursor.execute(f'SELECT output_tok FROM "{partition_name(month)}"')
            assert cursor.fetchall() == [(output,)]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        pytest.param([(1, "a", 5), (2, "a", 6)], [(1, "a", 5), (2, "a", 6)], id="the same"),
        pytest.param([(1, "a", 9), (2, "a", 6)], [(1, "a", 9), (2, "a", 6)], id="one overwritten"),
        pytest.param([(1, "b", 5), (2, "a", 6)], [(1, "b", 5), (2, "a", 6)], id="one key gone, one new"),
        pytest.param([(2, "a", 7)], [(2, "a", 7)], id="an hour that is empty now"),
        pytest.param([], [], id="all of it gone"),
    ],
)
def test_buckets_hold_what_was_written_last(item: Import, second: Any, expected: Any) -> None:
    buckets = [at(11, 9, 1), at(11, 9, 2)]
    other = at(11, 9, 3)
    write(item, [other], row(item, other, 99))
    write(item, buckets, row(item, buckets[0], 5, "a"), row(item, buckets[1], 6, "a"))
    write(item, buckets, *(row(item, at(11, 9, hour), output, model) for hour, model, output in second))
    wanted = [(at(11, 9, hour), model, output, 1) for hour, model, output in expected]
    assert held() == sorted([*wanted, (other, "m", 99, 1)])


def test_an_equal_row_is_not_written_again(item: Import) -> None:
    buckets = [at(11, 9, 1)]
    write(item, buckets, row(item, buckets[0], 5, "a"), row(item, buckets[0], 6, "b", None))
    with connection.cursor() as cursor:
        places = "SELECT model, ctid, tableoid FROM billing_usagerollup ORDER BY 1"
        cursor.execute(places)
        before = cursor.fetchall()
        write(item, buckets, row(item, buckets[0], 5, "a"), row(item, buckets[0], 6, "b", None))
        cursor.execute(places)
        assert cursor.fetchall() == before
        write(item, buckets, row(item, buckets[0], 5, "a"), row(item, buckets[0], 6, "b", 2))
        cursor.execute(places)
        after = cursor.fetchall()
    assert (after[0], after[1] != before[1]) == (before[0], True)


@pytest.mark.parametrize("name", ["billing_usage_rollup_natural_key", "billing_usage_rollup_not_negative"])
def test_the_database_refuses_what_cannot_be(item: Import, name: str) -> None:
    buckets = [at(11, 9, 1)]
    rows = {
        "billing_usage_rollup_natural_key": [row(item, buckets[0], 5), row(item, buckets[0], 6)],
        "billing_usage_rollup_not_negative": [row(item, buckets[0], -1)],
    }[name]
    with pytest.raises((IntegrityError, psycopg.errors.IntegrityError)) as refused, transaction.atomic():
        write(item, buckets, *rows)
    # A partition's key has a name of its own, made from its columns.
    assert name in str(refused.value) or "bucket_start" in str(refused.value)


@pytest.mark.django_db(transaction=True)
def test_two_that_need_a_month_at_once_both_get_it() -> None:
    months = [at(3, 5, year=2031), at(4, 5, year=2031)]
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def make() -> None:
        try:
            barrier.wait(10)
            with transaction.atomic(), connection.cursor() as cursor:
                ensure_months(cursor, months)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=make) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    try:
        assert errors == []
        assert {date(2031, 3, 1), date(2031, 4, 1)} <= set(stored_months())
    finally:
        with transaction.atomic(), connection.cursor() as cursor:
            drop_month(cursor, date(2031, 3, 1))
            drop_month(cursor, date(2031, 4, 1))


@pytest.mark.django_db(transaction=True)
def test_a_new_month_locks_nobody_out() -> None:
    """While an import's transaction has made a month, others read and write, and its own progress is written."""
    with transaction.atomic(), connection.cursor() as cursor:
        ensure_months(cursor, [at(6, 5, year=2031)])
        parameters = {
            key: value
            for key, value in connection.get_connection_params().items()
            if key in {"host", "port", "dbname", "user", "password"}
        }
        with psycopg.connect(**parameters, autocommit=True) as other:
            other.execute("SET lock_timeout = '2s'")
            other.execute("SELECT count(*) FROM billing_usagerollup")
            other.execute("UPDATE billing_import SET progress_note = '' WHERE id = 0")
            other.execute("DELETE FROM billing_usagerollup WHERE bucket_start < '1990-01-01'")
        transaction.set_rollback(True)
    assert date(2031, 6, 1) not in stored_months()


def test_rows_move_into_their_months_and_back(item: Import) -> None:
    migration = importlib.import_module("billing.migrations.0006_rollup_by_month")
    buckets = [at(10, 31, 23), at(11, 1, 0)]
    write(item, buckets, row(item, buckets[0], 5), row(item, buckets[1], 6, requests=None))
    before = held()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(migration.IN_ONE)
        cursor.execute("SELECT relkind FROM pg_class WHERE relname = 'billing_usagerollup'")
        assert cursor.fetchall() == [("r",)]
        assert held() == before
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(migration.BY_MONTH)
        cursor.execute("SELECT relkind FROM pg_class WHERE relname = 'billing_usagerollup'")
        assert cursor.fetchall() == [("p",)]
    assert held() == before
    assert stored_months() == [date(2026, 10, 1), date(2026, 11, 1)]
    assert item.source is not None
    UsageRollup.objects.create(
        bucket_start=buckets[0], source=item.source, latest_import=item, model="by Django", output_tok=1
    )
    assert UsageRollup.objects.get(model="by Django").pk
