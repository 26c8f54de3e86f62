"""Constraints of the estate and of classes, what they cost, and the frontier, on figures a reader can add up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from audit.models import AuditEntry
from audit.operations import bump_data_version
from audit.roles import Forbidden
from billing.models import DailyUsage, ModelRelease, Price
from costgov.jsonout import dumps
from costgov.queries.estate import Corner, FrontierPoint, constraints_view, frontier_view, trade_offs
from costgov.queries.plan import class_plans
from costgov.queries.recommendation import draft_view, recommended_report
from gateway.engine import compile_policy
from routing.core.coupling import Limits
from routing.core.drafts import recommended_assignment
from routing.core.recommendation import ClassRecommendation
from routing.models import EstateConstraints, RequestClass
from routing.operations.constraints import ConstraintsRefused, set_constraints
from routing.queries.recommendation import plan_costs
from tests.costgov import small_world as world

D = Decimal


@pytest.fixture
def people(db: Any) -> dict[str, Any]:
    """28 days, opus serving both classes: triage 2,800 requests of 2,000 + 300 tokens (0.0175 on opus, 0.0035 on
    haiku), drafting 1,400 of 1,000 + 800 (0.0250 on opus, 0.0150 on sonnet). Tokens are the same on every model."""
    cache.clear()
    found = world.people()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    for back in range(28, 0, -1):
        on = world.TODAY - timedelta(days=back)
        world.use(on, world.OPUS, "triage", 100, (200_000, 30_000))
        world.use(on, world.OPUS, "drafting", 50, (50_000, 40_000))
    world.evals("triage", world.OPUS, 200, 200, world.AS_OF - timedelta(days=30))
    world.evals("triage", world.HAIKU, 196, 200, world.AS_OF - timedelta(days=30))
    world.evals("drafting", world.OPUS, 392, 400, world.AS_OF - timedelta(days=30))
    world.evals("drafting", world.SONNET, 380, 400, world.AS_OF - timedelta(days=30))
    return found


def rows(limits: Limits | None = None) -> dict[str, ClassRecommendation]:
    if limits is not None:
        set_constraints(actor=None, limits=limits, reason="tried in a test", as_of=world.AS_OF)
    return {row.request_class: row for row in recommended_report(as_of=world.AS_OF).recommendation.classes}


def change(slug: str, **facts: Any) -> None:
    RequestClass.objects.filter(slug=slug).update(**facts)
    bump_data_version()


def reason_of(row: ClassRecommendation, model: str) -> str:
    return next(option.reason for option in row.options if option.model == model)


# -- what a class allows -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_without_constraints_each_class_has_its_cheapest_model_that_clears() -> None:
    found = rows()
    assert {slug: (row.target, row.recommended_cost_usd) for slug, row in found.items()} == {
        "triage": (world.HAIKU, D("9.80")),  # 2,800 × 0.0035
        "drafting": (world.SONNET, D("21.00")),  # 1,400 × 0.0150
    }


@pytest.mark.usefixtures("people")
def test_only_models_the_class_allows_may_serve_it() -> None:
    change("triage", allowed_models=[world.OPUS, world.SONNET])
    row = rows()["triage"]
    assert (row.target, reason_of(row, world.HAIKU)) == (world.OPUS, "not among the models this class allows")


@pytest.mark.usefixtures("people")
def test_a_model_without_a_price_in_the_geo_is_refused_and_costs_are_those_of_the_geo() -> None:
    for price in Price.objects.filter(model=world.OPUS):
        price.pk, price.geo, price.usd_per_unit = None, "us", price.usd_per_unit * D("1.1")
        price.save(force_insert=True)
    change("triage", required_geo="us")
    row = rows()["triage"]
    assert row.target == world.OPUS
    assert reason_of(row, world.HAIKU) == f"no price for {world.HAIKU} in inference geo us, where the class must stay"
    # 2,800 × 0.0175 × 1.1; the usage of the window was global and cost 49.00.
    assert (row.recommended_cost_usd, row.current_cost_usd) == (D("53.90"), D("49.00"))


@pytest.mark.usefixtures("people")
def test_a_class_already_in_its_geo_pays_its_premium_once() -> None:
    for price in Price.objects.all():
        price.pk, price.geo, price.usd_per_unit = None, "us", price.usd_per_unit * D("1.1")
        price.save(force_insert=True)
    DailyUsage.objects.filter(request_class="triage").update(geo="us")
    change("triage", required_geo="us")
    row = rows()["triage"]
    assert (row.target, row.current_cost_usd, row.recommended_cost_usd) == (world.HAIKU, D("53.90"), D("10.78"))


@pytest.mark.usefixtures("people")
def test_a_retired_model_and_one_too_small_for_the_prompt_are_refused() -> None:
    ModelRelease.objects.filter(canonical_id=world.HAIKU).update(retires_on=world.TODAY)
    ModelRelease.objects.filter(canonical_id=world.SONNET).update(max_input_tok=900)
    bump_data_version()
    found = rows()
    assert reason_of(found["triage"], world.HAIKU) == "retired on 23 Nov 2026"
    assert reason_of(found["drafting"], world.SONNET) == (
        "takes 900 input tokens at most; a request of this class has 1,000 on average"
    )


@pytest.mark.usefixtures("people")
def test_a_protected_class_keeps_its_model() -> None:
    change("triage", is_protected=True)
    assert rows()["triage"].target == world.OPUS


@pytest.mark.parametrize(
    ("failure_usd", "target", "move"),
    [(None, world.SONNET, "save"), ("0.30", world.SONNET, "save"), ("0.40", world.OPUS, "keep")],
)
@pytest.mark.usefixtures("people")
def test_the_price_of_a_failure_decides_and_is_in_no_cost(failure_usd: str | None, target: str, move: str) -> None:
    """drafting: sonnet saves 0.0100 a request and fails 3 points more often: worth it up to 0.3333 a failure."""
    change("drafting", failure_usd=failure_usd)
    row = rows()["drafting"]
    assert (row.target, row.move) == (target, move)
    assert row.recommended_cost_usd == (D("21.00") if target == world.SONNET else D("35.00"))


@pytest.mark.usefixtures("people")
def test_a_dearer_model_may_be_worth_its_fewer_failures() -> None:
    DailyUsage.objects.filter(request_class="drafting").update(model=world.SONNET)
    change("drafting", failure_usd="0.40")
    row = rows()["drafting"]
    assert (row.incumbent, row.target, row.move, row.saving_usd) == (
        world.SONNET, world.OPUS, "avoid_failures", D("-14.00"),
    )  # fmt: skip
    assert row.reason == (
        f"{world.OPUS} costs 0.01000 usd more a request, and its failures 0.01200 usd less at the price the class "
        "puts on one"
    )


# -- what the estate keeps -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_half_of_all_requests_may_move() -> None:
    """Triage saves 0.0140 a request, drafting 0.0100: 2,100 of 4,200 may move, three quarters of triage."""
    found = rows(Limits(move_share=D("0.5")))
    triage = found["triage"]
    assert (triage.target, triage.target_share, triage.split_with) == (world.HAIKU, D("0.75"), world.OPUS)
    assert triage.recommended_cost_usd == D("19.60")  # 2,100 × 0.0035 + 700 × 0.0175
    assert (found["drafting"].target, found["drafting"].move) == (world.OPUS, "keep")
    view = constraints_view(as_of=world.AS_OF)
    assert view.effect is not None
    (binding,) = view.effect.binding
    # 54.60 instead of 30.80 in 28 days; a point is 42 requests of 0.0140.
    assert (binding.usd_per_month, binding.usd_per_point_and_month) == (D("25.87"), D("0.64"))
    assert view.effect.cost_usd_per_month == D("25.87")


@pytest.mark.usefixtures("people")
def test_a_split_class_is_drafted_as_target_baseline_and_rollout_and_forecast_as_both() -> None:
    rows(Limits(move_share=D("0.5")))
    draft = draft_view(as_of=world.AS_OF)
    assert draft.document["assignments"]["triage"] == {
        "target": {"model": world.HAIKU},
        "baseline": {"model": world.OPUS},
        "rollout": {"basis_points": 7500, "salt": "triage"},
    }
    compile_policy(draft.document)
    change = next(row for row in draft.changes if row.request_class == "triage")
    assert change.after == f"{world.HAIKU}, for 75% of requests, the rest on {world.OPUS}"
    report = recommended_report(as_of=world.AS_OF)
    plan = class_plans(report, as_of=world.AS_OF)["triage"]
    assert plan.target is not None and set(plan.models) == {world.HAIKU, world.OPUS}
    costs = plan_costs(report, models={"triage": plan.models}, on=report.end)["triage"]
    assert plan.target.unit_cost_usd(costs.by_model) == pytest.approx(0.007)  # 19.60 / 2,800


@pytest.mark.usefixtures("people")
def test_the_salt_of_a_rollout_in_force_is_kept() -> None:
    rows(Limits(move_share=D("0.5")))
    report = recommended_report(as_of=world.AS_OF)
    row = next(row for row in report.recommendation.classes if row.request_class == "triage")
    before = {"target": {"model": world.HAIKU}, "rollout": {"basis_points": 2500, "salt": "triage.1"}}
    assert recommended_assignment(row, report.recommendation, before)["rollout"] == {
        "basis_points": 7500,
        "salt": "triage.1",
    }


@pytest.mark.usefixtures("people")
def test_usage_without_request_counts_weighs_every_class_by_tokens() -> None:
    DailyUsage.objects.filter(request_class="drafting").update(requests=None)
    problems = recommended_report(as_of=world.AS_OF).facts.problems
    assert {row.request_class: row.volume for row in problems} == {"triage": D("5.6"), "drafting": D("1.4")}


@pytest.mark.usefixtures("people")
def test_constraints_nobody_can_keep_say_what_can_be_reached() -> None:
    rows(Limits(quality_floor=D("0.999")))
    view = constraints_view(as_of=world.AS_OF)
    assert view.effect is not None and view.effect.problem == (
        # (2,800 × 1 + 1,400 × 0.98) / 4,200
        "a quality of 99.90% cannot be reached: the best admissible models give 99.33%"
    )
    assert view.cost_usd_per_month == D("33.48")  # 30.80 in 28 days: the choice without them


# -- setting them --------------------------------------------------------------------------------------------------


def test_versions_are_kept_and_audited(people: dict[str, Any]) -> None:
    limits = Limits(quality_floor=D("0.95"), model_caps={world.OPUS: D("0.40")})
    row = set_constraints(actor=people["eva"], limits=limits, reason="audit finding 7", as_of=world.AS_OF)
    again = set_constraints(actor=people["eva"], limits=limits, reason="again", as_of=world.AS_OF)
    assert (row.version, again.pk) == (1, row.pk)
    lifted = set_constraints(actor=people["ada"], limits=Limits(), reason="finding closed", as_of=world.AS_OF)
    assert lifted.version == 2
    entry = AuditEntry.objects.filter(action="constraints.set").latest("pk")
    assert (entry.before, entry.after, entry.note) == (
        {"quality_floor": "0.95", "move_share": None, "model_caps": {world.OPUS: "0.4"}},
        {"quality_floor": None, "move_share": None, "model_caps": {}},
        "finding closed",
    )
    with pytest.raises(Exception, match=r"append_only|Cannot"), transaction.atomic():
        EstateConstraints.objects.filter(pk=row.pk).update(reason="other")


@pytest.mark.parametrize("who", ["priya", "vic", "xen"])
def test_only_engineering_sets_them(people: dict[str, Any], who: str) -> None:
    with pytest.raises(Forbidden, match="set the constraints of the estate"):
        set_constraints(actor=people[who], limits=Limits(move_share=D("0.5")), reason="x", as_of=world.AS_OF)
    client = Client()
    client.force_login(people[who])
    assert client.get("/constraints/").status_code == 200
    assert client.post("/constraints/", {"move_share": "50", "reason": "x", "step": "set"}).status_code == 403
    assert not EstateConstraints.objects.exists()


@pytest.mark.parametrize(
    ("limits", "reason", "message"),
    [
        (Limits(quality_floor=D(1)), "x", "the floor is 1"),
        (Limits(move_share=D("1.5")), "x", "the share that may move is 1.5"),
        (Limits(model_caps={"gpt-9": D("0.5")}), "x", "'gpt-9' is not on the Prices page"),
        (Limits(move_share=D("0.12345678")), "x", "more than 6 places"),
        (Limits(move_share=D("0.5")), "  ", "Say why"),
        (Limits(), "x", "there is none to lift"),
    ],
)
@pytest.mark.usefixtures("people")
def test_what_cannot_be_set_says_why(limits: Limits, reason: str, message: str) -> None:
    with pytest.raises(ConstraintsRefused, match=message):
        set_constraints(actor=None, limits=limits, reason=reason, as_of=world.AS_OF)


def test_the_page_tries_before_it_sets(people: dict[str, Any], settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    client = Client()
    client.force_login(people["eva"])
    given = {"move_share": "50", "reason": "pilot first"}
    tried = client.post("/constraints/", {**given, "step": "try"}).content.decode()
    assert "Tried, not set" in tried and "this costs <strong>$26</strong> a month" in tried
    assert not EstateConstraints.objects.exists()
    assert client.post("/constraints/", {**given, "step": "set"}).status_code == 302
    shown = client.get("/constraints/").content.decode()
    assert "At most 50.0% of all requests may move now: this costs <strong>$26</strong> a month." in shown
    refused = client.post("/constraints/", {"quality_floor": "100", "reason": "x", "step": "try"})
    assert refused.status_code == 400 and "the floor is 1" in refused.content.decode()


@pytest.mark.usefixtures("people")
def test_page_command_and_api_give_the_same(settings: Any, capsys: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    call_command("constraints", "--set", "--move", "0.5", "--reason", "pilot first")
    capsys.readouterr()
    call_command("constraints", "--json")
    assert orjson.loads(capsys.readouterr().out) == orjson.loads(dumps(constraints_view(as_of=world.AS_OF)))
    call_command("frontier", "--json")
    assert orjson.loads(capsys.readouterr().out) == orjson.loads(dumps(frontier_view(as_of=world.AS_OF)))
    call_command("constraints", "--try", "--floor", "0.985")
    assert "Tried, not set:\n  mean quality at least 98.5%" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call_command("constraints", "--floor", "0.985")
    assert "Say --try" in capsys.readouterr().err


# -- the frontier --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_the_frontier_of_two_classes() -> None:
    """Triage on opus: 39.20 for 56 more that pass (0.70 each); drafting on opus: 14.00 for 42 (0.33 each)."""
    view = frontier_view(as_of=world.AS_OF)
    month = D("30.4375") / 28
    assert [
        (corner.request_class, corner.before, corner.after, corner.cost_usd_per_month, round(corner.quality, 6))
        for corner in view.corners
    ] == [
        ("", "", "", round(D("30.80") * month, 2), round((2800 * 0.98 + 1400 * 0.95) / 4200, 6)),
        ("drafting", world.SONNET, world.OPUS, round(D("44.80") * month, 2), round((2744 + 1372) / 4200, 6)),
        ("triage", world.HAIKU, world.OPUS, round(D("84.00") * month, 2), round((2800 + 1372) / 4200, 6)),
    ]
    assert [corner.usd_per_point for corner in view.corners] == [None, D("15.22"), D("31.96")]
    places = {point.kind: (point.cost_usd_per_month, round(point.quality or 0, 6)) for point in view.points}
    assert places["recommended"] == (D("33.48"), 0.97)
    assert places["baseline"] == places["current"] == (D("91.31"), round(4172 / 4200, 6))
    assert (view.unrated, view.rated_share) == ((), 1)


@pytest.mark.usefixtures("people")
def test_what_better_costs_and_what_cheaper_gives_up() -> None:
    found = frontier_view(as_of=world.AS_OF).trade_offs
    assert found is not None and found.better is not None
    assert (found.better.request_class, found.better_usd, found.is_one_move) == ("drafting", D("15.22"), True)
    assert (found.point_usd, found.best_usd) == (D("15.22"), D("57.83"))  # 30.80 → 84.00 in 28 days
    assert (round(found.better_quality, 9), round(found.best_quality, 6)) == (0.01, round(4172 / 4200 - 0.97, 6))
    # Nobody has tried haiku on drafting: 21.00 → 7.00 in 28 days, at its line of 90%.
    assert (found.saved_usd, found.if_cleared_saved_usd) == (D(0), D("15.22"))
    assert found.if_cleared_quality == pytest.approx((2800 * 0.98 + 1400 * 0.90) / 4200)


@pytest.mark.usefixtures("people")
def test_within_constraints_the_cheapest_is_cheaper_than_what_is_recommended() -> None:
    """Half of all requests may move: 54.60 at (2,100 × .98 + 700 × 1 + 1,400 × .98) / 4,200, off the frontier."""
    rows(Limits(move_share=D("0.5")))
    found = frontier_view(as_of=world.AS_OF).trade_offs
    assert found is not None and found.better is not None
    assert (found.saved_usd, round(found.lost_quality, 6)) == (D("25.87"), round(4130 / 4200 - 0.97, 6))
    assert (found.better.request_class, found.better_usd, found.is_one_move) == ("triage", D("31.96"), False)
    assert found.point_usd == D("31.96")  # 42 of 4,200 more pass: a whole point


def _corner(usd: str, quality: float, slug: str = "triage") -> Corner:
    return Corner(D(usd), quality, slug, "Ticket triage", "a", "b", None)


@pytest.mark.parametrize(
    ("usd", "quality", "better", "point", "saved"),
    [
        ("100.00", 0.90, "100.00", "300.00", "0"),  # on the first corner
        ("200.00", 0.905, "200.00", "200.00", "100.00"),  # on the second, a whole point above it is the last
        ("200.00", 0.906, "200.00", None, "100.00"),  # 0.9 points at most
        ("400.00", 0.915, None, None, "300.00"),  # on the last
        ("150.00", 0.900, "50.00", "250.00", "50.00"),  # dearer than the first, no better
    ],
)
def test_trade_offs_from_anywhere(usd: str, quality: float, better: str | None, point: str | None, saved: str) -> None:
    corners = [_corner("100.00", 0.90, ""), _corner("200.00", 0.905), _corner("400.00", 0.915)]
    recommended = FrontierPoint("recommended", "Recommended", D(usd), quality)
    found = trade_offs(recommended, corners)
    assert found is not None
    assert (found.better_usd if found.better is not None else None) == (None if better is None else D(better))
    assert found.point_usd == (None if point is None else D(point))
    assert found.saved_usd == D(saved)
    assert found.is_one_move == (quality in (0.90, 0.905) and usd in ("100.00", "200.00"))


def test_trade_offs_are_unknown_without_a_rate_or_a_frontier() -> None:
    assert trade_offs(FrontierPoint("recommended", "", D(1), None, "no rate"), [_corner("1", 0.9)]) is None
    assert trade_offs(FrontierPoint("recommended", "", D(1), 0.9), []) is None


def test_what_evidence_could_save_is_against_what_is_recommended() -> None:
    recommended = FrontierPoint("recommended", "", D("100.00"), 0.9)
    found = trade_offs(recommended, [_corner("100.00", 0.9, "")], [_corner("60.00", 0.85, ""), _corner("90.00", 0.9)])
    assert found is not None and (found.if_cleared_saved_usd, found.if_cleared_quality) == (D("40.00"), 0.85)
    same = trade_offs(recommended, [_corner("100.00", 0.9, "")], [_corner("100.00", 0.9, "")])
    assert same is not None and same.if_cleared_saved_usd is None


@pytest.mark.usefixtures("people")
def test_a_class_without_rates_is_named_and_left_out_of_the_mean_only() -> None:
    RequestClass.objects.create(slug="legal", title="Contract review")
    world.use(world.TODAY - timedelta(days=1), world.OPUS, "legal", 100, (100_000, 0))  # 0.50 usd
    bump_data_version()
    view = frontier_view(as_of=world.AS_OF)
    assert view.unrated == ("Contract review",)
    assert view.rated_share == pytest.approx(4200 / 4300)
    assert view.corners[0].cost_usd_per_month == D("34.02")  # 31.30 in 28 days
    assert round(view.corners[0].quality, 6) == 0.97


def test_the_frontier_page_says_what_the_next_point_costs(people: dict[str, Any], settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    client = Client()
    client.force_login(people["vic"])
    shown = client.get("/frontier/").content.decode()
    assert "One more point of quality costs <strong>$15</strong> more a month." in shown
    assert "for +1 point: Reply drafting from Sonnet 4-5 to Opus 4-5; $15 for each point at that price" in shown
    assert "The best that may serve now is +2.33 points for +$58 a month" in shown
    assert "Nothing that may serve now costs less." in shown and "claude-" not in shown.split('id="corners"')[1]
    assert "a mean quality of <strong>97.00%</strong>" in shown
