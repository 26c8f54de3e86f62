"""What the pages of invoices and months show: bars of differences, states of lines, anchors."""

import hashlib
import re
from decimal import Decimal
from typing import Any, Final

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from billing.core.cents import shown_causes, shown_difference
from billing.core.reconciling import CAUSES
from billing.core.settlement import KIND_WORDS, CauseSum, Gap
from costgov.templatetags.costgov_format import usd_signed
from costgov.templatetags.costgov_ui import status

register = template.Library()

BAR_WIDTH: Final = 300
_AMOUNT: Final = re.compile(r"(−?\$[0-9][0-9,]*\.[0-9]{2})")
SHORT: Final = {
    "tax": "tax",
    "unchecked_tax": "tax, not checked",
    "credit": "credit",
    "adjustment": "earlier month",
    "commitment": "commitment",
    "non_token": "not tokens",
    "other_charge": "other charge",
    "day_not_imported": "day not imported",
    "day_not_in_report": "not in the report",
    "priority_tier": "priority tier",
    "regional_price": "regional price",
    "contract_discount": "contract",
    "prompt_length": "prompt length",
    "missing_price": "no price",
    "time_zone": "time zone",
    "late_usage": "late usage",
    "unknown": "no known cause",
}


@register.simple_tag
def res_bar(amount: Decimal, gap: Gap, state: str, said: str) -> SafeString:
    """One signed amount as a bar on the axis all causes of its gap share. `said`: the amount in words."""
    amounts = [float(cause.amount_usd) for cause in gap.causes]
    low, high = min([0.0, *amounts]), max([0.0, *amounts])
    span = (high - low) or 1.0
    zero, width = -low / span * BAR_WIDTH, abs(float(amount)) / span * BAR_WIDTH
    tone = "bad" if state == "open" else "pos" if amount >= 0 else "neg"
    return format_html(
        '<svg class="res" viewBox="0 0 {0} 16" preserveAspectRatio="none" role="img" aria-label="{1}">'
        '<rect class="{2}" x="{3}" y="2" width="{4}" height="12"/>'
        '<line class="ax" x1="{5}" x2="{5}" y1="0" y2="16" vector-effect="non-scaling-stroke"/></svg>',
        BAR_WIDTH,
        said,
        tone,
        f"{zero if amount >= 0 else zero - width:.1f}",
        f"{width:.1f}",
        f"{zero:.1f}",
    )


@register.filter
def usd_small(amount: Any) -> str:
    """+$12.00; an amount that is there and rounds to nothing says so."""
    text = usd_signed(amount)
    return "less than a cent" if amount and text.strip("+−") == "$0.00" else text


@register.filter
def to_shown(from_usd: Any, to_usd: Any) -> Decimal | None:
    """`from|to_shown:to`: the difference of two figures as they are shown, in cents; None where one is unknown."""
    return None if from_usd is None or to_usd is None else shown_difference(from_usd, to_usd)


@register.filter
def causes_in_cents(gap: Gap) -> list[tuple[CauseSum, str]]:
    """Causes with their amounts as shown: on paper they sum to the difference of the two figures."""
    return [
        (cause, usd_small(cause.amount_usd) if not cents else usd_signed(cents))
        for cause, cents in zip(gap.causes, shown_causes(gap), strict=True)
    ]


@register.filter
def amounts_strong(text: str) -> SafeString:
    """A sentence with its amounts of money set off."""
    parts = _AMOUNT.split(text)
    return format_html_join(
        "", "{}", ((format_html("<strong>{}</strong>", part) if i % 2 else part,) for i, part in enumerate(parts))
    )


@register.simple_tag
def line_pill(line: Any) -> SafeString:
    """Matches, Explained: late usage, Accepted: …, Not explained."""
    if line.state == "matches":
        return status("matches", "Matches", "circle-check", "good")
    if line.state == "open":
        return status("open", "Not explained", "alert-triangle", "bad")
    if line.state == "unchecked":
        return status("unchecked", "Tax, not checked", "clock", "warn")
    causes = [SHORT[part.cause] for part in line.parts if part.cause in SHORT]
    words = " + ".join(causes[:2]) + (" …" if len(causes) > 2 else "")
    if line.state == "accepted":
        return status("accepted", f"Accepted: {SHORT[line.reason.cause]}", "check", "good")
    return status("explained", f"Explained: {words}", "info-circle", "info")


@register.simple_tag
def cause_pill(state: str) -> SafeString:
    if state == "open":
        return status("open", "Open", "alert-triangle", "bad")
    if state == "accepted":
        return status("accepted", "Accepted", "check", "good")
    if state == "unchecked":
        return status("unchecked", "Not checked", "clock", "warn")
    return status("explained", "Explained", "circle-check", "good")


@register.simple_tag
def period_pill(state: str) -> SafeString:
    return status("closed", "Closed", "lock", "good") if state == "closed" else status("open", "Open", "clock", "warn")


@register.filter
def anchor(key: str) -> str:
    """A short id for a line: stable, so that links to it can be sent."""
    return f"l{hashlib.sha256(str(key).encode()).hexdigest()[:10]}"


@register.filter
def month_long(value: Any) -> str:
    """October 2026."""
    return f"{value:%B %Y}"


@register.filter
def month_name(value: Any) -> str:
    return f"{value:%B}"


@register.filter
def month_slug(value: Any) -> str:
    """2026-10, as addresses write it."""
    return f"{value:%Y-%m}"


@register.filter
def cause_title(cause: str) -> str:
    return CAUSES.get(cause, cause)  # type: ignore[call-overload]


@register.filter
def kind_name(kind: str) -> str:
    return KIND_WORDS.get(kind, kind) if kind else "–"
