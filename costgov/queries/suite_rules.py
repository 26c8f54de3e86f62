"""Rules that map suites to classes, with what each takes: the suites seen so far and where their results went."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Sum

from routing.core.evidence import rule_matches
from routing.models import EvalRun
from routing.queries.eval_runs import SuiteRuleRow, suite_rules


@dataclass(frozen=True, slots=True)
class SeenSuite:
    """A suite that some file named, with the classes its results went to and how many there are."""

    suite: str
    classes: tuple[str, ...]
    results: int


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule with the seen suites it decides, and those it matches that an earlier rule decides."""

    rule: SuiteRuleRow
    takes: tuple[SeenSuite, ...]
    shadowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SuiteRulesView:
    """Every rule in the order they are asked, and the seen suites none of them takes."""

    lines: tuple[RuleLine, ...]
    without_rule: tuple[SeenSuite, ...]


@dataclass(frozen=True, slots=True)
class RulePreview:
    """What a pattern would take among the suites seen so far; `kept_by`: matches that an earlier rule decides."""

    pattern: str
    takes: tuple[SeenSuite, ...]
    kept_by: tuple[tuple[str, str], ...]


def suite_rules_view() -> SuiteRulesView:
    """The rules and what each decides today."""
    seen, rules = _seen(), suite_rules()
    taken: dict[int, list[SeenSuite]] = defaultdict(list)
    shadowed: dict[int, list[str]] = defaultdict(list)
    without = []
    for suite in seen:
        matching = [rule for rule in rules if rule_matches(rule.pattern, suite.suite)]
        if not matching:
            without.append(suite)
            continue
        taken[matching[0].id].append(suite)
        for rule in matching[1:]:
            shadowed[rule.id].append(suite.suite)
    lines = tuple(RuleLine(rule, tuple(taken[rule.id]), tuple(shadowed[rule.id])) for rule in rules)
    return SuiteRulesView(lines, tuple(without))


def rule_preview(*, pattern: str, position: int | None = None) -> RulePreview:
    """What a rule would take that is asked at `position` (None = last), before it is saved."""
    said = pattern.strip()
    takes: list[SeenSuite] = []
    kept: list[tuple[str, str]] = []
    earlier = [
        rule for rule in suite_rules() if rule.pattern != said and (position is None or rule.position < position)
    ]
    for suite in _seen():
        if not rule_matches(said, suite.suite):
            continue
        first = next((rule for rule in earlier if rule_matches(rule.pattern, suite.suite)), None)
        if first is None:
            takes.append(suite)
        else:
            kept.append((suite.suite, first.class_title))
    return RulePreview(said, tuple(takes), tuple(kept))


def _seen() -> Sequence[SeenSuite]:
    classes: dict[str, set[str]] = defaultdict(set)
    results: dict[str, int] = defaultdict(int)
    for suite, title, count in (
        EvalRun.objects.order_by().values_list("suite", "request_class__title").annotate(count=Sum("results"))
    ):
        classes[suite].add(title)
        results[suite] += count or 0
    return [SeenSuite(suite, tuple(sorted(classes[suite])), results[suite]) for suite in sorted(classes)]
