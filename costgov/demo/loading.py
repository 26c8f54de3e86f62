"""Load the demo organisation: what happened in its past, in order, through the real importers and operations.

Every step looks first whether it was done: a load that was killed half-way is completed by the next one. Nothing is
written past the operations.
"""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from audit import operations as audit
from audit.models import AuditEntry
from audit.roles import Role
from billing.core.terms import parse_terms
from billing.models import Import, Organisation
from billing.operations.imports import ImportOptions, cancel_import, unfinished_imports
from billing.operations.prices import seed_list_prices
from costgov.demo import tables
from costgov.demo.cost_centres import load_cost_centres
from costgov.demo.cost_files import DemoMonth, demo_months
from costgov.demo.eval_files import EVAL_FILES, EvalFile
from costgov.demo.live_files import LIVE_CLASS, LIVE_FILES, LIVE_SUITE, LiveFile
from costgov.demo.organisation import (
    BASELINE,
    CASCADES,
    CLASSES,
    DEFAULT_CLASS,
    DEFAULT_NOTE,
    DEFAULT_TITLE,
    NAME,
    NOTICE,
    OFFER_NAME,
    PLANNED,
    DemoClass,
    offer_document,
    policy_document,
)
from costgov.demo.people import ADA, EMIL, ERIN, PAULA, PEOPLE, Person
from costgov.demo.prices import propose_demo_prices
from costgov.demo.settling import settle_month
from costgov.demo.usage_files import DAYS, MOVED_DAYS_BEFORE, MOVED_HOUR, UsageFile, usage_files
from costgov.jsonout import plain
from costgov.models import User
from costgov.operations.commitments import size_offer
from costgov.operations.setup import create_user, save_organisation
from costgov.operations.usage import import_usage
from costgov.queries.recommendation import recommendation_view
from gateway.document import content_hash
from routing.models import Activation, ChangeRequest, ClassMapping, EvalImport, EvalRun, RequestClass
from routing.operations.cascades import set_cascade
from routing.operations.classes import map_usage, save_class
from routing.operations.eval_runs import set_aside
from routing.operations.evals import import_evals
from routing.operations.policies import activate, approve, propose
from routing.operations.suite_rules import set_suite_rule
from routing.operations.verdict_records import record_verdicts

BEGUN: Final = "demo.begun"
LOADED: Final = "demo.loaded"
SOURCES: Final = {"report": "Anthropic usage report", "log": "Application request logs", "litellm": "LiteLLM gateway"}
_FIRST_POLICY: Final = (196, 195, 194)  # days before the end: proposed, approved, activated
_SECOND_POLICY: Final = (140, 133, MOVED_DAYS_BEFORE)
Say = Callable[[str], None]


class DemoRefused(Exception):
    """The demo is not loaded here; the message says why and what to do."""


def load(*, as_of: datetime, say: Say) -> None:
    """Load the demo so that its last day is the day before `as_of`, or complete a load that was broken off.

    A second call changes nothing, whatever its `as_of`. Raises DemoRefused on a database of another organisation.
    """
    begun = AuditEntry.objects.filter(action=BEGUN).order_by("pk").first()
    if begun is None and User.objects.exists():
        raise DemoRefused(
            "There are users here already, and not those of the demo: nothing was loaded. Set COSTGOV_VAR to another "
            "folder (and PORT to another port) for a demo beside this installation."
        )
    last = date.fromisoformat(begun.object_id) if begun is not None else as_of.date()
    if AuditEntry.objects.filter(action=LOADED).exists():
        say(f"The demo organisation is loaded; its last day is {last - timedelta(days=1)}. Nothing was changed.")
        return
    parent = Path(settings.COSTGOV_VAR) / "tmp"
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in parent.glob("demo-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=parent))
    try:
        _Load(last, as_of, folder, say).carry_out()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class _Load:
    """One attempt. `last`: the day after the demo's last day."""

    last: date
    as_of: datetime
    folder: Path
    say: Say
    began: float = field(default_factory=time.monotonic)

    def carry_out(self) -> None:
        opened = self.at(DAYS, 7)
        _mark(BEGUN, self.last, opened)
        self.told("Prices, people and classes")
        seed_list_prices(as_of=opened)
        self.set_up(opened)
        files: tuple[EvalFile | LiveFile, ...] = (*EVAL_FILES, *LIVE_FILES)
        events: list[tuple[datetime, Callable[[], None]]] = [
            *((usage.ready_at, partial(self.usage, usage)) for usage in usage_files(self.last)),
            *((evals.ready_at(self.last), partial(self.evals, evals)) for evals in files),
            *((evals.set_aside_at(self.last), partial(self.aside, evals)) for evals in EVAL_FILES if evals.set_aside),
            (self.at(_FIRST_POLICY[0], 15), self.first_policy),
            (self.at(_SECOND_POLICY[0], 15), self.second_policy),
            *((month.report_at, partial(self.settle, month)) for month in demo_months(self.last)),
        ]
        for _, event in sorted(events, key=lambda item: item[0]):
            event()
        record_verdicts(as_of=min(self.at(0, 1), self.as_of))  # as every night: evidence ages by itself
        self.offer()
        self.prices()
        load_cost_centres(actor=_user(PAULA), last=self.last, as_of=min(self.at(0, 1), self.as_of))
        _mark(LOADED, self.last, min(self.at(0, 1), self.as_of))
        self.told(f"The demo organisation is loaded: {DAYS} days up to {self.last - timedelta(days=1)}")

    def set_up(self, opened: datetime) -> None:
        if not Organisation.objects.filter(pk=1, name=NAME).exists():
            save_organisation(actor=None, name=NAME, baseline_model=BASELINE, notice=NOTICE, as_of=opened, is_demo=True)
        for person in PEOPLE:
            create_user(
                actor=None,
                username=person.username,
                password=person.password,
                role=Role(person.role),
                as_of=opened,
                is_demo=True,
            )
        for row in CLASSES:
            _register(row.slug, _facts(row), opened)
            _map(row.slug, row.report_api_key, opened)
        for slug, document in CASCADES.items():
            set_cascade(
                actor=_user(ERIN),
                slug=slug,
                document=document,
                reason="What a cascade would do here",
                as_of=opened,
                is_demo=True,
            )
        planned = {name: getattr(PLANNED, name) for name in ("title", "quality_owner", "bar", "tolerance", "note")}
        _register(PLANNED.slug, {**planned, "spend_owner": "Procurement", "metric": "mean_score"}, opened)
        _register(DEFAULT_CLASS, {"title": DEFAULT_TITLE, "note": DEFAULT_NOTE}, opened)
        set_suite_rule(actor=_user(ERIN), pattern=LIVE_SUITE, slug=LIVE_CLASS, is_live=True, as_of=opened, is_demo=True)

    def usage(self, usage: UsageFile) -> None:
        done = Import.objects.filter(kind="usage", file_name=usage.name, state=Import.State.DONE)
        if done.exists():
            return
        for row in Import.objects.filter(pk__in=unfinished_imports(), file_name=usage.name):
            cancel_import(actor=None, import_id=row.pk, as_of=usage.ready_at)  # of a load that was killed
        path = usage.write(self.folder, self.last)
        try:
            outcome = import_usage(
                actor=_user(EMIL),
                path=path,
                as_of=min(usage.ready_at, self.as_of),
                options=ImportOptions(source=SOURCES[usage.kind]),
                is_demo=True,
            )
        finally:
            path.unlink()
        rows = "rows" if usage.kind == "report" else "requests"
        self.told(f"{usage.name}: {outcome.accepted:,} {rows}")

    def evals(self, evals: EvalFile | LiveFile) -> None:
        if EvalImport.objects.filter(file_name=evals.name(self.last)).exists():
            return
        path = evals.write(self.folder, self.last)
        outcome = import_evals(actor=_user(ERIN), path=path, as_of=evals.ready_at(self.last), is_demo=True)
        path.unlink()
        self.told(f"{path.name}: {outcome.cases:,} results")

    def aside(self, evals: EvalFile) -> None:
        for run in EvalRun.objects.filter(eval_import__file_name=evals.name(self.last), set_aside_at=None):
            set_aside(
                actor=_user(ERIN),
                run_id=run.pk,
                reason=evals.set_aside,
                as_of=evals.set_aside_at(self.last),
                is_demo=True,
            )
            self.told(f"{evals.name(self.last)}: set aside")

    def first_policy(self) -> None:
        self.decide(
            1,
            _FIRST_POLICY,
            "Write down what runs today",
            "No model changes: every class stays on what serves it. From now on changes are proposed with evidence.",
            "Matches what runs; agreed.",
        )

    def second_policy(self) -> None:
        self.decide(
            2,
            _SECOND_POLICY,
            "Move record extraction to Haiku 4.5",
            "Haiku 4.5 clears the bar on extraction@1 at a fifth of the price per token.",
            "450 cases, above the line. Watch it when the suite changes.",
        )

    def offer(self) -> None:
        """An invented offer, sized on the day the demo ends: idempotent, as the same inputs give the sizing kept."""
        sizing = size_offer(
            actor=_user(PAULA),
            terms=parse_terms(offer_document(self.last)),
            name=OFFER_NAME,
            as_of=min(self.at(0, 1), self.as_of),
            is_demo=True,
        )
        self.told(f"{OFFER_NAME}: sizing {sizing.pk}")

    def prices(self) -> None:
        """A price that waits for a decision."""
        number = propose_demo_prices(actor=_user(PAULA), last=self.last, as_of=min(self.at(0, 1), self.as_of))
        if number:
            self.told(f"{number} prices proposed")

    def settle(self, month: DemoMonth) -> None:
        users = {person.username: _user(person) for person in (EMIL, PAULA, ADA)}
        settle_month(month, last=self.last, folder=self.folder, users=users, as_of=self.as_of, say=self.told)

    def decide(self, version: int, days: tuple[int, int, int], title: str, note: str, comment: str) -> None:
        """Propose → approve → activate, each with its own past instant; steps already taken are left as they are."""
        document = policy_document(version=version)
        proposed_at, approved_at = self.at(days[0], 15), self.at(days[1], 10)
        change = ChangeRequest.objects.filter(policy_version__content_hash=content_hash(document)).first()
        if change is None:
            change = propose(
                actor=_user(ERIN),
                document=document,
                title=title,
                note=note,
                evidence=plain(recommendation_view(as_of=proposed_at)),
                as_of=proposed_at,
                is_demo=True,
            )
        if change.is_in_review:
            approve(
                actor=_user(EMIL),
                change_request_id=change.pk,
                content_hash=change.policy_version.content_hash,
                evidence_hash=change.evidence_hash,
                comment=comment,
                as_of=approved_at,
                is_demo=True,
            )
        if not Activation.objects.filter(change_request=change).exists():
            activate(actor=_user(ERIN), change_request_id=change.pk, as_of=self.at(days[2], MOVED_HOUR), is_demo=True)
            self.told(f"Policy {change.policy_version}: {title}")

    def at(self, days_before: int, hour: int) -> datetime:
        day = self.last - timedelta(days=days_before)
        return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)

    def told(self, line: str) -> None:
        self.say(f"{time.monotonic() - self.began:6.1f} s  {line}")


def _facts(row: DemoClass) -> dict[str, Any]:
    reuse = tables.reuse(row.slug)
    return {
        "title": row.title,
        "quality_owner": row.quality_owner,
        "spend_owner": "Procurement",
        "bar": row.bar,
        "tolerance": row.tolerance,
        "standard": row.standard,
        "margin": row.margin or None,
        "latency": row.latency,
        "keeps_own_caching": row.keeps_own_caching,
        "note": row.note,
        "reuse": {}
        if reuse is None
        else {
            "prefix_share": float(reuse["prefix_share"]),
            "hit_share_5m": float(reuse["hit_share_5m"]),
            "hit_share_1h": float(reuse["hit_share_1h"]),
            "source": f"a trace of other traffic ({reuse['source']})",
            "assumed": True,
        },
    }


def _register(slug: str, facts: dict[str, Any], at: datetime) -> None:
    if not RequestClass.objects.filter(slug=slug).exists():
        save_class(actor=_user(ERIN), slug=slug, facts=facts, as_of=at, is_demo=True)


def _map(slug: str, api_key: str, at: datetime) -> None:
    if not ClassMapping.objects.filter(api_key=api_key).exists():
        map_usage(actor=_user(ERIN), slug=slug, api_key=api_key, as_of=at, is_demo=True)


def _user(person: Person) -> User:
    return User.objects.get(username=person.username)


@transaction.atomic
def _mark(action: str, last: date, at: datetime) -> None:
    """How far the demo is, in the audit trail: `begun` fixes the day everything is relative to."""
    if not AuditEntry.objects.filter(action=action).exists():
        audit.record(
            actor=None,
            action=action,
            object_type="demo",
            object_id=last.isoformat(),
            object_label=NAME,
            as_of=at,
            is_demo=True,
        )


__all__ = ["BEGUN", "LOADED", "DemoRefused", "load"]
