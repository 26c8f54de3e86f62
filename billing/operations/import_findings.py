"""Remarks of an import about its data: one sentence each, as its page shows them."""

from collections.abc import Collection, Sequence
from datetime import date
from typing import Final

from billing.core.counting import Excess
from billing.models import ModelRelease, Price
from billing.store import Summary

FINDINGS_SHOWN: Final = 20


def excess_findings(excess: Sequence[tuple[date, Excess]]) -> list[str]:
    """Where logs are above the report: one sentence per workspace, key and model, with the worst day."""
    places: dict[tuple[str, str, str], list[tuple[date, Excess]]] = {}
    for day, item in excess:
        places.setdefault((item.workspace, item.api_key, item.model), []).append((day, item))
    found = []
    for (*_, model), items in places.items():
        day, worst = max(items, key=lambda one: one[1].logged - one[1].reported)
        days = len({one for one, _ in items})
        found.append(
            f"Logs above the report for {model or 'all models'} on {days} {'day' if days == 1 else 'days'}, "
            f"most on {day}: {worst.logged:,} logged, {worst.reported:,} reported ({worst.counter}; "
            f"{worst.place})."
        )
    if len(found) > FINDINGS_SHOWN:
        more = len(found) - FINDINGS_SHOWN
        found = [*found[:FINDINGS_SHOWN], f"… and {more} more places where logs are above the report."]
    return found


def known_models() -> frozenset[str]:
    """Models that are in the list, or have a price."""
    known = set(ModelRelease.objects.values_list("canonical_id", flat=True))
    return frozenset(known | set(Price.objects.filter(approved_at__isnull=False).values_list("model", flat=True)))


def model_findings(models: Sequence[tuple[str, int, int]], known: Collection[str]) -> list[str]:
    """Usage (model, requests, tokens) that names no model, or one nobody knows."""
    findings = []
    unknown: list[tuple[int, str]] = []
    for model, _, tokens in models:
        if not model or model.startswith("("):
            findings.append(f"{tokens:,} tokens name no model: import a report grouped by model, or logs with it.")
        elif model not in known:
            unknown.append((tokens, model))
    return [*findings, *unknown_model_findings(unknown)]


def unknown_model_findings(unknown: Sequence[tuple[int, str]]) -> list[str]:
    """Models nobody knows, as (tokens, model): the largest by name, the others counted, so that a page stays a page."""
    ordered = sorted(unknown, key=lambda item: (-item[0], item[1]))
    found = [
        f"Unknown model {model} ({tokens:,} tokens): listed as unpriced. "
        "Add its prices on the Prices page, or an alias to a known model."
        for tokens, model in ordered[:FINDINGS_SHOWN]
    ]
    if more := ordered[FINDINGS_SHOWN:]:
        found.append(
            f"… and {len(more):,} more unknown model{'s' if len(more) > 1 else ''} "
            f"({sum(tokens for tokens, _ in more):,} tokens), unpriced as well."
        )
    return found


def request_findings(summary: Summary) -> list[str]:
    findings = []
    if summary.split_assumed:
        findings.append(
            f"{summary.split_assumed:,} request{'s tell' if summary.split_assumed != 1 else ' tells'} cache writes "
            "without their lifetime: counted as 5-minute writes."
        )
    if summary.gateway_cache_hits:
        findings.append(
            f"{summary.gateway_cache_hits:,} answer{'s' if summary.gateway_cache_hits != 1 else ''} came from "
            "LiteLLM's own cache: no tokens of the provider."
        )
    if summary.unclassified:
        findings.append(
            f"{summary.unclassified:,} request{'s are' if summary.unclassified != 1 else ' is'} unclassified."
        )
    return findings
