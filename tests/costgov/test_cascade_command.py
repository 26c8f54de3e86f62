"""Cascades by command: shown, tried, stated, removed; refusals in words; the worked numbers of the guide."""

import re
from decimal import Decimal as D
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from audit.operations import bump_data_version
from billing.models import Organisation
from costgov.jsonout import dumps
from costgov.management.commands.cascades import OUTCOMES, Command
from costgov.queries.class_cascade import class_cascade
from routing.models import RequestClass
from tests.costgov import small_world as world
from tests.costgov.test_cascades import by_name, people  # noqa: F401  # the fixture is used by its name

GUIDE = " ".join((Path(__file__).parents[2] / "docs/guide/cascades.md").read_text(encoding="utf-8").split())
GIVEN = ["--cheap", world.HAIKU, "--check-usd", "0.0005", "--good-accepted", "0.95", "--bad-accepted", "0.1"]
PLAN = {"cheap": world.HAIKU, "check_usd": "0.0005", "good_accepted": "0.95", "bad_accepted": "0.1"}


def told(*words: str) -> str:
    bump_data_version()
    out = StringIO()
    call_command("cascades", *words, stdout=out)
    return out.getvalue().strip()


def refused(capsys: Any, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        call_command("cascades", *words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return str(said.err).strip()


@pytest.mark.usefixtures("people")
def test_tried_stated_shown_and_taken_back() -> None:
    assert told().startswith("No cascade is stated: try one with manage.py cascades CLASS --try")
    assert told("triage") == "Ticket triage (triage): no cascade is stated."
    figures = [
        f"  {world.HAIKU} first pays: its answers are accepted 82.3% of the time, break-even is 22.9%; it costs 0.41× "
        f"{world.OPUS} alone; its expected quality of 97.6% is above the line of 93.0%, but only evals of the cascade "
        "itself can show that",
        f"  a request       0.00710625 usd, on {world.OPUS} alone 0.0175 usd",
        "  first answers   82.3% accepted, pays above 22.9%",
        "  the check       0.0005 usd; accepts 95.0% of good and 10.0% of bad answers (a pilot, assumed)",
        f"  quality         97.6% expected on 200 cases run on both, {world.OPUS} alone 99.0%, line 93.0%",
        "  saves 31.64 usd a month (estimate, in no other figure)",
    ]
    given = [*GIVEN, "--source", "a pilot"]
    assert told("triage", "--try", *given).splitlines() == [
        "Ticket triage (triage), tried, not stated: worth an eval",
        *figures,
    ]
    assert RequestClass.objects.get(slug="triage").cascade == {}
    stated = told("triage", "--set", *given, "--reason", "Is it worth building?")
    assert stated.splitlines() == ["Ticket triage (triage): worth an eval", *figures]
    assert RequestClass.objects.get(slug="triage").cascade == {**PLAN, "source": "a pilot"}
    assert told() == told("triage") == stated
    assert told("triage", "--remove", "--reason", "The pilot is over").endswith("no cascade is stated.")
    assert [(row.action, row.actor, row.note) for row in AuditEntry.objects.filter(object_id="triage")] == [
        ("class.cascade_removed", None, "The pilot is over"),
        ("class.cascade_stated", None, "Is it worth building?"),
    ]


def test_json_is_what_page_and_api_show(people: dict[str, Any]) -> None:  # noqa: F811
    told("triage", "--set", *GIVEN, "--reason", "pilot", "--user", "eva")
    assert AuditEntry.objects.get(action="class.cascade_stated").actor == people["eva"]
    expected = orjson.loads(dumps(class_cascade(slug="triage", as_of=world.AS_OF)))
    client = Client()
    client.force_login(people["vic"])
    assert orjson.loads(told("triage", "--json")) == client.get("/api/v1/classes/triage/cascade").json() == expected
    assert orjson.loads(told("--json")) == client.get("/api/v1/cascades").json() == [expected]
    page = client.get("/classes/triage/cascade/").content.decode()
    assert "Worth an eval: it could save <strong>$32</strong> a month" in page
    assert by_name(expected["row"]["reason"]) in page


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--try", *GIVEN], "Name the class first, e.g. manage.py cascades triage --try --cheap claude-haiku-4-5."),
        (["triage", *GIVEN], "Say --try to see what this cascade does, or --set to state it."),
        (["triage", "--set"], "Name the cascade: --cheap and --check-usd, with --good-accepted and --bad-accepted."),
        (["triage", "--remove", *GIVEN[:4]], "--remove takes the cascade back: leave out --cheap, --check-usd."),
        (["nope"], "There is no class 'nope'. It may have been renamed; search the list of classes."),
        (["nope", "--try", *GIVEN], "nope: no such class is registered. Register it first."),
        (["triage", "--set", *GIVEN], "triage: say why: whoever reads its levers must know where this comes from."),
        (["triage", "--set", *GIVEN, "--reason", "x", "--user", "zoe"], "There is no user 'zoe': leave out --user"),
        (["triage", "--set", *GIVEN, "--reason", "x", "--user", "priya"], "priya may not edit classes"),
        (["triage", "--try", *GIVEN[2:]], "triage: cheap is empty: name the model that is asked first."),
        (["triage", "--try", *GIVEN, "--cheap", "m"], "cheap 'm' is not on the Prices page: name a model that is."),
        (["triage", "--try", *GIVEN, "--check-usd", "a"], "triage: check_usd is 'a': give a number."),
        (["triage", "--try", *GIVEN, "--good-accepted", "95"], "good_accepted is 95: it is a share, from 0 to 1."),
        (["triage", "--try", *GIVEN[:4]], "state good_accepted and bad_accepted, or the check_suite they are measured"),
        (["triage", "--try", *GIVEN, "--check-suite", "suite"], "suite suite counts as evidence of the class"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_ends_with_two_and_says_what_to_do(words: list[str], message: str, capsys: Any) -> None:
    assert message in refused(capsys, *words)
    assert RequestClass.objects.get(slug="triage").cascade == {}
    assert not AuditEntry.objects.filter(action__startswith="class.cascade").exists()


def test_without_a_baseline_it_is_stated_and_told_why_nothing_is_said(people: dict[str, Any]) -> None:  # noqa: F811
    """A refusal after the change was kept would be taken for one of the change."""
    Organisation.objects.update(baseline_model="")
    cache.clear()
    said = told("triage", "--set", *GIVEN, "--reason", "pilot")
    assert said.endswith(
        "nothing can be said: No baseline model is set: choose one in Settings (savings are counted against it)"
    )
    assert f"Ticket triage (triage): cheap {world.HAIKU}, check_usd 0.0005" in said
    client = Client()
    client.force_login(people["eva"])
    answer = client.post(
        "/api/v1/classes/triage/cascade", {"cascade": {}, "reason": "over"}, content_type="application/json"
    )
    assert answer.status_code == 201 and answer.json()["why"].startswith("No baseline model is set")
    assert RequestClass.objects.get(slug="triage").cascade == {}
    page = client.get("/classes/triage/cascade/")
    assert page.status_code == 200 and "Nothing can be said: No baseline model is set" in page.content.decode()


@pytest.mark.usefixtures("people")
def test_a_class_without_usage_says_what_is_missing() -> None:
    said = told("drafting", "--try", *GIVEN)
    assert said.endswith(
        "nothing can be said: the class cannot be costed: no counted usage from 26 Oct to 22 Nov 2026: import its "
        "usage, or map the API keys that are its own"
    )


# -- the guide ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("people")
def test_the_worked_numbers_of_the_guide() -> None:
    def row(**changes: str) -> Any:
        words = [word for name, value in (PLAN | changes).items() for word in (f"--{name.replace('_', '-')}", value)]
        return orjson.loads(told("triage", "--try", "--json", *words))["row"]

    def says(*words: str) -> bool:
        return all(word in GUIDE for word in words)

    found = row()
    assert f"{found['accepted_share']:.4f}" == "0.8225" and says("| 82.3% |", "(1 − 0.8225) × 0.0175")
    assert f"{found['break_even_share']:.3f}" == "0.229" and says("(0.0035 + 0.0005) ÷ 0.0175 | 22.9% |")
    assert D(found["unit_cost_usd"]) == D("0.00710625") and says("| 0.00710625 |")
    assert D(found["strong_cost_usd"]) == D("0.0175") and found["cases"] == 200
    assert f"{found['quality']:.3f}" == "0.976" and D("0.8075") + D("0.0425") + D("0.14") * D("0.9") == D("0.976")
    assert says("0.8075 accepted and good + 0.0425 good", "0.14 × 0.90 saved by Opus | 97.6% |")
    assert D(found["saving_usd_per_month"]) == D("31.64") and says("× 30.4375 ÷ 28 | 31.64 |")

    refuses = row(good_accepted="0.25")
    assert refuses["outcome"] == "loses" and f"{refuses['accepted_share']:.4f}" == "0.2275"
    assert D(refuses["unit_cost_usd"]) == D("0.01751875")
    assert says(
        "accepting 25% of good answers lets 22.8% through", "than the 22.9% it needs: a request costs 0.01751875"
    )
    assert D(refuses["loss_usd_per_month"]) == D("0.06") and says("0.06 a month more than Opus alone")
    dear = row(check_usd="0.0115")
    assert dear["outcome"] == "loses" and f"{dear['break_even_share']:.3f}" == "0.857"
    assert D(dear["unit_cost_usd"]) == D("0.01810625")
    assert says("A check of 0.0115 makes it need 85.7% and costs 0.01810625, 1.85 a month more")
    assert D(dear["loss_usd_per_month"]) == D("1.85")
    said = told("triage", "--try", *GIVEN, "--check-usd", "0.0115")
    assert said.startswith("Ticket triage (triage), tried, not stated: loses money, not recommended")
    assert said.endswith("  loses 1.85 usd a month (estimate)")


def test_the_guide_names_every_field_flag_and_address() -> None:
    flags = set(re.findall(r"--[a-z][a-z-]+", GUIDE))
    parser = Command().create_parser("manage.py", "cascades")
    known = {option for action in parser._actions for option in action.option_strings}  # no public list of them
    assert flags <= known
    assert all(word.removesuffix(", not recommended") in GUIDE for word in OUTCOMES.values())
    assert all(f"`{name}`" in GUIDE for name in (*PLAN, "strong", "check_suite", "evaluated_as", "source"))
