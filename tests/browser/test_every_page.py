"""Every page as it is drawn: wide and narrow, light and dark. Names, headings, tables, colours, charts and markup.

The pages are found by following links from the menu, so a page that links lead to cannot be forgotten; the set below
says which kinds must be found. `pages_probe.js` looks at the page; `Markup` reads the answer as it was sent.
"""

from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
from django.urls import Resolver404, resolve
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.browser.people import log_in
from tests.site import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("site")]

PROBE: Final = Path(__file__).with_name("pages_probe.js").read_text()
WIDTHS: Final = (1440, 390)
START: Final = ("/", "/patterns/", "/settings/", "/policies/draft/propose/", "/commitments/terms/new/", "/classes/new/")
# Pages that differ from one of their kind to the next.
MORE: Final = {"class-detail": 3, "eval-run": 4, "import-detail": 2, "month": 3}
KINDS: Final = {
    "overview", "classes", "class-detail", "class-new", "class-edit", "evals", "eval-runs", "evals-import",
    "eval-import", "policies", "policy-draft", "policy-propose", "change-detail", "policy-version", "forecast",
    "commitments", "terms", "terms-new", "sizing", "imports", "import-detail", "prices", "price-add", "model-alias",
    "spend-lines", "audit", "settings", "patterns", "invoices", "month", "month-close", "invoice-add", "invoice-detail",
    "invoice-edit", "data-health", "column-mappings", "usage-formats", "spend", "showback", "cost-centres", "contracts",
    "contract-new", "savings", "evidence-needed", "price-scenarios", "price-scenario-new", "price-file",
    "cost-centre-unmap", "eval-run-list", "eval-run", "eval-run-set-aside", "eval-run-move", "eval-cases", "eval-case",
    "work-items", "work-item-close", "suite-rules", "eval-import-delete",
}  # fmt: skip

VOID: Final = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
BLOCK: Final = {
    "address", "article", "aside", "details", "dialog", "div", "dl", "fieldset", "figure", "footer", "form", "h1", "h2",
    "h3", "h4", "header", "main", "nav", "ol", "p", "pre", "section", "table", "ul",
}  # fmt: skip
PRESSED: Final = {"a", "button", "select", "textarea", "summary"}


class Markup(HTMLParser):
    """Tags that do not nest, ids and attributes given twice, inline styles and scripts."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: Counter[str] = Counter()
        self.feed(text)
        self.close()
        self.faults += [f"never closed: {tag}" for tag in self.open]
        self.faults += [f"id twice: {name}" for name, count in self.ids.items() if count > 1]

    def _fault(self, what: str) -> None:
        self.faults.append(f"line {self.getpos()[0]}: {what}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        values = dict(attrs)
        for name, count in names.items():
            if count > 1:
                self._fault(f"<{tag}> has {name} twice")
            if name == "style" or name.startswith("on"):
                self._fault(f"<{tag}> has {name}, which the policy of the pages refuses")
        if tag == "script" and "src" not in values and values.get("type") != "application/json":
            self._fault("script in the page")
        if tag == "style":
            self._fault("style in the page")
        if values.get("id"):
            self.ids[str(values["id"])] += 1
        if tag in BLOCK and "p" in self.open:
            self._fault(f"<{tag}> in <p>")
        if tag in BLOCK and self.open and self.open[-1] == "span":
            self._fault(f"<{tag}> in <span>")
        if tag in PRESSED and (within := {"a", "button"} & set(self.open)):
            self._fault(f"<{tag}> in <{within.pop()}>")
        if tag in {"li"} and self.open and self.open[-1] not in {"ul", "ol"}:
            self._fault(f"<{tag}> in <{self.open[-1]}>")
        if tag in {"tr"} and self.open and self.open[-1] not in {"thead", "tbody", "tfoot"}:
            self._fault(f"<{tag}> in <{self.open[-1]}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self._fault(f"</{tag}> closes <{self.open[-1] if self.open else 'nothing'}>")


def kind(path: str) -> str:
    try:
        return str(resolve(urlsplit(path).path).view_name)
    except Resolver404:
        return ""


def links(page: Page) -> list[str]:
    found: list[str] = page.evaluate(
        "[...document.querySelectorAll('a[href^=\"/\"]')].map(a => a.getAttribute('href'))"
    )
    return [path.partition("#")[0] for path in found]


# Charts are drawn anew a tenth of a second after their card changed: wait until each fills its place, at most 2 s.
SETTLED = """new Promise(done => {
  const end = performance.now() + 2000;
  const fits = plot => !plot.clientHeight || Math.abs(plot._fullLayout.height - plot.clientHeight) <= 1;
  const look = () => [...document.querySelectorAll(".js-plotly-plot")].every(fits) || performance.now() > end
    ? requestAnimationFrame(() => done()) : setTimeout(look, 30);
  requestAnimationFrame(() => setTimeout(look, 60));
})"""


def looked_at(page: Page, width: int) -> list[str]:
    """What is wrong in light and in dark, with everything unfolded."""
    wrong: list[str] = []
    for theme in ("light", "dark"):
        page.evaluate("theme => { costgovTheme.set(theme); }", theme)
        page.evaluate("document.querySelectorAll('main details').forEach(d => { d.open = true; })")
        page.evaluate(SETTLED)
        wrong += [f"{width} {theme}: {fault}" for fault in page.evaluate(f"({PROBE})()")]
    return wrong


def test_every_page_wide_and_narrow_in_light_and_dark(page: Page, demo_site: Site) -> None:
    log_in(page, "ada")
    page.emulate_media(reduced_motion="reduce")
    wrong: dict[str, list[str]] = {}
    visited: Counter[str] = Counter()
    waiting, known = list(START), set(START)
    while waiting:
        path = waiting.pop(0)
        name = kind(path)
        if not name or name == "logout" or name.startswith("api") or visited[name] >= MORE.get(name, 1):
            continue
        if not urlsplit(path).path.endswith("/"):  # a file to download
            continue
        visited[name] += 1
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            answer = page.goto(path)
            assert answer is not None and answer.status == 200, path
            if width == WIDTHS[0]:
                wrong[path] = Markup(answer.text()).faults
                waiting += [link for link in dict.fromkeys(links(page)) if link not in known]
                known |= set(waiting)
            wrong[path] += looked_at(page, width)
    assert "\n".join(f"{path}: {fault}" for path, faults in wrong.items() for fault in faults) == ""
    assert KINDS - set(visited) == set()


@pytest.fixture
def stranger(browser: Browser, base_url: str) -> Iterator[Page]:
    """Nobody logged in. The browser reports the refused page itself; anything else it says is a fault."""
    said: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            said.append(message.text)

    context = browser.new_context(base_url=base_url, reduced_motion="reduce")
    page = context.new_page()
    page.on("console", listen)
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    context.close()
    assert said == []


def test_the_pages_of_refusal(stranger: Page, demo_site: Site) -> None:
    wrong: dict[str, list[str]] = {}

    def visit(path: str, status: int) -> None:
        for width in WIDTHS:
            stranger.set_viewport_size({"width": width, "height": 900})
            answer = stranger.goto(path)
            assert answer is not None and answer.status == status, path
            wrong[path] = wrong.get(path, []) + Markup(answer.text()).faults + looked_at(stranger, width)

    visit("/login/", 200)
    visit("/setup/", 200)  # somebody is there already: it leads to the log-in
    stranger.set_viewport_size({"width": WIDTHS[0], "height": 900})
    log_in(stranger, "victor")
    visit("/nothing-here/", 404)
    visit("/classes/nothing-here/", 404)
    visit("/classes/new/", 403)
    visit("/?period=never", 400)
    assert "\n".join(f"{path}: {fault}" for path, faults in wrong.items() for fault in faults) == ""


def test_the_keyboard_reaches_everything_and_shows_where_it_is(page: Page, demo_site: Site) -> None:
    log_in(page, "erin")
    page.emulate_media(reduced_motion="reduce")  # no smooth scrolling: a stop is where it is at once
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    # Every stop of the Overview is on the screen and outlined.
    hidden: list[str] = []
    stops = 0
    for _ in range(120):
        page.keyboard.press("Tab")
        stop = page.evaluate(
            """() => {
              const el = document.activeElement, style = getComputedStyle(el), box = el.getBoundingClientRect();
              if (el === document.body) return null;
              const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
              const inView = box.width > 0 && box.bottom > 0 && box.top < innerHeight;
              return inView && (outlined || style.boxShadow !== "none") ? "" : el.outerHTML.slice(0, 120);
            }"""
        )
        if stop is None:
            break
        stops += 1
        if stop:
            hidden.append(stop)
    assert hidden == []
    assert stops > 15
    # The menu of the person: opened and closed without a mouse, and the focus comes back.
    menu = page.locator("details.menu > summary")
    menu.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Log out")).to_be_hidden()
    expect(menu).to_be_focused()


def test_a_dark_page_prints_dark_on_white(page: Page, demo_site: Site) -> None:
    log_in(page, "erin")
    page.emulate_media(color_scheme="dark")
    page.goto("/")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "light")
    expect(page.get_by_role("navigation", name="Main")).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    drawn = page.locator(".js-plotly-plot .xtick text").first
    assert drawn.evaluate("el => el.style.fill") == "rgb(95, 102, 112)"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
