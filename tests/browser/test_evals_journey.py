"""From the matrix of evals to the runs behind a verdict; what another bar would do; a file that is set aside again."""

from pathlib import Path

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


def test_a_file_changes_a_verdict_until_its_run_is_set_aside(page: Page, demo_site: Site, tmp_path: Path) -> None:
    """Upload, look at the cell that changed, drill down to a case that failed, set the run aside: the cell is back."""
    file = tmp_path / "classification-nightly.csv"
    lines = [
        f"classification@1,ticket-{n:02},claude-opus-4-5,{'false' if n in (7, 31) else 'true'},2026-11-21T09:00:00Z,"
        "ticket-classification,1200,80"
        for n in range(60)
    ]
    file.write_text(
        "\n".join(["suite,sample_id,model,passed,run_at,request_class,uncached_input_tok,output_tok", *lines, ""])
    )
    cell = page.locator("#matrix tbody tr", has_text="Ticket classification").locator("td", has_text="serves now")

    log_in(page, "erin")
    page.goto("/evals/?q=ticket")
    expect(cell).to_contain_text("No evidence")
    page.get_by_role("link", name="Import eval results").first.click()
    page.get_by_label("File with results").set_input_files(file)
    page.get_by_role("button", name="Import this file").click()
    expect(page.locator("main .answer-s")).to_contain_text("60 results for 1 class and 1 model.")
    expect(page.locator("main .answer-d")).to_contain_text("60 cases are new evidence.")
    expect(page.locator("main")).to_contain_text("Verdicts it changed")
    page.goto("/evals/?q=ticket")
    expect(cell).to_contain_text("Not enough evidence")
    expect(cell).to_contain_text("96.7% · n 60")

    cell.get_by_role("link").click()
    page.locator("#cases").get_by_role("link", name="ticket-31").click()
    expect(page.locator("main .answer-s")).to_contain_text("No model passes this case; Opus 4.5 does not.")
    page.locator("#case").get_by_role("link", name="classification@1").click()
    expect(page.locator("main .answer-s")).to_contain_text("It holds 60 cases in 60 results.")
    page.get_by_role("link", name="See what failed").click()
    expect(page.locator("#cases tbody tr")).to_have_count(2)
    page.go_back()

    page.get_by_role("link", name="Set this run aside").click()
    page.get_by_label("Why it is no evidence").fill("The grader was down")
    page.get_by_role("button", name="Set this run aside").click()
    expect(page.locator("main .answer-s")).to_contain_text("This run is set aside: it is no evidence.")
    expect(page.locator("main .answer-d")).to_contain_text("The grader was down")
    page.goto("/evals/?q=ticket")
    expect(cell).to_contain_text("No evidence")
    page.goto("/evals/runs/?state=set-aside")
    expect(page.locator("#runs tbody tr", has_text="classification@1")).to_have_count(1)
