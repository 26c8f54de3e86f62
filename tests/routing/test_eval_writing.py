"""What an earlier file brought is not saved again, however files overlap: against counting equal rows one by one."""

import itertools
from collections import Counter
from datetime import UTC, datetime

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.models import EvalCase, EvalImport, EvalRun
from routing.operations import eval_writing
from routing.operations.classes import save_class
from routing.operations.evals import import_evals

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
HEADER = "suite,request_class,sample_id,model,run_at,passed,cost_usd,repeat"
row = st.builds(
    lambda suite, slug, sample, hour, passed, cost, repeat: (
        f"{suite},{slug},{sample},claude-haiku-4-5,2026-11-09T{hour:02}:00:00Z,{passed},{cost},{repeat}"
    ),
    st.sampled_from(["triage", "triage@2"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["a", "b", r"c\d", "É#1"]),
    st.integers(0, 3),
    st.sampled_from(["true", "false"]),
    st.sampled_from(["", "0.1", "0.10", "0.2"]),
    st.sampled_from(["", "1"]),
)


def values(line: str) -> tuple[str, ...]:
    """What makes two rows equal: 0.1 and 0.10 are one cost."""
    *rest, cost, repeat = line.split(",")
    return (*rest, str(float(cost)) if cost else "", repeat)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(st.lists(row, min_size=1, max_size=12), min_size=1, max_size=4), batch=st.sampled_from([1, 3, 100])
)
def test_rows_of_earlier_files_are_saved_once(files, batch, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_writing, "BATCH", batch)
    with transaction.atomic():
        for slug in ("one", "two"):
            save_class(actor=None, slug=slug, facts={"title": slug}, as_of=AS_OF)
        saved: Counter[tuple[str, ...]] = Counter()
        for number, lines in enumerate(files):
            path = tmp_path / "evals.csv"
            path.write_text(
                "\n".join([HEADER, *lines, f"last,one,{number},claude-haiku-4-5,2026-11-01T00:00:00Z,true,,"])
            )
            counted = Counter(map(values, lines))
            new = {key: max(0, count - saved[key]) for key, count in counted.items()}
            told = import_evals(actor=None, path=path, as_of=AS_OF)
            assert (told.cases, told.duplicates) == (sum(new.values()) + 1, len(lines) - sum(new.values()))
            saved += Counter(new)
        assert EvalCase.objects.count() == sum(saved.values()) + len(files)
        for run in EvalRun.objects.all():
            assert run.results == run.cases.count() > 0 and run.left_out == 0
        rows = EvalCase.objects.exclude(run__suite="last").values_list(
            "run__suite", "run__suite_version", "run__request_class__slug", "sample_id", "run_at__hour", "score"
        )
        told_rows = Counter(rows)
        expected: Counter[tuple[object, ...]] = Counter()
        for key in itertools.chain.from_iterable([key] * count for key, count in saved.items()):
            suite, _, version = key[0].partition("@")
            expected[suite, version or "1", key[1], key[2], int(key[4][11:13]), float(key[5] == "true")] += 1
        assert told_rows == expected
        transaction.set_rollback(True)


def test_a_bad_row_after_many_batches_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(eval_writing, "BATCH", 10)
    save_class(actor=None, slug="one", facts={"title": "One"}, as_of=AS_OF)
    good = [f"triage,one,s{n},claude-haiku-4-5,2026-11-09T00:00:00Z,true,," for n in range(95)]
    path = tmp_path / "evals.csv"
    path.write_text("\n".join([HEADER, *good, "triage,one,x,claude-haiku-4-5,2026-11-09T00:00:00Z,perhaps,,"]))
    with pytest.raises(ValueError, match="line 97"), transaction.atomic():
        import_evals(actor=None, path=path, as_of=AS_OF)
    assert (EvalImport.objects.count(), EvalRun.objects.count(), EvalCase.objects.count()) == (0, 0, 0)
