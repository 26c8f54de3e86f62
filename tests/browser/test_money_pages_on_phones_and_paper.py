"""The money pages where there is little room: a phone gets a summary that unfolds, paper gets whole tables."""

from typing import Final

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]
PHONE: Final = {"width": 390, "height": 844}
PAPER: Final = {"width": 718, "height": 1047}  # A4 at 96 px an inch, less margins of 1 cm
MONTH: Final = "/invoices/2026-10/"
HEIGHT: Final = "document.documentElement.scrollHeight"
# What sticks out of its container, where nobody can scroll.
CUT: Final = """[...document.querySelectorAll("main .table-responsive")].filter(el => el.checkVisibility())
  .map(el => el.querySelector("table").getBoundingClientRect().right - innerWidth).filter(px => px > 0)"""


# Pixels, a fifth above what they need. As plain cards they were 14,373, 7,692, 8,344 and 4,950.
@pytest.mark.parametrize(
    ("path", "most"),
    [(MONTH, 10_500), ("/spend/", 4_700), ("/prices/", 5_800), ("/spend/showback/?month=2026-10", 4_800)],
)
def test_a_phone_need_not_scroll_for_ever(page: Page, demo_site: Site, path: str, most: int) -> None:
    log_in_narrow(page)
    page.goto(path)
    assert page.evaluate(HEIGHT) < most


def log_in_narrow(page: Page) -> None:
    """The menu is folded on a phone: log in wide, then narrow the window."""
    page.set_viewport_size({"width": 1440, "height": 900})
    log_in(page, "paula")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]


def test_lines_that_match_wait_behind_a_button(page: Page, demo_site: Site) -> None:
    log_in_narrow(page)
    page.goto(MONTH)
    lines = page.locator("#line-table")
    matching = lines.locator("> tbody > tr.more-m")
    expect(matching.first).to_be_hidden()
    expect(lines.get_by_text("Not explained").first).to_be_visible()  # a difference never waits
    button = page.get_by_role("button", name=f"{matching.count()} lines that match")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.press("Enter")
    expect(matching.last).to_be_visible()
    expect(button).to_have_attribute("aria-expanded", "true")
    page.set_viewport_size({"width": 1440, "height": 900})
    page.reload()
    expect(matching.last).to_be_visible()
    expect(button).to_be_hidden()


def test_why_spend_changed_is_folded_on_a_phone_only(page: Page, demo_site: Site) -> None:
    log_in_narrow(page)
    page.goto("/spend/")
    parts = page.get_by_role("table", name="The change split into volume, mix and price")
    expect(parts).to_be_hidden()
    page.get_by_text("The parts by class").click()
    expect(parts).to_be_visible()
    page.set_viewport_size({"width": 1440, "height": 900})
    page.reload()
    expect(parts).to_be_visible()
    expect(page.get_by_text("The parts by class")).to_be_hidden()


@pytest.mark.parametrize("path", [MONTH, "/spend/showback/?month=2026-10", "/prices/", "/spend/"])
def test_paper_shows_whole_tables(page: Page, demo_site: Site, path: str) -> None:
    log_in(page, "paula")
    page.set_viewport_size(PAPER)  # type: ignore[arg-type]
    page.emulate_media(media="print")
    page.goto(path)
    head = page.locator("main table thead").first
    assert head.evaluate("el => getComputedStyle(el).display") == "table-header-group"  # no cards of a phone
    assert page.evaluate(CUT) == []
    assert page.evaluate("[...document.querySelectorAll('main button')].filter(el => el.checkVisibility()).length") == 0


def test_a_table_that_scrolls_is_reached_by_the_keyboard(page: Page, demo_site: Site) -> None:
    log_in(page, "paula")
    page.goto("/spend/showback/?month=2026-10")
    box = page.locator("#unallocated .table-responsive")
    assert box.evaluate("el => el.scrollWidth - el.clientWidth") == 0
    assert box.get_attribute("tabindex") is None  # one that fits is no stop
    box.locator("td").first.evaluate("el => { el.textContent = 'x'.repeat(200); }")
    page.set_viewport_size({"width": 1300, "height": 900})
    reached = page.get_by_role("region", name="Classes and models of this cost centre")
    expect(reached).to_have_attribute("tabindex", "0")
    reached.focus()
    before = box.evaluate("el => el.scrollLeft")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("el => el.scrollLeft > 0", arg=box.element_handle())
    assert before == 0
