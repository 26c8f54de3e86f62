"""Log in → Overview → class → recommended draft → propose → approve as a second user → activate → the bundle has it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import log_in, log_out
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]


def test_a_recommended_policy_reaches_the_gateways(page: Page, demo_site: Site) -> None:
    log_in(page, "erin")
    expect(page.get_by_role("heading", level=1)).to_have_text("Spend and quality")
    before = page.request.get("/api/v1/bundles/prod")
    assert before.status == 200
    old_tag, old_sequence = before.headers["etag"], before.json()["sequence"]

    page.get_by_role("link", name="Agentic coding").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Agentic coding")
    expect(page.locator("main")).to_contain_text("Opus 4.6")

    page.get_by_role("navigation", name="Main").get_by_role("link", name="Policies").click()
    page.locator("main").get_by_role("link", name="recommended").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Recommended draft")
    page.get_by_role("link", name="Propose this change").click()
    page.get_by_role("button", name="Propose this change").click()
    expect(page.locator("main")).to_contain_text("Waiting for one approval")
    change = page.url
    # The author may not approve: no button, and the reason in words.
    expect(page.get_by_role("link", name="Approve")).to_have_count(0)
    log_out(page)

    log_in(page, "paula")  # procurement reads, and may not approve quality
    page.goto(change)
    expect(page.get_by_role("link", name="Approve")).to_have_count(0)
    log_out(page)

    log_in(page, "emil")
    page.goto(change)
    page.get_by_role("link", name="Approve").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Approve").click()
    expect(page.locator("main")).to_contain_text("Approved; gateways get it when somebody activates it")
    page.get_by_role("link", name="Activate").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Activate").click()
    expect(page.locator("main")).to_contain_text("In force since")

    after = page.request.get("/api/v1/bundles/prod", headers={"If-None-Match": old_tag})
    assert after.status == 200
    assert after.json()["sequence"] == old_sequence + 1
    policy = after.json()["policy"]
    assert policy["assignments"]["agentic-coding"]["target"]["model"] == "claude-opus-4-6"
    unchanged = page.request.get("/api/v1/bundles/prod", headers={"If-None-Match": after.headers["etag"]})
    assert unchanged.status == 304
