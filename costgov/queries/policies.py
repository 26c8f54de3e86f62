"""What the policy pages and the API show: what is in force, the recommended draft, a change with its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import AbstractBaseUser

from audit.models import AuditEntry
from audit.roles import Right, may
from billing.queries.series import ModelName, model_name, model_names
from costgov.jsonout import plain
from costgov.model_words import in_words
from costgov.queries.policy_case import Case, case_of, frozen_case
from costgov.queries.recommendation import (
    DraftView,
    draft_view,
)
from costgov.queries.saving_scope import SavingScope, saving_scope
from gateway.document import content_hash, validate_document
from routing.core.policy_diff import PolicyDiff
from routing.core.policy_text import AssignmentText, RuleText, assignment_texts, rule_texts
from routing.queries.changes import (
    ChangeFacts,
    ChangeRow,
    HistoryRow,
    InForce,
    VersionFacts,
    change_facts,
    changes,
    changes_of_version,
    diff_to_in_force,
    evidence_hash,
    history,
    policy_in_force_now,
    version_facts,
)
from routing.queries.policy_check import PolicyFinding, check_policy
from routing.queries.policy_evidence import check_moves

PROD = "prod"


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """What a class gets in a document, with the model's name and tier as people read them."""

    facts: AssignmentText
    model: str
    tier: str
    baseline: str


@dataclass(frozen=True, slots=True)
class Teaser:
    """The recommended draft in two figures; `unknown`: why the figures are not known, what to do ('' = known)."""

    saving_usd: Decimal
    now_usd: Decimal
    moves: int
    changes: int
    unknown: str


@dataclass(frozen=True, slots=True)
class PoliciesPage:
    """Policies of prod: in force, proposed, recommended, past. `no_draft`: why nothing can be recommended."""

    as_of: datetime
    in_force: InForce | None
    assignments: tuple[AssignmentRow, ...]
    open_changes: tuple[ChangeRow, ...]
    closed_changes: tuple[ChangeRow, ...]
    teaser: Teaser | None
    no_draft: str
    history: tuple[HistoryRow, ...]
    offers_reclassify: bool


@dataclass(frozen=True, slots=True)
class DraftPage:
    """The recommended draft as of `made_at`, and the hashes a proposal of it must repeat."""

    made_at: datetime
    case: Case
    document: Mapping[str, Any]
    diff: PolicyDiff
    findings: tuple[PolicyFinding, ...]
    in_force: InForce | None
    content_hash: str
    evidence_hash: str
    open_changes: tuple[ChangeRow, ...]
    scope: SavingScope
    """The spend its figures are of."""

    @property
    def suggested_title(self) -> str:
        """What a proposal is called unless its author says otherwise."""
        moved = self.case.moved
        if not moved:
            return "Recommended settings"
        first = f"{moved[0].title} to {moved[0].after}"
        return first if len(moved) == 1 else f"{first} and {len(moved) - 1} more"

    @property
    def changes_something(self) -> bool:
        return self.in_force is None or self.in_force.version.content_hash != self.content_hash


@dataclass(frozen=True, slots=True)
class Steps:
    """What this reader may do to a change, and why not, in words ('' = may)."""

    approve: bool
    reject: bool
    cancel: bool
    activate: bool
    why_not: str

    @property
    def any(self) -> bool:
        return self.approve or self.reject or self.cancel or self.activate


@dataclass(frozen=True, slots=True)
class ChangePage:
    """A change with the evidence frozen into it. `case` None = its evidence is not a recommendation."""

    change: ChangeFacts
    case: Case | None
    no_case: str
    findings: tuple[PolicyFinding, ...]
    steps: Steps
    rollouts: tuple[AssignmentRow, ...]


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One immutable document, readable, with what it would change in force."""

    version: VersionFacts
    assignments: tuple[AssignmentRow, ...]
    rules: tuple[RuleText, ...]
    default_class: str
    diff: PolicyDiff
    in_force: InForce | None
    changes: tuple[int, ...]
    sequences: tuple[int, ...]
    findings: tuple[PolicyFinding, ...]

    @property
    def is_in_force(self) -> bool:
        return self.in_force is not None and self.in_force.version.id == self.version.id


def policies_page(*, as_of: datetime, draft: DraftPage | None, no_draft: str = "") -> PoliciesPage:
    """Everything about prod's policies. `draft`: the recommended one (pages keep it; it is dear to make)."""
    active = policy_in_force_now(environment=PROD)
    rows = changes(environment=PROD)
    past = history(environment=PROD)
    is_open = {"in_review", "approved"}
    return PoliciesPage(
        as_of=as_of,
        in_force=active,
        assignments=assignment_rows(active.version.document) if active is not None else (),
        open_changes=tuple(row for row in rows if row.state in is_open),
        closed_changes=tuple(row for row in rows if row.state in {"rejected", "cancelled"}),
        teaser=_teaser(draft),
        no_draft=no_draft,
        history=past,
        offers_reclassify=len(past) == 1 and not AuditEntry.objects.filter(action="usage.reclassified").exists(),
    )


def draft_page(*, as_of: datetime) -> DraftPage:
    """The recommended draft. Raises NoBaseline."""
    draft = draft_view(as_of=as_of)
    content, evidence = draft_hashes(draft)
    return DraftPage(
        made_at=as_of,
        case=case_of(draft.recommendation, draft.document),
        document=draft.document,
        diff=_named(diff_to_in_force(document=draft.document, environment=PROD)),
        findings=check_policy(
            document=draft.document,
            on=as_of.date(),
            also_registered=[str(draft.document["default_class"])],  # registered with the first proposal
        ),
        in_force=policy_in_force_now(environment=PROD),
        content_hash=content,
        evidence_hash=evidence,
        open_changes=changes(environment=PROD, only_open=True),
        scope=saving_scope(draft.recommendation),
    )


def draft_hashes(draft: DraftView) -> tuple[str, str]:
    """(content hash, evidence hash) of a draft: what a proposal must repeat to be the draft that was read."""
    return content_hash(draft.document), evidence_hash(plain(draft.recommendation))


def change_page(*, change_id: int, reader: AbstractBaseUser, as_of: datetime) -> ChangePage:
    """A change as one reader sees it. Raises NoSuchChange."""
    found = change_facts(change_id=change_id)
    change = replace(found, diff=_named(found.diff))
    case, no_case = frozen_case(change.evidence, change.version.document)
    return ChangePage(
        change=change,
        case=case,
        no_case=no_case,
        findings=(
            *check_policy(document=change.version.document, on=as_of.date()),
            *(_about_evidence(change, case, as_of) if change.is_open else ()),
        ),
        steps=_steps_for(change, reader),
        rollouts=assignment_rows(change.version.document),
    )


def _about_evidence(change: ChangeFacts, case: Case | None, as_of: datetime) -> tuple[PolicyFinding, ...]:
    """What the evidence and the bars of today say of an open change; frozen evidence may be older than both."""
    if validate_document(change.version.document):
        return ()
    frozen = {row.request_class: row.verdict.bar_version for row in case.evidence} if case is not None else {}
    return check_moves(document=change.version.document, as_of=as_of, frozen_bars=frozen)


def version_page(*, version: int, policy: str = "", as_of: datetime) -> VersionPage:
    """A version of a policy. Raises NoSuchChange."""
    facts = version_facts(version=version, policy=policy)
    past = history(environment=PROD)
    return VersionPage(
        version=facts,
        assignments=assignment_rows(facts.document),
        rules=rule_texts(facts.document),
        default_class=facts.document["default_class"],
        diff=_named(diff_to_in_force(document=facts.document, environment=PROD)),
        in_force=policy_in_force_now(environment=PROD),
        changes=changes_of_version(version_id=facts.id),
        sequences=tuple(row.sequence for row in past if (row.policy, row.version) == (facts.policy, facts.version)),
        findings=check_policy(document=facts.document, on=as_of.date()),
    )


def assignment_rows(document: Mapping[str, Any]) -> tuple[AssignmentRow, ...]:
    """Every class of a document; a kept model is said in words."""
    names = model_names()
    rows = []
    for facts in assignment_texts(document):
        shown = model_name(names, facts.model) if facts.model else ModelName("As requested", "")
        baseline = model_name(names, facts.baseline).name if facts.baseline else ""
        rows.append(AssignmentRow(facts, shown.name, shown.tier, baseline))
    return tuple(rows)


# -- parts -----------------------------------------------------------------------------------------------------


def _teaser(draft: DraftPage | None) -> Teaser | None:
    if draft is None or not draft.changes_something:
        return None
    case, scope = draft.case, draft.scope
    unknown = "" if scope.is_known else scope.note
    return Teaser(case.saving_usd, case.now_usd, len(case.moved), draft.diff.count, unknown)


def _named(diff: PolicyDiff) -> PolicyDiff:
    """The same differences with models by their names."""
    names = model_names()
    return replace(
        diff,
        assignments=tuple(
            replace(row, before=in_words(row.before, names), after=in_words(row.after, names))
            for row in diff.assignments
        ),
    )


def _steps_for(change: ChangeFacts, reader: AbstractBaseUser) -> Steps:
    is_author = change.author_id == reader.pk
    in_review, approved = change.state == "in_review", change.state == "approved"
    can_approve, can_propose = may(reader, Right.APPROVE_POLICY), may(reader, Right.PROPOSE_POLICY)
    why_not = ""
    if in_review and not can_approve:
        why_not = "Approving quality evidence is up to an engineer or an admin. You can read everything here."
    elif in_review and is_author:
        why_not = "You proposed this: another engineer or an admin has to approve it. Send them the link to this page."
    elif approved and not may(reader, Right.ACTIVATE_POLICY):
        why_not = "Activating is up to an engineer or an admin."
    return Steps(
        approve=in_review and can_approve and not is_author,
        reject=change.is_open and can_approve and not is_author,
        cancel=change.is_open and can_propose and is_author,
        activate=approved and may(reader, Right.ACTIVATE_POLICY),
        why_not=why_not,
    )
