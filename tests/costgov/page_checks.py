"""What every page owes to people who do not see it: names for controls, tables and drawings, headings in order."""

from html.parser import HTMLParser

VOID = {
    "meta",
    "link",
    "img",
    "input",
    "br",
    "hr",
    "source",
    "col",
    "path",
    "use",
    "rect",
    "circle",
    "polyline",
    "line",
}
CONTROLS = {"input", "select", "textarea"}


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.problems: list[str] = []
        self.ids: list[str] = []
        self.headings: list[int] = []
        self.labels: set[str] = set()
        self.controls: list[dict[str, str | None]] = []
        self.tables: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        if "style" in values or tag == "style":
            self.problems.append(f"<{tag}> has a style, which the content policy refuses")
        if tag == "script" and not values.get("src") and values.get("type") != "application/json":
            self.problems.append("an inline script, which the content policy refuses")
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))
        if tag == "label":
            self.labels.add(values.get("for") or "")
        if tag in CONTROLS and values.get("type") not in {"hidden", "submit"}:
            self.controls.append(values)
        if tag == "table":
            self.tables.append(False)
        if tag == "caption":
            self.tables[-1] = True
        if tag == "th" and not values.get("scope"):
            self.problems.append("a <th> without scope")
        if tag == "a" and not values.get("href"):
            self.problems.append("a link that leads nowhere")
        if values.get("role") == "img" and not values.get("aria-label"):
            self.problems.append(f"a drawing (<{tag}>) without a name")

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes something else")


def problems(html: str) -> list[str]:
    """Everything wrong with a page; [] for a good one."""
    page = _Page()
    page.feed(html)
    found = list(page.problems)
    if page.headings.count(1) != 1:
        found.append(f"{page.headings.count(1)} headings of level 1")
    found += [
        f"a heading of level {after} follows one of level {before}"
        for before, after in zip(page.headings, page.headings[1:], strict=False)
        if after > before + 1
    ]
    found += [f"the id {name} occurs twice" for name in {name for name in page.ids if page.ids.count(name) > 1}]
    found += [
        f"the control {values.get('name')} has no label"
        for values in page.controls
        if not values.get("aria-label") and (values.get("id") or "-") not in page.labels
    ]
    found += ["a table without a caption"] * page.tables.count(False)
    if page.open:
        found.append(f"never closed: {', '.join(page.open)}")
    return found
