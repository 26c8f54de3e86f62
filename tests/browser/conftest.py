"""Real journeys: headless Chromium against the real server with the demo organisation, frozen at one instant."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.chromium import REMEDY, find
from tests.site import Site, open_folder, running

AS_OF = "2026-11-22T08:00:00Z"
ARGUMENTS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, object]) -> dict[str, object]:
    path = find()
    if path is None:
        pytest.fail(REMEDY)
    return {**browser_type_launch_args, "executable_path": path, "args": list(ARGUMENTS)}


@pytest.fixture(scope="session")
def demo_site() -> Iterator[Site]:
    with open_folder() as folder, running(folder / "var", demo=True, COSTGOV_AS_OF=AS_OF) as site:
        yield site


@pytest.fixture(scope="session")
def base_url(demo_site: Site) -> str:
    return demo_site.url


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A page that must not complain: no console error, no uncaught exception (the policy of the pages included)."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    assert complaints == []
