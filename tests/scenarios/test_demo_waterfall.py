"""The waterfall of the demo organisation: one set of cents on the command line, the Savings page and the API."""

import re
from decimal import Decimal

import pytest

from costgov.models import User
from tests.demo import AS_OF, Demo, demo, demo_copy

__all__ = ["demo", "demo_copy"]
pytestmark = pytest.mark.xdist_group("demo")

Line = list[Decimal]
CENT = Decimal("0.01")


def amount(text: str) -> Decimal:
    return Decimal(text.replace("−", "-").replace("$", "").replace(",", ""))


def printed_lines(text: str) -> dict[str, Line]:
    """Per class (and `all classes`) the five figures `manage.py recommend` prints, steps as savings."""
    lines = text.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("waterfall, usd"))
    assert lines[start].split()[2:] == ["baseline", "routed", "cached", "batched", "recommended"]
    found = {}
    for line in lines[start + 1 : lines.index("", start)]:
        name, *figures = re.split(r"\s{2,}", line.strip())
        baseline, *steps, recommended = map(amount, figures)
        found[name] = [baseline, *(-step for step in steps), recommended]
    return found


def page_lines(text: str) -> dict[str, Line]:
    table = text.split('<caption class="visually-hidden">Waterfall by class</caption>')[1].split("</table>")[0]
    found = {}
    for row in table.split('<th scope="row"')[1:]:
        slug = re.search(r'href="/classes/([^/"]+)/"', row)
        cells = re.findall(r'<td class="num[^"]*"[^>]*>(?:<div>)?([^<]+)', row)
        found[slug[1] if slug else "all classes"] = [amount(cell) for cell in cells]
    return found


def api_lines(document: dict) -> dict[str, Line]:
    rows = [*document["rows"], {**document, "request_class": "all classes"}]
    return {
        row["request_class"]: [
            Decimal(row["baseline_usd"]), *map(Decimal, row["saved_usd"]), Decimal(row["recommended_usd"]),
        ]
        for row in rows
    }  # fmt: skip


@pytest.fixture
def shown(demo: Demo, client, settings) -> tuple[dict[str, Line], dict[str, Line], dict]:
    settings.COSTGOV_AS_OF = AS_OF
    client.force_login(User.objects.get(username="victor"))
    document = client.get("/api/v1/savings").json()
    return page_lines(client.get("/savings/").content.decode()), api_lines(document["waterfall"]), document


def test_command_page_and_api_show_the_same_lines(demo_copy: Demo, shown) -> None:
    page, api, _ = shown
    done = demo_copy.manage("recommend")
    assert done.returncode == 0, done.stderr
    printed = printed_lines(done.stdout)
    assert len(printed) == len(api) > 9
    assert printed == page == api


def test_the_split_without_an_order_sums_to_the_same(shown) -> None:
    found = shown[2]["waterfall"]
    order_free = [Decimal(usd) for usd in found["order_free_usd"]]
    assert sum(order_free) == Decimal(found["baseline_usd"]) - Decimal(found["recommended_usd"])
    assert order_free != [Decimal(usd) for usd in found["saved_usd"]]


def test_the_lines_add_up_to_the_cent(shown) -> None:
    _, api, _ = shown
    total = api.pop("all classes")
    assert [sum(column) for column in zip(*api.values(), strict=True)] == total
    for baseline, *steps, recommended in (*api.values(), total):
        assert baseline - sum(steps) == recommended
        assert all(figure == figure.quantize(CENT) for figure in (baseline, *steps, recommended))


def test_the_lines_are_the_recommendation_rounded(shown) -> None:
    """Each figure is within a cent of the exact one (a total within half), a baseline within those of its sum."""
    _, api, document = shown
    recommendation = document["recommendation"]
    steps = {row["request_class"]: row["steps"] for row in recommendation["classes"]}
    assert set(steps) == set(api) - {"all classes"}
    for name, exact in (*steps.items(), ("all classes", recommendation["total"])):
        baseline, *saved, recommended = api[name]
        share = Decimal("0.005") if name == "all classes" else CENT
        for figure, part in zip(saved, exact["parts"], strict=True):
            assert abs(figure - Decimal(part["saving_usd"])) <= share
        assert abs(recommended - Decimal(exact["recommended_cost_usd"])) <= share
        assert abs(baseline - Decimal(exact["uniform_cost_usd"])) <= 4 * share
    assert recommendation["levers"] == document["waterfall"]["levers"] == ["routing", "caching", "batch"]
