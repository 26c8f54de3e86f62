"""Rules that map eval suites to classes, for results whose file names no class."""

from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import Max

from audit import operations as audit
from audit.roles import Right, require
from routing.models import EvalSuiteRule, RequestClass

MOST_PATTERN = 255


class RuleRefused(Exception):
    """A rule that cannot be kept; the message names field, value and remedy."""


@transaction.atomic
def set_suite_rule(
    *,
    actor: AbstractBaseUser | None,
    pattern: str,
    slug: str,
    as_of: datetime,
    position: int | None = None,
    is_live: bool | None = None,
    is_demo: bool = False,
) -> EvalSuiteRule:
    """Suites that match `pattern` (`*` and `?` stand for any text) belong to the class; the same pattern is replaced.

    The first rule that matches counts, in the order of `position`; a new one without a position comes last. `is_live`:
    their cases are graded samples of live traffic and feed the monitor instead of verdicts, also where the file names
    the class (None: as it was, for a new one no). What was imported before stays what it is. Raises RuleRefused,
    Forbidden.
    """
    require(actor, Right.EDIT_CLASSES)
    said = pattern.strip()
    if not said or len(said) > MOST_PATTERN or not said.isprintable():
        problem = "is empty" if not said else f"has more than {MOST_PATTERN} characters or characters nobody sees"
        raise RuleRefused(f"The pattern {problem}: give the name of a suite, e.g. triage or triage-*.")
    if "@" in said:
        raise RuleRefused(f"{said}: leave out the version after @: a rule is for every version of a suite.")
    request_class = RequestClass.objects.filter(slug=slug).first()
    if request_class is None:
        known = ", ".join(RequestClass.objects.values_list("slug", flat=True)[:20]) or "none yet"
        raise RuleRefused(f"No class {slug!r} is registered. Registered: {known}.")
    if position is not None and position < 0:
        raise RuleRefused(f"The position is {position}: give 0 (first) or more.")
    row = EvalSuiteRule.objects.select_for_update().filter(pattern=said).first()
    before = _facts(row) if row is not None else None
    if row is None:
        last = EvalSuiteRule.objects.aggregate(last=Max("position"))["last"]
        row = EvalSuiteRule(pattern=said, position=0 if last is None else last + 1)
    row.request_class = request_class
    row.position = row.position if position is None else position
    row.is_live = row.is_live if is_live is None else is_live
    after = _facts(row)
    if after == before:
        return row
    row.save()
    audit.record(
        actor=actor,
        action="evals.suite_rule_set",
        object_type="eval_suite_rule",
        object_id=row.pk,
        object_label=f"{said} → {slug}",
        before=before,
        after=after,
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


@transaction.atomic
def remove_suite_rule(*, actor: AbstractBaseUser | None, rule_id: int, as_of: datetime) -> None:
    """Take a rule away. Raises RuleRefused, Forbidden."""
    require(actor, Right.EDIT_CLASSES)
    row = EvalSuiteRule.objects.select_for_update(of=("self",)).select_related("request_class").filter(pk=rule_id)
    found = row.first()
    if found is None:
        raise RuleRefused(f"There is no rule number {rule_id} (any more): reload the page.")
    before, label = _facts(found), str(found)
    found.delete()
    audit.record(
        actor=actor,
        action="evals.suite_rule_removed",
        object_type="eval_suite_rule",
        object_id=rule_id,
        object_label=label,
        before=before,
        as_of=as_of,
    )


def _facts(row: EvalSuiteRule) -> dict[str, object]:
    return {"pattern": row.pattern, "class": row.request_class.slug, "position": row.position, "is_live": row.is_live}
