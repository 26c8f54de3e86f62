"""Which role may post where: one table of every address that takes a change, each really posted to by everybody.

A post of somebody who may not is refused and writes nothing: PostgreSQL itself counts the rows written. A post of
somebody who may is one the address takes, so that the refusals are not refusals of something else. An address that
takes posts and is not in the table fails the test, and so does a right that moves from one role to another.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from billing.core.contract_documents import parse_contract
from billing.core.price_scenarios import parse_price_scenario
from billing.core.terms import terms_document
from billing.models import ColumnMapping, CostCentreMapping, Import, Price, UsageSource
from billing.operations.contracts import approve_contract, propose_contract
from billing.operations.cost_centres import map_costs, save_cost_centre
from billing.operations.invoices import InvoiceEntry, LineEntry, save_invoice
from billing.operations.price_scenarios import save_price_scenario
from billing.operations.reconciliation import explain_difference
from billing.operations.tax_rates import state_tax_rate
from costgov.models import ApiToken, User
from costgov.operations.commitments import save_terms
from costgov.queries.policies import draft_page
from costgov.queries.reconciliation import month_view
from costgov.tokens import SCOPES, create_token
from routing.models import (
    ChangeRequest,
    ClassMapping,
    EvalImport,
    EvalRun,
    EvalSuiteRule,
    PolicyVersion,
    RequestClass,
    WorkItem,
)
from routing.operations.policies import activate, approve, propose
from tests.costgov import sizing_world
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db
ENGINEER, PROCUREMENT, VIEWER, ADMIN, OUTSIDER, ANONYMOUS = "E", "P", "V", "A", "X", "-"
ROLES = {ENGINEER: "eva", PROCUREMENT: "priya", VIEWER: "vic", ADMIN: "ada", OUTSIDER: "xen", ANONYMOUS: ""}
MONTH = "2026-11"
TABLE = (
    "Day,Model,Project,Input tokens,Cached tokens,Output tokens,Calls\n"
    "2026-11-20,claude-haiku-4-5,search,1000,200,50,4\n"
)
EVALS = "suite,sample_id,model,passed,input_tok,output_tok,run_at\n" + "".join(
    f"triage@1,c-{n},claude-haiku-4-5,1,100,10,2026-11-01T00:00:00Z\n" for n in range(3)
)
CONTRACT = {
    "schema": "costgov.contract/1", "name": "Frame 2027", "channel": "anthropic", "from": "2027-01-01",
    "source": "order form", "checked_on": "2026-11-02",
    "rates": [{"model": "*", "percent_off": "10"}],
}  # fmt: skip
SCENARIO = {
    "schema": "costgov.price_scenario/1", "title": "Dearer",
    "changes": [{"model": world.OPUS, "percent": "5"}],
}  # fmt: skip

# -- the table -------------------------------------------------------------------------------------------------------

# Who may, of E(ngineer) P(rocurement) V(iewer) A(dmin) X: somebody without a role. Nobody may without logging in.
PAGES = {
    "change-activate": "EA", "change-approve": "EA", "change-cancel": "EA", "change-reject": "EA",
    "class-cascade": "EA", "class-edit": "EA", "class-mapping-add": "EA", "class-mapping-remove": "EA",
    "class-new": "EA", "class-new-preview": "EA", "class-preview": "EA", "column-mapping": "EPA",
    "column-mapping-delete": "EPA", "constraints": "EA", "contract-new": "PA", "contract-step": "PA",
    "cost-centre-import": "PA", "cost-centre-map": "PA", "cost-centre-save": "PA", "cost-centre-unmap": "PA",
    "describe-discard": "EPA", "describe-preview": "EPA", "describe-table": "EPA", "eval-import-cancel": "EA",
    "eval-import-delete": "A", "eval-run-move": "EA",
    "eval-run-count-again": "EA", "eval-run-set-aside": "EA", "evals-import": "EA", "forecast": "EPA",
    "import-cancel": "EPA", "import-delete": "A", "import-upload": "EPA", "invoice-add": "PA", "invoice-check": "PA",
    "invoice-edit": "PA", "invoice-withdraw": "PA", "model-alias": "PA", "model-place": "PA", "month-adjust": "PA",
    "month-close": "PA", "month-comment": "EPA", "month-explain": "PA", "month-tolerance": "PA",
    "organisation-save": "A", "policy-propose": "EA", "policy-reclassify": "EPA", "policy-version-propose": "EA",
    "price-add": "PA", "price-file": "PA", "price-proposals": "PA", "price-scenario-delete": "PA",
    "price-scenario-edit": "PA", "price-scenario-new": "PA", "reason-withdraw": "PA", "source-setting": "EPA",
    "suite-rule-remove": "EA", "suite-rules": "EA", "tax-rate-add": "PA", "tax-rate-withdraw": "PA",
    "terms-new": "PA", "terms-size": "PA", "token-create": "EPVAX", "token-revoke": "EPVAX", "user-create": "A",
    "work-item-close": "EA",
}  # fmt: skip
# By method and address; a token does what its owner may, so everybody has one with every scope.
API = {
    "POST api-class-cascade": "EA", "POST api-class-cascade-try": "EPVAX", "POST api-run-set-aside": "EA",
    "POST api-eval-delete": "A", "POST api-run-move": "EA",
    "POST api-run-count-again": "EA", "POST api-suite-rules": "EA", "POST api-suite-rule-remove": "EA",
    "POST api-work-item-close": "EA",
    "POST api-changes": "EA", "POST api-change-activate": "EA", "POST api-change-approve": "EA",
    "POST api-change-cancel": "EA", "POST api-change-reject": "EA", "POST api-class-bar": "EA",
    "POST api-column-mappings": "EPA", "POST api-commitments": "PA", "POST api-constraints": "EA",
    "DELETE api-contract": "PA", "POST api-contract-approve": "PA", "POST api-contract-end": "PA",
    "POST api-contracts": "PA", "POST api-decide": "EPVAX", "POST api-evals": "EA", "POST api-forecast": "EPA",
    "POST api-imports": "EPA", "DELETE api-import": "A", "POST api-invoices": "PA", "POST api-month-adjust": "PA",
    "POST api-month-close": "PA", "POST api-month-comment": "EPA", "POST api-month-explain": "PA",
    "POST api-month-withdraw": "PA", "POST api-price-scenarios": "PA", "PUT api-price-scenario": "PA",
    "DELETE api-price-scenario": "PA", "POST api-tax-rates": "PA", "POST api-terms": "PA",
}  # fmt: skip
# Before anybody is logged in, and out again; and what answers to every address that is none.
OPEN = {"login", "setup", "logout", "api-nothing"}
# What is posted to these changes nothing by itself: a preview, a file that shows its difference, a decision.
READS = {"class-new-preview", "class-preview", "describe-preview", "POST api-decide", "POST api-class-cascade-try"}


@dataclass
class World:
    """People, and the numbers of the things that are posted to."""

    people: dict[str, User]
    tokens: dict[str, dict[str, str]]
    ids: dict[str, Any]


Body = Callable[[World], tuple[list[Any], Any]]


@pytest.fixture
def all_of_it(settings: Any, tmp_path: Any) -> World:
    """The small organisation with a policy in force, and one of everything somebody may change."""
    settings.COSTGOV_AS_OF = world.AS_OF
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    cache.clear()
    at: dict[str, Any] = {"as_of": world.AS_OF}
    people = sizing_world.build()
    priya, eva = people["priya"], people["eva"]
    active = PolicyVersion.objects.get()
    changed = json.loads(json.dumps(active.document))
    changed["assignments"]["triage"]["target"]["model"] = world.OPUS
    changed["models"].setdefault(world.OPUS, dict(next(iter(changed["models"].values()))))
    olga = User.objects.create_user(username="olga", is_superuser=True)  # she posts nothing, so others may approve hers
    # Opus is put in force, so that what is recommended is something to propose; three changes wait, one is approved.
    old_policy = propose(actor=olga, document=changed, title="Back to Opus", evidence={}, **at)
    for step in (approve_of, activate_of):
        step(people["ada"], old_policy)
    waiting_changes = {}
    for name, author, tokens_left in (("change", eva, 40_000), ("theirs", olga, 50_000), ("approved", olga, 60_000)):
        later = json.loads(json.dumps(changed))
        later["models"][world.OPUS]["max_input_tok"] = tokens_left
        waiting_changes[name] = propose(actor=author, document=later, title=name, evidence={}, **at)
    approve_of(people["ada"], waiting_changes["approved"])
    old, run = UsageSource.objects.get(name="by hand"), EvalRun.objects.order_by("pk").first()
    assert run is not None
    aside = EvalRun.objects.order_by("-pk").first()
    assert aside is not None
    EvalRun.objects.filter(pk=aside.pk).update(set_aside_at=world.AS_OF, set_aside_reason="odd")
    triage = RequestClass.objects.get(slug="triage")
    save_cost_centre(actor=priya, code="CC1", name="One", **at)
    owed = state_tax_rate(actor=priya, issuer="Other", percent=Decimal(7), valid_from=date(2026, 1, 1), **at)
    entry = InvoiceEntry(
        "Anthropic", "INV-1", date(2026, 11, 1), date(2026, 11, 2), Decimal("900"), (LineEntry("Usage", Decimal(900)),)
    )
    invoice = save_invoice(actor=None, entry=entry, **at)
    line = next(
        one for one in month_view(month=date(2026, 11, 1), **at).settlement.invoice_lines if one.state == "open"
    )
    other = save_invoice(
        actor=None, as_of=world.AS_OF,
        entry=InvoiceEntry(
            "Anthropic", "INV-0", date(2026, 10, 1), date(2026, 10, 2), Decimal("9"), (LineEntry("Usage", Decimal(9)),)
        ),
    )  # fmt: skip
    assert other.pk
    october = next(
        one for one in month_view(month=date(2026, 10, 1), **at).settlement.invoice_lines if one.state == "open"
    )
    reason = explain_difference(
        actor=priya, month=date(2026, 10, 1), side="invoice", line=october.key, cause="unknown", reason="known", **at
    )
    queued = Import.objects.create(source=old, file_name="q", sha256="q" * 64, state="queued", created_at=world.AS_OF)
    done = Import.objects.create(
        source=old, file_name="d", sha256="d" * 64, state="done", created_at=world.AS_OF, finished_at=world.AS_OF
    )
    engineer = Client()
    engineer.force_login(eva)
    waiting = []
    for word in ("Project", "Team", "Unit"):
        engineer.post("/imports/upload/", {"files": [upload(f"{word}.csv", TABLE.replace("Project", word))]})
        waiting.append(Import.objects.filter(kind="to_map").latest("pk").pk)
    engineer.post(f"/imports/{waiting[2]}/columns/", {**MAPPED, "name": "Units", "source": "Units", "keep": "1"})
    tokens = {}
    for name, user in people.items():
        if name in ROLES.values():
            _, secret = create_token(
                actor=user,
                name="all",
                scopes=list(SCOPES),
                environments=["prod"],
                expires_at=world.AS_OF + timedelta(9),
                **at,
            )
            tokens[name] = {"authorization": f"Bearer {secret}"}
            Client().get("/api/v1/changes", headers=tokens[name])  # its latest use is written down once a minute
    ids = {
        **waiting_changes, "active": active, "run": run.pk, "import": run.eval_import_id, "aside": aside.pk,
        "line": line, "invoice": invoice.pk, "reason": reason.pk, "queued": queued.pk, "done": done.pk,
        "discarded": waiting[0], "waiting": waiting[1], "columns": ColumnMapping.objects.get().pk,
        "evals": EvalImport.objects.create(
            file_name="w", sha256="w" * 64, state="queued", format="csv", imported_at=world.AS_OF,
            file_path=str(tmp_path / "gone"),
        ).pk, "owed": owed.pk,
        "source": old.pk, "october": october,
        "mapping": ClassMapping.objects.create(request_class=triage, api_key="k").pk,
        "contract": propose_contract(actor=olga, new=parse_contract(CONTRACT), **at).pk,
        "in_force": approve_contract(
            actor=people["ada"], as_of=world.AS_OF,
            contract_id=propose_contract(
                actor=olga, new=parse_contract({**CONTRACT, "name": "Held", "channel": "bedrock"}), **at
            ).pk,
        ).pk,
        "scenario": save_price_scenario(actor=priya, scenario=parse_price_scenario(SCENARIO), **at).pk,
        "terms": save_terms(actor=priya, terms=sizing_world.TERMS, **at).pk,
        "unmap": map_costs(actor=priya, code="CC1", workspace="w", **at) and CostCentreMapping.objects.get().pk,
        "rule": EvalSuiteRule.objects.create(request_class=triage, pattern="x*", position=0).pk,
        "item": WorkItem.objects.create(
            request_class=triage, kind="below_bar", model=world.OPUS, text="Look", opened_at=world.AS_OF
        ).pk,
        "price": Price.objects.create(
            model="claude-next", token_kind="output", usd_per_unit=1, source="x", checked_on=world.TODAY,
            proposed_at=world.AS_OF,
        ).pk,
    }  # fmt: skip
    return World(people, tokens, ids)


def approve_of(actor: User, change: ChangeRequest) -> None:
    approve(
        actor=actor, change_request_id=change.pk, content_hash=change.policy_version.content_hash,
        evidence_hash=change.evidence_hash, as_of=world.AS_OF,
    )  # fmt: skip


def activate_of(actor: User, change: ChangeRequest) -> None:
    activate(actor=actor, change_request_id=change.pk, as_of=world.AS_OF)


def upload(name: str, text: str) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, text.encode())


CASCADE = {"cheap": world.HAIKU, "strong": "", "check_usd": "0", "good_accepted": "90", "bad_accepted": "10",
           "source": "", "check_suite": "", "evaluated_as": "", "reason": "tried"}  # fmt: skip
PRICE = {
    "model": "claude-new", "service_tier": "standard", "prompt_length_band": "all", "geo": "global",
    "speed": "standard", "valid_from": "2027-01-01", "valid_to": "", "source": "page", "checked_on": "2026-11-20",
    "note": "", "output": "5", "step": "add",
}  # fmt: skip
INVOICE = {
    "issuer": "Anthropic", "number": "INV-11", "month": "2026-11", "issued_on": "2026-11-02", "due_on": "",
    "currency": "USD", "channel": "anthropic", "total_amount": "10", "note": "", "description": ["Claude usage"],
    "category": ["usage"], "model": [""], "token_kind": [""], "amount": ["10"],
}  # fmt: skip
OFFER = {
    "name": "Offer", "start": "2027-01-01", "overage": "list", "stated_in": "payable", "band_name": ["T1"],
    "band_commitment": ["777"], "band_discount": ["6"], "action": "save",
}  # fmt: skip
TOLERANCE = {"line_usd": "1", "line_share": "0.01", "invoice_line_usd": "0.05", "unclassified_share": "0.1"}
MAPPED = {
    "name": "Projects", "source": "Projects", "grain": "day", "time_format": "iso", "zone": "UTC",
    "channel": "anthropic", "model": "", "service_tier": "standard", "names_provider_keys": "on", "c0": "time",
    "c1": "model", "c2": "workspace", "c3": "input_with_cache", "c4": "cache_read", "c5": "output", "c6": "requests",
}  # fmt: skip


TERMS: dict[str, Any] = terms_document(replace(sizing_world.TERMS, start=date(2027, 2, 1)))
PLAN: dict[str, Any] = {
    "cheap": world.HAIKU,
    "strong": world.OPUS,
    "check_usd": "0",
    "good_accepted": "0.9",
    "bad_accepted": "0.1",
}
REQUESTS = "timestamp,request_id,model,input_tokens,output_tokens\n2026-11-20T10:00:00Z,a-1,claude-haiku-4-5,1000,50\n"


def hashes(w: World) -> dict[str, str]:
    change = w.ids["theirs"]
    return {"content_hash": change.policy_version.content_hash, "evidence_hash": change.evidence_hash}


def explained(w: World) -> dict[str, Any]:
    line = w.ids["line"]
    return {"side": "invoice", "line": line.key, "cause": "unknown", "reason": "known", "amount": str(line.open_usd)}


# What is posted: parts of the address, and the body. An address without one is posted to with nothing.
BODIES: dict[str, Body] = {
    "change-activate": lambda w: ([w.ids["approved"].pk], {}),
    "change-approve": lambda w: ([w.ids["theirs"].pk], hashes(w)),
    "change-cancel": lambda w: ([w.ids["change"].pk], {}),
    "change-reject": lambda w: ([w.ids["change"].pk], {"note": "no"}),
    "class-cascade": lambda w: (["triage"], {**CASCADE, "step": "set"}),
    "class-edit": lambda w: (["triage"], form(w, "/classes/triage/edit/", title="Other", reason="why")),
    "class-mapping-add": lambda w: (["triage"], {"workspace": "w1", "api_key": "", "valid_from": "", "valid_to": ""}),
    "class-mapping-remove": lambda w: (["triage", w.ids["mapping"]], {}),
    "class-new": lambda w: ([], form(w, "/classes/new/", slug="new-class", title="New", reason="why")),
    "class-new-preview": lambda w: ([], form(w, "/classes/new/", slug="new-class", title="New")),
    "class-preview": lambda w: (["triage"], form(w, "/classes/triage/edit/")),
    "constraints": lambda w: ([], {"quality_floor": "50", "move_share": "", "reason": "why", "step": "set"}),
    "contract-new": lambda w: ([], {
        "name": "C2", "channel": "anthropic", "from": "2027-01-01", "source": "form", "checked_on": "2026-11-02",
        "rate-model": ["*"], "rate-percent_off": ["5"],
    }),
    "contract-step": lambda w: ([w.ids["contract"]], {"step": "approve"}),
    "cost-centre-import": lambda w: ([], {"file": upload("c.csv", "code,name\nCC2,Two\n")}),
    "cost-centre-map": lambda w: ([], {"cost_centre": "CC1", "workspace": "w2", "step": "save"}),
    "cost-centre-save": lambda w: ([], {"code": "CC3", "name": "Three"}),
    "cost-centre-unmap": lambda w: ([w.ids["unmap"]], {}),
    "describe-discard": lambda w: ([w.ids["discarded"]], {}),
    "column-mapping": lambda w: (
        [w.ids["columns"]], form(w, f"/imports/mappings/{w.ids['columns']}/", name="Renamed")
    ),
    "column-mapping-delete": lambda w: ([w.ids["columns"]], {}),
    "eval-import-cancel": lambda w: ([w.ids["evals"]], {}),
    "eval-import-delete": lambda w: ([w.ids["import"]], {"reason": "a test"}),
    "eval-run-move": lambda w: ([w.ids["run"]], {"to": "drafting", "reason": "odd"}),
    "describe-preview": lambda w: ([w.ids["waiting"]], MAPPED),
    "describe-table": lambda w: ([w.ids["waiting"]], {**MAPPED, "keep": "1"}),
    "eval-run-count-again": lambda w: ([w.ids["aside"]], {}),
    "eval-run-set-aside": lambda w: ([w.ids["run"]], {"reason": "odd"}),
    "evals-import": lambda w: ([], {"file": upload("e.csv", EVALS), "request_class": "triage"}),
    "forecast": lambda w: ([], {}),
    "import-cancel": lambda w: ([w.ids["queued"]], {}),
    "import-delete": lambda w: ([w.ids["done"]], {}),
    "import-upload": lambda w: ([], {"files": [upload("t2.csv", TABLE + "2026-11-21,m,x,1,0,1,1\n")]}),
    "invoice-add": lambda w: ([], INVOICE),
    "invoice-check": lambda w: ([w.ids["invoice"]], {}),
    "invoice-edit": lambda w: ([w.ids["invoice"]], INVOICE),
    "invoice-withdraw": lambda w: ([w.ids["invoice"]], {"reason": "twice"}),
    "model-alias": lambda w: ([], {"alias": "opus-x", "model": world.OPUS}),
    "model-place": lambda w: ([], {"model": "lab-model", "tier": "fast"}),
    "month-adjust": lambda w: ([MONTH], {}),
    "month-close": lambda w: ([MONTH], {}),
    "month-comment": lambda w: ([MONTH], {"text": "seen"}),
    "month-explain": lambda w: ([MONTH], explained(w)),
    "month-tolerance": lambda w: ([MONTH], TOLERANCE),
    "organisation-save": lambda w: ([], {"name": "Northwind Group", "baseline_model": world.OPUS}),
    "policy-propose": lambda w: ([], {**drafted(), "title": "As recommended"}),
    "policy-version-propose": lambda w: ([w.ids["active"].version], {"title": "Again"}),
    "price-add": lambda w: ([], PRICE),
    "price-proposals": lambda w: ([], {"price": [w.ids["price"]], "decision": "approve"}),
    "price-scenario-delete": lambda w: ([w.ids["scenario"]], {}),
    "price-scenario-edit": lambda w: ([w.ids["scenario"]], {
        "action": "save", "title": "Dearer", "note": "", "change-model": ["*"], "change-percent": ["6"],
    }),
    "price-scenario-new": lambda w: ([], {
        "action": "save", "title": "Cheaper", "note": "", "change-model": ["*"], "change-percent": ["-6"],
    }),
    "reason-withdraw": lambda w: (["2026-10"], {"reason_id": w.ids["reason"]}),
    "source-setting": lambda w: ([w.ids["source"]], {"name": "organisation", "value": "org-1"}),
    "suite-rule-remove": lambda w: ([w.ids["rule"]], {}),
    "suite-rules": lambda w: ([], {"pattern": "y*", "class": "triage"}),
    "tax-rate-add": lambda w: ([], {"issuer": "Anthropic", "percent": "7", "valid_from": "2026-01-01"}),
    "tax-rate-withdraw": lambda w: ([w.ids["owed"]], {}),
    "terms-new": lambda w: ([], OFFER),
    "terms-size": lambda w: ([w.ids["terms"]], {}),
    "token-create": lambda w: ([], {"name": "t", "scopes": ["read"], "environments": "", "days": "9"}),
    "user-create": lambda w: ([], {"username": "max", "password": "a long enough phrase", "role": "engineer"}),
    "work-item-close": lambda w: ([w.ids["item"]], {"note": "done"}),
    "POST api-changes": lambda w: ([], {**drafted(), "title": "As recommended"}),
    "POST api-change-activate": lambda w: ([w.ids["approved"].pk], {}),
    "POST api-change-approve": lambda w: ([w.ids["theirs"].pk], hashes(w)),
    "POST api-change-cancel": lambda w: ([w.ids["change"].pk], {}),
    "POST api-change-reject": lambda w: ([w.ids["change"].pk], {"comment": "no"}),
    "POST api-class-bar": lambda w: (["triage"], {"bar": "0.91", "reason": "higher"}),
    "POST api-class-cascade": lambda w: (["triage"], {"cascade": PLAN, "reason": "tried"}),
    "POST api-class-cascade-try": lambda w: (["triage"], {"cascade": PLAN}),
    "POST api-column-mappings": lambda w: ([], {"mapping": ColumnMapping.objects.get().document | {"name": "Third"}}),
    "POST api-commitments": lambda w: ([], {"terms_id": w.ids["terms"], "paths": 200}),
    "POST api-constraints": lambda w: ([], {"quality_floor": "0.5", "move_share": None, "reason": "why"}),
    "DELETE api-contract": lambda w: ([w.ids["contract"]], {}),
    "POST api-contract-approve": lambda w: ([w.ids["contract"]], {}),
    "POST api-contract-end": lambda w: ([w.ids["in_force"]], {"ends_on": "2027-02-01"}),
    "POST api-contracts": lambda w: ([], {"contract": {**CONTRACT, "name": "Other"}}),
    "POST api-decide": lambda w: ([], {"environment": "prod", "requested": world.OPUS}),
    "POST api-evals": lambda w: ([], {"file": upload("e.csv", EVALS), "request_class": "triage"}),
    "POST api-forecast": lambda w: ([], {"months": 3}),
    "POST api-imports": lambda w: ([], {"file": upload("r.csv", REQUESTS)}),
    "DELETE api-import": lambda w: ([w.ids["done"]], {}),
    "POST api-invoices": lambda w: ([], {
        "issuer": "Anthropic", "number": "INV-12", "month": MONTH, "issued_on": "2026-11-02", "total_amount": "10",
        "lines": [{"description": "Claude usage", "amount": "10"}],
    }),
    "POST api-month-adjust": lambda w: ([MONTH], {}),
    "POST api-month-close": lambda w: ([MONTH], {}),
    "POST api-month-comment": lambda w: ([MONTH], {"text": "seen"}),
    "POST api-month-explain": lambda w: ([MONTH], explained(w)),
    "POST api-month-withdraw": lambda w: (["2026-10"], {"reason_id": w.ids["reason"]}),
    "POST api-price-scenarios": lambda w: ([], {"scenario": {**SCENARIO, "title": "Third"}}),
    "PUT api-price-scenario": lambda w: ([w.ids["scenario"]], {"scenario": {**SCENARIO, "note": "x"}}),
    "DELETE api-price-scenario": lambda w: ([w.ids["scenario"]], {}),
    "POST api-eval-delete": lambda w: ([w.ids["import"]], {"reason": "a test"}),
    "POST api-run-move": lambda w: ([w.ids["run"]], {"class": "drafting", "reason": "odd"}),
    "POST api-run-count-again": lambda w: ([w.ids["aside"]], {}),
    "POST api-run-set-aside": lambda w: ([w.ids["run"]], {"reason": "odd"}),
    "POST api-suite-rule-remove": lambda w: ([w.ids["rule"]], {}),
    "POST api-suite-rules": lambda w: ([], {"pattern": "y*", "class": "triage"}),
    "POST api-tax-rates": lambda w: ([], {"issuer": "Anthropic", "percent": "7", "valid_from": "2026-01-01"}),
    "POST api-terms": lambda w: ([], {"terms": TERMS, "name": "api"}),
    "POST api-work-item-close": lambda w: ([w.ids["item"]], {"note": "done"}),
}  # fmt: skip
# Posted to with things that are not there, or in a state that refuses everybody: only who is let in is tried.
REFUSED_LATER = {
    "month-adjust", "month-close", "price-file", "POST api-month-adjust", "POST api-month-close",
}  # fmt: skip
# What is posted to these only gives a worker something to do.
QUEUES = {"policy-reclassify", "terms-size"}


def drafted() -> dict[str, str]:
    draft = draft_page(as_of=world.AS_OF)
    return {
        "made_at": draft.made_at.isoformat(), "content_hash": draft.content_hash, "evidence_hash": draft.evidence_hash,
    }  # fmt: skip


class _Fields(HTMLParser):
    """What a browser would post back of the fields of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.name = ""
        self.text: str | None = None
        self.options: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {key: value or "" for key, value in attrs}
        if tag == "input" and said.get("name") and said.get("type") not in ("submit", "file", "search"):
            is_box = said.get("type") in ("checkbox", "radio")
            if not is_box or "checked" in said:
                self.found.setdefault(said["name"], []).append(said.get("value", "on" if is_box else ""))
        elif tag == "select":
            self.name, self.options = said.get("name", ""), []
        elif tag == "option":
            self.options.append((said.get("value", ""), "selected" in said))
        elif tag == "textarea":
            self.name, self.text = said.get("name", ""), ""

    def handle_data(self, data: str) -> None:
        if self.text is not None:
            self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "select" and self.name and self.options:
            chosen = [value for value, is_selected in self.options if is_selected] or [self.options[0][0]]
            self.found.setdefault(self.name, []).extend(chosen)
        if tag == "textarea" and self.text is not None:
            self.found.setdefault(self.name, []).append(self.text.strip("\n"))
            self.text = None


def form(w: World, address: str, **changes: str) -> dict[str, Any]:
    """The form of a page as it stands, with some fields typed anew."""
    client = Client()
    client.force_login(w.people["ada"])
    parser = _Fields()
    parser.feed(client.get(address).content.decode())
    kept = {name: values for name, values in parser.found.items() if name not in ("csrfmiddlewaretoken", "q")}
    return {**kept, **changes}


# -- trying it -------------------------------------------------------------------------------------------------------

# Rows written in this transaction so far, whatever became of them; but for sessions, which every answer may touch.
_WRITTEN = """
    SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables
    WHERE relname NOT IN ('django_session')
"""


def written() -> int:
    with connection.cursor() as cursor:
        cursor.execute(_WRITTEN)
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("table", [PAGES, API], ids=["pages", "api"])
def test_who_may_post_where(all_of_it: World, table: dict[str, str]) -> None:
    wrong = [said for name, allowed in table.items() for said in tried(all_of_it, name, allowed)]
    assert not wrong, "\n".join(wrong)


def tried(w: World, name: str, allowed: str) -> Iterator[str]:
    """What is not as the table says, everybody posting the same."""
    parts, data = BODIES[name](w) if name in BODIES else ([999_999] if "<" in str(route(name)) else [], {})
    for role, who in ROLES.items():
        if name == "token-revoke" and who:  # a token is revoked by its owner
            parts = [ApiToken.objects.filter(user__username=who).values_list("pk", flat=True)[0]]
        status, rows, text = posted(w, name, parts, data, who)
        if role not in allowed:
            refusals = (401,) if name in API and not who else (403,) if who else (302,)
            is_right = status in refusals and rows == 0 and (who or name in API or text.startswith("/login/"))
        elif name in READS:
            is_right = (status, rows) == (200, 0)
        elif name in QUEUES:
            is_right = (status, rows) == (302, 0) and "/login/" not in text
        elif name in REFUSED_LATER:
            is_right = status in (302, 400, 409) and "/login/" not in text
        else:
            is_right = status in (200, 201, 202, 204, 302) and rows > 0
        if not is_right:
            yield f"{name} as {who or 'nobody'}: {status}, {rows} rows written: {text[:300]}"


def route(name: str) -> str:
    return str(ADDRESSES[name.rpartition(" ")[2]].pattern)


def posted(w: World, name: str, parts: list[Any], data: Any, who: str) -> tuple[int, int, str]:
    """Status, rows written and where to or what was said; everything is taken back."""
    method, _, bare = name.rpartition(" ")
    address = reverse(bare, args=parts)
    client = Client(raise_request_exception=False)
    headers = {}
    if method:
        headers = w.tokens.get(who, {})
    elif who:
        client.force_login(w.people[who])
    for file in files_in(data):
        file.seek(0)
    cache.clear()
    with transaction.atomic():
        before = written()
        if method and not list(files_in(data)):
            answer = client.generic(
                method, address, json.dumps(data, default=str), content_type="application/json", headers=headers
            )
        else:
            answer = client.post(address, data, headers=headers)
        rows = written() - before
        transaction.set_rollback(True)
    cache.clear()
    page = answer.content.decode()
    problems = re.findall(r'class="(?:fb|problem)[^"]*"[^>]*>(.*?)<', page)
    said = answer.get("Location") or str(problems) + re.sub(r"<[^>]*>|\s+", " ", page)
    return answer.status_code, rows, said


def files_in(data: dict[str, Any]) -> Iterator[SimpleUploadedFile]:
    for value in data.values():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, SimpleUploadedFile):
                yield each


# -- the table is whole ----------------------------------------------------------------------------------------------


def named(patterns: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    for each in patterns:
        if isinstance(each, URLResolver):
            yield from named(each.url_patterns)
        else:
            yield each


ADDRESSES = {str(each.name): each for each in named(get_resolver(site.ROOT_URLCONF).url_patterns) if each.name}


def takes(name: str, client: Client) -> set[str]:
    """Methods but GET that the address does not refuse as such. Its parts stand for things that are not there."""
    pattern = str(ADDRESSES[name].pattern)
    parts = ["nothing" if kind in ("str", "slug", "path") else 999_999 for kind in re.findall(r"<(\w+):", pattern)]
    parts = parts or (["nothing"] if "(?P<" in pattern else [])
    found = set()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = client.generic(method, reverse(name, args=parts), "{}", content_type="application/json")
        if answer.status_code != 405:
            found.add(method)
    return found


def test_the_table_names_every_address_that_takes_a_change(all_of_it: World) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(all_of_it.people["ada"])
    missing = {}
    for name in sorted(set(ADDRESSES) - OPEN):
        with transaction.atomic():
            before = written()
            methods = takes(name, client)
            rows = written() - before
            transaction.set_rollback(True)
        if name.startswith("api-"):
            told = {method for method in methods if f"{method} {name}" not in API}
            if told:
                missing[name] = told
        elif methods and name not in PAGES and (rows or not shows(name)):
            missing[name] = methods
    assert missing == {}, "say who may post there: add it to the table"
    assert set(PAGES) <= set(ADDRESSES)
    assert {name.split()[1] for name in API} <= set(ADDRESSES)
    assert set(BODIES) <= {*PAGES, *API}


def shows(name: str) -> bool:
    """Pages that look at no method: a post shows what a look shows. Their code asks for neither POST nor files."""
    import inspect

    view = inspect.unwrap(ADDRESSES[name].callback)
    source = inspect.getsource(view)
    return "request.POST" not in source and "request.FILES" not in source and "request.method" not in source
