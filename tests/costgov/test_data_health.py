"""Data health: each kind of finding from the data that makes it, its page, command, API and badge."""

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client

from billing.core.health import Finding
from billing.core.usage import NOT_GROUPED
from billing.models import (
    BillingPeriod,
    ColumnMapping,
    CostCentre,
    CostCentreMapping,
    Import,
    ModelRelease,
    Price,
    UsageRollup,
    UsageSource,
)
from billing.operations.months import ensure_months
from costgov.operations.usage import import_usage, set_source_setting
from costgov.queries.health import DataHealth, data_health
from tests.costgov import small_world as world
from tests.importers.usage.envelopes import envelope, report, result, write_json, write_lines

TODAY = date(2026, 11, 22)
AS_OF = datetime(2026, 11, 22, 8, tzinfo=UTC)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def var(settings: Any, tmp_path: Path) -> Path:
    settings.COSTGOV_VAR = tmp_path / "var"
    settings.COSTGOV_VAR.mkdir()
    settings.COSTGOV_AS_OF = AS_OF
    cache.clear()
    return settings.COSTGOV_VAR


def health() -> DataHealth:
    return data_health(as_of=AS_OF)


def found(start: str) -> list[Finding]:
    return [one for one in health().findings if one.key.startswith(start)]


def priced() -> None:
    world.models()
    world.prices()
    Price.objects.update(checked_on=TODAY - timedelta(days=1))
    world.classes()


def rollup(source: UsageSource, at: datetime, hours: int = 24, **facts: Any) -> None:
    file, _ = Import.objects.get_or_create(
        file_name=f"of {source.name}", sha256=source.name, state="done", source=source,
        defaults={"created_at": AS_OF - timedelta(days=1)},
    )  # fmt: skip
    with connection.cursor() as cursor:
        ensure_months(cursor, [at])
    UsageRollup.objects.create(
        bucket_start=at, bucket_hours=hours, source=source, latest_import=file, channel="anthropic",
        **{"model": world.HAIKU, "output_tok": 1, **facts},
    )  # fmt: skip


def source(name: str, grain: str = "bucket") -> UsageSource:
    return UsageSource.objects.create(name=name, grain=grain)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def test_an_empty_installation_has_nothing_to_mend() -> None:
    empty = health()
    assert (empty.findings, empty.errors, empty.start, empty.usd) == ((), 0, None, None)


def test_everything_in_order_finds_nothing() -> None:
    priced()
    for back in range(1, 20):
        world.use(TODAY - timedelta(days=back), world.HAIKU, "triage", 10, (1_000, 100))
    assert health().findings == ()


def test_unpriced_usage_is_an_error_with_its_tokens_and_remedy() -> None:
    priced()
    world.use(TODAY - timedelta(days=2), "claude-next-9", "triage", 1, (700, 300))
    world.use(TODAY - timedelta(days=1), "claude-next-9", "drafting", 1, (1_000, 0))
    (one,) = found("unpriced")
    assert (one.level, one.tokens, one.usd) == ("error", 2_000, None)
    assert (one.first, one.last) == (TODAY - timedelta(days=2), TODAY - timedelta(days=1))
    assert "claude-next-9" in one.title and "input" in one.text and one.link == "/prices/"
    assert "alias" in one.remedy


def test_a_price_known_within_bounds_is_a_warning_with_the_most_it_can_be() -> None:
    priced()
    Price.objects.filter(model=world.SONNET, token_kind="output", service_tier="standard").delete()
    for band, usd in (("0-200k", "15"), ("200k-1M", "22.5")):
        Price.objects.create(
            model=world.SONNET, token_kind="output", service_tier="standard", prompt_length_band=band,
            usd_per_unit=Decimal(usd), source="by hand", checked_on=TODAY, proposed_at=AS_OF - timedelta(days=300),
            approved_at=AS_OF - timedelta(days=300),
        )  # fmt: skip
    row = world.use(TODAY - timedelta(days=1), world.SONNET, "triage", 1, (0, 1_000_000))
    row.prompt_length_band = NOT_GROUPED
    row.save()
    (one,) = found("unpriced")
    assert (one.level, one.usd, one.is_estimate) == ("warning", Decimal("22.5"), True)
    assert "between $15.00 and $22.50" in one.text


def test_unclassified_usage_is_told_by_key_and_weighed() -> None:
    priced()
    day = TODAY - timedelta(days=1)
    world.use(day, world.HAIKU, "triage", 1, (9_000_000, 0))
    world.use(day, world.HAIKU, "", 1, (400_000, 0), workspace="ws-a", api_key="key-1")
    (one,) = found("unclassified")
    assert (one.level, one.usd, one.tokens) == ("note", Decimal("0.4"), 400_000)
    assert "workspace ws-a, API key key-1" in one.title
    assert (one.first, one.last) == (day, day)
    world.use(day, world.HAIKU, "", 1, (600_000, 0), workspace="ws-b")
    first, second = found("unclassified")
    assert (first.level, first.usd, second.usd) == ("warning", Decimal("0.6"), Decimal("0.4"))  # 10 % of all


def test_many_keys_are_not_a_wall_of_findings() -> None:
    priced()
    for number in range(30):
        world.use(TODAY - timedelta(days=1), world.HAIKU, "", 1, (1_000_000 + number, 0), api_key=f"key-{number}")
    ones = found("unclassified")
    assert len(ones) == 9
    assert ones[0].key == "unclassified:rest" and "22 more" in ones[0].title  # together the most money
    assert sum(one.usd or 0 for one in ones) == Decimal(30_000_000 + sum(range(30))) / 1_000_000


def test_retired_and_retiring_models_and_old_price_checks() -> None:
    priced()
    world.use(TODAY - timedelta(days=1), world.OPUS, "triage", 1, (1_000, 0))
    world.use(TODAY - timedelta(days=1), world.SONNET, "triage", 1, (1_000, 0))
    ModelRelease.objects.filter(canonical_id=world.OPUS).update(retires_on=TODAY - timedelta(days=10))
    ModelRelease.objects.filter(canonical_id=world.SONNET).update(retires_on=TODAY + timedelta(days=30))
    Price.objects.filter(model=world.SONNET).update(checked_on=TODAY - timedelta(days=91))
    Price.objects.filter(model=world.OPUS).update(checked_on=TODAY - timedelta(days=90))
    (retired,) = found("retired:")
    assert (retired.level, retired.tokens) == ("warning", 1_000)
    (ahead,) = found("retires:")
    assert ahead.level == "note"
    (old,) = found("unchecked")
    assert world.SONNET in old.text and world.OPUS not in old.text


def test_a_model_with_a_price_and_no_place() -> None:
    priced()
    ModelRelease.objects.filter(canonical_id=world.HAIKU).delete()
    world.use(TODAY - timedelta(days=1), world.HAIKU, "triage", 1, (1_000, 0))
    (one,) = found("unplaced")
    assert (one.level, one.tokens) == ("note", 1_000)


def test_a_late_source_and_its_missing_days() -> None:
    priced()
    late = source("Report")
    for back in (30, 29, 28, 24, 23):
        rollup(late, midnight(TODAY - timedelta(days=back)))
        world.use(TODAY - timedelta(days=back), world.HAIKU, "triage", 1, (1_000_000, 0))
    (stale,) = found("stale:")
    assert stale.title == "Report ends 22 days ago, on 30 Oct 2026"
    assert (stale.first, stale.last) == (date(2026, 10, 31), date(2026, 11, 21))
    (gap,) = found("gap:")
    assert (gap.level, gap.first, gap.last) == ("warning", date(2026, 10, 26), date(2026, 10, 28))
    assert gap.usd == Decimal("3.00") and gap.is_estimate  # five days cost a dollar each, three are missing
    for back in (27, 26, 25):
        world.use(TODAY - timedelta(days=back), world.HAIKU, "triage", 1, (1_000, 0))
    (gap,) = found("gap:")
    assert (gap.level, gap.usd) == ("note", None) and "Another source has these days" in gap.text


def test_a_missing_hour_of_a_steady_source() -> None:
    hourly = source("Hourly")
    begin = midnight(TODAY - timedelta(days=3))
    for hour in range(72):
        if hour not in (30, 31):
            rollup(hourly, begin + timedelta(hours=hour), hours=1)
    (one,) = found("hours:")
    assert one.title == "Hourly lacks 2 hours of days it has"
    assert "20 Nov 2026 06:00 to 08:00" in one.text


def test_two_reports_of_one_day_say_which_counts(tmp_path: Path) -> None:
    priced()
    day = ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
    for number, name in ((1, "First report"), (2, "Second report")):
        path = write_json(tmp_path / f"{number}.json", report((*day, [result(output_tokens=50 + number)])))
        call_command("import_usage", str(path), "--source", name, stdout=StringIO())
    (one,) = found("twice:")
    assert one.title == "First report and Second report tell the same 1 day"
    assert "Second report on 1" in one.text and one.level == "note"


def test_reports_of_two_organisations_and_one_of_nobody(tmp_path: Path) -> None:
    priced()
    day = ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
    for number, name in enumerate(("First report", "Second report", "Third report"), 1):
        path = write_json(tmp_path / f"{number}.json", report((*day, [result(output_tokens=50 + number)])))
        call_command("import_usage", str(path), "--source", name, stdout=StringIO())
    assert found("nobodys:") == []
    # The lock of imports is kept until the test's own transaction ends: no import after this.
    for name, organisation in (("First report", "org-a"), ("Second report", "org-b")):
        pk = UsageSource.objects.get(name=name).pk
        set_source_setting(actor=None, source_id=pk, name="organisation", value=organisation, as_of=AS_OF)
    (one,) = found("nobodys:")
    assert (one.level, one.tokens, one.title) == ("warning", 53, "Third report does not count on 1 day: whose is it?")
    third = UsageSource.objects.get(name="Third report").pk
    set_source_setting(actor=None, source_id=third, name="organisation", value="org-c", as_of=AS_OF)
    assert found("twice:") == [] == found("nobodys:")


def test_two_logs_of_the_same_keys_without_a_report() -> None:
    priced()
    other = source("Other log", "request")
    day = TODAY - timedelta(days=1)
    world.use(day, world.HAIKU, "triage", 1, (1_000, 0), api_key="k")
    row = world.use(day, world.HAIKU, "drafting", 1, (1_000, 0), api_key="k")
    assert found("logs:") == []
    row.source = other
    row.save()
    (one,) = found("logs:")
    assert one.level == "warning" and "Other log" in one.title
    rollup(source("Report"), midnight(day))
    assert found("logs:") == []  # the report shows whether they say too much


def test_logs_above_the_report(tmp_path: Path) -> None:
    priced()
    day = ("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z")
    import_usage(
        actor=None, path=write_json(tmp_path / "r.json", report((*day, [result(output_tokens=50)]))), as_of=AS_OF
    )
    row = envelope(1, "2026-11-20T08:00:00Z", usage={"input_tokens": 0, "output_tokens": 90})
    import_usage(actor=None, path=write_lines(tmp_path / "l.jsonl", [row]), as_of=AS_OF)
    (one,) = found("above:")
    assert (one.level, one.tokens) == ("warning", 40)
    assert "90 logged, 50 reported" in one.text


def test_files_refused_rejected_repeated_and_waiting() -> None:
    made = {"created_at": AS_OF - timedelta(days=2), "format": "messages_api_log"}
    problem = {"line": 4, "field": "usage", "value": "", "message": "not a whole number", "remedy": "Correct the row"}
    Import.objects.create(file_name="bad.jsonl", sha256="1", state="failed", problems=[problem], **made)
    Import.objects.create(file_name="mended.jsonl", sha256="2", state="failed", problems=[problem], **made)
    Import.objects.create(
        file_name="mended.jsonl", sha256="3", state="done", rejected=3, accepted=9, duplicates=5,
        **{**made, "created_at": AS_OF - timedelta(days=1)},
    )  # fmt: skip
    asked = {**problem, "field": "input_includes_cache", "message": "does input contain the cached ones?"}
    Import.objects.create(file_name="traces.jsonl", sha256="4", state="failed", problems=[asked], **made)
    old = {**made, "created_at": AS_OF - timedelta(days=40)}
    Import.objects.create(file_name="long ago.jsonl", sha256="5", state="failed", problems=[problem], **old)
    refused = {one.title.split(" ")[0]: one.level for one in found("refused:")}
    assert refused == {"bad.jsonl": "warning", "traces.jsonl": "error"}
    (rejected,) = found("rejected:")
    assert "3 rows of mended.jsonl were left out" in rejected.title
    (again,) = found("duplicates")
    assert (again.level, again.title) == ("note", "5 requests came again and were counted once")
    client = Client()
    client.force_login(world.people()["eva"])
    table = SimpleUploadedFile("t.csv", b"day,model,in\n2026-11-20,m,1\n")
    client.post("/imports/upload/", {"files": [table]})
    (waiting,) = found("waiting:")
    assert waiting.link.endswith("/columns/")


def test_months_over_and_unsettled() -> None:
    priced()
    world.use(date(2026, 10, 15), world.HAIKU, "triage", 1, (1_000_000, 0))
    world.use(date(2026, 11, 15), world.HAIKU, "triage", 1, (1_000_000, 0))  # not over
    (bare,) = found("no-report")
    assert (bare.level, bare.title, bare.usd) == ("warning", "Oct 2026 has no cost report", Decimal(1))
    (unpaid,) = found("no-invoice")
    assert unpaid.link == f"/invoices/{unpaid.last:%Y-%m}/", "the remedy opens the month itself, not the list"
    assert (unpaid.level, unpaid.title) == ("warning", "Oct 2026 has no invoice")
    BillingPeriod.objects.create(
        month=date(2026, 10, 1), state="closed", closed_at=AS_OF, prices_known_at=AS_OF, frozen={}, frozen_hash="x"
    )
    assert found("no-") == []


def test_mappings_that_match_nothing() -> None:
    priced()
    world.use(TODAY - timedelta(days=1), world.HAIKU, "triage", 1, (1_000, 0), api_key="key-1")
    world.mapping("triage", "key-1")
    assert found("class-mappings") == []
    world.mapping("drafting", "key-gone")
    (one,) = found("class-mappings")
    assert "1 class mapping matches no usage" in one.title and "key-gone → drafting" in one.text
    centre = CostCentre.objects.create(code="cc-1", name="One")
    CostCentreMapping.objects.create(cost_centre=centre, api_key="key-1", created_at=AS_OF)
    assert found("cost-centre") == []
    CostCentreMapping.objects.create(cost_centre=centre, workspace="ws-gone", created_at=AS_OF)
    (one,) = found("cost-centre")
    assert "ws-gone → cc-1" in one.text
    document = {
        "schema": "costgov.column_mapping/1", "name": "Never", "header": ["a", "b"], "grain": "day",
        "columns": {"a": "time", "b": "output"}, "constants": {"model": "m"},
    }  # fmt: skip
    ColumnMapping.objects.create(name="Never", header_hash="x", header=["a", "b"], document=document, updated_at=AS_OF)
    (one,) = found("column-mappings")
    assert "Never" in one.text


def worrying() -> Client:
    priced()
    world.use(TODAY - timedelta(days=1), "claude-next-9", "triage", 1, (1_000, 0))
    world.use(TODAY - timedelta(days=1), world.HAIKU, "", 1, (1_000_000, 0), api_key="<script>")
    client = Client()
    client.force_login(world.people()["vic"])
    return client


def test_the_page_answers_first_and_filters_by_the_address() -> None:
    client = worrying()
    text = " ".join(client.get("/data-health/").content.decode().split())
    assert "<strong>1 error</strong> makes figures wrong or incomplete" in text
    assert "claude-next-9 have no price" in text and "$1.00" in text
    assert "<script>" not in text.split("<main")[1].split("</main")[0]
    only = client.get("/data-health/?level=error").content.decode()
    assert "claude-next-9" in only and "are unclassified" not in only.split("<main")[1]
    only = client.get("/data-health/?topic=classes").content.decode()
    assert "are unclassified" in only and "claude-next-9 have no price" not in only.split("</section>", 1)[1]
    assert "Nothing of this kind" in client.get("/data-health/?level=note&topic=months").content.decode()
    assert client.get("/data-health/?level=terrible").status_code == 400


def test_good_and_empty_pages_say_so() -> None:
    client = Client()
    client.force_login(world.people()["vic"])
    assert "No data yet" in client.get("/data-health/").content.decode()
    priced()
    world.use(TODAY - timedelta(days=1), world.HAIKU, "triage", 10, (1_000, 100))
    world.bump_data_version()
    assert "Nothing to mend" in client.get("/data-health/").content.decode()


def test_the_badge_counts_errors_and_no_page_waits_for_it() -> None:
    client = worrying()
    first = client.get("/audit/").content.decode()
    assert 'hx-get="/data-health/badge/"' in first
    assert "1<span" in client.get("/data-health/badge/").content.decode().replace(" ", "").replace("\n", "")
    second = client.get("/audit/").content.decode()
    assert 'hx-get="/data-health/badge/"' not in second and "error in the data" in second


def test_a_refused_file_is_seen_at_once() -> None:
    client = worrying()
    assert "broken.csv" not in client.get("/data-health/").content.decode()
    Import.objects.create(file_name="broken.csv", sha256="1", state="failed", created_at=AS_OF, finished_at=AS_OF)
    assert "broken.csv" in client.get("/data-health/").content.decode()


def test_the_command_exits_by_the_worst_and_writes_json() -> None:
    worrying()
    out = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("data_health", stdout=out)
    assert ended.value.code == 1
    assert "Error: 1 k tokens of claude-next-9 have no price" in out.getvalue()
    assert "1 error, 1 warning" in out.getvalue()
    out = StringIO()
    call_command("data_health", "--json", "--fail-on", "never", stdout=out)
    document = json.loads(out.getvalue())
    assert document["errors"] == 1
    assert document["findings"][0]["key"] == "unpriced:claude-next-9"
    Price.objects.create(
        model="claude-next-9", token_kind="uncached_input", usd_per_unit=1, source="x", checked_on=TODAY,
        proposed_at=AS_OF, approved_at=AS_OF,
    )  # fmt: skip
    call_command("data_health", stdout=StringIO())  # no error is left: no exit
    with pytest.raises(SystemExit):
        call_command("data_health", "--fail-on", "warning", stdout=StringIO())


def test_the_api_gives_the_same_value() -> None:
    client = worrying()
    body = client.get("/api/v1/data-health").json()
    assert body["errors"] == 1 and body["warnings"] == 1
    assert [one["key"].split(":")[0] for one in body["findings"][:2]] == ["unpriced", "unclassified"]
    assert Decimal(body["findings"][1]["usd"]) == 1
