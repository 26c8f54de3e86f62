"""The API: scopes, rights, one form of refusal, and the same values as the pages."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client
from django.urls import get_resolver

from billing.models import Import
from costgov.api.urls import urlpatterns
from costgov.jsonout import plain
from costgov.models import ApiToken
from costgov.queries.class_lines import class_lines
from costgov.queries.evals import quality
from costgov.queries.policies import draft_page
from costgov.queries.recommendation import recommendation_view
from costgov.queries.spend import spend
from costgov.tokens import SCOPES, revoke_token
from routing.models import ChangeRequest, EvalImport
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import logged_in, token

pytestmark = pytest.mark.django_db
API = "/api/v1/"


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    return policy_world.estate()


def get(address, headers=None):
    return Client().get(API + address, headers=headers or {})


def post(address, body, headers):
    return Client().post(API + address, json.dumps(body), content_type="application/json", headers=headers)


def error(answer) -> dict:
    assert set(answer.json()) == {"error"}
    assert {"code", "message"} <= set(answer.json()["error"])
    assert answer["Content-Type"] == "application/json"
    return answer.json()["error"]


# -- who may what ---------------------------------------------------------------------------------------------------

# Every address and method with the scope it needs; ids that do not exist: a scope is checked before them.
NEEDS = [
    ("GET", "bundles/prod", "bundle:read"),
    ("POST", "decide", "decide"),
    ("GET", "overview", "read"),
    ("GET", "spend", "read"),
    ("GET", "spend/change?from=2026-10-26&to=2026-11-23", "read"),
    ("GET", "prices", "read"),
    ("GET", "prices/proposed", "read"),
    ("GET", "contracts", "read"),
    ("POST", "contracts", "prices:write"),
    ("GET", "contracts/9", "read"),
    ("DELETE", "contracts/9", "prices:write"),
    ("POST", "contracts/9/approve", "prices:write"),
    ("POST", "contracts/9/end", "prices:write"),
    ("GET", "price-scenarios", "read"),
    ("POST", "price-scenarios", "prices:write"),
    ("GET", "price-scenarios/9", "read"),
    ("PUT", "price-scenarios/9", "prices:write"),
    ("DELETE", "price-scenarios/9", "prices:write"),
    ("GET", "imports", "read"),
    ("POST", "imports", "usage:write"),
    ("GET", "imports/9", "read"),
    ("DELETE", "imports/9", "usage:write"),
    ("GET", "column-mappings", "read"),
    ("POST", "column-mappings", "usage:write"),
    ("GET", "data-health", "read"),
    ("GET", "forecast", "read"),
    ("POST", "forecast", "forecast:write"),
    ("GET", "terms", "read"),
    ("POST", "terms", "forecast:write"),
    ("GET", "commitments", "read"),
    ("POST", "commitments", "forecast:write"),
    ("GET", "commitments/9", "read"),
    ("GET", "months", "read"),
    ("GET", "months/2026-10", "read"),
    ("POST", "months/2026-10/explain", "months:write"),
    ("POST", "months/2026-10/withdraw", "months:write"),
    ("POST", "months/2026-10/comment", "months:write"),
    ("POST", "months/2026-10/close", "months:write"),
    ("POST", "months/2026-10/adjust", "months:write"),
    ("GET", "tax-rates", "read"),
    ("POST", "tax-rates", "months:write"),
    ("POST", "invoices", "months:write"),
    ("GET", "classes", "read"),
    ("GET", "classes/nope", "read"),
    ("GET", "classes/nope/bar", "read"),
    ("POST", "classes/nope/bar", "policy:write"),
    ("GET", "cascades", "read"),
    ("GET", "classes/nope/cascade", "read"),
    ("POST", "classes/nope/cascade", "policy:write"),
    ("POST", "classes/nope/cascade/try", "read"),
    ("GET", "quality", "read"),
    ("GET", "evals", "read"),
    ("POST", "evals", "evals:write"),
    ("GET", "evals/9", "read"),
    ("POST", "evals/9/delete", "evals:write"),
    ("GET", "eval-runs", "read"),
    ("POST", "eval-runs/9/move", "evals:write"),
    ("GET", "eval-runs/9/set-aside", "read"),
    ("POST", "eval-runs/9/set-aside", "evals:write"),
    ("POST", "eval-runs/9/count-again", "evals:write"),
    ("GET", "work-items", "read"),
    ("POST", "work-items/9/close", "evals:write"),
    ("GET", "classes/nope/verdicts", "read"),
    ("GET", "suite-rules", "read"),
    ("POST", "suite-rules", "evals:write"),
    ("POST", "suite-rules/9/remove", "evals:write"),
    ("GET", "recommendation", "read"),
    ("GET", "savings", "read"),
    ("GET", "evidence-needed", "read"),
    ("GET", "evidence-needed/claude-haiku-4-5", "read"),
    ("GET", "constraints", "read"),
    ("POST", "constraints", "policy:write"),
    ("GET", "frontier", "read"),
    ("GET", "policies", "read"),
    ("GET", "policies/draft", "read"),
    ("GET", "policies/versions/9", "read"),
    ("GET", "changes", "read"),
    ("POST", "changes", "policy:write"),
    ("GET", "changes/9", "read"),
    ("POST", "changes/9/approve", "policy:write"),
    ("POST", "changes/9/reject", "policy:write"),
    ("POST", "changes/9/cancel", "policy:write"),
    ("POST", "changes/9/activate", "policy:write"),
]


def ask(method, address, headers):
    if method == "GET":
        return get(address, headers)
    if method in ("PUT", "DELETE"):
        return Client().generic(method, API + address, "{}", content_type="application/json", headers=headers)
    return post(address, {}, headers)


def test_every_method_needs_its_scope_and_no_other(people):
    """The whole matrix: a token with all scopes but one is refused exactly where that one is needed."""
    for scope in SCOPES:
        headers = token(people["ada"], *(other for other in SCOPES if other != scope))[1]
        for method, address, needed in NEEDS:
            answer = ask(method, address, headers)
            if needed == scope:
                assert answer.status_code == 403, (method, address)
                assert f"This token lacks the scope {scope}" in error(answer)["message"]
            elif method in ("POST", "PUT"):  # an empty body is refused later, for what it lacks
                assert answer.status_code in {201, 400, 404, 409}, (method, address, answer.content)
            else:
                assert answer.status_code in {200, 404}, (method, address, answer.content)


def test_the_table_names_every_address():
    named = {pattern.name for pattern in urlpatterns} - {"api-schema", "api-nothing"}
    bare = {address.partition("?")[0] for _, address, _ in NEEDS}
    found = {get_resolver().resolve(f"/{API.strip('/')}/{address}").url_name for address in bare}
    assert found == named


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer cg_nobody"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer a b"},
        {"authorization": "Basic bGVuYTp4"},
        {"authorization": "Bearer \xff\xfe"},
    ],
)
def test_without_a_valid_token_every_address_is_401(people, headers):
    for method, address, _ in NEEDS:
        answer = ask(method, address, headers)
        assert answer.status_code == 401, (method, address)
        error(answer)
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_expired_revoked_and_ownerless_tokens_open_nothing(people, settings):
    made, headers = token(people["lena"], "read", days=1)
    assert get("changes", headers).status_code == 200
    settings.COSTGOV_AS_OF = world.AS_OF + timedelta(days=1)  # its first moment after expiry
    assert get("changes", headers).status_code == 401
    settings.COSTGOV_AS_OF = world.AS_OF
    revoke_token(actor=people["lena"], token_id=made.pk, as_of=world.AS_OF)
    assert get("changes", headers).status_code == 401
    headers = token(people["vic"], "read")[1]
    people["vic"].is_active = False
    people["vic"].save()
    assert get("changes", headers).status_code == 401


def test_a_token_does_what_its_owner_may_and_no_more(people):
    draft = draft_page(as_of=world.AS_OF)
    body = {
        "title": "x",
        "made_at": draft.made_at.isoformat(),
        "content_hash": draft.content_hash,
        "evidence_hash": draft.evidence_hash,
    }
    for name in ("priya", "vic"):
        answer = post("changes", body, token(people[name], *SCOPES)[1])
        assert answer.status_code == 403
        assert error(answer)["message"].startswith(f"{name} may not propose a policy.")
    assert not ChangeRequest.objects.exists()


def test_only_the_hash_of_a_token_is_kept(people):
    made, headers = token(people["lena"], "read")
    secret = headers["authorization"].removeprefix("Bearer ")
    row = ApiToken.objects.get(pk=made.pk)
    kept = " ".join(str(getattr(row, field.attname)) for field in row._meta.fields)
    assert secret not in kept
    assert secret.startswith(row.prefix)
    assert get("changes", headers).status_code == 200
    assert ApiToken.objects.get(pk=made.pk).latest_used_at == world.AS_OF


def test_a_person_logged_in_reads_without_a_token_and_writes_with_csrf_only(people):
    client = logged_in(people["lena"])
    assert client.get(API + "changes").status_code == 200
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(people["lena"])
    assert strict.post(API + "changes/9/cancel").status_code == 403


# -- the same values as the pages -----------------------------------------------------------------------------------


def test_reads_are_the_values_of_the_pages(people):
    headers = token(people["vic"], "read")[1]
    view = recommendation_view(as_of=world.AS_OF)
    same = {
        "recommendation": view,
        "classes": class_lines(as_of=world.AS_OF),
        "quality": quality(as_of=world.AS_OF),
        "spend?by=class,model": spend(by=("class", "model")),
        "spend?by=day&from=2026-11-01&to=2026-11-08": spend(
            start=world.TODAY.replace(day=1), end=world.TODAY.replace(day=8), by=("day",)
        ),
        "policies/draft": draft_page(as_of=world.AS_OF),
    }
    for address, value in same.items():
        answer = get(address, headers)
        assert answer.status_code == 200, address
        assert answer.json() == plain(value), address


def test_money_is_decimal_text_and_rows_sum(people):
    report = get("spend?by=class", token(people["vic"], "read")[1]).json()
    rows = [Decimal(row["cost_usd"]) for row in report["rows"]]
    # 56 days: triage 200k·5 + 30k·25 = 1.75 usd a day, drafting 50k·3 + 40k·15 = 0.75
    assert rows == [Decimal("98"), Decimal("42")]
    assert Decimal(report["total"]["cost_usd"]) == sum(rows)


def test_class_detail_policies_prices_and_lists(people):
    headers = token(people["vic"], "read")[1]
    assert get("classes/triage?days=28", headers).json()["facts"]["slug"] == "triage"
    assert get("quality?class=drafting", headers).json()["classes"][0]["slug"] == "drafting"
    assert get("policies", headers).json()["in_force"] is None
    assert get("policies", headers).json()["teaser"]["moves"] == 1
    assert {line["model"] for line in get("prices", headers).json()["lines"]} >= {world.OPUS, world.HAIKU}
    assert len(get("evals", headers).json()) == 4
    assert get("imports", headers).json() == get("commitments", headers).json() == get("terms", headers).json() == []


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("spend?by=colour", 400, "unknown grouping colour"),
        ("spend?from=2026-11-08&to=2026-11-01", 400, "must be before"),
        ("spend?from=yesterday", 400, "from"),
        ("spend?group=class", 400, "Not a parameter here; it knows from, by, to, basis, prices, format, limit, class,"),
        ("classes/nope", 404, "nope"),
        ("classes/triage?days=0", 400, "days"),
        ("quality?class=nope", 404, "nope"),
        ("recommendation?baseline=gpt-9", 409, "'gpt-9' is not known"),
        ("savings?period=2020-01", 404, "no realised saving for '2020-01': use one of 28d"),
        ("evidence-needed/gpt-9", 404, "Nobody has placed 'gpt-9'"),
        ("forecast", 404, "No forecast was made yet"),
        ("imports/9", 404, "There is no import 9"),
        ("evals/9", 404, "number 9"),
        ("commitments/9", 404, "9"),
        ("changes/9", 404, "There is no change #9"),
        ("policies/versions/9", 404, "There is no policy version 9"),
        ("nothing/here", 404, "There is nothing at /api/v1/nothing/here"),
    ],
)
def test_refusals_say_what_and_what_to_do(people, address, status, said):
    answer = get(address, token(people["vic"], "read")[1])
    assert answer.status_code == status
    assert said in error(answer)["message"]


def test_wrong_method_and_broken_json_have_the_same_form(people):
    headers = token(people["ada"], *SCOPES)[1]
    answer = Client().delete(API + "changes", headers=headers)
    assert (answer.status_code, error(answer)["code"]) == (405, "method_not_allowed")
    answer = Client().post(API + "changes", "{", content_type="application/json", headers=headers)
    assert (answer.status_code, error(answer)["code"]) == (400, "parse_error")
    answer = Client().post(API + "changes", "x", content_type="text/plain", headers=headers)
    assert (answer.status_code, error(answer)["code"]) == (415, "unsupported_media_type")


def test_a_fault_says_nothing_of_the_inside(people, monkeypatch):
    def broken(**_):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("costgov.api.spend.spend", broken)
    answer = get("spend", token(people["vic"], "read")[1])
    assert (answer.status_code, error(answer)["code"]) == (500, "internal")
    assert "hunter2" not in answer.content.decode()


# -- writing --------------------------------------------------------------------------------------------------------


def test_propose_approve_activate(people):
    lena, tomas = (token(people[name], "read", "policy:write")[1] for name in ("lena", "tomas"))
    draft = get("policies/draft", lena).json()
    body = {"title": "Triage to Haiku", **{name: draft[name] for name in ("made_at", "content_hash", "evidence_hash")}}
    answer = post("changes", body, lena)
    assert answer.status_code == 201
    change = answer.json()["change"]
    assert (change["state"], change["author"]) == ("in_review", "lena")
    assert post("changes", body, lena).json()["change"]["id"] == change["id"]  # sent twice: the same one
    hashes = {name: change[name] for name in ("content_hash", "evidence_hash")}
    step = f"changes/{change['id']}"

    own = post(f"{step}/approve", hashes, lena)
    assert (own.status_code, error(own)["code"]) == (409, "refused")
    stale = post(f"{step}/approve", {**hashes, "evidence_hash": "0" * 64}, tomas)
    assert stale.status_code == 409
    assert "is not what you were shown" in error(stale)["message"]
    for missing in hashes:
        assert post(f"{step}/approve", {missing: hashes[missing]}, tomas).status_code == 400
    early = post(f"{step}/activate", {}, tomas)
    assert (early.status_code, ChangeRequest.objects.get().state) == (409, "in_review")

    for _ in range(2):
        done = post(f"{step}/approve", {**hashes, "comment": "checked"}, tomas)
        assert (done.status_code, done.json()["change"]["state"]) == (200, "approved")
    for _ in range(2):
        done = post(f"{step}/activate", {}, tomas)
        assert (done.status_code, done.json()["change"]["in_force"]["sequence"]) == (200, 1)
    assert [row["what"] for row in done.json()["change"]["timeline"]] == [
        "activated it",
        "approved the quality evidence",
        "proposed this change",
    ]
    bundle = get("bundles/prod", token(people["lena"], "bundle:read")[1])
    assert bundle.json()["approved_by"] == ["tomas"]
    decided = post(
        "decide",
        {"environment": "prod", "requested": world.OPUS, "facts": {"api_key": "key-triage"}},
        token(people["lena"], "decide")[1],
    )
    assert (decided.json()["class"], decided.json()["target"]) == ("triage", world.HAIKU)


def test_reject_and_cancel(people):
    lena, tomas = (token(people[name], "read", "policy:write")[1] for name in ("lena", "tomas"))
    document = _own_document(people)
    first = post("changes", {"title": "By hand", "document": document}, lena).json()["change"]["id"]
    assert post(f"changes/{first}/reject", {}, tomas).status_code == 400
    done = post(f"changes/{first}/reject", {"comment": "no"}, tomas).json()["change"]
    assert (done["state"], done["timeline"][0]["say"]) == ("rejected", "no")
    again = post("changes", {"title": "By hand", "document": document}, lena)
    assert (again.status_code, "word for word version 1" in error(again)["message"]) == (409, True)
    other = {**document, "allow_bypass": False}
    second = post("changes", {"title": "Other", "document": other}, lena).json()["change"]["id"]
    assert post(f"changes/{second}/cancel", {}, lena).json()["change"]["state"] == "cancelled"


def _own_document(people) -> dict:
    document = dict(draft_page(as_of=world.AS_OF).document)
    classes = {slug: entry for slug, entry in document["classes"].items() if slug != "general"}
    assignments = {slug: entry for slug, entry in document["assignments"].items() if slug != "general"}
    return {**document, "classes": classes, "assignments": assignments, "default_class": "drafting"}


def test_a_document_with_problems_is_refused_with_all_of_them(people):
    headers = token(people["lena"], "policy:write")[1]
    document = {**_own_document(people), "mode": "loud", "default_class": "nope"}
    answer = post("changes", {"title": "x", "document": document}, headers)
    assert answer.status_code == 400
    assert {item["path"] for item in error(answer)["findings"]} >= {"/mode", "/default_class"}


def test_a_proposal_is_a_document_or_a_draft(people):
    headers = token(people["lena"], "policy:write")[1]
    bodies: tuple[dict[str, object], ...] = (
        {"title": "x"},
        {"title": "x", "content_hash": "0" * 64},
        {"document": {}},
    )
    for body in bodies:
        assert post("changes", body, headers).status_code == 400
    both = {"title": "x", "document": {}, "content_hash": "0" * 64}
    assert "not both" in error(post("changes", both, headers))["message"]


def test_policy_steps_need_the_environment_of_the_token(people):
    inside = token(people["lena"], "policy:write", environments=("prod",))[1]
    outside = token(people["tomas"], "policy:write", environments=("staging",))[1]
    body = {"title": "x", "document": _own_document(people)}
    assert post("changes", body, outside).status_code == 403
    change = post("changes", body, inside).json()["change"]["id"]
    for step in ("approve", "reject", "cancel", "activate"):
        hashes = {"content_hash": "0" * 64, "evidence_hash": "0" * 64, "comment": "x"}
        answer = post(f"changes/{change}/{step}", hashes, outside)
        assert (answer.status_code, "not for environment prod" in error(answer)["message"]) == (403, True)


LOG_LINE = {
    "timestamp": "2026-11-20T10:00:00Z", "request_id": "req_1", "organization_id": "org", "workspace_id": "wrk",
    "api_key_id": "key", "path": "/v1/messages", "http_status": 200, "request": {"model": world.OPUS},
    "response": {"id": "msg_1", "model": world.OPUS, "usage": {"input_tokens": 10, "output_tokens": 5}},
}  # fmt: skip


def test_usage_file_is_queued_once(people):
    headers = token(people["priya"], "read", "usage:write")[1]
    log = (json.dumps(LOG_LINE) + "\n").encode()
    answers = [
        Client().post(API + "imports", {"file": SimpleUploadedFile("log.jsonl", log)}, headers=headers) for _ in (1, 2)
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["state"] == "queued"
    assert answers[0].json()["import_id"] == answers[1].json()["import_id"]
    assert Import.objects.count() == 1
    detail = get(f"imports/{answers[0].json()['import_id']}", headers).json()
    assert detail["row"]["file_name"] == "log.jsonl"


def test_usage_file_that_cannot_be(people):
    headers = token(people["priya"], "usage:write")[1]
    answer = Client().post(API + "imports", {"file": SimpleUploadedFile("empty.jsonl", b"")}, headers=headers)
    assert answer.status_code == 400
    assert "The file is empty (0 bytes)" in error(answer)["fields"]["file"][0]
    assert Client().post(API + "imports", {}, headers=headers).status_code == 400
    viewer = token(people["vic"], "usage:write")[1]
    log = SimpleUploadedFile("log.jsonl", json.dumps(LOG_LINE).encode())
    assert Client().post(API + "imports", {"file": log}, headers=viewer).status_code == 403


EVALS_CSV = b"""suite,request_class,sample_id,model,run_at,passed
triage@3,triage,c-1,claude-haiku-4-5,2026-11-20T10:00:00Z,true
triage@3,triage,c-2,claude-haiku-4-5,2026-11-20T10:00:00Z,false
"""


def test_eval_file(people):
    headers = token(people["lena"], "read", "evals:write")[1]
    before = EvalImport.objects.count()

    def send(content: bytes):
        return Client().post(API + "evals", {"file": SimpleUploadedFile("e.csv", content)}, headers=headers)

    first, second = send(EVALS_CSV), send(EVALS_CSV)
    assert (first.status_code, first.json()["cases"], first.json()["is_repeat"]) == (201, 2, False)
    assert second.json()["is_repeat"] is True
    assert EvalImport.objects.count() == before + 1
    assert get(f"evals/{first.json()['import_id']}", headers).status_code == 200
    bad = send(EVALS_CSV.replace(b"false", b"perhaps"))
    assert (bad.status_code, error(bad)["code"]) == (400, "refused_file")
    assert "perhaps" in error(bad)["message"]
    refused = Client().post(
        API + "evals", {"file": SimpleUploadedFile("f.csv", EVALS_CSV + b"\n")},
        headers=token(people["priya"], "evals:write")[1],
    )  # fmt: skip
    assert refused.status_code == 403


TERMS = {
    "schema": "costgov.terms/1", "currency": "USD", "start": "2027-01-01", "months": 12, "true_up": "annual",
    "overage": "list", "stated_in": "payable", "bands": [{"name": "T1", "commitment": "500", "discount": "0.06"}],
}  # fmt: skip


def test_terms_are_kept_once(people):
    headers = token(people["priya"], "read", "forecast:write")[1]
    first, second = (post("terms", {"terms": TERMS}, headers) for _ in (1, 2))
    assert (first.status_code, first.json()["id"]) == (201, second.json()["id"])
    assert [row["id"] for row in get("terms", headers).json()] == [first.json()["id"]]
    bad = post("terms", {"terms": {**TERMS, "currency": "EUR"}}, headers)
    assert (bad.status_code, error(bad)["code"]) == (400, "invalid_terms")
    assert "currency" in error(bad)["message"]
    assert post("terms", {"terms": TERMS}, token(people["lena"], "forecast:write")[1]).status_code == 403
    assert post("commitments", {"terms_id": 99}, headers).status_code == 404


def test_forecast_is_made_and_read(people):
    headers = token(people["priya"], "read", "forecast:write")[1]
    made = post("forecast", {"months": 3}, headers)
    assert made.status_code == 201
    assert made.json()["result"]["months"] == 3
    assert get("forecast", headers).json() == made.json()
    assert post("forecast", {"months": 0}, headers).status_code == 400
    assert post("forecast", {}, token(people["vic"], "forecast:write")[1]).status_code == 403


# -- the schema -----------------------------------------------------------------------------------------------------


def test_schema_is_valid_and_without_warnings(capsys, tmp_path):
    target = tmp_path / "schema.yml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(target))
    assert capsys.readouterr().err == ""
    assert "openapi: 3.0" in target.read_text()


def test_schema_names_every_method_with_its_scope(people):
    document = logged_in(people["vic"]).get(API + "schema/?format=json").json()
    described = {
        (method.upper(), path.removeprefix("/api/v1/")): operation["x-scope"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    tested = {
        (method, bare.replace("nope", "{slug}").replace("bundles/prod", "bundles/{environment}")): scope
        for method, bare, scope in ((method, address.partition("?")[0], scope) for method, address, scope in NEEDS)
    }
    ids = {
        "contracts": "contract_id",
        "price-scenarios": "scenario_id",
        "imports": "import_id",
        "evals": "import_id",
        "commitments": "sizing_id",
        "changes": "change_id",
        "eval-runs": "run_id",
        "work-items": "item_id",
        "suite-rules": "rule_id",
    }
    for topic, name in ids.items():
        tested = {(m, a.replace(f"{topic}/9", f"{topic}/{{{name}}}")): scope for (m, a), scope in tested.items()}
    tested = {(m, a.replace("versions/9", "versions/{version}")): scope for (m, a), scope in tested.items()}
    tested = {(m, a.replace("months/2026-10", "months/{month}")): scope for (m, a), scope in tested.items()}
    tested = {
        (m, a.replace("evidence-needed/claude-haiku-4-5", "evidence-needed/{model}")): scope
        for (m, a), scope in tested.items()
    }
    assert described == tested


def test_answers_are_as_the_schema_says(people):
    """Every member the schema requires is in the answer, and no other: on the values of the pages."""
    document = logged_in(people["vic"]).get(API + "schema/?format=json").json()
    headers = token(people["vic"], "read")[1]
    for address in (
        "recommendation",
        "classes",
        "quality",
        "spend",
        "policies",
        "policies/draft",
        "evals",
        "prices",
        "data-health",
    ):
        schema = document["paths"][f"/api/v1/{address}"]["get"]["responses"]["200"]["content"]["application/json"]
        _agree(get(address, headers).json(), schema["schema"], document["components"]["schemas"], address)


PYTHON: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "number": (int, float),
}


def _agree(value: Any, schema: dict[str, Any], components: dict[str, Any], at: str) -> None:
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    if "allOf" in schema and value is not None:
        _agree(value, schema["allOf"][0], components, at)
        return
    if value is None:
        assert schema.get("nullable"), at
        return
    kind = schema.get("type")
    if kind is None:
        return
    assert type(value) in PYTHON[kind], (at, value, schema)
    if kind == "array":
        for index, item in enumerate(value):
            _agree(item, schema["items"], components, f"{at}/{index}")
    elif kind == "object" and "properties" in schema:
        assert set(value) == set(schema["properties"]) == set(schema["required"]), at
        for name, member in value.items():
            _agree(member, schema["properties"][name], components, f"{at}/{name}")


def test_a_person_gets_a_list_and_a_program_the_document(people):
    client = logged_in(people["vic"])
    page = client.get(API + "schema/", headers={"accept": "text/html,*/*;q=0.8"})
    assert page["Content-Type"].startswith("text/html")
    for text in ("/api/v1/bundles/{environment}", "bundle:read", "Decide one request"):
        assert text in page.content.decode()
    assert client.get(API + "schema/").json()["info"]["title"] == "costgov"
    assert b"openapi: 3.0" in client.get(API + "schema/?format=yaml").content
    anonymous = Client().get(API + "schema/", headers={"accept": "text/html"})
    assert (anonymous.status_code, anonymous["Location"]) == (302, "/login/?next=/api/v1/schema/")
    assert Client().get(API + "schema/").status_code == 401
    assert get("schema/", token(people["lena"], "bundle:read")[1]).status_code == 200
