"""Figures of the patterns page: every component once, with invented values. Shown to people who build pages."""

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms

from costgov import charts
from costgov.templatetags.costgov_ui import whisker_scale

FIRST, LAST = date(2026, 6, 1), date(2026, 11, 22)
ACTIVATIONS = ((date(2026, 8, 2), "Policy v13"), (date(2026, 10, 3), "Policy v14"))


class PatternForm(forms.Form):
    name = forms.CharField(label="Name of the scenario", help_text="Shown in the list and in exports.")
    growth = forms.DecimalField(label="Growth per year", required=False)
    settled = forms.ChoiceField(label="Settled", choices=[("yearly", "Yearly"), ("monthly", "Monthly")])
    note = forms.CharField(label="Note", widget=forms.Textarea(attrs={"rows": 2}), required=False)
    file = forms.FileField(label="Usage file", required=False, help_text="JSON, JSONL or CSV, also .gz")


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _months(first: date, count: int) -> list[date]:
    return [date(first.year + (first.month - 1 + n) // 12, (first.month - 1 + n) % 12 + 1, 1) for n in range(count)]


def _wave(n: int, level: float, swing: float, drift: float = 0.0) -> float:
    weekday = -0.35 if n % 7 in (5, 6) else 0.0
    return level * (1 + weekday + drift * n / 100) + swing * math.sin(n / 3.1) + swing * math.cos(n * 1.7)


def _spend() -> charts.Figure:
    on = _days(FIRST, LAST)
    moved = [1.0 if day < ACTIVATIONS[0][0] else 0.7 if day < ACTIVATIONS[1][0] else 0.5 for day in on]
    series = {
        "frontier": [_wave(n, 1700, 60, 0.1) * share for n, share in enumerate(moved)],
        "balanced": [_wave(n, 800, 40, 0.2) * (1.8 - share) for n, share in enumerate(moved)],
        "fast": [_wave(n, 260, 20, 0.2) * (2 - share) for n, share in enumerate(moved)],
        "other": [_wave(n, 60, 6) for n, _ in enumerate(moved)],
    }
    return charts.spend_by_tier(on, series, ACTIVATIONS)


def _rates(level: float, width: float) -> list[charts.RatePoint]:
    points = []
    for n, day in enumerate(_days(FIRST, LAST)[3::7]):
        value = min(level + 0.008 * math.sin(n * 1.9), 1.0)
        points.append(charts.RatePoint(day, value, value - width, min(value + width * 0.7, 1.0), 180 + n))
    return points


def _quality() -> charts.Figure:
    tiers = [
        charts.TierQuality("frontier", 0.95, _rates(0.978, 0.02)),
        charts.TierQuality("balanced", 0.94, _rates(0.965, 0.018)),
        charts.TierQuality("fast", 0.92, _rates(0.945, 0.019)),
    ]
    return charts.quality_panels(tiers, FIRST, LAST, ACTIVATIONS)


def _fan_panel(policy: str, title: str, level: float, drift: float, spread: float) -> charts.FanPanel:
    past, ahead = _months(date(2025, 12, 1), 12), _months(date(2026, 11, 1), 13)
    middle = [level * (1 + drift * n) for n in range(13)]
    reach = {0.025: -1.96, 0.1: -1.28, 0.25: -0.67, 0.5: 0.0, 0.75: 0.67, 0.9: 1.28, 0.975: 1.96}
    quantiles = {p: [m * math.exp(z * spread * math.sqrt(n)) for n, m in enumerate(middle)] for p, z in reach.items()}
    history = [level * (0.8 + 0.018 * n + 0.02 * math.sin(n * 2)) for n in range(11)] + [level]
    detail = f"${sum(middle[1:]) / 1e6:.2f} M in 12 months"
    return charts.FanPanel(policy, title, detail, past, history, ahead, quantiles, repriced=policy == "uniform")


def _fan() -> charts.Figure:
    panels = [
        _fan_panel("uniform", "Uniform Opus", 186_000, 0.017, 0.085),
        _fan_panel("current", "Current policy", 133_000, 0.017, 0.085),
        _fan_panel("optimised", "Optimised", 130_000, -0.03, 0.08),
    ]
    return charts.fan(panels, LAST)


def _curve() -> charts.Figure:
    bands = [(500_000, "T1 −6%"), (1_000_000, "T2 −12%"), (2_000_000, "T3 −18%")]
    amounts = list(range(0, 2_200_001, 20_000))

    def curve(policy: str, title: str, spend: float) -> charts.Curve:
        rows = []
        for amount in amounts:
            off = 0.18 if amount >= 2e6 else 0.12 if amount >= 1e6 else 0.06 if amount >= 5e5 else 0.0
            futures = [spend * factor for factor in (0.66, 0.85, 1.0, 1.15, 1.4)]
            rows.append([max(amount, future - off * min(future, amount)) for future in futures])
        mean = [sum(row) / len(row) for row in rows]
        return charts.Curve(policy, title, amounts, mean, [row[0] for row in rows], [row[-1] for row in rows])

    curves = [
        curve("uniform", "Uniform Opus", 2_476_184),
        curve("current", "Current policy", 1_778_247),
        curve("optimised", "Optimised", 1_046_028),
    ]
    at = curves[2].amounts.index(500_000)
    best = min(range(len(amounts)), key=lambda i: curves[2].expected[i] or 0)
    candidates = [
        charts.Candidate("optimised", 500_000, curves[2].expected[at], "Conservative $500,000", "conservative"),
        charts.Candidate("optimised", amounts[best], curves[2].expected[best], f"Optimal ${amounts[best]:,}"),
    ]
    return charts.commitment_curve(curves, bands, candidates)


def _rows() -> list[dict[str, Any]]:
    def row(title: str, owner: str, tier: str, model: str, spend: str | None, **rest: Any) -> dict[str, Any]:
        base = {"href": "#classes", "change": None, "more_cases": None, "stale": False, "saving_usd": None}
        usd = Decimal(spend) if spend else None
        return {"title": title, "owner": owner, "tier": tier, "model": model, "spend_usd": usd, **base, **rest}

    return [
        row("Contract clause extraction", "Legal ops", "frontier", "Opus 4.5", "18420.11", change=-0.031,
            requests=412_900, lower=0.969, value=0.983, upper=0.991, cases=584, line=0.95, verdict="clears"),
        row("Support reply drafting", "Customer care", "balanced", "Sonnet 4.5", "14987.60", change=0.064,
            requests=2_904_112, lower=0.92, value=0.973, upper=0.998, cases=150, line=0.93,
            verdict="not_enough_evidence", more_cases=154, saving_usd=Decimal("6456.25"), saving_proven=False),
        row("Knowledge base search", "Platform", "fast", "Haiku 4.5", "3904.19", change=0.129, requests=5_120_667,
            lower=0.821, value=0.86, upper=0.898, cases=1000, line=0.93, verdict="falls_short", stale=True,
            saving_usd=Decimal("0")),
        row("Ticket classification", "Customer care", "other", "lab-model-2", None, requests=88_410, lower=None,
            value=None, upper=None, cases=0, line=0.93, verdict="no_evidence"),
    ]  # fmt: skip


def _timeline() -> list[dict[str, Any]]:
    def at(day: int, hour: int) -> datetime:
        return datetime(2026, 11, day, hour, 20, tzinfo=UTC)

    return [
        {"who": "Tomás Ortega", "what": "approved the quality evidence", "at": at(22, 15),
         "say": "Checked the four failed triage cases: all four are tickets in Finnish."},
        {"who": "Eval run 412", "what": "added 50 drafting cases: 146 of 150 pass", "at": at(18, 6), "symbol": "flask"},
        {"who": "Lena Fischer", "what": "proposed policy v15 from draft", "at": at(17, 9)},
    ]  # fmt: skip


def context() -> dict[str, Any]:
    """Everything templates/patterns.html shows."""
    rows = _rows()
    bounds = [value for row in rows for value in (row["lower"], row["line"])]
    form = PatternForm({"settled": "yearly"})
    form.is_valid()  # so that an error shows
    month_before = [
        charts.Hindsight(month, 120_000 + 4_000 * n, 160_000 + 5_000 * n, 190_000 if n == 7 else 138_000 + 5_000 * n)
        for n, month in enumerate(_months(date(2025, 12, 1), 11))
    ]
    on = _days(FIRST, LAST)
    return {
        "as_of": datetime(2026, 11, 22, 15, 20, tzinfo=UTC),
        "start": FIRST,
        "end": date(2026, 11, 23),
        "periods": [("30d", "30 days"), ("6m", "6 months"), ("3y", "3 years")],
        "chosen": "6m",
        "trail": [("Policies", "#"), ("Proposals", "#")],
        "statuses": ["draft", "in_review", "approved", "active", "rejected", "queued", "running", "failed"],
        "tiers": ["frontier", "balanced", "fast", "other"],
        "rows": rows,
        "axis": whisker_scale(bounds),
        "form": form,
        "timeline": _timeline(),
        "approvals": [
            {"role": "Engineering", "who": "Tomás Ortega", "at": datetime(2026, 11, 22, 15, 20, tzinfo=UTC),
             "state": "approved"},
            {"role": "Procurement", "who": "", "at": None, "state": "waiting", "text": "You, or Priya Nair"},
        ],
        "trend": [3100, 3150, 3190, None, 3300, 3280, 3420, 3390, 3460],
        "how_inputs": [("Spend", "$75,264.18"), ("Requests", "12,204,331"), ("Prices", "list prices of 1 Nov 2026")],
        "data_columns": ["Week", "Frontier", "Balanced", "Fast"],
        "data_rows": [["2 Nov 2026", "97.8%", "96.1%", None], ["9 Nov 2026", "98.1%", "96.7%", "94.9%"]],
        "chart_spend": _spend(),
        "chart_quality": _quality(),
        "chart_waterfall": charts.waterfall([
            charts.Part("Today", Decimal("33000.00"), total=True), charts.Part("Routing", Decimal("-17730.00")),
            charts.Part("Caching", Decimal("-4240.00")), charts.Part("Batch", Decimal("-1011.88")),
            charts.Part("After", Decimal("10018.12"), total=True)]),
        "chart_fan": _fan(),
        "chart_curve": _curve(),
        "chart_tornado": charts.tornado([
            charts.TornadoRow("Share of moves that land", 1_015_040, 1_652_000, "all", "half → T2"),
            charts.TornadoRow("List price", 702_000, 1_118_000, "−33% → none", "+10%"),
            charts.TornadoRow("Volume", 810_000, 1_222_000, "−20%", "+20%"),
            charts.TornadoRow("Cache hit share", 1_062_000, 965_000, "45%", "70%")], Decimal("1015040.53")),
        "chart_scatter": charts.scatter_cost_quality([
            charts.CostQuality("Opus 4.5", "frontier", 0.0175, 0.99, 0.949, 1.0, "now", True),
            charts.CostQuality("Sonnet 4.5", "balanced", 0.01073, 0.973, 0.909, 0.998, "154 more cases"),
            charts.CostQuality("Haiku 4.5", "fast", 0.00365, 0.98, 0.931, 0.999, "−79% a request", True),
            charts.CostQuality("Haiku 3.5", "fast", 0.00292, 0.86, 0.819, 0.899, "below the bar")], 0.93),
        "chart_history": charts.class_history(
            on, [30_000 + _wave(n, 2_000, 400, 1) for n, _ in enumerate(on)],
            [("Opus 4.5", "frontier", [_wave(n, 480, 20) for n, _ in enumerate(on)]),
             ("Sonnet 4.5", "balanced",
              [_wave(n, 90, 9) if ACTIVATIONS[0][0] <= d < ACTIVATIONS[1][0] else 0 for n, d in enumerate(on)])],
            _rates(0.985, 0.03), 0.93, ACTIVATIONS),
        "chart_dots": charts.verdict_dots([
            charts.VerdictRow("Opus 4.5", "frontier", 0.99, 0.949, 1.0, 0.93, "Serves now"),
            charts.VerdictRow("Sonnet 4.5", "balanced", 0.973, 0.909, 0.998, 0.93, "Not enough evidence"),
            charts.VerdictRow("Haiku 4.5", "fast", 0.98, 0.931, 0.999, 0.93, "Clears the bar"),
            charts.VerdictRow("lab-model-2", "other", None, None, None, 0.93, "No evidence")]),
        "chart_hindsight": charts.hindsight(month_before, months_before=3),
        "chart_parts": charts.change_parts([
            ("Volume", 64_210), ("Cache", -43_813), ("Model shares", -38_400), ("List prices", -15_800)]),
    }  # fmt: skip
