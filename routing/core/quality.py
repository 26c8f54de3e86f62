"""Quality decision (methods.md §3): one door to evidence, e-values, verdicts and the summary of a model tier."""

from routing.core.decisions import Status
from routing.core.evalues import (
    METHOD,
    MIN_CASES,
    CasesNeeded,
    cases_needed,
    cases_needed_scores,
    log_e_values,
    log_e_values_scores,
    log_threshold,
    lower_bound,
    lower_bound_scores,
    upper_bound,
    upper_bound_scores,
)
from routing.core.evidence import CaseResult, Evidence, Metric, Tally, cases_of_epoch
from routing.core.paired import Paired, paired
from routing.core.tiers import TierPair, TierQuality, tier_pairs, tier_quality
from routing.core.verdicts import STATUS_TEXT, Standard, Verdict, judge, judge_class, judge_evidence, line_of

__all__ = [
    "METHOD",
    "MIN_CASES",
    "STATUS_TEXT",
    "CaseResult",
    "CasesNeeded",
    "Evidence",
    "Metric",
    "Paired",
    "Standard",
    "Status",
    "Tally",
    "TierPair",
    "TierQuality",
    "Verdict",
    "cases_needed",
    "cases_needed_scores",
    "cases_of_epoch",
    "judge",
    "judge_class",
    "judge_evidence",
    "line_of",
    "log_e_values",
    "log_e_values_scores",
    "log_threshold",
    "lower_bound",
    "lower_bound_scores",
    "paired",
    "tier_pairs",
    "tier_quality",
    "upper_bound",
    "upper_bound_scores",
]
