"""Of the model that serves, only results on samples that the other was run on are read."""

from datetime import timedelta
from typing import Any

import pytest

from costgov.queries.eval_runs import model_runs
from routing.queries.evidence import case_results
from tests.costgov import small_world as world

THEN = world.AS_OF - timedelta(days=20)


@pytest.fixture
def tried(db: Any) -> None:
    """`drafting` on sonnet: 90 cases, 80 passed; haiku ran the first 30 of them twice; triage shares the names."""
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage()
    world.evals("drafting", world.SONNET, 80, 90, THEN)
    world.evals("drafting", world.HAIKU, 25, 30, THEN)
    world.evals("drafting", world.HAIKU, 20, 30, THEN + timedelta(days=1))
    world.evals("triage", world.HAIKU, 40, 60, THEN)


def test_only_shared_samples_of_the_same_class_are_read(tried: None) -> None:
    every = case_results(slugs=["drafting"], as_of=world.AS_OF, raw_names=[world.SONNET])["drafting"]
    read = case_results(slugs=["drafting"], as_of=world.AS_OF, raw_names=[world.SONNET], shared_with=[world.HAIKU])[
        "drafting"
    ]
    shared = {f"case-{n}" for n in range(30)}  # not the 60 of the other class
    assert (len(every), len(read)) == (90, 30)
    assert read == [row for row in every if row.sample_id in shared]


def test_the_page_still_compares_all_that_both_ran(tried: None) -> None:
    found = model_runs(slug="drafting", model=world.HAIKU, as_of=world.AS_OF).pairing
    assert found is not None and found.other == world.SONNET
    assert (found.cases, found.only_this_passed) == (30, 0)
    assert model_runs(slug="drafting", model=world.SONNET, as_of=world.AS_OF).full_passes == 80
