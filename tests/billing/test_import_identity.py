"""One request counts once: whatever file it comes in, however often, in whatever order."""

import gzip
import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.importers.base import ImportRefused
from billing.models import DailyUsage, Import, UsageRollup
from billing.operations.imports import ImportOptions, import_file
from billing.queries.imports import request_store, stored_imports
from billing.store import RequestStore, StoredImport
from tests.billing.conftest import AS_OF, ImportIt, everything
from tests.billing.worlds import daily_sums, state, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

ROWS = [
    envelope(1, "2026-11-09T09:00:00Z"),
    envelope(2, "2026-11-09T23:59:59.999Z", usage={"output_tokens": 70}),
    envelope(3, "2026-11-10T00:00:00Z", model="claude-opus-4-5-20251101", workspace_id="wrkspc_b"),
    envelope(4, "2026-11-10T02:00:00+02:00", usage={"cache_read_input_tokens": 150_000}),
    envelope(5, "2026-11-11T05:00:00Z", http_status=529, response={"type": "error"}),
]
DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")


def test_the_same_bytes_twice_change_nothing(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "log.jsonl", ROWS)
    first, before = import_it(path), everything(var)
    again = import_it(path)
    assert (again.import_id, again.is_repeat) == (first.import_id, True)
    assert again.message.startswith(
        f"The same bytes were imported before as log.jsonl (import {first.import_id}, 2026-"
    )
    assert everything(var) == before


def test_the_same_requests_in_another_file_are_duplicates(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    before = state()
    outcome = import_it(write_lines(tmp_path / "other.jsonl", [*ROWS[::-1], envelope(6, "2026-11-09T10:00:00Z")]))
    assert (outcome.accepted, outcome.duplicates) == (1, 5)
    more = import_it(write_lines(tmp_path / "third.jsonl", [*ROWS, ROWS[0]]))
    assert (more.accepted, more.duplicates) == (0, 6)
    only_new = [row for row in state()[0] if row not in before[0]]
    assert len(only_new) == 1
    assert only_new[0][1].hour == 10


def test_the_same_log_compressed_is_the_same_usage(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "log.jsonl", ROWS)
    import_it(path)
    before = state()
    packed = tmp_path / "log.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    outcome = import_it(packed)
    assert (outcome.is_repeat, outcome.accepted, outcome.duplicates) == (False, 0, 5)
    assert state() == before


def test_a_request_seen_by_the_provider_and_by_litellm_counts_once(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", [envelope(1, usage=LIKE_LITELLM)]))
    outcome = import_it(write_lines(tmp_path / "litellm.jsonl", [payload(1), payload(2)]))
    assert (outcome.accepted, outcome.duplicates) == (1, 1)
    assert sum(counts[4] for counts in daily_sums("date").values()) == 20


LIKE_LITELLM = {
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
}


def test_a_match_on_either_id_is_a_match(import_it: ImportIt, tmp_path: Path) -> None:
    one, other = envelope(1), envelope(1)
    one["request_id"] = None  # known by the response id only
    other["response"] = {**other["response"], "id": None}  # by the provider's only
    both = envelope(1)
    import_it(write_lines(tmp_path / "both.jsonl", [both]))
    assert import_it(write_lines(tmp_path / "one.jsonl", [one])).duplicates == 1
    assert import_it(write_lines(tmp_path / "other.jsonl", [other])).duplicates == 1


def test_ids_that_chain_make_one_request(import_it: ImportIt, tmp_path: Path) -> None:
    def row(request_id: str | None, response_id: str | None) -> dict[str, Any]:
        made = envelope(1, request_id=request_id)
        made["response"] = {**made["response"], "id": response_id}
        return made

    chain = [row("req_a", "msg_1"), row("req_b", "msg_1"), row("req_b", "msg_2"), row("req_b", None)]
    outcome = import_it(write_lines(tmp_path / "chain.jsonl", chain))
    assert (outcome.accepted, outcome.duplicates) == (1, 3)


def test_other_counts_for_a_known_request_are_refused_with_both(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    first = import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    before = everything(var, without=("billing_import",))
    changed = write_lines(tmp_path / "changed.jsonl", [envelope(7), envelope(1, usage={"output_tokens": 11})])
    with pytest.raises(ImportRefused) as refused:
        import_it(changed)
    assert f"request req_000001 has 10 in import {first.import_id} and 11 now" in str(refused.value)
    assert "--replace" in str(refused.value)
    assert everything(var, without=("billing_import",)) == before


def test_replace_lets_the_later_file_win(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    outcome = import_it(
        write_lines(tmp_path / "right.jsonl", [envelope(7), envelope(1, usage={"output_tokens": 11})]), replace=True
    )
    assert (outcome.accepted, outcome.duplicates) == (2, 0)
    replaced = state()
    with throw_away_installation() as folder:
        right = [envelope(1, usage={"output_tokens": 11}), *ROWS[1:], envelope(7)]
        _forget_everything()
        import_file(actor=None, path=write_lines(folder / "right.jsonl", right), as_of=AS_OF)
        assert state() == replaced


def _forget_everything() -> None:
    DailyUsage.objects.all().delete()
    UsageRollup.objects.all().delete()
    Import.objects.all().delete()


def test_two_counts_in_one_file_are_refused_and_settled_by_replace(import_it: ImportIt, tmp_path: Path) -> None:
    rows = [
        envelope(1, "2026-11-09T10:00:00Z", usage={"output_tokens": 12}),
        envelope(1, "2026-11-09T09:00:00Z"),
        envelope(1, "2026-11-09T09:00:00Z"),
    ]
    path = write_lines(tmp_path / "twice.jsonl", rows)
    with pytest.raises(ImportRefused, match="request req_000001 has 10 earlier in this file and 12 now"):
        import_it(path)
    outcome = import_it(path, replace=True)
    assert (outcome.accepted, outcome.duplicates) == (1, 2)
    assert {counts[4] for counts in daily_sums("date").values()} == {12}


def test_every_row_twice(import_it: ImportIt, tmp_path: Path) -> None:
    rows = [envelope(number, usage={"output_tokens": number}) for number in range(2_000)]
    outcome = import_it(write_lines(tmp_path / "doubled.jsonl", rows + rows))
    assert (outcome.accepted, outcome.duplicates) == (2_000, 2_000)
    assert {counts[4] for counts in daily_sums("date").values()} == {sum(range(2_000))}


def test_a_report_again_with_more_replaces_its_buckets(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_json(tmp_path / "early.json", report((*DAY, [result(output_tokens=5), result(model="m-2")]))))
    import_it(write_json(tmp_path / "late.json", report((*DAY, [result(output_tokens=9)]))))
    assert daily_sums("origin", "model") == {("report", "claude-haiku-4-5"): (0, 0, 0, 0, 9, 0)}


def test_an_empty_bucket_says_that_there_was_nothing(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_json(tmp_path / "early.json", report((*DAY, [result(output_tokens=5)]))))
    import_it(write_json(tmp_path / "late.json", report((*DAY, []))))
    assert daily_sums("origin") == {}


requests = st.lists(
    st.builds(
        lambda number, hour, out, model, key: envelope(
            number,
            f"2026-11-{9 + hour // 24:02}T{hour % 24:02}:30:00Z",
            usage={"output_tokens": out},
            model=model,
            api_key_id=key,
        ),
        st.integers(0, 12),
        st.integers(20, 30),
        st.just(7),
        st.just("claude-haiku-4-5"),
        st.sampled_from(["apikey_a", "apikey_b"]),
    ),
    min_size=1,
    max_size=12,
)


@pytest.mark.django_db
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=requests, data=st.data())
def test_cutting_and_order_change_nothing(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    unique = list({row["request_id"]: row for row in rows}.values())
    with throw_away_installation() as folder:
        import_file(actor=None, path=write_lines(folder / "whole.jsonl", unique), as_of=AS_OF)
        whole = state()
    shuffled = data.draw(st.permutations(unique))
    cuts = data.draw(st.lists(st.integers(0, len(unique)), max_size=2).map(sorted))
    places = [0, *cuts, len(unique)]
    parts = [shuffled[a:b] for a, b in pairwise(places) if a < b]
    repeated = data.draw(st.lists(st.sampled_from(unique), max_size=3))
    with throw_away_installation() as folder:
        accepted = duplicates = 0
        for number, part in enumerate([*parts, *([repeated] if repeated else [])]):
            path = write_lines(folder / f"{number}.jsonl", part)
            outcome = import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions())
            if not outcome.is_repeat:
                accepted, duplicates = accepted + outcome.accepted, duplicates + outcome.duplicates
        assert state() == whole
        assert accepted == len(unique)


@pytest.mark.django_db
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(order=st.permutations(["log", "litellm", "report"]))
def test_logs_and_reports_in_any_order(order: list[str]) -> None:
    files = {
        "log": lambda folder: write_lines(folder / "log.jsonl", ROWS),
        "litellm": lambda folder: write_lines(folder / "litellm.jsonl", [payload(8), payload(9)]),
        "report": lambda folder: write_json(
            folder / "r.json", report((*DAY, [result(output_tokens=100, uncached_input_tokens=500)]))
        ),
    }
    found = []
    for names in (["log", "litellm", "report"], order):
        with throw_away_installation() as folder:
            for name in names:
                import_file(actor=None, path=files[name](folder), as_of=AS_OF)
            found.append(state())
    assert found[0] == found[1]


def test_ids_survive_a_round_trip(import_it: ImportIt, tmp_path: Path) -> None:
    """A store that was read back by hand: both ids of each request are kept."""
    import_it(write_lines(tmp_path / "log.jsonl", ROWS[:2]))
    store = request_store()
    with store.engine("test") as engine:
        files = store.files(stored_imports())
        listed = ", ".join(json.dumps(name).replace('"', "'") for name in files)
        found = engine.query(f"SELECT request_id, provider_id, response_id FROM read_parquet([{listed}]) ORDER BY 1")
    assert found == [
        ("req_000001", "req_000001", "msg_000001"),
        ("req_000002", "req_000002", "msg_000002"),
    ]


@pytest.mark.django_db(transaction=True)
def test_what_follows_the_commit_may_fail_and_takes_nothing_along(
    import_it: ImportIt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of a replaced request are deleted once the import is saved: a store that is gone by then keeps them."""
    first = import_it(write_lines(tmp_path / "log.jsonl", ROWS))
    right = write_lines(tmp_path / "right.jsonl", [envelope(7), envelope(1, usage={"output_tokens": 11})])
    remove = RequestStore.remove

    def gone(store: RequestStore, item: StoredImport) -> None:
        if (item.import_id, item.generation) == (first.import_id, 0):  # what the import replaces
            raise OSError("the store is gone")
        remove(store, item)

    monkeypatch.setattr(RequestStore, "remove", gone)
    with suppress(OSError, ImportRefused):
        import_it(right, replace=True)
    monkeypatch.undo()
    store = request_store()
    with store.engine("look") as engine:
        rows = store.rows(stored_imports())
        told = engine.connection.execute(f"SELECT count(*), sum(output_tok) FROM {rows}").fetchone()
    assert told == (6, sum(counts[4] for counts in daily_sums("date").values()))
