"""From the matrix of evals to the runs behind a verdict, and what another bar would do before it is saved."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]


def test_a_verdict_leads_to_its_runs(page: Page, demo_site: Site) -> None:
    log_in(page, "victor")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Evals").click()
    expect(page.locator("main .answer-s")).to_contain_text("have a cheaper model that clears the bar")
    expect(page.locator("main")).to_contain_text("generated for the demo")
    page.get_by_label("Class or owner").fill("sub-agents")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#matrix tbody tr:visible")).to_have_count(1)
    page.locator("#matrix tbody tr:visible a[href$='/claude-haiku-4-5/']").click()
    expect(page.locator("main .answer-s")).to_contain_text("It clears: 93.1% of 58 cases passed")
    expect(page.locator("#cases tbody tr")).to_have_count(4)
    expect(page.get_by_role("link", name="Import eval results")).to_have_count(0)


def test_another_bar_is_previewed_before_it_is_saved(page: Page, demo_site: Site) -> None:
    log_in(page, "erin")
    page.goto("/classes/chat-assistant/")
    page.get_by_role("link", name="Edit this class").first.click()
    preview = page.locator("#preview")
    expect(preview).to_contain_text("The line is 93.0%")
    page.get_by_label("Quality bar, % of cases").fill("99")
    page.get_by_label("Quality bar, % of cases").press("Tab")
    expect(preview).to_contain_text("The line moves from 93.0% to 97.0%. 2 of 3 verdicts would change.")
    expect(preview).to_contain_text("Not enough evidence · 254 more cases")
    page.get_by_role("link", name="Cancel").click()
    expect(page.locator("main")).to_contain_text("95")
    page.goto("/classes/chat-assistant/edit/")
    expect(page.get_by_label("Quality bar, % of cases")).to_have_value("95")
