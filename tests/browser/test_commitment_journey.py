"""Size a commitment on the optimised spend in the browser, and download the sheet procurement defends."""

from decimal import Decimal
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from python_calamine import CalamineWorkbook

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]
BANDS = (("T1", "100000", "6"), ("T2", "300000", "12"), ("T3", "600000", "18"))


def test_an_offer_is_sized_and_its_sheet_downloaded(page: Page, demo_site: Site, tmp_path: Path) -> None:
    log_in(page, "paula")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Commitments").click()
    page.get_by_role("link", name="Enter an offer").first.click()
    for number, (name, commitment, discount) in enumerate(BANDS):
        row = page.get_by_role("row").nth(number + 1)
        for field, value in zip(("name", "commitment", "discount"), (name, commitment, discount), strict=True):
            row.locator(f"input[name*={field}]").fill(value)
    page.get_by_label("Starts").fill("2027-01-01")
    page.get_by_text("List price", exact=True).click()
    page.get_by_text("What you pay", exact=True).click()
    page.get_by_role("button", name="Save and size").last.click()
    expect(page.get_by_role("link", name="Download").first).to_be_visible(timeout=120_000)
    answer = page.locator("main .answer-s").inner_text()
    assert "Expected bill $" in answer and "risk of paying for spend you do not have" in answer
    expect(page.locator("main")).to_contain_text("Optimised: routed first, then committed")
    expect(page.locator("main")).to_contain_text("All on Opus 4.5: committed without routing")
    expect(page.locator("main")).to_contain_text("No commitment")

    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download").first.click()
    path = tmp_path / "sizing.xlsx"
    waiting.value.save_as(path)
    book = CalamineWorkbook.from_path(str(path))
    cells = {str(cell) for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python() for cell in row}
    assert {"T1", "T2", "T3"} <= cells
    assert any(Decimal(cell) == Decimal("300000") for cell in cells if cell.replace(".", "", 1).isdigit())


def test_an_engineer_reads_but_does_not_size(page: Page, demo_site: Site) -> None:
    log_in(page, "erin")
    page.goto("/commitments/")
    expect(page.get_by_role("link", name="Enter an offer")).to_have_count(0)
    assert page.request.get("/commitments/terms/new/").status == 403
