"""The policy engine: compiles a document once, then decides per request (policy-spec.md §2–5).

One engine for gateways, for the decide interface and for back-tests: what is shown is what is enforced.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.document import Finding, PolicyError, content_hash, validate_document
from gateway.tables import RuleTables
from gateway.targets import Assignment, Candidate, bucket_of, threshold_of

__all__ = [
    "CompiledPolicy",
    "Decision",
    "Finding",
    "PolicyError",
    "bucket_of",
    "compile_policy",
    "content_hash",
    "threshold_of",
    "unchanged",
]

_NO_STICKY: Final[Mapping[str, str]] = MappingProxyType({})
RECORD_FIELDS: Final = (
    "policy", "version", "environment", "sequence", "rule", "class", "arm", "bucket", "requested", "target", "applied",
    "reason", "facts", "adapter",
)  # fmt: skip


class Decision:
    """A decision record (policy-spec.md §4) with the patch that carries it out.

    ``patch``: changes on the original request, empty when it stays as it is; keys in :mod:`gateway.patch`. Built when
    asked for, anew each time.
    ``advice``: ``batch`` and ``fallback`` of the assignment; empty when a guard, a switch or ``observe`` mode left the
    request alone.
    """

    # The record is built once and kept as the dict it is sent as: a second copy in attributes would double the cost.
    __slots__ = ("_candidate", "_record", "advice")

    def __init__(self, record: dict[str, Any], candidate: Candidate | None, advice: dict[str, Any]) -> None:
        self._record = record
        self._candidate = candidate
        self.advice = advice

    @property
    def patch(self) -> dict[str, Any]:
        record = self._record
        if self._candidate is None or not record["applied"]:
            return {}
        return self._candidate.patch(record["facts"], record["requested"])

    @property
    def policy(self) -> str | None:
        return self._record["policy"]  # type: ignore[no-any-return]

    @property
    def version(self) -> int | None:
        return self._record["version"]  # type: ignore[no-any-return]

    @property
    def environment(self) -> str:
        return self._record["environment"]  # type: ignore[no-any-return]

    @property
    def sequence(self) -> int:
        return self._record["sequence"]  # type: ignore[no-any-return]

    @property
    def rule(self) -> str | None:
        return self._record["rule"]  # type: ignore[no-any-return]

    @property
    def request_class(self) -> str | None:
        return self._record["class"]  # type: ignore[no-any-return]

    @property
    def arm(self) -> str | None:
        return self._record["arm"]  # type: ignore[no-any-return]

    @property
    def bucket(self) -> int | None:
        """Basis point 0…9999; None when nothing was hashed."""
        return self._record["bucket"]  # type: ignore[no-any-return]

    @property
    def requested(self) -> str:
        return self._record["requested"]  # type: ignore[no-any-return]

    @property
    def target(self) -> str | None:
        """Model of the candidate; the requested model when the candidate keeps it; None when nothing was decided."""
        return self._record["target"]  # type: ignore[no-any-return]

    @property
    def applied(self) -> bool:
        return self._record["applied"]  # type: ignore[no-any-return]

    @property
    def reason(self) -> str | None:
        return self._record["reason"]  # type: ignore[no-any-return]

    @property
    def facts(self) -> dict[str, Any]:
        """The facts used, as JSON values (sets as sorted lists)."""
        return self._record["facts"]  # type: ignore[no-any-return]

    @property
    def adapter(self) -> str:
        return self._record["adapter"]  # type: ignore[no-any-return]

    def as_record(self) -> dict[str, Any]:
        """The record as JSON values, named as in policy-spec.md §4."""
        return dict(self._record)

    def header(self, *, stale: bool = False) -> str:
        """Value of the response header ``x-costgov-decision``; ``stale`` = the bundle is past ``stale_after_s``."""
        record = self._record
        name = "none" if record["policy"] is None else f"{record['policy']}@{record['version']}"
        return (
            f"{name};seq={record['sequence']};class={record['class'] or ''};arm={record['arm'] or ''};"
            f"applied={1 if record['applied'] else 0};reason={record['reason'] or ''}{';stale=1' if stale else ''}"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return (self._record, self.patch, self.advice) == (other._record, other.patch, other.advice)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Decision({self._record!r}, patch={self.patch!r}, advice={self.advice!r})"


class CompiledPolicy:
    """A validated policy, ready to decide; made by :func:`compile_policy`. Immutable; threads may share it.

    ``used_fields``: fields the enabled rules name; they alone determine the class.
    ``decision_fields``: those and the facts guards and patches read; they alone determine a decision besides
    ``requested`` and the sticky key.
    ``unreachable_rules``: enabled rules whose own conditions contradict each other (a blocking finding of §6).
    """

    __slots__ = (
        "_allow_bypass", "_observe", "_outcomes", "_sticky_keys", "_tables", "decision_fields", "policy",
        "unreachable_rules", "used_fields", "version",
    )  # fmt: skip

    def __init__(self, document: Mapping[str, Any]) -> None:
        rules = [rule for rule in document["rules"] if rule.get("enabled", True)]
        self.policy: str = document["policy"]
        self.version: int = document["version"]
        self._observe = document["mode"] == "observe"
        self._allow_bypass: bool = document.get("allow_bypass", False)
        self._sticky_keys: tuple[str, ...] = tuple(document["sticky_keys"])
        self._tables = RuleTables(rules)
        assignments = {
            name: Assignment(assignment, document["models"]) for name, assignment in document["assignments"].items()
        }
        # Rule, class and assignment by position. The default stands last: -1, "no rule matches", is its index.
        ids_and_classes = (*((rule["id"], rule["class"]) for rule in rules), (None, document["default_class"]))
        self._outcomes: tuple[tuple[str | None, str, Assignment], ...] = tuple(
            (rule_id, name, assignments[name]) for rule_id, name in ids_and_classes
        )
        self.used_fields: frozenset[str] = self._tables.fields
        self.decision_fields: frozenset[str] = self.used_fields.union(
            *(assignment.guard_fields for assignment in assignments.values())
        )
        self.unreachable_rules: tuple[str, ...] = tuple(
            rule["id"] for position, rule in enumerate(rules) if self._tables.unreachable >> position & 1
        )

    def classify(self, facts: Mapping[str, Any]) -> tuple[str | None, str]:
        """(rule id, class) for normalised facts; (None, default class) when no rule matches. Source: §4.3.

        Raises TypeError or KeyError when a fact has the wrong type: pass raw facts through ``normalise_facts`` first.
        """
        rule, request_class, _ = self._outcomes[self._tables.first_match(facts)]
        return rule, request_class

    def decide(
        self,
        facts: Mapping[str, Any],
        *,
        requested: str,
        sticky: Mapping[str, str] = _NO_STICKY,
        environment: str = "",
        sequence: int = 0,
        adapter: str = "",
        bypass: str | None = None,
        kill_switch: bool = False,
    ) -> Decision:
        """Decide one request from normalised facts; never raises. Source: policy-spec.md §4.

        ``requested``: model id as the caller wrote it. ``sticky``: key by kind (``conversation``, ``user``,
        ``api_key``, ``request``). ``bypass``: value of the header ``x-costgov-bypass``; it counts when the policy
        allows it and it is not blank.
        """
        rule = request_class = arm = target = bucket = candidate = None
        applied = False
        logged: dict[str, Any] = {}
        advice: dict[str, Any] = {}
        reason: str | None
        try:
            if kill_switch:
                reason = "kill_switch"
            elif bypass is not None and self._allow_bypass and bypass.strip():
                reason = "bypass"
            else:
                logged = self._logged(facts)
                position = self._tables.first_match(facts)
                rule, request_class, assignment = self._outcomes[position]
                arm, candidate, bucket, reason = assignment.arm(self._sticky_keys, sticky)
                target = candidate.model or requested
                failing = None if candidate.guard is None else candidate.guard.failing(facts, requested)
                if failing is not None:
                    reason = failing
                else:
                    if not candidate.changes(facts, requested):
                        reason = reason or ("keep_requested" if candidate.model is None else "already")
                    elif self._observe:
                        reason = "observe"
                    else:
                        applied = True
                    if candidate.advises and not self._observe:
                        advice = candidate.advice(facts, requested)
        except Exception as error:  # the contract of §4.9: a request never fails because of costgov
            return self._failed(error, requested, environment, sequence, adapter)
        return Decision(
            {
                "policy": self.policy,
                "version": self.version,
                "environment": environment,
                "sequence": sequence,
                "rule": rule,
                "class": request_class,
                "arm": arm,
                "bucket": bucket,
                "requested": requested,
                "target": target,
                "applied": applied,
                "reason": reason,
                "facts": logged,
                "adapter": adapter,
            },
            candidate,
            advice,
        )

    def _logged(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        fields = self.decision_fields
        if fields.issuperset(facts):
            logged = dict(facts)
        else:
            logged = {field: facts[field] for field in facts if field in fields}
        if "tags" in logged:
            logged["tags"] = sorted(logged["tags"])
        if "permitted_models" in logged:
            logged["permitted_models"] = sorted(logged["permitted_models"])
        return logged

    def _failed(self, error: Exception, requested: str, environment: str, sequence: int, adapter: str) -> Decision:
        decision = unchanged(
            f"error:{type(error).__name__}",
            requested=requested,
            environment=environment,
            sequence=sequence,
            adapter=adapter,
        )
        decision._record.update(policy=self.policy, version=self.version)
        return decision


def unchanged(reason: str, *, requested: str, environment: str = "", sequence: int = 0, adapter: str = "") -> Decision:
    """The decision of an adapter without a usable policy (``no_bundle``) or with a failure before deciding."""
    record: dict[str, Any] = dict.fromkeys(RECORD_FIELDS)
    record.update(
        environment=environment,
        sequence=sequence,
        requested=requested,
        applied=False,
        reason=reason,
        facts={},
        adapter=adapter,
    )
    return Decision(record, None, {})


def compile_policy(
    document: Mapping[str, Any],
    *,
    allowed_models: Collection[str] | None = None,
    registered_classes: Collection[str] | None = None,
) -> CompiledPolicy:
    """Validate and compile a policy document. Raises PolicyError with every finding when it is not valid.

    ``allowed_models`` and ``registered_classes`` are checked when given (:func:`gateway.document.validate_document`).
    """
    findings = validate_document(document, allowed_models=allowed_models, registered_classes=registered_classes)
    if findings:
        raise PolicyError(findings)
    return CompiledPolicy(document)
