"""Upload a usage file in the browser and see its progress end; then a file that cannot be read, told precisely."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]
REQUESTS = 30_000


def _log(path: Path) -> Path:
    """Requests of one day of a workspace nobody has seen yet."""
    with path.open("w") as out:
        for number in range(REQUESTS):
            usage = {
                "input_tokens": 900,
                "cache_read_input_tokens": 100,
                "output_tokens": 50,
                "service_tier": "standard",
            }
            record = {
                "timestamp": f"2026-11-20T{number % 24:02}:15:00Z",
                "request_id": f"req_journey_{number:06}",
                "organization_id": "org_journey",
                "workspace_id": "ws_journey",
                "api_key_id": "key_journey",
                "http_status": 200,
                "request": {"model": "claude-haiku-4-5-20251001"},
                "response": {"id": f"msg_journey_{number:06}", "model": "claude-haiku-4-5-20251001", "usage": usage},
            }
            out.write(json.dumps(record) + "\n")
    return path


def test_an_upload_shows_its_progress_until_it_is_done(page: Page, demo_site: Site, tmp_path: Path) -> None:
    log_in(page, "erin")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Imports").click()
    page.get_by_label("Files").set_input_files(_log(tmp_path / "journey.jsonl"))
    page.get_by_role("button", name="Import the files").click()
    # Nobody reloads: the page asks by itself and stops when the import has ended.
    row = page.locator("main").get_by_role("row").filter(has_text="journey.jsonl").first
    expect(row).to_contain_text("Done", timeout=60_000)
    expect(row).to_contain_text("30,000")

    spent = demo_site.manage("spend", "--by", "workspace", "--from", "2026-11-20", "--to", "2026-11-21", "--json")
    rows = {found["group"]["workspace"]: found for found in json.loads(spent.stdout)["rows"]}
    # 30,000 × (900 × 1 + 100 × 0.10 + 50 × 5) USD per million tokens
    assert float(rows["ws_journey"]["cost_usd"]) == pytest.approx(34.80)
    assert rows["ws_journey"]["requests"] == REQUESTS
    assert list((demo_site.var / "incoming").glob("*")) == []  # it may hold prompts: gone when its import ends


def test_a_broken_file_says_where_and_what_to_do(page: Page, demo_site: Site, tmp_path: Path) -> None:
    whole = _log(tmp_path / "whole.jsonl").read_text().splitlines()[:3]
    broken = tmp_path / "broken.jsonl"
    broken.write_text("\n".join([whole[0].replace("journey", "broken"), '{"timestamp": "2026-11-20T0', whole[2]]))
    log_in(page, "erin")
    page.goto("/imports/")
    page.get_by_label("Files").set_input_files(broken)
    page.get_by_role("button", name="Import the files").click()
    # The page of the import itself: it says so as soon as the worker has read the file.
    expect(page.get_by_role("heading", level=1)).to_contain_text("Failed", timeout=60_000)
    problem = page.get_by_role("row").filter(has_text="Not valid JSON")
    expect(problem.get_by_role("cell").first).to_have_text("2")  # the line
    expect(problem).to_contain_text("export it again")


def test_a_viewer_may_not_upload(page: Page, demo_site: Site) -> None:
    log_in(page, "victor")
    page.goto("/imports/")
    expect(page.get_by_role("button", name="Import the files")).to_have_count(0)
