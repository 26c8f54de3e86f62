"""Decisions about traffic: classes and their bars, the evidence, policies and who agreed to them."""

from routing.models.classes import (
    BAR_FIELDS,
    SLUG,
    ClassException,
    ClassMapping,
    EstateConstraints,
    QualityBar,
    RequestClass,
)
from routing.models.evals import (
    ClassEvidence,
    EvalCase,
    EvalImport,
    EvalRun,
    EvalRunPart,
    EvalSuiteRule,
    VerdictRecord,
    WorkItem,
)
from routing.models.policies import Activation, Approval, ChangeRequest, PolicyVersion

__all__ = [
    "BAR_FIELDS",
    "SLUG",
    "Activation",
    "Approval",
    "ChangeRequest",
    "ClassEvidence",
    "ClassException",
    "ClassMapping",
    "EstateConstraints",
    "EvalCase",
    "EvalImport",
    "EvalRun",
    "EvalRunPart",
    "EvalSuiteRule",
    "PolicyVersion",
    "QualityBar",
    "RequestClass",
    "VerdictRecord",
    "WorkItem",
]
