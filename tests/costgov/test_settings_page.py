"""Settings: the organisation and its people (admins), and everybody's own API tokens."""

import re
from datetime import timedelta

import pytest
from django.test import Client

from audit.models import AuditEntry
from billing.models import Organisation
from costgov.models import ApiToken, User
from tests.costgov import policy_world
from tests.costgov import small_world as world
from tests.costgov.policy_world import logged_in, token

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people():
    world.organisation()
    return policy_world.people()


def words(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_only_an_admin_sees_people_and_organisation(people):
    page = words(logged_in(people["ada"]).get("/settings/"))
    assert "Save the organisation" in page
    assert "tomas" in page
    page = words(logged_in(people["lena"]).get("/settings/"))
    assert "Your API tokens; the organisation and its people are up to an admin" in page
    assert "tomas" not in page
    for address in ("organisation", "people"):
        assert logged_in(people["lena"]).post(f"/settings/{address}/", {}).status_code == 403
    assert Client().get("/settings/").status_code == 302


def test_a_token_is_shown_once_and_works(people):
    client = logged_in(people["lena"])
    fields = {"name": "eu gateway", "scopes": ["bundle:read", "decide"], "environments": "prod, staging", "days": "30"}
    page = words(client.post("/settings/tokens/", fields))
    assert "Copy this token now: it is shown once and never again." in page
    found = re.search(r"cg_[\w-]{40,}", page)
    assert found is not None
    row = ApiToken.objects.get()
    assert (row.user, row.scopes, row.environments) == (people["lena"], ["bundle:read", "decide"], ["prod", "staging"])
    assert row.expires_at == world.AS_OF + timedelta(days=30)
    headers = {"authorization": f"Bearer {found[0]}"}
    assert Client().get("/api/v1/bundles/prod", headers=headers).status_code == 404
    assert found[0] not in words(client.get("/settings/"))
    assert found[0] not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"scopes": []}, {"scopes": ["everything"]}, {"days": "0"}, {"days": "731"}, {"days": "soon"}],
)
def test_a_token_that_cannot_be(people, wrong):
    fields = {"name": "x", "scopes": ["read"], "environments": "", "days": "30", **wrong}
    answer = logged_in(people["lena"]).post("/settings/tokens/", fields)
    assert answer.status_code == 400
    assert 'class="err"' in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_revoking_ones_own_token_only(people):
    made, headers = token(people["lena"], "read")
    assert logged_in(people["tomas"]).post(f"/settings/tokens/{made.pk}/revoke/").status_code == 404
    assert Client().get("/api/v1/changes", headers=headers).status_code == 200
    answer = logged_in(people["lena"]).post(f"/settings/tokens/{made.pk}/revoke/", follow=True)
    assert "is revoked: it opens nothing any more" in words(answer)
    assert "Revoked" in words(answer)
    assert Client().get("/api/v1/changes", headers=headers).status_code == 401


def test_an_expired_token_says_so(people, settings):
    token(people["lena"], "read", days=1)
    settings.COSTGOV_AS_OF = world.AS_OF + timedelta(days=2)
    assert "Expired" in words(logged_in(people["lena"]).get("/settings/"))


def test_an_admin_saves_the_organisation_and_adds_people(people):
    client = logged_in(people["ada"])
    client.post("/settings/organisation/", {"name": "Northwind Group", "baseline_model": world.OPUS})
    assert Organisation.objects.get().name == "Northwind Group"
    weak = client.post("/settings/people/", {"username": "max", "password": "short", "role": "engineer"})
    assert weak.status_code == 400
    client.post("/settings/people/", {"username": "max", "password": "a long enough phrase", "role": "engineer"})
    user = User.objects.get(username="max")
    assert [group.name for group in user.groups.all()] == ["engineer"]
    assert user.check_password("a long enough phrase")
    again = client.post("/settings/people/", {"username": "max", "password": "a long enough phrase", "role": "viewer"})
    assert "max exists already: choose another name." in words(again)
