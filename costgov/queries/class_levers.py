"""The levers on a class's recommended model: what was measured, where each begins to pay, what it brings a month."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.queries.profiles import ServedUsage
from costgov.queries.cascades import CascadeRow
from costgov.queries.months import per_month
from costgov.queries.recommendation import CachingRow, ClassRow

_NAMES = {"5m": "Caching, 5 minutes", "1h": "Caching, 1 hour"}
_CASCADE_OUTCOMES = {"loses": "loses", "worth_an_eval": "unproven", "below_line": "below_line"}


@dataclass(frozen=True, slots=True)
class LeverRow:
    """One lever. Shares in 0..1, None where there is nothing to show.

    `saving_usd`: an estimate per month, None where the lever is not part of the recommendation. `loss_usd`: what it
    would cost more a month, None unless it loses money. `outcome`: pays, pays_less, loses or no_effect; of a cascade
    also unproven or below_line. `share_is`: measured, assumed (an owner's entry or a trace of other traffic) or
    planned.
    """

    name: str
    measures: str
    measured_share: float | None
    break_even_share: float | None
    saving_usd: Decimal | None
    outcome: str
    reason: str
    share_is: str
    loss_usd: Decimal | None = None


def lever_rows(
    advice: ClassRow, served: Sequence[ServedUsage], *, keeps_own_caching: bool, reuse: Mapping[str, Any]
) -> tuple[LeverRow, ...]:
    """Caching (both times to live), batch and a stated cascade, as the recommendation decided them."""
    costs = advice.steps.costs
    is_measured = any(row.cache_read_tok or row.cache_write_tok for row in served)
    rows = [_caching_row(option, advice, is_assumed=not is_measured) for option in advice.caching_options]
    if not rows:
        rows = [_no_caching(served, keeps_own_caching=keeps_own_caching, has_reuse=bool(reuse))]
    cached = "routing+caching" if "routing+caching" in costs else "routing"
    with_batch = f"{cached}+batch"
    saved = costs[cached] - costs[with_batch] if cached in costs and with_batch in costs else None
    loses = "loses money" in advice.batch_reason
    rows.append(
        LeverRow(
            name="Batch",
            measures="share that can wait",
            measured_share=float(advice.batch_share) if advice.batch_share else None,
            break_even_share=None,
            saving_usd=per_month(saved) if saved is not None and advice.batch_share else None,
            outcome="pays" if advice.batch_share else "loses" if loses else "no_effect",
            reason=advice.batch_reason,
            share_is="planned",
            loss_usd=advice.batch_loss_usd_per_month,
        )
    )
    if advice.cascade is not None:
        rows.append(_cascade_row(advice.cascade))
    return tuple(rows)


def _caching_row(option: CachingRow, advice: ClassRow, *, is_assumed: bool) -> LeverRow:
    costs = advice.steps.costs
    chosen = option.pays and option.ttl == advice.caching
    saved = costs["routing"] - costs["routing+caching"] if chosen and "routing+caching" in costs else None
    outcome = "pays" if chosen else "pays_less" if option.pays else "no_effect" if option.factor == 1 else "loses"
    needed = option.break_even_hit_share
    return LeverRow(
        name=_NAMES[option.ttl],
        measures="prefix found in the cache",
        measured_share=float(option.hit_share),
        break_even_share=float(needed) if needed is not None else None,
        saving_usd=per_month(saved) if saved is not None else None,
        outcome=outcome,
        reason=option.reason,
        share_is="assumed" if is_assumed else "measured",
        loss_usd=option.loss_usd_per_month,
    )


def _cascade_row(row: CascadeRow) -> LeverRow:
    """Its saving is shown only where it is recommended: until then it is what an eval could win."""
    return LeverRow(
        name="Cascade",
        measures=f"{row.cheap} first, accepted answers",
        measured_share=row.accepted_share,
        break_even_share=row.break_even_share,
        saving_usd=row.saving_usd_per_month if row.is_recommended else None,
        outcome="pays" if row.is_recommended else _CASCADE_OUTCOMES.get(row.outcome, "no_effect"),
        reason=row.reason,
        share_is="assumed" if row.check is None or row.check.is_assumed else "measured",
        loss_usd=row.loss_usd_per_month,
    )


def _no_caching(served: Sequence[ServedUsage], *, keeps_own_caching: bool, has_reuse: bool) -> LeverRow:
    read = sum(row.cache_read_tok for row in served)
    written = sum(row.cache_write_tok for row in served)
    share = read / (read + written) if read + written else None
    if keeps_own_caching:
        reason = "the client caches by itself, also in the baseline: the lever adds nothing"
    elif has_reuse:
        reason = "its reuse facts name no share of prefix tokens found in a cache"
    else:
        reason = "nobody has said how much of its prompts repeats: add reuse facts to the class"
    return LeverRow("Caching", "prefix found in the cache", share, None, None, "no_effect", reason, "measured")
