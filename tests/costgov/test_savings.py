"""Proven, unproven and realised savings, and the evals worth running, on figures a reader can add up."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from audit.operations import bump_data_version
from billing.models import Price
from costgov.queries.evals_to_run import _cases_at_rate
from costgov.queries.evidence_needed import UnknownModel, evidence_needed, model_outlook
from costgov.queries.recommendation import recommendation_view
from costgov.queries.savings import NoSuchPeriod, class_steps, savings
from routing.core.evalues import log_e_values, log_threshold
from tests.costgov import small_world as world


@pytest.fixture
def organisation(db: Any) -> None:
    """28 days of 100 requests of 2,000 + 300 tokens: 0.0175 on opus, 0.0035 on haiku, which served the last 14."""
    cache.clear()
    world.people()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    for back in range(28, 0, -1):
        model = world.OPUS if back > 14 else world.HAIKU
        world.use(world.TODAY - timedelta(days=back), model, "triage", 100, (200_000, 30_000))
        world.use(world.TODAY - timedelta(days=back), world.SONNET, "drafting", 50, (50_000, 40_000))
    world.evals("triage", world.OPUS, 199, 200, world.AS_OF - timedelta(days=30))
    world.evals("triage", world.HAIKU, 199, 200, world.AS_OF - timedelta(days=30))
    bump_data_version()


@pytest.mark.usefixtures("organisation")
def test_realised_is_the_served_requests_on_the_baseline_less_what_they_cost() -> None:
    shown = savings(as_of=world.AS_OF).shown
    row = next(row for row in shown.rows if row.request_class == "triage")
    # 2,800 × 0.0175 = 49.00; served: 1,400 × 0.0175 + 1,400 × 0.0035 = 29.40.
    assert (row.baseline_usd, row.served_usd, row.saving_usd) == (Decimal("49.00"), Decimal("29.40"), Decimal("19.60"))
    assert not row.is_assumed and row.source == "measured: 1,400 requests of this class"
    drafting = next(row for row in shown.rows if row.request_class == "drafting")
    # 1,400 × (1,000 + 800 tokens): 0.015 on sonnet, assumed the same tokens on opus: 0.025.
    assert (drafting.baseline_usd, drafting.saving_usd) == (Decimal("35.00"), Decimal("14.00"))
    assert drafting.is_assumed
    assert (shown.measured_usd, shown.assumed_usd) == (Decimal("19.60"), Decimal("14.00"))
    assert shown.saving_usd == shown.measured_usd + shown.assumed_usd == shown.baseline_usd - shown.served_usd


@pytest.mark.usefixtures("organisation")
def test_twice_the_volume_is_no_higher_share_saved() -> None:
    before = savings(as_of=world.AS_OF).shown
    for back in range(28, 0, -1):
        model = world.OPUS if back > 14 else world.HAIKU
        world.use(world.TODAY - timedelta(days=back), model, "triage", 100, (200_000, 30_000), workspace="more")
        world.use(world.TODAY - timedelta(days=back), world.SONNET, "drafting", 50, (50_000, 40_000), workspace="more")
    bump_data_version()
    after = savings(as_of=world.AS_OF).shown
    assert after.saving_usd == 2 * before.saving_usd and after.share == before.share


@pytest.mark.usefixtures("organisation")
def test_a_price_that_changes_within_the_period_is_a_row_of_its_own() -> None:
    """Opus at half its price from the 14th day before: both sides at the later prices, the rest is no saving."""
    for kind, usd in (("uncached_input", "2.5"), ("output", "12.5")):
        Price.objects.create(
            model=world.OPUS, token_kind=kind, usd_per_unit=Decimal(usd), valid_from=world.TODAY - timedelta(days=14),
            source="by hand", checked_on=world.TODAY, proposed_at=world.AS_OF, approved_at=world.AS_OF,
        )  # fmt: skip
    bump_data_version()
    row = next(row for row in savings(as_of=world.AS_OF).shown.rows if row.request_class == "triage")
    # At the later prices: 2,800 × 0.00875 = 24.50; served 1,400 × 0.00875 + 1,400 × 0.0035 = 17.15.
    assert (row.baseline_usd, row.served_usd, row.saving_usd) == (Decimal("24.50"), Decimal("17.15"), Decimal("7.35"))
    assert (row.price_change_usd, row.list_usd) == (Decimal("12.25"), Decimal("29.40"))


@pytest.mark.usefixtures("organisation")
def test_the_kinds_are_apart_and_sum_to_the_recommendation() -> None:
    found = savings(as_of=world.AS_OF)
    kinds = found.kinds
    assert kinds is not None
    assert kinds.proven_usd + kinds.unproven_usd + kinds.decided_usd == kinds.total_usd
    assert not kinds.quality and kinds.quality_usd == 0 and found.scope.note == ""
    assert kinds.total_usd == found.recommendation.saving_usd_per_month
    assert all(row.why for row in kinds.unproven)
    for step in class_steps(found.recommendation):
        assert step.baseline_usd - sum(step.saved_usd) == step.recommended_usd


@pytest.mark.usefixtures("organisation")
def test_a_period_that_is_not_closed_has_no_realised_saving() -> None:
    with pytest.raises(NoSuchPeriod, match="no realised saving for '2026-10': use one of 28d"):
        savings(as_of=world.AS_OF, period="2026-10")


@pytest.mark.usefixtures("organisation")
def test_the_value_of_the_next_eval() -> None:
    found = evidence_needed(as_of=world.AS_OF)
    row = next(row for row in found.rows if row.model == world.HAIKU)
    # 1,400 requests of drafting: 21.00 on sonnet, 7.00 on haiku; × 30.4375 / 28 = 15.22 a month.
    assert (row.request_class, row.saving_usd, row.verdict_text) == ("drafting", Decimal("15.22"), "No evidence")
    assert row.to_run.cases is not None and row.to_run.run_usd is not None
    assert row.usd_per_case == (row.saving_usd / row.to_run.cases).quantize(Decimal("0.01"))
    assert row.net_usd == row.saving_usd - row.to_run.run_usd
    view = recommendation_view(as_of=world.AS_OF)
    assert found.total_usd == sum(row.saving_usd for row in found.rows if row.is_best_of_class)
    assert {(each.request_class, each.model) for each in view.missing_evidence} == {
        (each.request_class, each.model) for each in found.rows
    }


@pytest.mark.usefixtures("organisation")
def test_what_a_model_could_save_class_by_class() -> None:
    found = model_outlook(model=world.HAIKU, as_of=world.AS_OF)
    standing = {row.request_class: row.standing for row in found.rows}
    assert standing["drafting"] == "evaluate" and standing["triage"] in {"serves", "recommended"}
    assert (found.to_evaluate, found.total_usd) == (1, Decimal("15.22"))
    with pytest.raises(UnknownModel, match="Nobody has placed 'gpt-9'"):
        model_outlook(model="gpt-9", as_of=world.AS_OF)


@pytest.mark.usefixtures("organisation")
def test_a_model_without_cases_takes_as_many_as_one_as_good_as_what_serves() -> None:
    """Sonnet serves drafting: until it has cases of its own the fewest count, then those of its pass rate."""
    before = next(row for row in model_outlook(model=world.HAIKU, as_of=world.AS_OF).rows if row.to_run)
    assert before.to_run is not None
    assert (before.to_run.cases, before.to_run.fewest) == (43, 43)
    assert (before.to_run.cases_text, before.suites) == ("if not one fails", ())
    world.evals("drafting", world.SONNET, 197, 200, world.AS_OF - timedelta(days=2))
    bump_data_version()
    after = next(row for row in model_outlook(model=world.HAIKU, as_of=world.AS_OF).rows if row.to_run)
    assert after.to_run is not None
    assert (after.to_run.cases, after.to_run.fewest) == (65, 43)
    assert after.to_run.cases_text == f"if it does as well as {world.SONNET} (98.5%); 43 if not one fails"
    assert [suite.import_line for suite in after.suites] == ["manage.py import_evals results.csv --class drafting"]


@pytest.mark.parametrize(
    ("rate", "cases"), [(0.98, 178), (0.985, 140), (1.0, 74)]
)  # as docs/algorithms/recommendation.md says
def test_cases_at_a_rate_are_the_fewest_that_clear(rate: float, cases: int) -> None:
    goal = log_threshold(0.05, 2)
    assert _cases_at_rate(rate, 0.93, goal, 30) == cases
    assert float(log_e_values(rate * (cases - 1), cases - 1, 0.93)[0]) < goal
    assert float(log_e_values(rate * cases, cases, 0.93)[0]) >= goal


@pytest.mark.usefixtures("organisation")
def test_pages_say_what_is_proven_what_needs_evidence_and_what_happened(client: Client, settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF
    client.login(username="vic", password=world.PASSWORD)
    said = client.get("/savings/").content.decode()
    assert "$33.60" in said and "no saving" in said and "Not measured: no decision records" in said
    assert "$15.22" in client.get("/evidence-needed/").content.decode()
    outlook = client.get(f"/evidence-needed/{world.HAIKU}/").content.decode()
    assert "Evaluate it" in outlook and "No suite has been run for it yet" in outlook
    unplaced = client.get("/evidence-needed/gpt-9/")
    assert unplaced.status_code == 404 and "Procurement adds models and prices" in unplaced.content.decode()
    assert client.get("/savings/?period=1999-01").status_code == 404
