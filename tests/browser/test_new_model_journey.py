"""A new model: procurement prices and places it, engineering sees where to evaluate it, runs one, reads the verdict."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in, log_out
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]

MODEL = "claude-haiku-6"  # no such model exists
PRICES = {
    "Input": "0.6", "Cache read": "0.06", "Cache write, 5 minutes": "0.75", "Cache write, 1 hour": "1.2", "Output": "3",
}  # fmt: skip
CASES = 70


def _results(path: Path) -> Path:
    """What `promptfoo eval --output` writes for a suite of ticket classification, every case passed."""
    rows = [
        {
            "promptIdx": 0,
            "testIdx": number,
            "provider": {"id": f"anthropic:messages:{MODEL}", "label": MODEL},
            "success": True,
            "score": 1,
            "failureReason": 0,
            "metadata": {"sample_id": f"ticket-{number:03}", "request_class": "ticket-classification"},
            "tokenUsage": {"prompt": 400, "completion": 20, "cached": 0, "total": 420, "numRequests": 1},
        }
        for number in range(CASES)
    ]
    at = "2026-11-21T10:00:00.000Z"
    document = {
        "evalId": "eval-tickets",
        "results": {
            "version": 3,
            "timestamp": at,
            "results": rows,
            "stats": {"successes": CASES, "failures": 0, "errors": 0},
        },
        "config": {"description": "tickets"},
        "metadata": {"promptfooVersion": "0.121.20", "exportedAt": at, "evaluationCreatedAt": at},
    }
    path.write_text(json.dumps(document))
    return path


def test_a_new_model_from_its_prices_to_its_first_verdict(page: Page, demo_site: Site, tmp_path: Path) -> None:
    log_in(page, "paula")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Prices").click()
    page.get_by_role("link", name="Add a price").first.click()
    page.get_by_label("Model", exact=True).fill(MODEL)
    for label, price in PRICES.items():
        page.get_by_label(f"{label} (optional)", exact=True).fill(price)
    page.get_by_label("Source").fill("invented for this journey")
    page.get_by_role("button", name="See what it changes").click()
    page.get_by_role("button", name="Add this price").click()
    expect(page.locator("main")).to_contain_text("Nobody has placed this model yet")
    expect(page.get_by_role("link", name="What it could save")).to_have_count(0)
    page.get_by_role("link", name="Place it").click()
    page.get_by_label("Model tier").select_option("fast")
    page.get_by_role("button", name="Place the model").click()
    page.get_by_role("link", name="What it could save").click()
    expect(page.locator("main .answer-s")).to_contain_text("a month, if it cleared the bar of")
    address = page.url
    log_out(page)

    log_in(page, "erin")
    page.goto(address)
    chat = page.locator("#run li").filter(has_text="Customer chat")
    expect(chat.locator("pre")).to_have_text(
        f"npx promptfoo eval --providers anthropic:messages:{MODEL} --output results.json\n"
        "manage.py import_evals results.json --class chat-assistant"
    )
    expect(page.locator("#run li").filter(has_text="Ticket classification")).to_contain_text("if ")
    page.get_by_role("link", name="import a file in the browser").click()
    page.get_by_label("File with results").set_input_files(_results(tmp_path / "results.json"))
    page.get_by_role("button", name="Import").click()
    expect(page.locator("main")).to_contain_text(f"{CASES} results")
    page.locator("main").get_by_role("link", name="Ticket classification").first.click()
    expect(page.locator("main .answer-s")).to_contain_text(f"{MODEL} clears this class’s bar")

    page.goto(address)
    row = page.locator("table tbody tr").filter(has_text="Ticket classification")
    expect(row).to_contain_text("Recommended already")
    expect(page.locator("#run li").filter(has_text="Ticket classification")).to_have_count(0)
    said = demo_site.manage("evidence_needed", "--model", MODEL)
    assert "Recommended already" in next(each for each in said.stdout.splitlines() if each.startswith("ticket-class"))
