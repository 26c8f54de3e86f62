"""The estate of methods.md §8 (waterfall, Shapley) and the rules of §4.1–4.2, case by case."""

from dataclasses import replace
from decimal import Decimal as D
from fractions import Fraction as F
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.core import levers as lv
from routing.core import options as opt
from routing.core import recommendation as rec
from routing.core.attribution import shapley, waterfall
from routing.core.coupling import Limits

PRICES = {"opus": (5, 25), "sonnet": (3, 15), "haiku": (1, 5)}
FS = frozenset


def rates(model):
    p_in, p_out = map(D, PRICES[model])
    tier = lv.Rates(p_in, p_in * D("0.1"), p_in * D("1.25"), p_in * 2, p_out)
    half = lv.Rates(
        *(x / 2 for x in (tier.uncached_input, tier.cache_read, tier.cache_write_5m, tier.cache_write_1h, p_out))
    )
    return lv.ModelRates(model, tier, half)


def golden_costs(model, u, p, o, ratio, h, beta):
    """The golden table takes one F for batch and online requests (methods.md §2, §8)."""
    profile = lv.Profile(D(u), D(p), D(o) * D(ratio))
    cache = lv.CacheUse("5m", D(h))
    by_levers: dict[frozenset[lv.Lever], D] = {
        FS(): lv.unit_cost_usd(profile, rates(model)),
        FS({"caching"}): lv.unit_cost_usd(profile, rates(model), cache=cache),
        FS({"batch"}): lv.unit_cost_usd(profile, rates(model), batch_share=D(beta)),
        FS({"caching", "batch"}): lv.unit_cost_usd(
            profile, rates(model), cache=cache, batch_share=D(beta), batch_cache=cache
        ),
    }
    return lv.LeverCosts(model, by_levers, cache, (), D(beta), "")


GOLDEN = [
    ("triage", 1_000_000, 500, 1500, 300, "haiku", "1.10", "0.90", "0.50"),
    ("draft", 200_000, 1000, 5000, 800, "sonnet", "1.05", "0.85", "0.20"),
    ("legal", 50_000, 4000, 8000, 2000, "opus", "1", "0.60", "0"),
]


def candidate(model, costs, verdict="clears", *, cheaper=True, stale=False, refusal="", needed=None, excepted=False):
    return opt.Candidate(model, costs, "measured", verdict, stale, excepted, refusal, cheaper, needed, verdict)


def golden_problem(name, requests, u, p, o, target, ratio, h, beta):
    base = golden_costs("opus", u, p, o, 1, h, beta)
    candidates = [candidate("opus", base)]
    if target != "opus":
        candidates.append(candidate(target, golden_costs(target, u, p, o, ratio, h, beta)))
    return opt.ClassProblem(name, D(requests), "request", "opus", base, D(0), tuple(candidates))


@pytest.fixture(scope="module")
def golden():
    return rec.recommend([golden_problem(*row) for row in GOLDEN])


TABLE = {
    FS(): (17_500, 10_000, 5_500, 33_000),
    FS({"routing"}): (3_650, 6_120, 5_500, 15_270),
    FS({"caching"}): ("11612.50", "6362.50", 4_620, 22_595),
    FS({"batch"}): (13_125, 9_000, 5_500, 27_625),
    FS({"routing", "caching"}): ("2472.50", "3937.50", 4_620, 11_030),
    FS({"routing", "batch"}): ("2737.50", 5_508, 5_500, "13745.50"),
    FS({"caching", "batch"}): ("8709.375", "5726.25", 4_620, "19055.625"),
    FS({"routing", "caching", "batch"}): ("1854.375", "3543.75", 4_620, "10018.125"),
}


@pytest.mark.parametrize("levers", TABLE, ids=lambda levers: "+".join(sorted(levers)) or "none")
def test_golden_cost_of_every_lever_set(golden, levers):
    got = [row.costs[levers] for row in golden.classes] + [golden.costs[levers]]
    assert got == [D(str(x)) for x in TABLE[levers]]


def test_golden_waterfall_and_shapley(golden):
    assert golden.waterfall() == (("routing", D(17_730)), ("caching", D(4_240)), ("batch", D("1011.875")))
    assert waterfall(golden.costs, ("batch", "caching", "routing")) == (
        ("batch", D(5_375)),
        ("caching", D("8569.375")),
        ("routing", D("9037.50")),
    )
    assert golden.shapley() == {"routing": F("13163.25"), "caching": F("6845.6875"), "batch": F("2972.9375")}
    by_class = [shapley(row.costs, golden.levers) for row in golden.classes]
    assert by_class == [
        {"routing": F("10156.25"), "caching": F("3189.0625"), "batch": F("2300.3125")},
        {"routing": F(3007), "caching": F("2776.625"), "batch": F("672.625")},
        {"routing": F(0), "caching": F(880), "batch": F(0)},
    ]


@given(st.lists(st.integers(0, 10**9), min_size=8, max_size=8))
def test_attribution_sums_exactly_in_every_order(micro_usd):
    costs = {levers: D(x) / 10**6 for levers, x in zip(rec.lever_sets(lv.LEVERS), micro_usd, strict=True)}
    whole = costs[FS()] - costs[FS(lv.LEVERS)]
    for order in permutations(lv.LEVERS):
        assert sum(part for _, part in waterfall(costs, order)) == whole
    assert sum(shapley(costs, lv.LEVERS).values()) == F(whole)


def flat(model, usd):
    return lv.LeverCosts(
        model, {levers: D(usd) for levers in rec.lever_sets(("caching", "batch"))}, lv.NO_CACHE, (), D(0), ""
    )


def solve(*candidates, incumbent="m0", levers=lv.LEVERS):
    problem = opt.ClassProblem("c", D(10), "request", incumbent, flat("m0", 10), D(100), tuple(candidates))
    return rec.recommend([problem], levers=levers).classes[0]


def c(model, usd, verdict="clears", **kw):
    return candidate(model, None if usd is None else flat(model, usd), verdict, **kw)


@pytest.mark.parametrize(
    ("candidates", "target", "move"),
    [
        ([c("m0", 10), c("m1", 6), c("m2", 2)], "m2", "save"),
        ([c("m0", 10), c("m1", 6), c("m2", 2, "falls_short")], "m1", "save"),
        ([c("m0", 10), c("m1", 6, stale=True)], "m0", "keep"),
        ([c("m0", 10), c("m1", 6, "not_enough_evidence")], "m0", "keep"),
        ([c("m0", 10), c("m1", 6, "not_enough_evidence", excepted=True)], "m1", "save"),
        ([c("m0", 10), c("m1", 6, refusal="retired")], "m0", "keep"),
        ([c("m0", 10), c("m1", 6, cheaper=False)], "m0", "keep"),
        ([c("m0", 10), c("m1", 6, cheaper=None)], "m1", "save"),
        ([c("m0", 10), c("m1", 12)], "m0", "keep"),
        ([c("m0", 10), c("m1", 10)], "m0", "keep"),
        ([c("m0", 10), c("m2", 6), c("m1", 6)], "m1", "save"),
        ([c("m0", 10), c("m1", None)], "m0", "keep"),
        ([c("m0", 10, "falls_short"), c("m1", 12)], "m1", "restore_quality"),
        ([c("m0", 10, "falls_short"), c("m1", 12), c("m2", 11)], "m2", "restore_quality"),
        ([c("m0", 10, "falls_short"), c("m1", 6, "not_enough_evidence")], "m0", "below_bar_nothing_to_move_to"),
        ([c("m0", 10, "falls_short"), c("m1", 6, stale=True)], "m0", "below_bar_nothing_to_move_to"),
        ([c("m0", 10, "no_evidence"), c("m1", 6, "no_evidence")], "m0", "keep"),
    ],
)
def test_choice_of_one_class(candidates, target, move):
    row = solve(*candidates)
    assert (row.target, row.move) == (target, move)
    assert row.reason


def test_a_move_that_restores_quality_may_cost_money():
    row = solve(c("m0", 10, "falls_short"), c("m1", 12))
    assert row.saving_usd == D(100) - D(120)


def test_assumed_factors_are_marked():
    assert solve(c("m0", 10), c("m1", 6, cheaper=None)).is_assumed
    assert not solve(c("m0", 10), c("m1", 6)).is_assumed


def test_no_evidence_is_worth_having_on_a_model_that_is_not_shown_to_be_cheaper():
    waits = {"verdict": "not_enough_evidence", "needed": 12}
    row = solve(c("m0", 10), c("m1", 6, cheaper=False, **waits), c("m2", 7, cheaper=None, **waits), c("m3", 8, **waits))
    assert [x.model for x in row.missing_evidence] == ["m2", "m3"]


def test_missing_evidence_is_priced_and_ranked():
    row = solve(
        c("m0", 10), c("m1", 6, "not_enough_evidence", needed=40), c("m2", 2, "no_evidence"), c("m3", 1, "falls_short")
    )
    assert [(x.model, x.saving_usd, x.cases_needed) for x in row.missing_evidence] == [
        ("m2", D(80), None),
        ("m1", D(40), 40),
    ]


def test_without_the_routing_lever_classes_stay():
    row = solve(c("m0", 10), c("m1", 6), levers=("caching", "batch"))
    assert row.target == "m0" and set(row.costs) == set(rec.lever_sets(("caching", "batch")))


def test_incumbent_without_a_cost_is_an_error_not_zero():
    with pytest.raises(ValueError, match="no cost for its incumbent m0"):
        solve(c("m0", None), c("m1", 6))


@given(st.data())
def test_choice_equals_brute_force(data):
    """A slow obvious oracle over random small estates."""
    count = data.draw(st.integers(1, 5))
    cs = [
        c(
            f"m{i}",
            data.draw(st.integers(1, 6)),
            data.draw(st.sampled_from(["clears", "falls_short", "not_enough_evidence"])),
            cheaper=True,
            stale=data.draw(st.booleans()),
        )
        for i in range(count)
    ]
    row = solve(*cs)
    ok = [x for x in cs if x.verdict == "clears" and not x.is_stale and x.model != "m0"]
    if not (cs[0].verdict == "falls_short" and ok):
        ok.append(cs[0])
    cost = {x.model: x.costs.unit_cost_usd(FS(lv.LEVERS)) for x in ok}
    best = min(cost.values())
    assert cost[row.target] == best
    if cost.get("m0") == best:
        assert row.target == "m0"


# -- limits of the whole estate (methods.md §4, golden estate) -------------------------------------------------------

COSTS = [[100, 60, 20], [200, 120, 40], [50, 30, 10], [80, 48, 16]]
QUALITY = [[0.99, 0.985, 0.95], [0.97, 0.96, 0.90], [0.995, 0.99, 0.985], [0.96, 0.93, 0.80]]
CLEARS = [[1, 1, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0]]
VOLUME = [10, 20, 50, 20]


def golden_estate(*, protected=()):
    """Four classes of methods.md §4; a request costs what the table says divided by the class's volume."""
    problems = []
    for number, volume in enumerate(VOLUME):
        candidates = [
            opt.Candidate(
                f"m{m}",
                flat(f"m{m}", D(COSTS[number][m]) / volume),
                "measured",
                "clears" if CLEARS[number][m] else "not_enough_evidence",
                False,
                False,
                "",
                True,
                10,
                "words",
                QUALITY[number][m],
            )
            for m in range(3)
        ]
        problems.append(
            opt.ClassProblem(
                f"c{number}",
                D(volume),
                "request",
                "m0",
                flat("m0", D(COSTS[number][0]) / volume),
                D(COSTS[number][0]),
                tuple(candidates),
                is_protected=f"c{number}" in protected,
            )
        )
    return problems


def shares(found):
    return {row.request_class: (row.target, row.target_share, row.split_with) for row in found.classes}


def total(found):
    return found.costs[FS(lv.LEVERS)]


def test_without_limits_nothing_is_coupled():
    found = rec.recommend(golden_estate(), limits=Limits())
    assert found.coupled is None
    assert total(found) == 270


def test_at_most_forty_percent_may_move():
    found = rec.recommend(golden_estate(), limits=Limits(move_share=D("0.4")))
    assert shares(found) == {
        "c0": ("m1", 1, ""),
        "c1": ("m1", 1, ""),
        "c2": ("m2", D("0.2"), "m0"),
        "c3": ("m0", 1, ""),
    }
    assert total(found) == 302
    assert found.coupled is not None
    assert [(row.name, round(row.usd_per_point, 6), round(row.usd, 6)) for row in found.coupled.binding] == [
        ("move_share", 0.8, 32)
    ]
    assert found.classes[2].reason == "a limit of the whole estate splits the class: 20.0% on m2"


def test_a_floor_under_the_mean_quality():
    found = rec.recommend(golden_estate(), limits=Limits(quality_floor=D("0.978")))
    assert shares(found)["c2"] == ("m2", D("0.4"), "m0")
    assert total(found) == 294
    assert found.coupled is not None and found.coupled.quality == pytest.approx(0.978)


def test_a_cap_on_a_model_keeps_a_class_where_it_is():
    found = rec.recommend(golden_estate(), limits=Limits(model_caps={"m1": D("0.2")}))
    assert shares(found)["c0"] == ("m0", 1, "")
    assert found.classes[0].move == "keep"
    assert found.classes[0].reason == "m1 would cost less, but a limit of the whole estate binds"


def test_limits_nobody_can_keep_are_named_beside_the_choice_without_them():
    found = rec.recommend(golden_estate(), limits=Limits(quality_floor=D("0.99")))
    assert total(found) == 270
    assert found.coupled is not None
    assert found.coupled.problem.startswith(
        "a quality of 99.00% cannot be reached: the best admissible models give 98.25%"
    )


def test_a_protected_class_stays_and_says_so():
    found = rec.recommend(golden_estate(protected={"c1"}))
    assert shares(found)["c1"] == ("m0", 1, "")
    reasons = {option.model: option.reason for option in found.classes[1].options}
    assert reasons["m1"] == "the class is protected: its owner moves it"
    assert found.classes[1].missing_evidence == ()


@given(st.data())
def test_parts_still_add_up_under_limits(data):
    limits = Limits(
        move_share=data.draw(st.none() | st.decimals(0, 1, places=2)),
        quality_floor=data.draw(st.none() | st.decimals("0.9", "0.982", places=3)),
    )
    found = rec.recommend(golden_estate(), limits=limits)
    saved = sum((part for _, part in found.waterfall()), D(0))
    assert found.costs[FS()] - total(found) == saved == sum(found.shapley().values())


def test_the_frontier_names_the_move_to_each_corner():
    found = rec.estate_frontier(golden_estate())
    assert [
        (corner.cost_usd, round(corner.quality, 6), corner.request_class, corner.after) for corner in found.corners
    ] == [
        (270, 0.975, "", ""),
        (310, 0.98, "c2", "m0"),
        (390, 0.982, "c1", "m0"),
        (430, 0.9825, "c0", "m0"),
    ]
    assert (found.unrated, found.rated_share) == ((), 1)


# -- the cold cache after a switch (methods.md §2) -------------------------------------------------------------------


def switched(model, usd, switch_usd, **kw):
    return replace(c(model, usd, **kw), switch_usd=D(switch_usd))


@pytest.mark.parametrize(
    ("switch_usd", "target"), [("39.99", "m1"), ("40", "m0"), ("100", "m0")], ids=["less", "as much", "more"]
)
def test_a_move_that_saves_less_than_its_cold_cache_costs_is_not_recommended(switch_usd, target):
    """Ten units at 6 instead of 10 save 40 in the window."""
    row = solve(c("m0", 10), switched("m1", 6, switch_usd))
    assert row.target == target
    if target == "m0":
        assert row.move == "keep"
        assert row.reason == (
            f"a move to m1 loses money: its cache is cold at first, which costs up to {D(switch_usd):.2f} usd once, "
            "more than the move saves in the window"
        )


def test_the_next_best_model_that_earns_its_switch_is_taken():
    assert solve(c("m0", 10), switched("m1", 6, 50), switched("m2", 7, 20)).target == "m2"
    problem = opt.ClassProblem(
        "c", D(10), "request", "m0", flat("m0", 10), D(100), (c("m0", 10), switched("m1", 6, 50), c("m2", 7))
    )
    limited = rec.recommend([problem], limits=Limits(move_share=D(1))).classes[0]
    assert (limited.target, limited.costs[FS(lv.LEVERS)]) == ("m2", D(70))


def test_a_move_that_restores_quality_is_not_for_money():
    assert solve(c("m0", 10, "falls_short"), switched("m1", 9, 500)).target == "m1"
