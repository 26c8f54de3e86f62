"""Real eval results, read in place: verdict figures against plain counting and the formula written out slowly.

The sets are not part of the project. COSTGOV_SHARED names the folder that holds `data/evals`.
"""

import csv
import gzip
import io
import math
import os
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest

from routing.core.evidence import CaseResult, cases_of_epoch
from routing.core.verdicts import judge_class
from routing.importers import ReadOptions, all_or_nothing, detect

SHARED = Path(os.environ.get("COSTGOV_SHARED", "/nonexistent")) / "data" / "evals"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="COSTGOV_SHARED does not name the folder of public data")
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
OPUS, SONNET, HAIKU = "claude-opus-4-6", "claude-sonnet-4-6", "claude-haiku-4-5"


def rows_of(name: str) -> list[dict[str, str]]:
    with gzip.open(SHARED / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def imported(folder: Path, rows: list[dict[str, str]]) -> list[CaseResult]:
    """The rows written as our plain CSV and read by its reader."""
    out = io.StringIO()
    names = ("suite", "request_class", "sample_id", "model", "run_at", "passed", "cost_usd", "error", "repeat")
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        name, _, repeat = row["item_id"].partition("#")
        writer.writerow(
            {
                "suite": f"{row['eval_set']}/{row['class']}",
                "request_class": row["class"],
                "sample_id": name if row["eval_set"] == "sveltebench" else row["item_id"],
                "model": row["model"],
                "run_at": row["run_date"],
                "passed": row["passed"],
                "cost_usd": row["cost_usd"],
                "error": "" if row["passed"] else "no_verdict",
                "repeat": repeat if row["eval_set"] == "sveltebench" else "",
            }
        )
    path = folder / "set.csv"
    path.write_text(out.getvalue(), encoding="utf-8")
    return list(all_or_nothing(detect(path).read(path, ReadOptions())))


def slow_ln_e(scores: list[float], line: float, *, clear: bool) -> float:
    """methods.md §3.2 as written: 200 means, one bet each, plain loops."""
    logs = []
    for j in range(200):
        q = line + (1 - line) * (j + 0.5) / 200 if clear else line * (j + 0.5) / 200
        bet = (q - line) / (line * (1 - line))
        logs.append(sum(math.log(1 + bet * (x - line)) for x in scores))
    top = max(logs)
    return top + math.log(sum(math.exp(log - top) for log in logs) / 200)


def slow_bound(scores: list[float], goal: float, *, lower: bool) -> float:
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if lower:
            low, high = (middle, high) if slow_ln_e(scores, middle, clear=True) >= goal else (low, middle)
        else:
            low, high = (low, middle) if slow_ln_e(scores, middle, clear=False) >= goal else (middle, high)
    return (low + high) / 2


def slow_status(scores: list[float], line: float, candidates: int) -> str:
    goal = math.log(candidates / 0.05)
    if slow_ln_e(scores, line, clear=False) >= goal:
        return "falls_short"
    return "clears" if len(scores) >= 30 and slow_ln_e(scores, line, clear=True) >= goal else "not_enough_evidence"


def check(results, verdicts, counts, *, line):
    """n, passes, verdict and bounds of each model equal the slow computation on `counts` (case → scores)."""
    for model, cases in counts.items():
        scores = [sum(found) / len(found) for found in cases.values()]
        verdict = verdicts[model]
        assert (verdict.cases, verdict.passes) == (len(scores), pytest.approx(sum(scores)))
        assert verdict.ln_e_clear == pytest.approx(slow_ln_e(scores, line, clear=True), rel=1e-9, abs=1e-9)
        assert verdict.ln_e_short == pytest.approx(slow_ln_e(scores, line, clear=False), rel=1e-9, abs=1e-9)
        assert verdict.status == slow_status(scores, line, verdict.candidates)
        goal = math.log(verdict.candidates / 0.05)
        assert verdict.upper == pytest.approx(slow_bound(scores, goal, lower=False), abs=1e-6)
        if len(scores) >= 30:
            assert verdict.lower == pytest.approx(slow_bound(scores, goal, lower=True), abs=1e-6)
        else:
            assert verdict.lower is None


def counted(rows: list[dict[str, str]]) -> dict[str, dict[str, list[int]]]:
    """Model → case → verdicts, straight from the file."""
    found: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        model = re.sub(r"-20\d{6}$", "", row["model"].split("/")[-1])
        name = row["item_id"].split("#")[0] if row["eval_set"] == "sveltebench" else row["item_id"]
        if row["passed"]:
            found[model][name].append(int(row["passed"]))
    return found


def test_bashkit_of_28_february_pooled(tmp_path):
    rows = [r for r in rows_of("bashkit_runs_2026-02_2026-03.csv.gz") if r["run_date"] == "2026-02-28"]
    rows = [r for r in rows if r["model"].startswith("claude")]
    assert len(rows) == 3 * 58
    results = imported(tmp_path, rows)
    verdicts = judge_class(results, incumbent=OPUS, bar=0.80, tolerance=0.02, as_of=AS_OF)
    check(results, verdicts, counted(rows), line=0.78)
    assert {m: (v.passes, v.cases, v.candidates, v.status) for m, v in verdicts.items()} == {
        OPUS: (50, 58, 1, "not_enough_evidence"),
        HAIKU: (54, 58, 2, "clears"),
        SONNET: (48, 58, 2, "not_enough_evidence"),
    }


@pytest.mark.parametrize("name", ["swe-bench", "swt-bench"])
def test_openhands_claude_models(tmp_path, name):
    rows = [r for r in rows_of("openhands_index_swe_swt.csv.gz") if r["class"] == name]
    rows = [r for r in rows if r["model"].startswith("claude")]
    results = imported(tmp_path, rows)
    verdicts = judge_class(
        results, incumbent="claude-opus-4-5", bar=0.72, tolerance=0.02, as_of=datetime(2026, 4, 1, tzinfo=UTC)
    )
    check(results, verdicts, counted(rows), line=0.70)
    expected = {
        "swe-bench": {"claude-opus-4-5": (383, 500), "claude-opus-4-6": (384, 500), "claude-sonnet-4-5": (371, 500)},
        "swt-bench": {"claude-opus-4-5": (340, 433), "claude-opus-4-6": (341, 433), "claude-sonnet-4-5": (298, 430)},
    }
    assert {m: (v.passes, v.cases) for m, v in verdicts.items()} == expected[name]
    assert verdicts["claude-opus-4-6"].status == "clears"
    assert verdicts["claude-sonnet-4-5"].status == "not_enough_evidence"


def test_sveltebench_is_nine_cases_and_never_clears(tmp_path):
    rows = [r for r in rows_of("sveltebench.csv.gz") if "claude" in r["model"] and not r["run_id"].startswith("v1")]
    rows = [r for r in rows if r["run_date"] < "2026-03-01"]
    results = imported(tmp_path, rows)
    assert cases_of_epoch(results)[HAIKU].cases == 9
    for row in results:
        assert "#" not in row.sample_id
    evidence = cases_of_epoch(results)
    counts = counted(rows)
    assert sum(len(found) for found in counts[HAIKU].values()) == 90
    verdicts = judge_class(results, incumbent="claude-opus-4.5", bar=0.80, tolerance=0.02, as_of=AS_OF)
    check(results, verdicts, {m: c for m, c in counts.items() if len(c) == 9}, line=0.78)
    assert all(found.cases == 9 for found in evidence.values())
    assert {v.status for v in verdicts.values()} <= {"not_enough_evidence", "falls_short"}
