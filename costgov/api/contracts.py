"""Prices agreed and assumed: contracts, what-if price books, and what proposed prices would do."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from billing.core.contract_documents import parse_contract
from billing.core.price_scenarios import parse_price_scenario
from billing.models import PriceScenario as StoredScenario
from billing.operations.contracts import approve_contract, discard_contract, end_contract, propose_contract
from billing.operations.price_scenarios import delete_price_scenario, save_price_scenario
from billing.queries.contract_pages import ContractPage, ContractsPage, contract_page, contracts_page
from billing.queries.price_list import Proposal, proposals_of
from costgov.api.base import ApiView, actor_of, endpoint
from costgov.pages import now, today
from costgov.queries.price_effects import PriceEffects, proposal_effects, scenario_effects

TAG = "Prices"
WRITE = "prices:write"


class ContractInput(serializers.Serializer[Any]):
    contract = serializers.DictField(help_text="A document of costgov.contract/1.")


class EndInput(serializers.Serializer[Any]):
    ends_on = serializers.DateField(help_text="The first day without the contract.")


class ScenarioInput(serializers.Serializer[Any]):
    scenario = serializers.DictField(help_text="A document of costgov.price_scenario/1.")


@dataclass(frozen=True, slots=True)
class KeptScenario:
    """A what-if price book as it is kept."""

    id: int
    name: str
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proposals:
    """Prices that wait for a decision; `effects` of approving all of them, None where there are none."""

    on: date
    proposals: tuple[Proposal, ...]
    effects: PriceEffects | None


class ContractsView(ApiView):
    @endpoint(summary="Contracts, newest first", tag=TAG, answers=ContractsPage)
    def get(self, request: Request) -> Response:
        """Every contract with its rates and credits, and what they took off the last whole month."""
        return Response(contracts_page(as_of=now()))

    @endpoint(summary="Propose a contract", tag=TAG, scope=WRITE, body=ContractInput, answers=ContractPage, status=201)
    def post(self, request: Request) -> Response:
        """It prices nothing until somebody else approves it."""
        row = propose_contract(
            actor=actor_of(request), new=parse_contract(self.given(ContractInput)["contract"]), as_of=now()
        )
        return Response(contract_page(contract_id=row.pk, as_of=now()), status=201)


class ContractView(ApiView):
    @endpoint(summary="One contract", tag=TAG, answers=ContractPage, refusals=(404,))
    def get(self, request: Request, contract_id: int) -> Response:
        """Its rates, credits and what it took off the last whole month."""
        return Response(_contract(contract_id))

    @endpoint(summary="Discard a proposed contract", tag=TAG, scope=WRITE, status=204, refusals=(404,))
    def delete(self, request: Request, contract_id: int) -> Response:
        """Only while it is proposed; an approved one is ended."""
        _contract(contract_id)
        discard_contract(actor=actor_of(request), contract_id=contract_id, as_of=now())
        return Response(status=204)


class ContractApproveView(ApiView):
    @endpoint(summary="Approve a contract", tag=TAG, scope=WRITE, answers=ContractPage, refusals=(404,))
    def post(self, request: Request, contract_id: int) -> Response:
        """By somebody else than who proposed it."""
        _contract(contract_id)
        approve_contract(actor=actor_of(request), contract_id=contract_id, as_of=now())
        return Response(_contract(contract_id))


class ContractEndView(ApiView):
    @endpoint(
        summary="End a contract early", tag=TAG, scope=WRITE, body=EndInput, answers=ContractPage, refusals=(404,)
    )
    def post(self, request: Request, contract_id: int) -> Response:
        """From a day on; not inside a closed month."""
        _contract(contract_id)
        end_contract(actor=actor_of(request), contract_id=contract_id, as_of=now(), **self.given(EndInput))
        return Response(_contract(contract_id))


class ScenariosView(ApiView):
    @endpoint(summary="What-if price books", tag=TAG, answers=tuple[KeptScenario, ...])
    def get(self, request: Request) -> Response:
        """Every kept one; their names are what `GET /spend?prices=` takes."""
        return Response(tuple(_kept(row) for row in StoredScenario.objects.order_by("name")))

    @endpoint(summary="Keep what-if prices", tag=TAG, scope=WRITE, body=ScenarioInput, answers=KeptScenario, status=201)
    def post(self, request: Request) -> Response:
        """They price nothing real."""
        scenario = parse_price_scenario(self.given(ScenarioInput)["scenario"])
        return Response(_kept(save_price_scenario(actor=actor_of(request), scenario=scenario, as_of=now())), status=201)


class ScenarioView(ApiView):
    @endpoint(summary="What what-if prices would do", tag=TAG, answers=PriceEffects, refusals=(404,))
    def get(self, request: Request, scenario_id: int) -> Response:
        """The last whole month's usage at them, and the next twelve months. Takes some seconds."""
        scenario = parse_price_scenario(_scenario(scenario_id).document)
        return Response(scenario_effects(scenario, as_of=now()))

    @endpoint(
        summary="Change what-if prices", tag=TAG, scope=WRITE, body=ScenarioInput, answers=KeptScenario, refusals=(404,)
    )
    def put(self, request: Request, scenario_id: int) -> Response:
        """The whole document anew."""
        _scenario(scenario_id)
        scenario = parse_price_scenario(self.given(ScenarioInput)["scenario"])
        row = save_price_scenario(actor=actor_of(request), scenario=scenario, as_of=now(), scenario_id=scenario_id)
        return Response(_kept(row))

    @endpoint(summary="Delete what-if prices", tag=TAG, scope=WRITE, status=204, refusals=(404,))
    def delete(self, request: Request, scenario_id: int) -> Response:
        """Forecasts made with them keep their figures."""
        _scenario(scenario_id)
        delete_price_scenario(actor=actor_of(request), scenario_id=scenario_id, as_of=now())
        return Response(status=204)


class ProposalsView(ApiView):
    @endpoint(summary="Proposed prices and their effect", tag=TAG, answers=Proposals)
    def get(self, request: Request) -> Response:
        """What approving all of them would do to last month and to the next twelve. Takes some seconds."""
        return Response(Proposals(today(), proposals_of(), proposal_effects(as_of=now())))


def _contract(contract_id: int) -> ContractPage:
    found = contract_page(contract_id=contract_id, as_of=now())
    if found is None:
        raise NotFound(f"There is no contract {contract_id}.")
    return found


def _scenario(scenario_id: int) -> StoredScenario:
    row = StoredScenario.objects.filter(pk=scenario_id).first()
    if row is None:
        raise NotFound(f"There is no price scenario {scenario_id}.")
    return row


def _kept(row: StoredScenario) -> KeptScenario:
    return KeptScenario(row.pk, row.name, row.document)
