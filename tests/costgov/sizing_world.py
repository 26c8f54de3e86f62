"""The small organisation with a real policy in force: what a forecast, and so a sizing, needs. About 700 usd a year."""

from datetime import date, timedelta
from decimal import Decimal

from billing.core.terms import Band, Terms
from costgov.models import User
from costgov.queries.recommendation import recommended_document, recommended_report
from routing.models import PolicyVersion, RequestClass
from routing.operations.policies import activate, approve, propose
from tests.costgov import small_world as world

TERMS = Terms(
    date(2027, 1, 1),
    "list",
    "payable",
    (Band("T1", Decimal(150), Decimal("0.06")), Band("T2", Decimal(400), Decimal("0.12"))),
)


def build() -> dict[str, User]:
    """People, prices, classes, eight weeks of usage, evals, and the recommended policy proposed, approved, active."""
    people = world.people()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    RequestClass.objects.get_or_create(slug="general", defaults={"title": "Everything else"})
    world.usage()
    for slug, model, passed, cases in (
        ("triage", world.OPUS, 198, 200),
        ("triage", world.HAIKU, 199, 200),
        ("drafting", world.SONNET, 146, 150),
    ):
        world.evals(slug, model, passed, cases, world.AS_OF - timedelta(days=30))
    put_in_force(people)
    return people


def put_in_force(people: dict[str, User]) -> PolicyVersion:
    """What is recommended now, through the real steps."""
    report = recommended_report(as_of=world.AS_OF)
    document = recommended_document(report, as_of=world.AS_OF)
    change = propose(actor=people["eva"], document=document, title="Route", evidence={}, as_of=world.AS_OF)
    approve(
        actor=people["ada"],
        change_request_id=change.pk,
        content_hash=change.policy_version.content_hash,
        evidence_hash=change.evidence_hash,
        as_of=world.AS_OF,
    )
    activate(actor=people["ada"], change_request_id=change.pk, as_of=world.AS_OF)
    return change.policy_version
