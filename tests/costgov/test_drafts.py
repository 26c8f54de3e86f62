"""A draft leads gateways to every class whose saving it shows."""

from datetime import timedelta

import pytest

from costgov.queries.recommendation import draft_view, recommended_report
from gateway.engine import compile_policy
from gateway.facts import normalise_facts
from routing.core.drafts import RegisteredClass, draft_document
from routing.models import Activation, ClassMapping
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db


@pytest.fixture
def nothing_mapped() -> None:
    """Classes with usage and evidence; no mapping of API keys and no policy."""
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage()
    world.evals("triage", world.HAIKU, 196, 200, world.AS_OF - timedelta(days=40))
    world.evals("drafting", world.SONNET, 146, 150, world.AS_OF - timedelta(days=30))
    assert not ClassMapping.objects.exists() and not Activation.objects.exists()


@pytest.mark.usefixtures("nothing_mapped")
def test_requests_that_name_their_class_get_its_model() -> None:
    draft = draft_view(as_of=world.AS_OF)
    targets = {row.request_class: row.target for row in draft.recommendation.classes}
    assert set(targets) == {"triage", "drafting"}
    assert {slug: draft.document["assignments"][slug]["target"]["model"] for slug in targets} == targets
    policy = compile_policy(draft.document)
    for raw in ({"meta.request_class": "triage"}, {"tags": ["x", "request_class:triage"]}):
        assert policy.classify(normalise_facts(raw))[1] == "triage"
    assert policy.classify(normalise_facts({"meta.request_class": "else"})) == (None, "general")


@pytest.mark.usefixtures("nothing_mapped")
def test_rules_in_force_stay_behind_those_of_a_class_they_do_not_reach() -> None:
    report = recommended_report(as_of=world.AS_OF)
    rules = [{"id": "named1", "class": "drafting", "when": [{"field": "team", "op": "in", "value": ["a"]}]}]
    first = draft_view(as_of=world.AS_OF).document
    after = draft_document(
        active={**first, "rules": rules},
        classes=[RegisteredClass("triage", "Ticket triage", "", "")],
        mappings=[],
        recommendation=report.recommendation,
        max_input_tok={},
    )
    assert [(rule["id"], rule["class"]) for rule in after["rules"][:2]] == [("named2", "triage"), ("named3", "triage")]
    assert after["rules"][2:] == rules
