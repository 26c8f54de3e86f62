"""Forecasts of a small organisation: what each policy costs, what is approved, when they are refused or the same."""

import json
from datetime import date, datetime, timedelta
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.core.scenarios import parse_scenario
from billing.core.spending import contract_months, rollout_share
from billing.models import DailyUsage, Forecast, Import, ModelRelease, Organisation, Price, UsageSource
from billing.queries.forecasts import (
    ForecastPaths,
    NoPaths,
    forecast_paths,
    forecast_result,
    kept_forecasts,
    latest_forecast,
    pack_paths,
)
from costgov.operations.forecast import make_forecast
from costgov.queries.forecast import prepare_forecast, run_forecast
from costgov.queries.forecast_alternatives import alternatives
from costgov.queries.forecast_inputs import ForecastRefused, first_of_next_month
from costgov.queries.recommendation import NoBaseline, recommended_document, recommended_report
from routing.models import RequestClass
from routing.operations.policies import activate, approve, propose
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db

AS_OF, OPUS, SONNET, HAIKU = world.AS_OF, world.OPUS, world.SONNET, world.HAIKU
BASELINE, CURRENT, OPTIMISED = 0, 1, 2


def set_up(
    *, evals: bool = True, days: int = 84, triage: str = HAIKU, drafting: bool = True, staff: bool = False
) -> dict[str, Any]:
    """Constant usage, so that every figure but the paths is plain: triage costs 0.0175 a request on opus, 0.0035 on
    haiku; drafting 0.025 on opus, 0.015 on sonnet."""
    people = world.people() if staff else {}  # passwords are hashed as in production: slow
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    RequestClass.objects.get_or_create(slug="general", defaults={"title": "Everything else"})
    for slug in ("triage", "drafting"):
        world.mapping(slug, f"key-{slug}")  # the first policy document makes its rules from these
    for back in range(days, 0, -1):
        on = world.TODAY - timedelta(days=back)
        world.use(on, triage, "triage", 100, (200_000, 30_000))
        if drafting:
            world.use(on, SONNET, "drafting", 50, (50_000, 40_000))
    if evals:
        world.evals("triage", OPUS, 198, 200, AS_OF - timedelta(days=30))
        world.evals("triage", HAIKU, 199, 200, AS_OF - timedelta(days=30))
    return people


def paths_of(**asked: Any) -> ForecastPaths:
    return forecast_paths(make_forecast(actor=None, as_of=AS_OF, paths=asked.pop("paths", 60), **asked).pk)


# -- unit costs --------------------------------------------------------------------------------------------------


def test_costs_of_every_class_under_every_policy() -> None:
    set_up(evals=False)
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=400))
    rows = {row.request_class: row for row in view.classes}
    assert float(rows["triage"].baseline_usd / rows["triage"].current_usd) == pytest.approx(0.0175 / 0.0035)
    assert float(rows["drafting"].baseline_usd / rows["drafting"].current_usd) == pytest.approx(0.025 / 0.015)
    assert rows["triage"].unit_name == "request"
    assert rows["triage"].units_per_week == pytest.approx(700)
    assert rows["triage"].growth_per_year == pytest.approx(0, abs=1e-9)
    assert float(view.current.total.p50_usd) == pytest.approx(365 * (0.35 + 0.75), rel=0.1)
    total = sum(row.current_usd for row in view.classes)
    assert float(view.current.total.mean_usd) == pytest.approx(float(total), rel=1e-6)


def test_months_sum_to_the_year_by_means_but_not_by_percentiles() -> None:
    set_up()
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=300))
    assert float(sum(view.optimised.mean_usd)) == pytest.approx(float(view.optimised.total.mean_usd), rel=1e-6)
    assert sum(view.optimised.quantiles_usd["0.9"]) > view.optimised.total.p90_usd
    assert [row.start for row in view.rows] == [first for first, _ in contract_months(view.start, 12)]
    assert view.start == date(2026, 12, 1) and view.end == date(2027, 12, 1)


def test_usage_without_request_counts_is_counted_in_tokens_and_costs_the_same() -> None:
    set_up(evals=False)
    _, counted = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    old = DailyUsage.objects.filter(request_class="triage", date__lt=world.TODAY - timedelta(days=40))
    old.update(requests=None)  # a report: it does not tell requests
    view, by_tokens = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    row = next(row for row in view.classes if row.request_class == "triage")
    assert row.unit_name == "million input tokens"
    assert row.units_per_week == pytest.approx(1.4)
    # The same seed and, on constant usage, the same paths: the unit chosen changes no figure.
    assert by_tokens.spend_usd == pytest.approx(counted.spend_usd, rel=1e-4)


def test_tokens_are_counted_on_the_incumbents_tokenizer() -> None:
    set_up(evals=False, drafting=False)
    ModelRelease.objects.filter(canonical_id=OPUS).update(tokenizer_generation=2)
    early = DailyUsage.objects.filter(date__lt=world.TODAY - timedelta(days=40))
    early.update(model=OPUS, requests=None)
    prepared = prepare_forecast(as_of=AS_OF, paths=10)
    days = prepared.inputs.classes[0].series.days
    assert days[-1] == pytest.approx(0.2)
    assert days[0] == pytest.approx(0.2 / 1.3)  # the newer tokenizer writes the same text in 1.3 times the tokens


def test_unclassified_usage_stays_at_its_current_cost_under_every_policy() -> None:
    set_up()
    for back in range(84, 0, -1):
        world.use(world.TODAY - timedelta(days=back), OPUS, "", 10, (20_000, 3_000), origin="remainder")
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    row = next(row for row in view.classes if row.request_class == "")
    assert row.baseline_usd == row.current_usd == row.optimised_usd > 0
    assert "unclassified" in row.remark
    assert view.unclassified_usd == row.current_usd


def test_unpriced_usage_is_said_and_not_in_the_sums() -> None:
    set_up(evals=False)
    before, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    world.use(world.TODAY - timedelta(days=3), "claude-unheard-of", "drafting", 1, (7_000, 1_000))
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    assert view.unpriced_tok == 8_000
    row = next(row for row in view.classes if row.request_class == "drafting")
    assert "8,000 tokens of the last 28 days have no price" in row.remark
    # The sums hardly move: one request more of 1,401, none of its cost.
    assert float(view.current.total.mean_usd) == pytest.approx(float(before.current.total.mean_usd), rel=0.02)


def test_a_class_that_fell_silent_is_listed_not_forecast() -> None:
    set_up()
    for back in range(84, 40, -1):
        world.use(world.TODAY - timedelta(days=back), OPUS, "general", 10, (20_000, 3_000))
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    assert [row.request_class for row in view.left_out] == ["general"]
    assert "general" not in {row.request_class for row in view.classes}


# -- prices ------------------------------------------------------------------------------------------------------


def test_a_price_already_dated_holds_from_its_day_on() -> None:
    set_up(evals=False, drafting=False)
    before = paths_of()
    for row in Price.objects.filter(model=HAIKU):
        row.pk, row.valid_from, row.usd_per_unit = None, date(2027, 3, 16), row.usd_per_unit / 2
        row.save()
    after = paths_of()
    ratio = after.of("current") / before.of("current")
    assert ratio[:, :3] == pytest.approx(np.ones_like(ratio[:, :3]), rel=1e-12)
    assert ratio[:, 3] == pytest.approx(np.full(60, (15 + 16 * 0.5) / 31), rel=1e-9)
    assert ratio[:, 4:] == pytest.approx(np.full((60, 8), 0.5), rel=1e-9)
    assert after.of("baseline").tobytes() == before.of("baseline").tobytes()  # opus keeps its price


def test_a_list_price_scenario_is_exact_on_every_path() -> None:
    set_up()
    base, cut = paths_of(), paths_of(scenario=parse_scenario("list-33"))
    assert cut.spend_usd[:, :, :6].tobytes() == base.spend_usd[:, :, :6].tobytes()
    assert cut.spend_usd[:, :, 6:] == pytest.approx(0.67 * base.spend_usd[:, :, 6:], rel=1e-12)


def test_a_class_switched_off_costs_nothing_and_the_others_stay() -> None:
    set_up()
    off = paths_of(scenario=parse_scenario("off:triage"))
    prepared = prepare_forecast(as_of=AS_OF, paths=60, scenario=parse_scenario("off:triage"))
    view, _ = run_forecast(prepared)
    by_class = {row.request_class: row for row in view.classes}
    assert by_class["triage"].current_usd == 0
    assert off.of("current").sum(axis=1).mean() == pytest.approx(float(by_class["drafting"].current_usd), rel=1e-6)


def test_what_no_history_covers_is_computed_beside_it() -> None:
    set_up(triage=OPUS)
    prepared = prepare_forecast(as_of=AS_OF, paths=200)
    stops, late, cut = alternatives(prepared)
    assert stops.scenario == "growth-stops"
    assert late.change_usd > 0  # three more months on the dearer model
    assert (cut.first, cut.last) == (13, 24)
    assert float(cut.change_usd) == pytest.approx(-float(cut.mean_usd) / 0.67 * 0.33, rel=1e-4)


# -- moves -------------------------------------------------------------------------------------------------------


def propose_recommended(people: dict[str, Any]) -> Any:
    report = recommended_report(as_of=AS_OF)
    document = recommended_document(report, as_of=AS_OF)
    return propose(actor=people["eva"], document=document, title="Route", evidence={}, as_of=AS_OF)


def test_a_proven_move_is_rolled_out_from_the_first_of_next_month() -> None:
    set_up(triage=OPUS, drafting=False)
    found = paths_of()
    ratio = found.of("optimised") / found.of("current")
    december = rollout_share(date(2026, 12, 1), (date(2026, 12, 1), date(2027, 1, 1)))
    assert ratio[:, 0] == pytest.approx(np.full(60, 1 - december * 0.8), rel=1e-9)
    assert ratio[:, 1:] == pytest.approx(np.full((60, 11), 1 - 0.98 * 0.8), rel=1e-9)
    late = paths_of(scenario=parse_scenario("rollout+1"))
    assert late.of("optimised")[:, 0].tobytes() == late.of("current")[:, 0].tobytes()
    stated = paths_of(rollout_start=date(2027, 2, 1))
    assert (stated.of("optimised")[:, :2] == stated.of("current")[:, :2]).all()
    assert (stated.of("optimised")[:, 2] < stated.of("current")[:, 2]).all()


def test_how_much_of_the_difference_is_approved() -> None:
    people = set_up(triage=OPUS, staff=True)
    proven, sampled = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    assert proven.difference.approved_usd == 0
    assert proven.difference.proven_usd == proven.difference.total_usd > 0
    sums = {name: [sum(path) for path in sampled.of(name).tolist()] for name in ("current", "optimised")}
    saved = sorted(now - then for now, then in zip(sums["current"], sums["optimised"], strict=True))
    # The quantile between its two neighbours of 100 futures, 0.1 × 99 = 9.9: as wide as the sums, not narrower.
    assert float(proven.difference.low_usd) == pytest.approx(saved[9] + 0.9 * (saved[10] - saved[9]))
    assert float(proven.difference.high_usd) == pytest.approx(saved[89] + 0.1 * (saved[90] - saved[89]))
    standing = {row.request_class: row.standing for row in proven.classes}
    assert standing["triage"] == "proven" and standing["drafting"] == "stays"

    change = propose_recommended(people)
    waiting, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    assert waiting.difference.approved_usd == 0  # proposed is not approved

    approve(
        actor=people["ada"],
        change_request_id=change.pk,
        content_hash=change.policy_version.content_hash,
        evidence_hash=change.evidence_hash,
        as_of=AS_OF,
    )
    approved, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    assert approved.difference.proven_usd == 0
    assert approved.difference.approved_usd == proven.difference.total_usd

    activate(actor=people["ada"], change_request_id=change.pk, as_of=AS_OF)
    active, sampled = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    assert active.difference.proven_usd == 0
    assert active.difference.approved_usd > approved.difference.approved_usd  # no stages left to wait for
    assert next(row for row in active.classes if row.request_class == "triage").standing == "approved"
    assert (sampled.of("optimised") < sampled.of("current")).all()


def test_a_policy_the_traffic_already_follows_changes_nothing() -> None:
    people = set_up(triage=HAIKU, drafting=False, staff=True)
    change = propose_recommended(people)
    approve(
        actor=people["ada"],
        change_request_id=change.pk,
        content_hash=change.policy_version.content_hash,
        evidence_hash=change.evidence_hash,
        as_of=AS_OF,
    )
    activate(actor=people["ada"], change_request_id=change.pk, as_of=AS_OF)
    later = AS_OF + timedelta(days=60)
    for back in range(60):
        world.use(world.TODAY + timedelta(days=back), HAIKU, "triage", 100, (200_000, 30_000))
    view, sampled = run_forecast(prepare_forecast(as_of=later, paths=30))
    assert next(row for row in view.classes if row.request_class == "triage").standing == "in force"
    assert sampled.of("optimised").tobytes() == sampled.of("current").tobytes()


def test_a_model_below_its_bar_is_never_moved_to() -> None:
    set_up(evals=False, triage=OPUS, drafting=False)
    world.evals("triage", OPUS, 198, 200, AS_OF - timedelta(days=30))
    world.evals("triage", HAIKU, 120, 200, AS_OF - timedelta(days=30))
    found = paths_of()
    assert found.of("optimised").tobytes() == found.of("current").tobytes()


# -- history -----------------------------------------------------------------------------------------------------


def test_a_day_a_source_covers_is_zero_and_a_day_nobody_covers_is_unknown() -> None:
    set_up(evals=False, days=40)
    gap, quiet = world.TODAY - timedelta(days=10), world.TODAY - timedelta(days=12)
    DailyUsage.objects.filter(date__in=[gap, quiet]).delete()
    DailyUsage.objects.filter(date=world.TODAY - timedelta(days=14), request_class="triage").delete()
    source = UsageSource.objects.get(name="by hand")
    start = datetime(quiet.year, quiet.month, quiet.day, tzinfo=AS_OF.tzinfo)
    Import.objects.create(
        source=source, file_name="quiet.jsonl", sha256="0" * 64, state=Import.State.DONE, created_at=AS_OF,
        period_start=start, period_end=start + timedelta(days=1),
    )  # fmt: skip
    days = next(row for row in prepare_forecast(as_of=AS_OF).inputs.classes if row.name == "triage").series.days
    assert np.isnan(days[-10])
    assert days[-12] == 0
    assert days[-14] == 0
    assert days[-13] == 100


def test_before_its_first_usage_nothing_is_known_of_a_class() -> None:
    set_up(evals=False)
    for back in range(20, 0, -1):
        world.use(world.TODAY - timedelta(days=back), OPUS, "general", 10, (20_000, 3_000))
    row = next(row for row in prepare_forecast(as_of=AS_OF).inputs.classes if row.name == "general")
    assert np.isnan(row.series.days[:-20]).all() and (row.series.days[-20:] == 10).all()
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=50))
    assert next(row for row in view.classes if row.request_class == "general").grade == "very short"


def test_hindsight_and_history_are_of_whole_months() -> None:
    set_up(evals=False, days=150)
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=100))
    assert [row.month for row in view.history] == [date(2026, month, 1) for month in (7, 8, 9, 10)]
    assert float(view.history[-1].spent_usd) == pytest.approx(31 * (0.35 + 0.75))
    assert float(view.history[-1].baseline_usd) == pytest.approx(31 * (1.75 + 1.25))
    assert [row.month for row in view.hindsight] == [date(2026, 9, 1), date(2026, 10, 1)]
    assert all(row.is_inside and float(row.actual_usd) in (33.0, pytest.approx(34.1)) for row in view.hindsight)


# -- keeping -----------------------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_forecast() -> None:
    people = set_up(staff=True)
    one = make_forecast(actor=people["eva"], as_of=AS_OF, paths=60)
    again = make_forecast(actor=people["priya"], as_of=AS_OF + timedelta(hours=3), paths=60)
    assert one.pk == again.pk
    assert AuditEntry.objects.filter(action="forecast.made").count() == 1
    other = make_forecast(actor=people["eva"], as_of=AS_OF, paths=60, scenario=parse_scenario("growth-stops"))
    assert other.pk != one.pk
    latest = latest_forecast()
    assert latest is not None and latest.pk == one.pk  # the newest of the base scenario
    assert [row.id for row in kept_forecasts()] == [other.pk, one.pk]
    world.use(world.TODAY - timedelta(days=1), OPUS, "triage", 1, (2_000, 300))
    assert make_forecast(actor=None, as_of=AS_OF, paths=60).pk not in {one.pk, other.pk}


def test_the_audit_says_who_made_it() -> None:
    people = set_up(staff=True)
    made = make_forecast(actor=people["priya"], as_of=AS_OF, paths=20)
    entry = AuditEntry.objects.get(action="forecast.made")
    assert (entry.actor_name, entry.object_id) == ("priya", str(made.pk))
    assert entry.after is not None
    assert entry.after["inputs_hash"] == made.inputs_hash
    assert made.created_by_id == people["priya"].pk


@pytest.mark.parametrize("name", ["vic", "xen"])
def test_who_may_not_make_a_forecast(name: str) -> None:
    people = set_up(staff=True)
    with pytest.raises(Forbidden, match="make a forecast"):
        make_forecast(actor=people[name], as_of=AS_OF)
    assert not Forecast.objects.exists()


def test_contract_months_from_any_day() -> None:
    set_up()
    found = paths_of(start=date(2027, 1, 15), months=12)
    assert found.months[0] == date(2027, 1, 15) and found.months[1] == date(2027, 2, 15)
    assert found.end == date(2028, 1, 15)
    assert found.policies == ("baseline", "current", "optimised")
    assert found.spend_usd.shape == (3, 60, 12) and found.spend_usd.dtype == np.float64


def test_paths_come_back_as_they_were_kept() -> None:
    set_up()
    prepared = prepare_forecast(as_of=AS_OF, paths=40)
    _, sampled = run_forecast(prepared)
    made = make_forecast(actor=None, as_of=AS_OF, paths=40)
    assert forecast_paths(made.pk).spend_usd.tobytes() == sampled.spend_usd.tobytes()
    assert pack_paths(sampled)[:2] == b"PK"
    with pytest.raises(KeyError, match="no policy 'cheapest'"):
        sampled.of("cheapest")
    with pytest.raises(NoPaths, match="Forecast 999999 does not exist"):
        forecast_paths(999_999)


def test_the_saved_result_is_what_was_shown() -> None:
    set_up()
    made = make_forecast(actor=None, as_of=AS_OF, paths=40)
    view, _ = run_forecast(prepare_forecast(as_of=AS_OF, paths=40))
    result = forecast_result(made.pk)
    optimised = next(row for row in result["policies"] if row["policy"] == "optimised")
    assert optimised["total"]["mean_usd"] == format(view.optimised.total.mean_usd, "f")
    assert result["inputs"]["paths"] == 40


# -- refusals ----------------------------------------------------------------------------------------------------


def test_without_usage_there_is_no_forecast() -> None:
    world.organisation()
    with pytest.raises(ForecastRefused, match="no usage yet"):
        prepare_forecast(as_of=AS_OF)


def test_a_few_days_are_too_short() -> None:
    set_up(evals=False, days=6)
    with pytest.raises(ForecastRefused, match="at least 7 whole days of usage; 6 are imported"):
        prepare_forecast(as_of=AS_OF)


def test_a_start_that_is_known_already_is_refused() -> None:
    set_up(evals=False)
    with pytest.raises(ForecastRefused, match="start on 2026-11-22, but usage is known to 2026-11-22"):
        prepare_forecast(as_of=AS_OF, start=date(2026, 11, 22))


@pytest.mark.parametrize("months", [0, 61])
def test_a_horizon_out_of_range_is_refused(months: int) -> None:
    set_up(evals=False)
    with pytest.raises(ForecastRefused, match="use 1 to 60"):
        prepare_forecast(as_of=AS_OF, months=months)


def test_usage_that_ended_long_ago_is_refused() -> None:
    set_up(evals=False)
    with pytest.raises(ForecastRefused, match="No class has usage in the 28 days before"):
        prepare_forecast(as_of=AS_OF + timedelta(days=40))


def test_without_a_baseline_it_says_what_to_set() -> None:
    set_up(evals=False)
    Organisation.objects.update(baseline_model="")
    with pytest.raises(NoBaseline, match="choose one in Settings"):
        prepare_forecast(as_of=AS_OF)


def test_first_of_next_month() -> None:
    assert first_of_next_month(date(2026, 11, 23)) == date(2026, 12, 1)
    assert first_of_next_month(date(2026, 12, 31)) == date(2027, 1, 1)
    assert first_of_next_month(date(2027, 1, 1)) == date(2027, 1, 1)


# -- the command -------------------------------------------------------------------------------------------------


def test_command_prints_one_json_document() -> None:
    set_up()
    out = StringIO()
    call_command("forecast", "--as-of", "2026-11-23", "--horizon", "6", "--paths", "50", "--json", stdout=out)
    document = json.loads(out.getvalue())
    assert document["months"] == 6 and len(document["rows"]) == 6
    assert [row["policy"] for row in document["policies"]] == ["baseline", "current", "optimised"]
    assert isinstance(document["rows"][0]["optimised_usd"], str)
    assert isinstance(document["accuracy"][0]["tries"], int)


def test_command_prints_a_table() -> None:
    set_up()
    out = StringIO()
    call_command("forecast", "--as-of", "2026-11-23", "--paths", "50", "--scenario", "rollout+3", stdout=out)
    assert "scenario: moves start 3 months later" in out.getvalue()
    assert "uniform baseline" in out.getvalue() and "2027-11-01" in out.getvalue()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--scenario", "boom"], "unknown scenario 'boom'"),
        (["--scenario", "off:nobody"], "no such class; there are drafting, general, triage"),
        (["--horizon", "99"], "use 1 to 60"),
        (["--from", "2026-11-01"], "usage is known to 2026-11-22"),
        (["--from", "soon"], "soon"),
        (["--paths", "1"], "use 2 to 100,000"),
    ],
)
def test_command_refuses_with_two_and_words(words: list[str], says: str) -> None:
    set_up()
    err = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("forecast", "--as-of", "2026-11-23", *words, stderr=err)
    assert ended.value.code == 2
    assert says in err.getvalue()
    assert not Forecast.objects.exists()
