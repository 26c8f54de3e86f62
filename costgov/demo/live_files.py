"""Live samples of the demo: what a grader beside the gateway sends every week of one class, drawn with a fixed seed."""

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from costgov.demo.eval_files import SEED
from costgov.demo.organisation import OPUS_45

LIVE_CLASS: Final = "chat-assistant"
LIVE_SUITE: Final = "live-support-answers"
WEEKS: Final = 9
_A_DAY: Final = 8
_RATE: Final = 0.985  # that of the model in the evals of the class
_WITHOUT_VERDICT: Final = 0.01  # the grader did not answer


@dataclass(frozen=True, slots=True)
class LiveFile:
    """The samples of the week that ended `days_before` the demo's end."""

    days_before: int

    def name(self, last: date) -> str:
        return f"live-support-answers_{last - timedelta(days=self.days_before)}.csv"

    def ready_at(self, last: date) -> datetime:
        return datetime.combine(last - timedelta(days=self.days_before), time(6), tzinfo=UTC)

    def write(self, folder: Path, last: date) -> Path:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("suite", "sample_id", "model", "run_at", "passed", "error"))
        draws = np.random.default_rng([SEED, 2, self.days_before]).random((7 * _A_DAY, 2))
        ends = datetime.combine(last - timedelta(days=self.days_before), time(), tzinfo=UTC)
        for number, (answered, passed) in enumerate(draws.tolist()):
            at = ends - timedelta(days=7) + number * timedelta(hours=24 / _A_DAY)
            graded = answered >= _WITHOUT_VERDICT
            verdict = str(passed < _RATE).lower() if graded else ""
            sample = f"req-{self.days_before // 7:02d}-{number:03d}"
            table.writerow((LIVE_SUITE, sample, OPUS_45, at.isoformat(), verdict, "" if graded else "grader_timeout"))
        path = folder / self.name(last)
        path.write_text(text.getvalue(), encoding="utf-8")
        return path


LIVE_FILES: Final = tuple(LiveFile(7 * week) for week in range(WEEKS - 1, -1, -1))
