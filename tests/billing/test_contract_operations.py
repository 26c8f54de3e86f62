"""Contracts are proposed by one person and approved by another; ended, never changed; the document is strict."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.core.contract_documents import (
    SCHEMA,
    ContractRefused,
    contract_document,
    parse_contract,
    read_contract,
)
from billing.core.price_scenarios import ScenarioRefused, parse_price_scenario
from billing.models import BillingPeriod, Contract
from billing.models import PriceScenario as StoredScenario
from billing.operations.contracts import (
    approve_contract,
    discard_contract,
    document_of,
    end_contract,
    propose_contract,
)
from billing.operations.price_scenarios import delete_price_scenario, save_price_scenario
from billing.queries.books import scenario_named
from billing.queries.contracts import contract_terms
from costgov.models import User

AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
D = Decimal
DOCUMENT = {
    "schema": SCHEMA,
    "name": "Acme 2026",
    "channel": "anthropic",
    "from": "2026-10-01",
    "to": "2027-10-01",
    "source": "order form of 20 September",
    "checked_on": "2026-09-21",
    "note": "",
    "rates": [
        {"percent_off": "10"},
        {"model": "claude-opus-5-5", "token_kind": "output", "usd_per_unit": "17", "from": "2027-01-01"},
    ],
    "credits": [{"name": "Launch", "amount_usd": "5000", "from": "2026-10-01", "to": "2027-01-01"}],
}


@pytest.fixture
def people(db):
    found = {}
    for name, role in (("paula", "procurement"), ("petra", "procurement"), ("emil", "engineer")):
        found[name] = User.objects.create_user(name)
        found[name].groups.add(Group.objects.get(name=role))
    return found


def propose(people, **facts):
    return propose_contract(actor=people["paula"], new=parse_contract({**DOCUMENT, **facts}), as_of=AS_OF)


def test_a_proposal_prices_nothing_until_somebody_else_approves_it(people):
    row = propose(people)
    assert contract_terms() == ()
    with pytest.raises(ContractRefused, match="somebody else who may edit prices"):
        approve_contract(actor=people["paula"], contract_id=row.pk, as_of=AS_OF)
    with pytest.raises(Forbidden):
        approve_contract(actor=people["emil"], contract_id=row.pk, as_of=AS_OF)
    approve_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF)
    (terms,) = contract_terms()
    assert (terms.name, terms.rates[0].percent, terms.rates[1].usd_per_unit) == ("Acme 2026", D(-10), D(17))
    assert terms.credits[0].amount_usd == D(5000) and terms.known_at == AS_OF
    with pytest.raises(ContractRefused, match="approved already"):
        approve_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF)
    with pytest.raises(ContractRefused, match="end it instead"):
        discard_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF)
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == ["contract.proposed", "contract.approved"]
    assert AuditEntry.objects.get(action="contract.proposed").after == document_of(row) == DOCUMENT


def test_a_proposal_can_be_discarded_and_its_name_used_again(people):
    row = propose(people)
    with pytest.raises(ContractRefused, match="already"):
        propose(people)
    assert discard_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF) == "Acme 2026"
    propose(people)
    with pytest.raises(ContractRefused, match="not there any more"):
        approve_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF)


def test_a_contract_ends_early_but_not_inside_what_was_settled(people):
    row = propose(people)
    end = {"actor": people["petra"], "contract_id": row.pk, "as_of": AS_OF}
    with pytest.raises(ContractRefused, match="only proposed"):
        end_contract(**end, ends_on=date(2026, 12, 1))
    approve_contract(actor=people["petra"], contract_id=row.pk, as_of=AS_OF)
    BillingPeriod.objects.create(
        month=date(2026, 10, 1), state="closed", prices_known_at=AS_OF, closed_at=AS_OF
    )  # fmt: skip
    for day, said in (
        (date(2026, 10, 1), "not after its first day"),
        (date(2026, 10, 20), "October 2026 is closed with it; give 2026-11-01 or later"),
        (date(2027, 10, 1), "ends on 2027-10-01 anyway"),
    ):
        with pytest.raises(ContractRefused, match=said):
            end_contract(**end, ends_on=day)
    end_contract(**end, ends_on=date(2026, 11, 1))
    (terms,) = contract_terms()
    assert terms.valid_to == date(2026, 11, 1) and Contract.objects.get().ended_at == AS_OF


def test_only_who_may_edit_prices_proposes(people):
    with pytest.raises(Forbidden):
        propose_contract(actor=people["emil"], new=parse_contract(DOCUMENT), as_of=AS_OF)
    with pytest.raises(ContractRefused, match="lies ahead"):
        propose(people, checked_on="2026-11-25")


def test_the_document_is_what_it_was_read_from():
    assert contract_document(read_contract(json.dumps(DOCUMENT))) == DOCUMENT


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"schema": "x"}, 'schema: "x"'),
        ({"name": ""}, "name"),
        ({"channel": "fax"}, "channel"),
        ({"from": ""}, "from: missing"),
        ({"to": "2026-10-01"}, "starts 2026-10-01, but ends 2026-10-01"),
        ({"source": ""}, "source: missing"),
        ({"checked_on": None}, "checked_on: missing"),
        ({"price": 1}, "contract.price: unknown key"),
        ({"rates": [], "credits": []}, "nothing is agreed"),
        ({"rates": [{"percent_off": "-5"}]}, r"rates\[0\].percent_off: -5"),
        ({"rates": [{"percent_off": "101"}]}, r"rates\[0\].percent_off: 101"),
        ({"rates": [{"percent_off": 5}]}, "decimal string"),
        ({"rates": [{"percent_off": "5"}] * 2}, "two rates for every model"),
        ({"rates": [{}]}, "either a percentage or a fixed price"),
        ({"credits": [{"name": "x", "amount_usd": "0.001", "from": "2026-10-01"}]}, "at most to the cent"),
        ({"credits": [{"name": "", "amount_usd": "5", "from": "2026-10-01"}]}, "name: missing"),
        ({"credits": [{"name": "x", "amount_usd": "5"}]}, "from: missing"),
        ({"credits": [{"name": "x", "amount_usd": "5", "from": "2026-10-01", "to": "2026-10-01"}]}, "not after"),
    ],
)
def test_a_document_that_cannot_be_used_is_refused(facts, said):
    with pytest.raises(ContractRefused, match=said):
        parse_contract({**DOCUMENT, **facts})


SCENARIO = {"schema": "costgov.price_scenario/1", "title": "Dearer", "changes": [{"percent": "10"}]}


def test_scenarios_are_kept_changed_and_deleted_with_a_trail(people):
    save = {"actor": people["paula"], "as_of": AS_OF}
    row = save_price_scenario(**save, scenario=parse_price_scenario(SCENARIO))
    assert scenario_named("Dearer").changes[0].percent == D(10)
    with pytest.raises(ScenarioRefused, match="already"):
        save_price_scenario(**save, scenario=parse_price_scenario(SCENARIO))
    changed = {**SCENARIO, "title": "Cheaper", "changes": [{"percent": "-10"}]}
    save_price_scenario(**save, scenario=parse_price_scenario(changed), scenario_id=row.pk)
    save_price_scenario(**save, scenario=parse_price_scenario(changed), scenario_id=row.pk)  # nothing changed
    assert scenario_named("Cheaper").changes[0].percent == D(-10)
    with pytest.raises(Forbidden):
        delete_price_scenario(actor=people["emil"], scenario_id=row.pk, as_of=AS_OF)
    assert delete_price_scenario(**save, scenario_id=row.pk) == "Cheaper"
    assert not StoredScenario.objects.exists()
    with pytest.raises(ScenarioRefused, match="deleted"):
        delete_price_scenario(**save, scenario_id=row.pk)
    assert [entry.action.partition(".")[2] for entry in AuditEntry.objects.order_by("pk")] == [
        "created",
        "changed",
        "deleted",
    ]
