"""A table of somebody's own in the browser: uploaded, described, seen as it counts, imported; the next by itself."""

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]
HEAD = "Hour,Model,Project,Prompt tokens,Cached tokens,Completion tokens,Calls,Question\n"


def _table(path: Path, day: str, *, swapped: bool = False) -> Path:
    lines = [
        f"{day} {hour:02}:00:00,claude-haiku-4-5,ws_table,1000,400,100,5,what is the capital of France"
        for hour in range(24)
    ]
    head = HEAD
    if swapped:
        head = "Model,Hour,Project,Prompt tokens,Cached tokens,Completion tokens,Calls,Question\n"
        lines = [f"{one.split(',')[1]},{one.split(',')[0]},{one.split(',', 2)[2]}" for one in lines]
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def test_a_table_is_described_once(page: Page, demo_site: Site, tmp_path: Path) -> None:
    log_in(page, "erin")
    page.goto("/imports/")
    page.get_by_label("Files").set_input_files(_table(tmp_path / "gateway_2026-11-20.csv", "2026-11-20"))
    page.get_by_role("button", name="Import the files").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("What are the columns?")
    expect(page.locator("main")).not_to_contain_text("capital of France")
    preview = page.locator("#preview")
    expect(preview).to_contain_text("the time names no zone")
    page.get_by_label("Time zone").select_option("UTC")
    expect(preview).to_contain_text("All 24 rows can be read")
    expect(preview.get_by_role("row").last).to_contain_text("14,400")  # 24 × (1,000 − 400)
    # A contradiction answers at once, and nothing can be kept with it.
    page.get_by_label("What Cached tokens holds").select_option("")
    expect(preview).to_contain_text("the input includes cached tokens, and no column says how many")
    page.get_by_label("What Cached tokens holds").select_option("cache_read")
    expect(preview).to_contain_text("All 24 rows can be read")
    page.get_by_label("Name of this kind of table").fill("Gateway by hour")
    page.get_by_role("button", name="Keep this and import the table").click()
    row = page.locator("main").get_by_role("row").filter(has_text="gateway_2026-11-20.csv").first
    expect(row).to_contain_text("Done", timeout=60_000)

    page.goto("/imports/")
    page.get_by_label("Files").set_input_files(_table(tmp_path / "next.csv", "2026-11-21", swapped=True))
    page.get_by_role("button", name="Import the files").click()
    row = page.locator("main").get_by_role("row").filter(has_text="next.csv").first
    expect(row).to_contain_text("Done", timeout=60_000)
    expect(page.locator("main")).to_contain_text("Read with the column mapping “Gateway by hour”")

    told = demo_site.manage("column_mapping", "--json")
    (kept,) = [item for item in json.loads(told.stdout) if item["name"] == "Gateway by hour"]
    assert (kept["imports"], kept["grain"], dict(kept["columns"])["Prompt tokens"]) == (2, "hour", "input_with_cache")
    page.goto("/imports/mappings/")
    expect(page.get_by_role("heading", name="Gateway by hour")).to_be_visible()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete the mapping").first.click()
    expect(page.locator("main")).to_contain_text("is deleted; what was imported with it stays")


def test_data_health_leads_to_what_mends_it(page: Page, demo_site: Site) -> None:
    log_in(page, "victor")
    page.goto("/")
    entry = page.get_by_role("navigation", name="Main").get_by_role("link", name="Data health")
    expect(entry).to_contain_text("error")  # the demo's unpriced preview model; the page asked for the number
    entry.click()
    expect(page.locator("main")).to_contain_text("makes figures wrong or incomplete")
    page.get_by_role("link", name="Errors").click()
    expect(page).to_have_url(re.compile("level=error"))
    expect(page.locator("main").get_by_role("row").filter(has_text="claude-labs-preview")).to_contain_text("Error")
    page.get_by_role("link", name="Open Prices").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Prices")
