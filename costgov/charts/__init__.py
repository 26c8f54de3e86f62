"""Charts: pure functions from figures to a plotly figure (a dict), for pages and tests alike.

Money in USD, pass rates as shares in [0, 1] (drawn as per cent), dates as UTC days. None is a gap, never 0.
`{% chart figure name summary %}` puts one in a page; colours are names of CSS variables until it is drawn.
"""

from costgov.charts.classes import CostQuality, VerdictRow, class_history, scatter_cost_quality, verdict_dots
from costgov.charts.commitment import Candidate, Curve, TornadoRow, commitment_curve, tornado
from costgov.charts.forecast import FanPanel, Hindsight, change_parts, fan, hindsight
from costgov.charts.parts import POLICIES, TIERS, Figure
from costgov.charts.prices import price_timeline_chart
from costgov.charts.spend import (
    Activation,
    Part,
    RatePoint,
    TierQuality,
    quality_panels,
    spend_by_tier,
    waterfall,
)

__all__ = [
    "POLICIES",
    "TIERS",
    "Activation",
    "Candidate",
    "CostQuality",
    "Curve",
    "FanPanel",
    "Figure",
    "Hindsight",
    "Part",
    "RatePoint",
    "TierQuality",
    "TornadoRow",
    "VerdictRow",
    "change_parts",
    "class_history",
    "commitment_curve",
    "fan",
    "hindsight",
    "price_timeline_chart",
    "quality_panels",
    "scatter_cost_quality",
    "spend_by_tier",
    "tornado",
    "verdict_dots",
    "waterfall",
]
