"""Whoever judges classes waits for whoever judges them already, and never the other way round too."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread

import pytest
from django.db import connection, connections

from routing.models import ClassEvidence, RequestClass, VerdictRecord
from routing.operations import bars, evidence_changed
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.evals import import_evals

pytestmark = pytest.mark.django_db(transaction=True)
AS_OF = datetime(2026, 11, 24, tzinfo=UTC)
LATER = AS_OF + timedelta(days=120)  # evidence is old by then: a verdict has to be written down
HELD_SECONDS = 2.0  # longer than the database waits before it looks for a circle


@pytest.fixture
def classify() -> RequestClass:
    return save_class(actor=None, slug="classify", facts={"title": "Classify"}, as_of=AS_OF)


def write(folder: Path, first: int) -> Path:
    path = folder / f"{first}.csv"
    rows = [f"triage,classify,T-{n},claude-haiku-4-5,2026-11-09T10:00:00Z,true" for n in range(first, first + 40)]
    path.write_text("\n".join(["suite,request_class,sample_id,model,run_at,passed", *rows]) + "\n")
    return path


class Beside:
    """Judges every class, as every night, on a connection of its own, once it is told to."""

    def __init__(self) -> None:
        self.begin, self.ended = Event(), Event()
        self.problem: Exception | None = None
        self.thread = Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            if self.begin.wait(30):
                evidence_changed.judge_again(as_of=LATER)
        except Exception as error:
            self.problem = error
        finally:
            self.ended.set()
            connections.close_all()

    def go(self) -> None:
        """Let it begin, and give it the time to end or to wait for us."""
        self.begin.set()
        self.ended.wait(HELD_SECONDS)

    def check(self) -> None:
        self.thread.join(30)
        assert not self.thread.is_alive() and self.problem is None, self.problem


def test_an_import_that_has_kept_its_evidence(classify, tmp_path: Path, monkeypatch) -> None:
    import_evals(actor=None, path=write(tmp_path, 0), as_of=AS_OF)
    kept = ClassEvidence.objects.get()
    kept.summary["numbers"] = []  # the judging beside has something to write there
    kept.save()
    beside, record = Beside(), evidence_changed.record_verdicts

    def later(**asked):
        if not beside.begin.is_set():
            beside.go()
        return record(**asked)

    monkeypatch.setattr(evidence_changed, "record_verdicts", later)
    assert import_evals(actor=None, path=write(tmp_path, 40), as_of=AS_OF).cases == 40
    beside.check()
    assert VerdictRecord.objects.filter(at=LATER).exists()


def test_a_bar_that_is_being_set(classify, tmp_path: Path, monkeypatch) -> None:
    import_evals(actor=None, path=write(tmp_path, 0), as_of=AS_OF)
    beside, changed = Beside(), bars.evidence_changed

    def later(**asked):
        beside.go()
        changed(**asked)

    monkeypatch.setattr(bars, "evidence_changed", later)
    set_bar(actor=None, slug="classify", facts={"bar": "0.90"}, reason="the customers say so", as_of=AS_OF)
    beside.check()
    connection.close()
    assert VerdictRecord.objects.filter(at=LATER).exists()


def test_an_import_that_registers_a_class(classify, tmp_path: Path, monkeypatch) -> None:
    """Its audit entry holds the data version, which the judging writes last."""
    import_evals(actor=None, path=write(tmp_path, 0), as_of=AS_OF)
    path = write(tmp_path, 40)
    path.write_text(path.read_text().replace("classify", "brand-new"))
    beside, keep = Beside(), evidence_changed.keep_evidence

    def later(**asked):
        if not beside.begin.is_set():
            beside.go()
        return keep(**asked)

    monkeypatch.setattr(evidence_changed, "keep_evidence", later)
    assert import_evals(actor=None, path=path, as_of=AS_OF, create_classes=True).classes == ("brand-new",)
    beside.check()
