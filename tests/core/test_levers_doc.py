"""The worked numbers of docs/algorithms/levers.md are those the code gives."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path

import pytest

from billing.core.words import percent
from routing.core import levers as lv
from routing.core.cascades import Check, JointQuality, cascade
from routing.core.evidence import CaseResult
from tests.core.test_levers import LONG, OPUS, OPUS_BATCH, PROFILE, RATES, REUSED, batch_costs
from tests.core.test_reuse import mooncake, needs_data  # noqa: F401  # the fixture is used by its name
from tests.slow_factors import factors_measured_in_evals

TEXT = (Path(__file__).parents[2] / "docs" / "algorithms" / "levers.md").read_text(encoding="utf-8")
AT = datetime(2026, 11, 1, tzinfo=UTC)
PROSE = " ".join(TEXT.split())


def table(first_head: str) -> list[list[str]]:
    lines = TEXT.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_head} |")) + 2
    found = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


# -- effective cost ----------------------------------------------------------------------------------------------------


def test_the_example_of_a_request():
    cached = lv.CacheUse("5m", D("0.9"))
    costs = [
        lv.unit_cost_usd(PROFILE, RATES),
        lv.unit_cost_usd(PROFILE, RATES, cache=cached),
        lv.unit_cost_usd(PROFILE, RATES, cache=cached, batch_share=D("0.5")),
    ]
    assert [f"{cost:f}" for cost in costs] == ["0.0175", "0.0116125", "0.01018125"]
    for cost in costs:
        assert f"{cost:f}" in PROSE


def test_cases_that_failed_count_with_their_tokens():
    """Thirty cases; the candidate needs twice the tokens where it fails or ends in an error, and is so much dearer."""

    def run(model: str, number: int, score: float | None, tokens: int) -> CaseResult:
        return CaseResult(
            "suite", "1", f"case-{number}", model, AT, score, error="" if score is not None else "timeout",
            uncached_input_tok=tokens, cache_read_tok=0, cache_write_5m_tok=0, cache_write_1h_tok=0, output_tok=tokens,
        )  # fmt: skip

    ours = [run("m", n, (1.0, 0.0, None)[n % 3], 100 if n % 3 == 0 else 200) for n in range(30)]
    theirs = [run("i", n, 1.0, 100) for n in range(30)]
    found = factors_measured_in_evals(ours, theirs)
    assert found.input_factor == D(5_000) / 3_000  # 10 × 100 + 20 × 200
    assert found.token_cases == 30
    good = [replace(row, uncached_input_tok=100, output_tok=100) for row in ours]
    assert factors_measured_in_evals(good, theirs).input_factor == 1


# -- caching -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", table("w, r (T)"), ids=lambda cells: cells[0])
def test_break_even_table(cells):
    w, r = map(float, re.findall(r"[\d.]+", cells[0])[:2])
    ttl = 1.0 if "hour" in cells[0] else 1 / 12
    shares = (lv.poisson_hit_share(rate, ttl) for rate in (1, 3, 6, 12, 60))
    expected = [
        lv.break_even_hit_share(w, r),
        lv.break_even_reads_per_write(w, r),
        lv.break_even_requests_per_hour(w, r, ttl),
        *(lv.caching_factor(w, r, share) for share in shares),
    ]
    assert cells[1:] == [f"{value:.6f}" for value in expected]


def test_break_even_of_other_price_lists_and_of_the_writes():
    for w, r in ((1.2, 0.12), (1.25, 0.05)):
        assert f"{w}, {r} has h* = {lv.break_even_hit_share(w, r):.6f}" in PROSE
    assert "none is cheapest below 0.7472 requests an hour" in PROSE
    assert f"{lv.break_even_requests_per_hour(2, 0.1, 1):.4f}" == "0.7472"
    assert "they beat 5-minute writes from 0.547737 on" in PROSE
    assert not lv.one_hour_beats_five_minutes(0.547736, 1.25, 2, 0.1)
    assert lv.one_hour_beats_five_minutes(0.547738, 1.25, 2, 0.1)


def test_too_few_hits():
    five, hour = lv.caching_options(PROFILE, RATES, lv.ReuseFacts(D(1500), D("0.3"), D("0.4"), "trace", True))
    assert f"costs {five.factor:.3f} of its uncached price" in PROSE
    assert f"{hour.factor:.2f} with 1-hour writes" in PROSE
    assert five.pays and not hour.pays and hour.break_even_hit_share is not None
    assert f"(break-even {percent(hour.break_even_hit_share)})" in PROSE


def test_a_cold_cache():
    reuse = lv.ReuseFacts(D(8000), D("0.6"), None, "trace", is_assumed=False)
    profile = lv.Profile(D(4000), D(8000), D(2000))
    costs = lv.lever_costs(profile, RATES, reuse=reuse, own_cache=None, batch_share=D(0))
    assert f"cost {costs.rewrite_usd.normalize():f} more each" in PROSE
    assert f"at most {lv.cold_cache_usd(costs, units_per_hour=D(600)):f} usd in all" in PROSE


@needs_data
def test_mooncake_at_one_hour_is_reported_as_losing_money(mooncake):  # noqa: F811
    row = next(cells for cells in table("trace") if cells[0].startswith("Mooncake"))
    five, hour = mooncake[300.0], mooncake[3600.0]
    facts = lv.ReuseFacts(D(10_000), five.hit_share, hour.hit_share, "Mooncake", is_assumed=True)
    options = lv.caching_options(lv.Profile(D(500), D(10_000), D(345)), RATES, facts)
    assert row[1:] == [
        f"{five.requests:,}", f"{five.input_tok:,}", f"{five.reused_tok:,}", f"{hour.reused_tok:,}",
        percent(five.hit_share), percent(hour.hit_share), *(f"{option.factor:.4f}" for option in options),
    ]  # fmt: skip
    assert [option.pays for option in options] == [True, False]
    assert "1-hour caching loses money" in options[1].reason
    uncached = five.input_tok * OPUS.uncached_input / 1_000_000
    paid = [uncached, *(uncached * option.factor for option in options)]
    said = [f"{usd:.2f}" for usd in paid]
    assert f"cost {said[0]} usd uncached, {said[1]} with 5-minute and {said[2]} with 1-hour writes" in PROSE


def test_the_row_of_claude_code_is_its_published_reuse():
    """The totals themselves are recomputed from the block ids in test_reuse.py."""
    cells = next(cells for cells in table("trace") if cells[0].startswith("Claude Code"))
    whole_blocks = 2_956_555_200
    shares = [D(int(cell.replace(",", ""))) / whole_blocks for cell in cells[3:5]]
    assert cells[5:7] == [percent(share) for share in shares]
    assert cells[7:] == [f"{D('1.25') - D('1.15') * shares[0]:.4f}", f"{2 - D('1.9') * shares[1]:.4f}"]


# -- batch -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", table("what is known of batch"), ids=lambda cells: cells[0])
def test_batch_with_and_without_measured_hits(cells):
    measured = lv.CacheUse("own", D("0.8")) if "0.8" in cells[0] else lv.NO_CACHE
    costs = batch_costs(LONG, REUSED, measured=measured)
    online = costs.by_levers[frozenset({"caching"})]
    rates = lv.ModelRates("opus", OPUS, OPUS_BATCH)
    half = lv.unit_cost_usd(LONG, rates, cache=costs.caching, batch_share=D("0.5"), batch_cache=measured)
    assert [f"{online.normalize():f}", f"{half.normalize():f}"] == cells[1:3]
    assert cells[3] == ("half in batch" if costs.batch_share else "no batch: it loses money")
    if costs.batch_share:
        assert costs.by_levers[frozenset({"caching", "batch"})] == half
    else:
        assert "loses money" in costs.batch_reason


def test_caching_inside_batch():
    factor = lv.prefix_usd_per_mtok(OPUS_BATCH, lv.CacheUse("own", D("0.1"))) / OPUS_BATCH.uncached_input
    assert f"a prefix in batch costs {factor.normalize():f} of its uncached price" in PROSE


# -- cascades ----------------------------------------------------------------------------------------------------------


def test_the_worked_cascade_and_one_that_loses():
    (cells,) = table("c₁")
    c1, check_usd, c2, p1, g, b, p2 = map(D, cells[:7])
    # p₂ as good on escalated requests as on all: independent of the cheap model.
    joint = JointQuality(p1 * p2, p1 * (1 - p2), (1 - p1) * p2, (1 - p1) * (1 - p2))

    def judged(good, bad):
        return cascade("haiku", "opus", cheap_usd=c1, strong_usd=c2, check=Check(check_usd, good, bad), joint=joint)

    found = judged(g, b)
    told = (found.accepted_share, found.unit_cost_usd, found.quality, found.break_even_share)
    assert [f"{value.normalize():f}" for value in told] == cells[7:]
    assert found.pays
    loses = judged(D("0.20"), D("0.01"))
    assert not loses.pays
    assert f"A is {loses.accepted_share.normalize():f}, below {loses.break_even_share.normalize():f}" in PROSE
