"""Which class the cases of a file belong to: what they say, what the person says, what a rule says of their suite."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.contrib.auth.models import AbstractBaseUser

from routing.core.evidence import CaseResult, rule_matches
from routing.importers import EvalImportError
from routing.models import EvalSuiteRule, RequestClass
from routing.operations.classes import ClassRefused, save_class

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Registering:
    """Whether unknown classes are registered, by whom and when."""

    create: bool
    actor: AbstractBaseUser | None
    as_of: datetime
    is_demo: bool


@dataclass(slots=True)
class ClassesOfFile:
    """The registered class of each result; what has none is remembered and refused together at the end."""

    said: Mapping[str, str]
    registering: Registering
    slugs: set[str] = field(default_factory=set)
    _homeless: set[str] = field(default_factory=set)
    _unknown: set[str] = field(default_factory=set)
    _by_suite: dict[str, str] = field(default_factory=dict)
    _classes: dict[str, RequestClass | None] = field(default_factory=dict)
    _rules: list[EvalSuiteRule] | None = None

    def of(self, result: CaseResult) -> RequestClass | None:
        """None where it has none; `check` then raises. Raises EvalImportError for an id nobody can register."""
        slug = result.request_class or self._of_suite(result.suite)
        if not slug:
            self._homeless.add(result.suite)
            return None
        if slug not in self._classes:
            self._classes[slug] = self._registered(slug)
            self.slugs.add(slug)
        return self._classes[slug]

    def check(self) -> None:
        """Raise EvalImportError where any result had no class, or one nobody registered."""
        if self._homeless:
            raise EvalImportError(
                f"no class is named for the cases of suite {_listed(self._homeless)}",
                remedy="Add request_class to the cases, choose a class for the whole file (--class), or map the suite "
                "to a class (a suite rule, or --map)",
                field="request_class",
            )
        if self._unknown:
            one = len(self._unknown) == 1
            them = "it" if one else "them"
            raise EvalImportError(
                "no class of this id is registered" if one else f"no classes {_listed(self._unknown)} are registered",
                remedy=f"Register {them} on the Classes page, or let the import do so with the default bar "
                "(--create-classes)",
                field="request_class",
                value=_listed(self._unknown) if one else None,
            )

    def is_live(self, suite: str) -> bool:
        """Whether the first rule that matches a suite says its cases are samples of live traffic, whatever class the
        file names."""
        return next((rule.is_live for rule in self._kept_rules() if rule_matches(rule.pattern, suite)), False)

    def _of_suite(self, suite: str) -> str:
        """What the person says, else the first rule whose pattern matches; '' = none."""
        found = self._by_suite.get(suite)
        if found is None:
            matching = (rule.request_class.slug for rule in self._kept_rules() if rule_matches(rule.pattern, suite))
            found = self._by_suite[suite] = self.said.get(suite) or next(matching, "")
        return found

    def _kept_rules(self) -> list[EvalSuiteRule]:
        if self._rules is None:
            self._rules = list(EvalSuiteRule.objects.select_related("request_class"))
        return self._rules

    def _registered(self, slug: str) -> RequestClass | None:
        row = RequestClass.objects.filter(slug=slug).first()
        if row is not None:
            return row
        how = self.registering
        if not how.create or self._homeless:
            self._unknown.add(slug)
            return None
        try:
            return save_class(actor=how.actor, slug=slug, facts={"title": slug}, as_of=how.as_of, is_demo=how.is_demo)
        except ClassRefused as refused:
            raise EvalImportError(
                f"cannot be registered ({str(refused).rstrip('.')})",
                remedy="Correct the id in the source, or map the suite to a class (--map)",
                field="request_class",
                value=slug,
            ) from refused


def _listed(names: set[str]) -> str:
    shown = sorted(names)[:_MOST_NAMED]
    return ", ".join(shown) + (f" and {len(names) - len(shown):,} more" if len(names) > len(shown) else "")
