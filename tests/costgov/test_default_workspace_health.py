"""The default workspace by two names: found where it may be, and nowhere else."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client

from billing.core.default_workspace import LoggedWorkspace, ReportedDefault, likely_defaults
from billing.core.health import Finding
from billing.core.usage import NOT_GROUPED
from billing.models import DailyUsage, UsageSource
from billing.operations.imports import ImportOptions
from costgov.operations.usage import delete_import, import_usage, set_source_setting
from costgov.queries.health import data_health
from tests.costgov import small_world as world
from tests.costgov.policy_world import logged_in, token
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

AS_OF = datetime(2026, 11, 22, 8, tzinfo=UTC)
MILLION = 1_000_000
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    settings.COSTGOV_AS_OF = AS_OF
    cache.clear()
    world.models()
    world.prices()
    return settings.COSTGOV_VAR


def found() -> list[Finding]:
    return [one for one in data_health(as_of=AS_OF).findings if one.key.startswith("default_workspace")]


def bring(path: Path, source: str = "") -> int:
    return import_usage(actor=None, path=path, as_of=AS_OF, options=ImportOptions(source=source)).import_id


def admin(folder: Path, *, day: int = 9, source: str = "admin", tokens: int = 10, **over: Any) -> int:
    """A day of the default workspace (millions of output tokens) and a little of wrkspc_b."""
    first, last = (f"2026-11-{at:02}T00:00:00Z" for at in (day, day + 1))
    rows = [result(output_tokens=tokens * MILLION, **over), result(output_tokens=5, workspace_id="wrkspc_b")]
    return bring(write_json(folder / f"{source}{day}.json", report((first, last, rows))), source)


def log(
    folder: Path, *, day: int = 9, workspace: str = "wrkspc_d", tokens: int = 4, number: int = 1, **over: Any
) -> int:
    usage = {"input_tokens": 0, "output_tokens": tokens * MILLION}
    row = envelope(100 * day + number, f"2026-11-{day:02}T09:00:00Z", workspace_id=workspace, usage=usage, **over)
    return bring(write_lines(folder / f"log{day}{number}.jsonl", [row]))


def test_what_may_count_twice_is_told_with_its_money_until_the_id_is_said(tmp_path: Path) -> None:
    for day in (9, 10):
        admin(tmp_path, day=day)
        log(tmp_path, day=day)
    (one,) = found()
    assert one.level == "warning" and one.topic == "sources"
    assert one.title == "Workspace wrkspc_d of org-1 may count twice on 2 days"
    assert (one.usd, one.tokens, one.is_estimate) == (Decimal(40), 8 * MILLION, True)  # 2 × 4 M at 5 usd a million
    assert (one.first, one.last) == (date(2026, 11, 9), date(2026, 11, 10))
    assert (one.link, one.action) == ("/imports/#sources", "Open Sources")
    before = sum(DailyUsage.objects.values_list("output_tok", flat=True))
    source = UsageSource.objects.get(name="admin")
    set_source_setting(actor=None, source_id=source.pk, name="default_workspace", value="wrkspc_d", as_of=AS_OF)
    assert found() == []
    # The finding was right: so much was in twice.
    assert before - sum(DailyUsage.objects.values_list("output_tok", flat=True)) == one.tokens


def above() -> list[Finding]:
    return [one for one in data_health(as_of=AS_OF).findings if one.key.startswith("above:")]


def test_the_same_tokens_are_not_told_as_logs_above_the_report_too(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path)
    assert len(found()) == 1 and above() == []


def test_a_day_on_which_it_cannot_be_the_default_workspace_is_told_and_says_what_comes_first(tmp_path: Path) -> None:
    admin(tmp_path, tokens=1000)
    log(tmp_path, tokens=900)
    admin(tmp_path, day=10, tokens=1)
    log(tmp_path, day=10, tokens=2)  # more than the report has, but few of all the tokens
    assert [one.title for one in found()] == ["Workspace wrkspc_d of org-1 may count twice on 1 day"]
    (one,) = above()
    assert (one.first, one.last, one.tokens) == (date(2026, 11, 10), date(2026, 11, 10), 2 * MILLION)
    assert one.remedy.startswith("First settle whether this is the default workspace")


def test_logs_above_a_report_that_names_the_workspace_are_still_told(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path, workspace="wrkspc_b")
    assert found() == []
    (one,) = above()
    assert "wrkspc_b" in one.text and one.remedy.startswith("Look for a log")


def test_another_id_that_was_said_ends_it(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path)
    source = UsageSource.objects.get(name="admin")
    set_source_setting(actor=None, source_id=source.pk, name="default_workspace", value="wrkspc_other", as_of=AS_OF)
    assert found() == []


def test_the_page_command_and_api_tell_it(tmp_path: Path) -> None:
    people = world.people()
    admin(tmp_path)
    log(tmp_path)
    title = "Workspace wrkspc_d of org-1 may count twice on 1 day"
    page = logged_in(people["priya"]).get("/data-health/").content.decode()
    assert title in page and 'href="/imports/#sources"' in page
    out = StringIO()
    call_command("data_health", "--json", "--fail-on", "never", stdout=out)
    told = [one for one in json.loads(out.getvalue())["findings"] if one["title"] == title]
    assert [one["usd"] for one in told] == ["20.000000"]
    headers = token(people["vic"], "read")[1]
    answered = Client().get("/api/v1/data-health", headers=headers).json()
    assert [one for one in answered["findings"] if one["title"] == title] == told


def test_of_two_that_fit_one_at_most_is_it(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path, tokens=4)
    log(tmp_path, tokens=3, workspace="wrkspc_e", number=2)
    (one,) = found()
    assert (one.usd, "So does wrkspc_e; one of them at most can be it." in one.text) == (Decimal(20), True)
    log(tmp_path, tokens=2, workspace="wrkspc_f", number=3)
    (one,) = found()
    assert "So do wrkspc_e, wrkspc_f; one of them at most can be it." in one.text


def test_a_workspace_that_a_report_names_some_day_is_another(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path)
    admin(tmp_path, day=3, workspace_id="wrkspc_d")
    assert found() == []


def test_a_log_with_more_than_the_report_is_another(tmp_path: Path) -> None:
    admin(tmp_path, tokens=3)
    log(tmp_path, tokens=4)
    assert found() == []


def test_a_model_the_default_workspace_does_not_have_is_another(tmp_path: Path) -> None:
    admin(tmp_path, tokens=30)
    log(tmp_path, model=world.SONNET)
    assert found() == []


def test_days_without_a_report_prove_nothing(tmp_path: Path) -> None:
    admin(tmp_path, day=3)
    log(tmp_path, day=9)
    assert found() == []


def test_a_report_without_workspaces_explains_the_log(tmp_path: Path) -> None:
    day = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
    bring(write_json(tmp_path / "whole.json", report((*day, [result(output_tokens=10 * MILLION)]))), "admin")
    log(tmp_path)
    assert found() == []
    assert sum(DailyUsage.objects.values_list("output_tok", flat=True)) == 10 * MILLION


def test_keys_of_a_gateway_name_no_workspace_of_the_provider(tmp_path: Path) -> None:
    admin(tmp_path)
    started = datetime(2026, 11, 9, 9, tzinfo=UTC).timestamp()
    bring(write_lines(tmp_path / "gateway.jsonl", [payload(1, started)]))
    assert found() == []


def test_another_organisation_is_another_workspace(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path, organization_id="org-2")
    assert len(found()) == 1  # the report does not say whose it is
    source = UsageSource.objects.get(name="admin")
    set_source_setting(actor=None, source_id=source.pk, name="organisation", value="org-1", as_of=AS_OF)
    assert found() == []


def test_a_log_that_is_deleted_ends_it(tmp_path: Path) -> None:
    admin(tmp_path)
    import_id = log(tmp_path)
    assert len(found()) == 1
    delete_import(actor=None, import_id=import_id, as_of=AS_OF)
    assert found() == []


def test_in_order_finds_nothing(tmp_path: Path) -> None:
    admin(tmp_path)
    log(tmp_path, workspace="wrkspc_b", tokens=0)
    assert found() == []


# --- the rule, by hand -----------------------------------------------------------------------------------------------

ONE, TWO = date(2026, 11, 9), date(2026, 11, 10)


def fits(logged: dict[Any, int], reported: dict[Any, int], *, theirs: str = "", channel: str = "anthropic") -> Any:
    rows = likely_defaults(
        [LoggedWorkspace("anthropic", "org-1", "w", logged)], [ReportedDefault(channel, theirs, reported)]
    )
    return [(sorted(one.cells), one.tokens) for one in rows]


@pytest.mark.parametrize(
    ("logged", "reported", "expected"),
    [
        ({(ONE, "a"): 10}, {(ONE, "a"): 10}, [([(ONE, "a")], 10)]),
        ({(ONE, "a"): 1_001}, {(ONE, "a"): 1_000}, [([(ONE, "a")], 1_001)]),  # within a thousandth
        ({(ONE, "a"): 1_002}, {(ONE, "a"): 1_000}, []),
        ({(ONE, "a"): 10, (ONE, "b"): 10}, {(ONE, "a"): 99}, []),
        # One hundredth may be more than the report has: it was fetched before the day was over.
        ({(ONE, "a"): 99, (TWO, "a"): 1}, {(ONE, "a"): 99, (TWO, "b"): 1}, [([(ONE, "a")], 99)]),
        ({(ONE, "a"): 98, (TWO, "a"): 2}, {(ONE, "a"): 98, (TWO, "b"): 1}, []),
        # A day the report does not have says nothing.
        ({(ONE, "a"): 9, (TWO, "a"): 50}, {(ONE, "a"): 9}, [([(ONE, "a")], 9)]),
        # A report that tells no models is compared as a whole.
        ({(ONE, "a"): 6, (ONE, "b"): 4}, {(ONE, NOT_GROUPED): 10}, [([(ONE, "a"), (ONE, "b")], 10)]),
        ({(ONE, "a"): 6, (ONE, "b"): 5}, {(ONE, NOT_GROUPED): 10}, []),
        ({(ONE, "a"): 0}, {(ONE, "a"): 5}, []),
        ({}, {(ONE, "a"): 5}, []),
    ],
)
def test_what_fits(logged: dict[Any, int], reported: dict[Any, int], expected: list[Any]) -> None:
    assert fits(logged, reported) == expected


def test_what_is_compared() -> None:
    cells = {(ONE, "a"): 10}
    assert fits(cells, cells, theirs="org-1") and fits(cells, cells, theirs=NOT_GROUPED)
    assert not fits(cells, cells, theirs="org-2") and not fits(cells, cells, channel="bedrock")
