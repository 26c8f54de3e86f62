"""The worked numbers of docs/algorithms/quality.md are those the code gives."""

from pathlib import Path

import pytest

from routing.core import evalues as ev
from routing.core.evidence import Evidence
from routing.core.verdicts import STATUS_TEXT, judge
from tests.core.test_evalues import chance_to_clear

TEXT = (Path(__file__).parents[2] / "docs" / "algorithms" / "quality.md").read_text(encoding="utf-8")


def table(first_head: str) -> list[list[str]]:
    lines = TEXT.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_head} |")) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("−", "-") for cell in line.strip("|").split("|")])
    return found


@pytest.mark.parametrize("cells", table("k"), ids=lambda cells: f"{cells[0]} of {cells[1]} at {cells[2]}")
def test_verdicts(cells):
    k, n = int(cells[0]), int(cells[1])
    line, alpha, clear, short = map(float, cells[2:6])
    verdict = judge(Evidence.of_counts(k, n), bar=line, tolerance=0, alpha=alpha)
    assert (verdict.ln_e_clear, verdict.ln_e_short) == pytest.approx((clear, short), abs=5.1e-7)
    assert STATUS_TEXT[verdict.status].lower() == {
        "clears": "clears the bar", "falls short": "below the bar", "not enough evidence": "not enough evidence",
    }[cells[6]]  # fmt: skip
    assert verdict.cases_needed == int(cells[7])
    assert (verdict.lower, verdict.upper) == pytest.approx((float(cells[8]), float(cells[9])), abs=5.1e-6)


@pytest.mark.parametrize("cells", table("line"), ids=lambda cells: f"line {cells[0]}")
def test_planning(cells):
    line, rate = float(cells[0]), float(cells[2])
    assert ev.cases_without_failure(line, ev.log_threshold(0.05, 2)) == int(cells[1])
    chance = chance_to_clear(rate, line, 0.025, 1000, may_recover=False)
    assert [int((chance < level).sum()) for level in (0.5, 0.8)] == [int(cells[3]), int(cells[4])]


def test_figures_in_the_prose():
    chance = chance_to_clear(0.97, 0.93, 0.05, 500, may_recover=False)
    wrongly = chance_to_clear(0.93, 0.93, 0.05, 1000, may_recover=True)
    for figure in (chance[200], chance[500], wrongly[1000]):
        assert f"{figure:.6f}" in TEXT
    even = chance_to_clear(0.95, 0.93, 0.025, 1200, may_recover=False)
    assert f"needs {int((even < 0.5).sum()):,} cases" in TEXT.replace("\n", " ")
