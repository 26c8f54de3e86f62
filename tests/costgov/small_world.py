"""A small organisation made by hand: two classes, three models, eight weeks, figures a reader can add up.

Days are counted back from AS_OF (midnight, 23 November 2026). Class `triage` is served by opus (100 requests a day) and
from 35 days before AS_OF on by haiku; `drafting` by sonnet all along. One million tokens cost what the price says.
"""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Group

from audit.operations import bump_data_version
from billing.models import DailyUsage, ModelRelease, Organisation, Price, UsageSource
from costgov.models import User
from routing.models import (
    Activation,
    ChangeRequest,
    ClassMapping,
    EvalCase,
    EvalImport,
    EvalRun,
    PolicyVersion,
    RequestClass,
)
from routing.operations.eval_parts import write_parts

AS_OF = datetime(2026, 11, 23, tzinfo=UTC)
TODAY = date(2026, 11, 23)
OPUS, SONNET, HAIKU = "claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"
PRICES = {OPUS: ("5", "25"), SONNET: ("3", "15"), HAIKU: ("1", "5")}
PASSWORD = "correct horse battery"


def people() -> dict[str, User]:
    """One person of each role, and a stranger without any."""
    made = {}
    for name, role in (("eva", "engineer"), ("priya", "procurement"), ("vic", "viewer"), ("ada", "admin"), ("xen", "")):
        made[name] = User.objects.create_user(username=name, password=PASSWORD)
        if role:
            made[name].groups.add(Group.objects.get(name=role))
    return made


def organisation(*, baseline: str = OPUS, notice: str = "") -> None:
    Organisation.objects.update_or_create(
        pk=1, defaults={"name": "Northwind", "baseline_model": baseline, "notice": notice}
    )


def models() -> None:
    for model, tier in ((OPUS, "frontier"), (SONNET, "balanced"), (HAIKU, "fast")):
        ModelRelease.objects.update_or_create(
            canonical_id=model,
            defaults={
                "display_name": f"Claude {model.removeprefix('claude-').replace('-', ' ', 1).title()}",
                "tier": tier,
                "tokenizer_generation": 1,
                "min_cacheable_tok": 1024,
                "is_allowed": True,
                "retires_on": None,
            },
        )


def prices() -> None:
    """Read costs a tenth of input, writes 1.25 and 2 times it, batch half of everything."""
    Price.objects.all().delete()
    for model, (into, out) in PRICES.items():
        for tier, share in (("standard", Decimal(1)), ("batch", Decimal("0.5"))):
            for kind, usd in (
                ("uncached_input", Decimal(into)),
                ("cache_read", Decimal(into) / 10),
                ("cache_write_5m", Decimal(into) * Decimal("1.25")),
                ("cache_write_1h", Decimal(into) * 2),
                ("output", Decimal(out)),
            ):
                Price.objects.create(
                    model=model, token_kind=kind, service_tier=tier, usd_per_unit=usd * share, source="by hand",
                    checked_on=date(2026, 1, 1), proposed_at=AS_OF - timedelta(days=300),
                    approved_at=AS_OF - timedelta(days=300),
                )  # fmt: skip


def classes() -> None:
    for slug, title, facts in (
        ("triage", "Ticket triage", {"quality_owner": "support-eng", "note": "Evals are made up."}),
        ("drafting", "Reply drafting", {"bar": "0.90", "tolerance": "0.00"}),
    ):
        RequestClass.objects.create(slug=slug, title=title, **facts)


def use(
    on: date, model: str, request_class: str, requests: int | None, tokens: tuple[int, int], **changes: Any
) -> DailyUsage:
    """One counted row: (input, output) tokens in all, not each."""
    source, _ = UsageSource.objects.get_or_create(name="by hand", defaults={"grain": "request"})
    return DailyUsage.objects.create(
        date=on, source=source, origin=changes.pop("origin", "log"), channel="anthropic", model=model,
        service_tier="standard", prompt_length_band="0-200k", geo="global", speed="standard",
        request_class=request_class, requests=requests, uncached_input_tok=tokens[0], output_tok=tokens[1], **changes,
    )  # fmt: skip


def usage(days: int = 56) -> None:
    """`triage`: 100 requests a day of 2,000 + 300 tokens, opus then haiku; `drafting`: 50 a day of 1,000 + 800."""
    for back in range(days, 0, -1):
        on = TODAY - timedelta(days=back)
        use(on, OPUS if back > 35 else HAIKU, "triage", 100, (200_000, 30_000))
        use(on, SONNET, "drafting", 50, (50_000, 40_000))
    bump_data_version()


def evals(
    slug: str, model: str, passed: int, cases: int, at: datetime, suite: str = "suite", version: str = "1"
) -> None:
    """A run of `cases` distinct cases, the first `passed` of which pass; tokens differ from model to model."""
    number = EvalImport.objects.count()
    file = EvalImport.objects.create(
        file_name=f"{slug}-{model}.csv", sha256=f"{number:064x}", format="csv", imported_at=at, cases=cases
    )
    run = EvalRun.objects.create(
        eval_import=file,
        request_class=RequestClass.objects.get(slug=slug),
        suite=suite,
        suite_version=version,
        run_at=at,
        results=cases,
    )
    EvalCase.objects.bulk_create(
        EvalCase(
            run=run, sample_id=f"case-{n}", model=model, model_raw=model, run_at=at, score=1.0 if n < passed else 0.0,
            uncached_input_tok=1000, cache_read_tok=0, cache_write_5m_tok=0, cache_write_1h_tok=0,
            output_tok=100 + n % 7,
        )
        for n in range(cases)
    )  # fmt: skip
    write_parts([run.pk])
    bump_data_version()


def mapping(slug: str, api_key: str) -> None:
    ClassMapping.objects.create(request_class=RequestClass.objects.get(slug=slug), api_key=api_key)


def policy(
    author: User, version: int, assignments: dict[str, Any], at: datetime, *, active: bool, mode: str = "enforce"
) -> ChangeRequest:
    """A policy version, in review or in force; the document holds only what pages read."""
    row = PolicyVersion.objects.create(
        policy="claude-prod", version=version, content_hash=f"{version:064x}", created_by=author, created_at=at,
        document={"mode": mode, "assignments": assignments, "rules": [], "default_class": "general"},
    )  # fmt: skip
    change = ChangeRequest.objects.create(
        policy_version=row, title=f"Change {version}", author=author, proposed_at=at, evidence_hash="0" * 64,
        state=ChangeRequest.State.ACTIVE if active else ChangeRequest.State.IN_REVIEW,
    )  # fmt: skip
    if active:
        Activation.objects.create(
            environment="prod", sequence=version, policy_version=row, change_request=change, activated_by=author,
            activated_at=at,
        )  # fmt: skip
    bump_data_version()
    return change


def whole() -> dict[str, User]:
    """Everything at once: people, prices, classes, usage, evals, an active policy and one waiting for approval."""
    made = people()
    organisation()
    models()
    prices()
    classes()
    usage()
    evals("triage", OPUS, 198, 200, AS_OF - timedelta(days=60))
    evals("triage", HAIKU, 196, 200, AS_OF - timedelta(days=40))
    evals("drafting", SONNET, 146, 150, AS_OF - timedelta(days=30))
    evals("drafting", HAIKU, 120, 150, AS_OF - timedelta(days=30))
    mapping("triage", "key-triage")
    at = AS_OF - timedelta(days=35)
    policy(made["eva"], 1, {"triage": {"target": {"model": HAIKU}}}, at, active=True)
    policy(made["eva"], 2, {"triage": {"target": {"model": OPUS}}}, AS_OF - timedelta(days=2), active=False)
    return made
