"""Filters and component tags: literal cases; unknown is "–", never 0."""

import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.template import Context, Engine
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from costgov.templatetags import costgov_format as fmt
from costgov.templatetags import costgov_ui as ui

ENGINE = Engine(
    libraries={"costgov_format": "costgov.templatetags.costgov_format", "costgov_ui": "costgov.templatetags.costgov_ui"}
)


def render(source: str, **values: Any) -> str:
    return ENGINE.from_string("{% load costgov_format costgov_ui %}" + source).render(Context(values))


@pytest.fixture(autouse=True)
def _static_url(settings: Any) -> None:
    settings.STATIC_URL = "/static/"


@pytest.mark.parametrize(
    ("source", "value", "said"),
    [
        ("v|usd", Decimal("1234.56"), "$1,234.56"),
        ("v|usd", Decimal("-1234.56"), "−$1,234.56"),
        ("v|usd", Decimal("-0.001"), "$0.00"),
        ("v|usd", Decimal("0.125"), "$0.13"),
        ("v|usd", 0, "$0.00"),
        ("v|usd", None, "–"),
        ("v|usd", "", "–"),
        ("v|usd", float("nan"), "–"),
        ("v|usd:5", Decimal("0.00365"), "$0.00365"),
        ("v|usd0", 1778246.6, "$1,778,247"),
        ("v|usd_signed", Decimal("12"), "+$12.00"),
        ("v|usd_signed", Decimal("-12"), "−$12.00"),
        ("v|usd_short", 1234, "$1.2 k"),
        ("v|usd_short", 2000, "$2 k"),
        ("v|usd_short", 999.4, "$999"),
        ("v|usd_short", 999.6, "$1 k"),
        ("v|usd_short", 999949, "$999.9 k"),
        ("v|usd_short", 999951, "$1 M"),
        ("v|usd_short", None, "–"),
        ("v|tok", 1_200_000, "1.2 M tokens"),
        ("v|tok", 1, "1 token"),
        ("v|tok", 0, "0 tokens"),
        ("v|tok", None, "–"),
        ("v|short", 3_400_000_000, "3.4 B"),
        ("v|integer", 1234567, "1,234,567"),
        ("v|integer", -1, "−1"),
        ("v|integer", None, "–"),
        ("v|number:3", Decimal("1.5"), "1.500"),
        ("v|pct", 0.931, "93.1%"),
        ("v|pct:0", 1, "100%"),
        ("v|pct", None, "–"),
        ("v|pct_signed", -0.118, "−11.8%"),
        ("v|pct_signed", 0.064, "+6.4%"),
        ("v|pct_signed", 0.00001, "0.0%"),
        ("v|points", 0.02, "2 points"),
        ("v|points", 0.01, "1 point"),
        ("v|points", -0.015, "−1.5 points"),
        ("v|points", None, "–"),
        ("v|rate_range:0.998", 0.92, "92.0–99.8%"),
        ("v|rate_range:0.998", None, "–"),
        ("v|datefmt", date(2026, 11, 2), "2 Nov 2026"),
        ("v|datefmt", None, "–"),
        ("v|month", date(2026, 11, 2), "Nov 2026"),
        ("v|moment", datetime(2026, 11, 22, 15, 20, tzinfo=UTC), "22 Nov 2026, 15:20 UTC"),
        ("v|moment", datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=2))), "22 Nov 2026, 23:00 UTC"),
        ("v|datefmt", datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=2))), "22 Nov 2026"),
        ("v|unknown", None, "–"),
        ("v|unknown", 0, "0"),
        ("v|initials", "priya.nair", "PN"),
    ],
)
def test_filters(source: str, value: Any, said: str) -> None:
    assert render("{{ " + source + " }}", v=value) == said


@pytest.mark.parametrize(
    ("first", "stop", "said"),
    [
        (date(2026, 6, 1), date(2026, 11, 23), "1 Jun – 22 Nov 2026"),
        (date(2026, 11, 1), date(2026, 11, 23), "1–22 Nov 2026"),
        (date(2025, 12, 1), date(2026, 1, 1), "1–31 Dec 2025"),
        (date(2025, 12, 1), date(2026, 1, 2), "1 Dec 2025 – 1 Jan 2026"),
        (date(2026, 11, 1), date(2026, 11, 2), "1 Nov 2026"),
        (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC), "1–30 Nov 2026"),
        (None, date(2026, 11, 2), "–"),
    ],
)
def test_periods_are_half_open_and_said_with_both_days(first: Any, stop: Any, said: str) -> None:
    assert fmt.period(first, stop) == said
    assert fmt.period((first, stop)) == said


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("Results are generated. Tokens are assumed.", "Results are generated"),
        ("SWE-bench v1.0 stands for our evals: counts are those published.", "SWE-bench v1.0 stands for our evals"),
        ("Nobody has run evals", "Nobody has run evals"),
    ],
)
def test_a_note_is_shortened_to_a_whole_sentence(note: str, said: str) -> None:
    assert render("{{ note|first_sentence }}", note=note) == said


def test_an_open_period_says_so() -> None:
    assert fmt.period((date(2026, 11, 1), None)) == "from 1 Nov 2026"


@given(st.decimals(-(10**9), 10**9, places=4, allow_nan=False))
def test_money_reads_back_to_the_cent(value: Decimal) -> None:
    back = Decimal(fmt.usd(value).replace("$", "").replace(",", "").replace("−", "-"))
    assert abs(back - value) <= Decimal("0.005")
    assert "−$0.00" not in fmt.usd(value)


@pytest.mark.parametrize(
    ("value", "more", "stale", "words", "colour"),
    [
        ("clears", None, False, ["Clears the bar"], "good"),
        ("falls_short", None, False, ["Below the bar"], "bad"),
        ("not_enough_evidence", 154, False, ["Not enough evidence · 154 more cases"], "warn"),
        ("not_enough_evidence", 1, False, ["Not enough evidence · 1 more case"], "warn"),
        ("not_enough_evidence", None, False, ["Not enough evidence"], "warn"),
        ("no_evidence", None, False, ["No evidence"], "none"),
        (None, None, False, ["No evidence"], "none"),
        ("clears", None, True, ["Clears the bar", "Stale"], "good"),
    ],
)
def test_verdicts_are_icon_word_and_colour(
    value: str | None, more: int | None, stale: bool, words: list[str], colour: str
) -> None:
    html = ui.verdict(value, more, stale)
    assert re.findall(r"</svg>([^<]+)</span>", html) == words
    assert html.count("<use ") == len(words)
    assert f"status-{colour}" in html


def test_texts_are_escaped() -> None:
    evil = "<script>alert(1)</script>"
    for html in (
        ui.note(evil), ui.status("x", evil), ui.tier_mark("fast", evil), ui.icon("check", evil),
        ui.figure_json({"x": evil}, "a"),
    ):  # fmt: skip
        assert "<script>alert" not in html


def test_tiers_are_told_apart_by_shape_as_well() -> None:
    shapes = {re.search(r'd="([^"]+)"', ui.tier_mark(tier)).group(1) for tier in ui.TIERS}  # type: ignore[union-attr]
    assert len(shapes) == 4
    assert ui.tier_mark(None) == ui.tier_mark("other") == ui.tier_mark("never placed")


def test_whisker_places_interval_value_and_line() -> None:
    html = ui.whisker(0.90, 0.95, 0.975, 0.93, low=0.5, high=1.0, width=114)
    # 100 px for half the scale: 0.90 → 7 + 80, 0.95 → 97, 0.975 → 102, 0.93 → 93
    assert 'd="M87.0 11H102.0M87.0 7V15M102.0 7V15"' in html
    assert 'cx="97.0"' in html
    assert 'd="M93.0 2V20"' in html and 'x="93.0" y="3" width="14.0"' in html
    assert 'aria-label="95.0%, interval 90.0% to 97.5%, must reach 93.0%"' in html
    assert "style" not in html


def test_whisker_keeps_what_lies_outside_the_axis_at_its_edge() -> None:
    assert 'd="M7.0 11H107.0' in ui.whisker(0.1, 0.6, 1.0, low=0.5, high=0.9, width=114)


def test_whisker_without_evidence_is_a_dash() -> None:
    assert "–" in ui.whisker(None, None, None, 0.93) and "<svg" not in ui.whisker(None, None, None, 0.93)


def test_whisker_scale_holds_every_value() -> None:
    assert ui.whisker_scale([0.94, None, 0.821]) == pytest.approx((0.8, 1.0))
    assert ui.whisker_scale([]) == pytest.approx((0.75, 1.0))


def test_spark_has_no_point_for_an_unknown_day() -> None:
    points = re.search(r'points="([^"]+)"', ui.spark([1, None, 3])).group(1).split()  # type: ignore[union-attr]
    assert points == ["0.00,28.00", "100.00,2.00"]
    assert ui.spark([None, 3]) == ""


def test_query_changes_one_parameter_and_keeps_the_others() -> None:
    request = RequestFactory().get("/?period=6m&class=triage&page=3")
    assert render('{% query page=None period="30d" %}', request=request) == "?period=30d&amp;class=triage"
    assert render('{% query_param "class" "a b" %}', request=request) == "?period=6m&amp;class=a+b&amp;page=3"


def test_a_sum_with_a_hole_is_unknown() -> None:
    class Row:
        def __init__(self, usd: Decimal | None) -> None:
            self.usd = usd

    assert ui.rows_sum([Row(Decimal("1.10")), Row(Decimal("2"))], "usd") == Decimal("3.10")
    assert ui.rows_sum([Row(Decimal("1.10")), Row(None)], "usd") is None


def test_navigation_names_each_entry_once() -> None:
    keys = [entry.key for entry in ui.NAVIGATION]
    assert len(keys) == len(set(keys)) and keys[0] == "overview"
    assert all(entry.href.startswith("/") for entry in ui.NAVIGATION)


def test_rows_of_a_charts_table_are_escaped_and_say_what_is_unknown() -> None:
    assert render("{% data_body rows %}", rows=[["2 Nov <b>", "97.8%", None], []]) == (
        '<tr><th scope="row">2 Nov &lt;b&gt;</th><td class="num">97.8%</td><td class="num">–</td></tr><tr></tr>'
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [(0.118, "11.8% more than May"), (-0.118, "11.8% less than May"), (0.0, "The same as May"), (None, "")],
)
def test_a_change_is_said_in_words_and_by_an_arrow(change: float | None, said: str) -> None:
    words = re.sub(r"<[^>]+>", "", render('{% change_text change "May" %}', change=change))
    assert words == said
    assert ("arrow-" in render("{% trend change %}", change=change)) is bool(change)
