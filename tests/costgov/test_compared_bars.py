"""A class judged by comparison alone shows differences: in the matrix, on its page, in what was written down."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from costgov.queries.evals import quality
from costgov.templatetags.costgov_class import whisker_axis
from costgov.templatetags.costgov_ui import difference_scale, difference_whisker
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.verdict_records import record_verdicts
from routing.queries.work_items import verdict_changes
from tests.costgov import small_world as world
from tests.costgov.test_mixed_bars import BARS, REGISTERED, imported, results

OPUS, SONNET = world.OPUS, world.SONNET


@pytest.mark.parametrize(
    ("values", "axis"),
    [
        ([], (-0.05, 0.05)),
        ([-0.034, 0.024, -0.05, 0.0], (-0.05, 0.05)),
        ([-0.051, 0.02], (-0.10, 0.05)),
        ([-0.31, -0.02], (-0.35, 0.05)),  # 0 and some room above it are always there
        ([-0.99, 0.97], (-1.0, 1.0)),
        ([None, 0.12], (-0.05, 0.15)),
    ],
)
def test_the_axis_of_differences_is_round_and_holds_0(values: list[float | None], axis: tuple[float, float]) -> None:
    assert difference_scale(values) == pytest.approx(axis)


def test_the_whisker_of_a_difference_has_the_margin_as_its_line() -> None:
    drawn = difference_whisker(-0.07, -0.02, 0.03, 0.08, -0.1, 0.1, 214, "fast")
    said = "−2 points to what serves, interval −7 points to +3 points, may be 8 points below it at most"
    assert f'aria-label="{said}"' in drawn
    # 200 units for 20 points from 7 on: the line at −8 is 20 on, alike at 100, the interval from 30 to 130.
    assert '<path class="wg" d="M27.0 2V20"/>' in drawn
    assert '<path class="wa" d="M107.0 5V17"/>' in drawn
    assert 'd="M37.0 11H137.0M' in drawn


def test_the_axis_above_differences_is_in_points() -> None:
    assert re.findall(r">([^<>]+)</text>", whisker_axis(-0.1, 0.05, 210, "points")) == ["−10", "−5", "0", "+5"]
    assert re.findall(r">([^<>]+)</text>", whisker_axis(0.9, 1.0, 210)) == ["90%", "95%", "100%"]


@pytest.fixture
def pairs(settings: Any, tmp_path: Path, db: Any) -> Client:
    """Sonnet against opus on 200 cases: 4 won, 8 lost (methods.md §3.7), a margin of 8 points."""
    settings.COSTGOV_AS_OF = world.AS_OF
    people = world.people()
    world.organisation()
    world.models()
    world.prices()
    save_class(actor=None, slug="pairs", facts={"title": "Pairs"}, as_of=REGISTERED)
    set_bar(actor=people["eva"], slug="pairs", facts=BARS["pairs"], reason="as agreed", as_of=REGISTERED)
    for back in range(60, 0, -1):
        world.use(world.TODAY - timedelta(days=back), OPUS, "pairs", 100, (200_000, 30_000))
    imported(tmp_path, "pairs", results("pairs"))
    record_verdicts(as_of=world.AS_OF - timedelta(days=29))
    client = Client()
    client.force_login(people["eva"])
    return client


def read(client: Client, address: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", client.get(address).content.decode()).split())


def test_the_matrix_shows_the_difference_and_the_margin(pairs: Client) -> None:
    page = pairs.get("/evals/").content.decode()
    assert "−2 points to what serves, interval " in page and "may be 8 points below it at most" in page
    shown = read(pairs, "/evals/")
    assert "−2 points · n 200 52.0% passed" in shown  # as low as 52%, and it clears
    assert "54.0% · n 200 serves now" in shown  # the reference: a rate without a line
    assert "54.0%, interval" in page and "must reach" not in page.split('id="matrix"')[1]


def test_the_page_of_the_class_shows_the_difference_and_draws_no_line(pairs: Client) -> None:
    shown = read(pairs, "/classes/pairs/")
    assert "Difference to what serves, points" in shown and "The others are compared with it" in shown
    assert "200 cases run on both" in shown and "must reach" not in shown
    runs = read(pairs, f"/evals/pairs/{SONNET}/")
    assert "Difference to what serves, with interval and line −2 points" in runs and "52.0% passed" in runs


def test_a_verdict_is_written_down_with_its_difference_and_without_a_line(pairs: Client) -> None:
    found = {change.model: change for change in verdict_changes(slug="pairs")}
    sonnet, opus = found[SONNET], found[OPUS]
    assert (sonnet.status, sonnet.line, sonnet.margin) == ("clears", None, 0.08)
    assert sonnet.difference == pytest.approx(-0.02)
    assert sonnet.difference_lower is not None and -0.08 <= sonnet.difference_lower < -0.02
    assert sonnet.difference_upper is not None and -0.02 < sonnet.difference_upper < 0.08
    assert (opus.line, opus.difference) == (None, None)
    asked = read(pairs, "/classes/pairs/").split("Verdicts over time")[1]
    assert "8 points at most below what serves bar v2" in asked and "the reference bar v2" in asked
    assert "line 9" not in asked


def test_a_record_keeps_the_standard_of_its_day(pairs: Client) -> None:
    """The line comes with the next version of the bar; what was written down before has none."""
    set_bar(actor=None, slug="pairs", facts={"standard": "both", "bar": "0.4", "tolerance": "0"}, reason="and a line",
            as_of=world.AS_OF)  # fmt: skip
    record_verdicts(as_of=world.AS_OF)
    found = [(change.bar_version, change.line, change.margin) for change in verdict_changes(slug="pairs", model=SONNET)]
    assert found == [(3, 0.4, 0.08), (2, None, 0.08)]
    set_bar(actor=None, slug="pairs", facts={"standard": "absolute"}, reason="the line alone", as_of=world.AS_OF)
    record_verdicts(as_of=world.AS_OF)
    newest = verdict_changes(slug="pairs", model=SONNET)[0]
    assert (newest.line, newest.margin, newest.difference) == (0.4, None, None)


def test_all_verdicts_together_on_the_page_by_the_command_and_the_api(pairs: Client, capsys: Any) -> None:
    """Sonnet clears at ln E⁺ 3.398 ≥ ln 20, the only verdict that was tested: opus is what it is compared with."""
    told = quality(as_of=world.AS_OF).together
    assert told is not None
    assert (told.verdicts, told.clears, told.holding, told.apart, told.references) == (1, 1, 1, (), 1)
    said = read(pairs, "/evals/")
    assert "All 1 verdicts that clear hold together" not in said
    assert (
        "The one verdict that clears also holds in a count of all 1: at most 5% of such are expected to be wrong."
        in said
    )
    call_command("quality")
    shown = capsys.readouterr().out
    assert "Together: of the 1 clears shown, 1 hold together at 5% false (e-BH over 1 verdicts)." in shown
    assert "not counted: 1 clear as what the others of their class are compared with" in shown
    answer = pairs.get("/api/v1/quality").json()["together"]
    assert answer == {"alpha": 0.05, "verdicts": 1, "clears": 1, "holding": 1, "apart": [], "references": 1}
    assert pairs.get("/api/v1/quality?class=pairs").json()["together"] is None
