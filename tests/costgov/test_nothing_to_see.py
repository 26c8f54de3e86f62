"""What is not there is said: no usage at all, and usage that a file of costs cannot hold."""

import io
import json
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from billing.operations.prices import seed_list_prices
from billing.queries.focus_lines import LeftOut, left_out_of
from tests.billing.usage_rows import count_usage
from tests.costgov import policy_world
from tests.costgov.policy_world import logged_in, token
from tests.costgov.small_world import AS_OF, TODAY

pytestmark = pytest.mark.django_db
NO_USAGE = "There is no usage yet: import request logs or usage reports."
DAY = TODAY - timedelta(days=3)


@pytest.fixture(autouse=True)
def _frozen(settings):
    settings.COSTGOV_AS_OF = AS_OF


def printed(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_spend_of_nothing_names_no_days() -> None:
    told = json.loads(printed("spend", "--json"))
    assert (told["start"], told["end"], told["note"]) == (None, None, NO_USAGE)
    assert (told["rows"], told["total"]["cost_usd"], told["row_count"]) == ([], "0.000000", 0)
    assert printed("spend") == f"{NO_USAGE}\n"
    asked = json.loads(printed("spend", "--from", "2026-11-01", "--to", "2026-12-01", "--json"))
    assert (asked["start"], asked["end"], asked["note"]) == ("2026-11-01", "2026-12-01", "")
    only_end = json.loads(printed("spend", "--to", "2026-12-01", "--json"))
    assert (only_end["start"], only_end["end"], only_end["note"]) == (None, "2026-12-01", NO_USAGE)


def test_so_does_the_api() -> None:
    people = policy_world.people()
    headers = token(people["vic"], "read")[1]
    told = Client().get("/api/v1/spend", headers=headers).json()
    assert (told["start"], told["end"], told["note"]) == (None, None, NO_USAGE)
    answer = Client().get("/api/v1/spend?format=focus", headers=headers)
    assert (answer.status_code, NO_USAGE in answer.content.decode()) == (400, True)
    assert Client().get("/api/v1/spend?format=csv", headers=headers).status_code == 200


def test_a_focus_file_says_what_it_leaves_out(tmp_path, capsys) -> None:
    people = policy_world.people()
    seed_list_prices(as_of=AS_OF)
    count_usage("claude-opus-4-6", DAY, output_tok=1_000)
    query = f"from={DAY}&to={DAY + timedelta(days=1)}"
    buyer, headers = logged_in(people["priya"]), token(people["vic"], "read")[1]
    whole = buyer.get(f"/spend/focus.csv?{query}")
    assert "X-Costgov-Left-Out" not in whole
    assert 'id="left-out"' not in buyer.get(f"/spend/?{query}").content.decode()
    count_usage("lab-model-2", DAY, output_tok=5, web_searches=2)
    count_usage("läb-3", DAY, output_tok=70)
    cache.clear()  # rows written straight to the table tell no page that figures changed
    expected = {"tokens": 75, "web_searches": 2, "models": ["läb-3", "lab-model-2"], "more_models": 0}
    for answer in (
        buyer.get(f"/spend/focus.csv?{query}"),
        Client().get(f"/api/v1/spend?format=focus&{query}", headers=headers),
    ):
        assert json.loads(answer["X-Costgov-Left-Out"]) == expected
        assert len(b"".join(answer.streaming_content).splitlines()) == 2  # type: ignore[attr-defined]
    words = "75 tokens and 2 web searches of läb-3 and lab-model-2"
    page = " ".join(buyer.get(f"/spend/?{query}").content.decode().split())
    assert f"The FOCUS file leaves out {words}, which have no price." in page
    # A filter hides the file, whose figures would not be those shown.
    assert 'id="left-out"' not in buyer.get(f"/spend/?{query}&model=lab-model-2").content.decode()
    call_command("export_focus", "--from", f"{DAY}", "--to", f"{TODAY}", "--out", str(tmp_path / "f.csv"))
    assert f"Not in the file, because they have no price: {words} (" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (LeftOut(1, 0, ("a",), 0), "1 token of a"),
        (LeftOut(0, 3, ("",), 0), "3 web searches of (no model)"),
        (LeftOut(1_200, 1, tuple("abcdefg"), 0), "1,200 tokens and 1 web search of a, b, c, d, e and 2 more models"),
        (LeftOut(9, 0, tuple("abcdef"), 0), "9 tokens of a, b, c, d, e and 1 more model"),
        (LeftOut(9, 0, (), 7), "9 tokens of 7 more models"),
    ],
)
def test_in_words(missing: LeftOut, words: str) -> None:
    assert missing.words == words


def test_very_many_models_are_counted() -> None:
    seed_list_prices(as_of=AS_OF)
    for n in range(130):
        count_usage(f"lab-{n:03}", DAY, output_tok=1_000 - n)
    found = left_out_of(start=DAY, end=DAY + timedelta(days=1))
    assert found is not None
    assert (found.tokens, len(found.models) + found.others, found.models[:2]) == (
        sum(1_000 - n for n in range(130)), 130, ("lab-000", "lab-001"),
    )  # fmt: skip
    people = policy_world.people()
    answer = logged_in(people["priya"]).get(f"/spend/focus.csv?from={DAY}&to={DAY}")
    told = json.loads(answer["X-Costgov-Left-Out"])
    assert (len(told["models"]), told["more_models"]) == (20, 110)
