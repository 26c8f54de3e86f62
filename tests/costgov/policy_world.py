"""Two classes on the way to a first policy: `triage` runs on Opus though Haiku is shown to clear, `drafting` stays.

Named people: Lena and Tomás are engineers, Priya buys, Vic looks on, Ada administers.
"""

import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client

from audit.operations import bump_data_version
from costgov.models import ApiToken, User
from costgov.tokens import create_token
from tests.costgov import small_world as world
from tests.costgov.small_world import AS_OF, HAIKU, OPUS, SONNET, TODAY

ROLES = {"lena": "engineer", "tomas": "engineer", "priya": "procurement", "vic": "viewer", "ada": "admin"}


def people() -> dict[str, User]:
    made = {}
    for name, role in ROLES.items():
        made[name] = User.objects.create(username=name)  # nobody types a password here: hashing one is slow
        made[name].groups.add(Group.objects.get(name=role))
    return made


def estate(*, baseline: str = OPUS) -> dict[str, User]:
    """People, models, prices, classes, 56 days of usage and evals; no policy."""
    cache.clear()  # figures are kept by the number of the data version, which every test counts from where it was
    made = people()
    world.organisation(baseline=baseline)
    world.models()
    world.prices()
    world.classes()
    for back in range(56, 0, -1):
        on = TODAY - timedelta(days=back)
        world.use(on, OPUS, "triage", 100, (200_000, 30_000))
        world.use(on, SONNET, "drafting", 50, (50_000, 40_000))
    world.evals("triage", OPUS, 198, 200, AS_OF - timedelta(days=20))
    world.evals("triage", HAIKU, 198, 200, AS_OF - timedelta(days=20))
    world.evals("drafting", SONNET, 146, 150, AS_OF - timedelta(days=30))
    world.evals("drafting", HAIKU, 120, 150, AS_OF - timedelta(days=30))
    world.mapping("triage", "key-triage")
    world.mapping("drafting", "key-drafting")
    bump_data_version()
    return made


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def hidden(page: bytes) -> dict[str, str]:
    """Hidden fields of a page's own forms: what a browser would post back."""
    found = re.findall(r'<input type="hidden" name="([a-z_]+)" value="([^"]*)">', page.decode())
    return {name: value for name, value in found if name != "csrfmiddlewaretoken"}


def propose(client: Client, **changes: Any) -> int:
    """Propose the draft as a browser does; the number of the change."""
    shown = client.get("/policies/draft/propose/")
    assert shown.status_code == 200
    answer = client.post("/policies/draft/propose/", {**hidden(shown.content), "title": "Triage to Haiku", **changes})
    assert answer.status_code == 302, answer.content
    assert answer["Location"].startswith("/policies/changes/"), answer["Location"]
    return int(answer["Location"].rstrip("/").rpartition("/")[2])


def approve(client: Client, change: int) -> None:
    fields = hidden(client.get(f"/policies/changes/{change}/approve/").content)
    client.post(f"/policies/changes/{change}/approve/", fields)


def in_force(lena: Client, tomas: Client) -> int:
    """Lena proposes, Tomás approves and activates; the number of the change."""
    change = propose(lena)
    approve(tomas, change)
    tomas.post(f"/policies/changes/{change}/activate/")
    return change


def token(owner: User, *scopes: str, environments: tuple[str, ...] = (), days: int | None = 30) -> tuple[ApiToken, Any]:
    """A token of somebody, and the headers that carry it."""
    expires_at = AS_OF + timedelta(days=days) if days is not None else None
    made, secret = create_token(
        actor=owner, name="test", scopes=scopes, environments=environments, as_of=AS_OF, expires_at=expires_at
    )
    return made, {"authorization": f"Bearer {secret}"}
