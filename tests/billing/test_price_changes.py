"""Adding, proposing, approving and importing prices; names and tiers of models. Nothing is ever overwritten."""

import csv
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.core.pricebook import PriceKey, PriceNotFound
from billing.importers.base import ImportRefused
from billing.models import DailyUsage, ModelAlias, ModelRelease, Price, UsageRollup, UsageSource
from billing.operations.models import ModelRefused, add_alias, place_model
from billing.operations.months import ensure_months
from billing.operations.price_changes import (
    NewPrices,
    PriceRefused,
    add_prices,
    approve_prices,
    checked_prices,
    discard_prices,
    import_prices,
)
from billing.operations.prices import PRICES_FILE, seed_list_prices
from billing.queries.price_effect import price_effect
from billing.queries.prices import price_book
from billing.queries.usage import priced_usage
from costgov.models import User
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = AS_OF.date()
D = Decimal


@pytest.fixture
def people(db):
    found = {}
    for role in ("engineer", "procurement", "viewer", "admin"):
        found[role] = User.objects.create_user(role)
        found[role].groups.add(Group.objects.get(name=role))
    return found


def lab(**facts):
    values = {
        "model": "lab-model-2",
        "usd_per_unit": {"uncached_input": D("1"), "output": D("5")},
        "source": "quote of 3 Nov 2026",
        "checked_on": date(2026, 11, 3),
    }
    return NewPrices(**{**values, **facts})


def output_price(model, on=TODAY, **facts):
    return price_book().lookup(PriceKey(model, "standard", "0-100k", "global", "standard"), "output", on).price


def test_a_price_is_added_approved_and_audited(people):
    rows = add_prices(actor=people["procurement"], new=lab(), as_of=AS_OF)
    assert {row.token_kind: row.usd_per_unit for row in rows} == {"uncached_input": 1, "output": 5}
    assert {(row.approved_by, row.proposed_by, row.approved_at) for row in rows} == {
        (people["procurement"], people["procurement"], AS_OF)
    }
    assert output_price("lab-model-2").source == "quote of 3 Nov 2026"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.object_id, entry.actor) == ("price.added", "lab-model-2", people["procurement"])
    assert entry.after is not None and entry.after["usd_per_unit"] == {"uncached_input": "1", "output": "5"}


@pytest.mark.parametrize("role", ["engineer", "viewer"])
def test_others_are_refused_everything_about_prices(people, role, tmp_path):
    actor = people[role]
    seed_list_prices(as_of=AS_OF)
    before = (Price.objects.count(), AuditEntry.objects.count(), ModelAlias.objects.count())
    attempts = [
        lambda: add_prices(actor=actor, new=lab(), as_of=AS_OF),
        lambda: approve_prices(actor=actor, price_ids=[1], as_of=AS_OF),
        lambda: discard_prices(actor=actor, price_ids=[1], as_of=AS_OF),
        lambda: import_prices(actor=actor, paths=[PRICES_FILE], as_of=AS_OF),
        lambda: add_alias(actor=actor, alias="x", model="claude-opus-5", as_of=AS_OF, class_of_key=lambda *_: ""),
        lambda: place_model(actor=actor, model="claude-opus-5", tier="fast", as_of=AS_OF),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden, match=r"may not edit prices.*procurement, admin"):
            attempt()
    assert (Price.objects.count(), AuditEntry.objects.count(), ModelAlias.objects.count()) == before


def test_a_later_price_follows_and_the_earlier_stays(people):
    seed_list_prices(as_of=AS_OF)
    new = lab(model="claude-opus-4-5", usd_per_unit={"output": D("20")}, valid_from=date(2026, 11, 10))
    add_prices(actor=people["admin"], new=new, as_of=AS_OF)
    assert output_price("claude-opus-4-5", date(2026, 11, 9)).usd_per_unit == 25
    assert output_price("claude-opus-4-5", date(2026, 11, 10)).usd_per_unit == 20
    assert Price.objects.filter(model="claude-opus-4-5", token_kind="output", service_tier="standard").count() == 2


@pytest.mark.parametrize(
    ("facts", "field", "words"),
    [
        ({"model": "  "}, "model", "Name the model"),
        ({"source": " "}, "source", "Say where"),
        ({"checked_on": date(2026, 11, 25)}, "checked_on", "lies ahead"),
        ({"usd_per_unit": {}}, "uncached_input", "at least one"),
        ({"usd_per_unit": {"output": D("-1")}}, "output", "not a price"),
        ({"service_tier": "batch", "speed": "fast"}, "speed", "cannot be combined"),
        ({"usd_per_unit": {"web_search": D("10")}, "geo": "us"}, "web_search", "one price per model"),
        ({"valid_from": date(2026, 2, 1), "valid_to": date(2026, 2, 1)}, "valid_to", "starts 2026-02-01"),
        ({"model": "claude-opus-4-5"}, "valid_from", "25.00 already (genai-prices"),
        ({"model": "Claude-Opus-4-5-20251101"}, "valid_from", "never overwritten"),
        ({"model": "claude-haiku-5-5"}, "valid_from", "has such a price already"),
    ],
)
def test_an_entry_that_contradicts_itself_or_what_is_held_is_refused_whole(people, facts, field, words):
    seed_list_prices(as_of=AS_OF)
    before = list(Price.objects.order_by("pk").values())
    with pytest.raises(PriceRefused) as caught:
        add_prices(actor=people["procurement"], new=lab(**{"usd_per_unit": {"output": D("5")}, **facts}), as_of=AS_OF)
    assert words in caught.value.problems[field]
    assert list(Price.objects.order_by("pk").values()) == before


def test_the_preview_is_what_happens(people):
    count_usage("lab-model-2", "2026-10-01", output_tok=2_000_000, uncached_input_tok=400_000, cache_read_tok=7)
    count_usage("lab-model-2", "2026-11-20", output_tok=1_000_000)
    new = lab(valid_from=date(2026, 10, 5))
    effect = price_effect(new=checked_prices(new, as_of=AS_OF))
    assert effect is not None
    assert (effect.cost_before_usd, effect.cost_after_usd) == (D(0), D(5))
    assert (effect.unpriced_tok_before, effect.unpriced_tok_after) == (3_400_007, 2_400_007)
    assert (effect.newly_priced_tok, effect.change_usd) == (1_000_000, D(5))
    add_prices(actor=people["procurement"], new=new, as_of=AS_OF)
    after = priced_usage(start=date(2026, 10, 1), end=date(2026, 12, 1))
    assert sum(group.cost_usd for group in after.groups) == 5
    assert sum(line.quantity for line in after.unpriced) == 2_400_007


# ---- Names and tiers -----------------------------------------------------------------------------------------------


def hourly(model, **counts):
    source, _ = UsageSource.objects.get_or_create(name="test log", grain=UsageSource.Grain.REQUEST)
    from billing.models import Import

    brought = Import.objects.create(
        source=source, file_name="f", sha256=model, created_at=AS_OF, state="done", format="messages_api_log"
    )
    at = datetime(2026, 11, 9, 14, tzinfo=UTC)
    with connection.cursor() as cursor:
        ensure_months(cursor, [at])
    return UsageRollup.objects.create(
        bucket_start=at, source=source, latest_import=brought, model=model,
        channel="anthropic", service_tier="standard", prompt_length_band="0-100k", requests=1, **counts,
    )  # fmt: skip


def test_an_alias_reaches_usage_that_was_imported_before(people):
    seed_list_prices(as_of=AS_OF)
    hourly("opus-latest", output_tok=1_000_000)
    hourly("claude-opus-4-5", output_tok=1_000_000)
    from billing.operations.rollups import recount_days

    recount_days(days=[date(2026, 11, 9)], class_of_key=lambda *_: "")
    assert sorted(DailyUsage.objects.values_list("model", flat=True)) == ["claude-opus-4-5", "opus-latest"]
    added = add_alias(
        actor=people["procurement"], alias=" Opus-Latest ", model="claude-opus-4-5", as_of=AS_OF,
        class_of_key=lambda *_: "",
    )  # fmt: skip
    assert (added.alias, added.days) == ("opus-latest", 1)
    row = DailyUsage.objects.get()
    assert (row.model, row.output_tok, row.requests) == ("claude-opus-4-5", 2_000_000, 2)
    usage = priced_usage(start=date(2026, 11, 9), end=date(2026, 11, 10))
    assert usage.unpriced == () and usage.groups[0].cost_usd == 50
    assert set(UsageRollup.objects.values_list("model", flat=True)) == {"claude-opus-4-5", "opus-latest"}
    entry = AuditEntry.objects.get(action="model.alias_added")
    assert entry.after is not None and entry.after["days_counted_again"] == 1


@pytest.mark.parametrize(
    ("alias", "model", "field", "words"),
    [
        ("claude-opus-4-5-20251101", "claude-opus-5", "alias", "means claude-opus-4-5 already"),
        ("us.anthropic.claude-opus-5", "claude-opus-4-5", "alias", "means claude-opus-5 already"),
        ("", "claude-opus-5", "alias", "as the usage spells it"),
        ("lab", "claude-opus-9", "model", "no registered model"),
    ],
)
def test_a_name_keeps_its_meaning(people, alias, model, field, words):
    seed_list_prices(as_of=AS_OF)
    names = ModelAlias.objects.count()
    with pytest.raises(ModelRefused, match=words) as caught:
        add_alias(actor=None, alias=alias, model=model, as_of=AS_OF, class_of_key=lambda *_: "")
    assert caught.value.field == field and ModelAlias.objects.count() == names


def test_a_model_is_placed_once_and_moved(people):
    release = place_model(actor=people["admin"], model="lab-model-2", tier="fast", as_of=AS_OF)
    assert (release.canonical_id, release.tier) == ("lab-model-2", "fast")
    place_model(actor=people["admin"], model="lab-model-2", tier="fast", as_of=AS_OF)
    place_model(actor=people["admin"], model="lab-model-2", tier="balanced", as_of=AS_OF)
    assert ModelRelease.objects.get().tier == "balanced"
    assert [(entry.before, entry.after) for entry in AuditEntry.objects.order_by("id")] == [
        (None, {"tier": "fast"}),
        ({"tier": "fast"}, {"tier": "balanced"}),
    ]
    with pytest.raises(ModelRefused, match="choose one of frontier"):
        place_model(actor=None, model="lab-model-2", tier="cheap", as_of=AS_OF)


# ---- Files ---------------------------------------------------------------------------------------------------------

HEADER = "model,service_tier,valid_from,uncached_input,output,source,checked_on\n"


def write(tmp_path, text, name="prices.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_file_reads_as_itself(people):
    seed_list_prices(as_of=AS_OF)
    (outcome,) = import_prices(actor=people["procurement"], paths=[PRICES_FILE], as_of=AS_OF)
    assert (outcome.format, outcome.added, outcome.held) == ("csv", 0, Price.objects.count())
    assert outcome.disagreements == ()


def test_file_prices_are_proposed_then_approved(people, tmp_path):
    path = write(tmp_path, HEADER + "lab-model-2,standard,,1,5,quote,2026-11-03\n")
    (outcome,) = import_prices(actor=people["procurement"], paths=[path], as_of=AS_OF)
    assert (outcome.added, outcome.approved) == (2, False)
    with pytest.raises(PriceNotFound):
        output_price("lab-model-2")
    ids = list(Price.objects.values_list("pk", flat=True))
    with pytest.raises(PriceRefused, match="proposed already"):
        add_prices(actor=people["procurement"], new=lab(), as_of=AS_OF)
    assert approve_prices(actor=people["procurement"], price_ids=ids, as_of=AS_OF) == 2
    assert output_price("lab-model-2").usd_per_unit == 5
    with pytest.raises(PriceRefused, match="no longer proposed"):
        discard_prices(actor=people["procurement"], price_ids=ids, as_of=AS_OF)
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "prices.proposed",
        "price.approved",
    ]


def test_a_discarded_proposal_is_gone(people, tmp_path):
    path = write(tmp_path, HEADER + "lab-model-2,standard,,1,5,quote,2026-11-03\n")
    import_prices(actor=people["procurement"], paths=[path], as_of=AS_OF)
    ids = list(Price.objects.values_list("pk", flat=True))
    assert discard_prices(actor=people["admin"], price_ids=ids, as_of=AS_OF) == 2
    assert Price.objects.count() == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "0 bytes"),
        ("model,output\nm,5\n", "line 1: missing columns: source; checked_on. The columns are model"),
        ("model,source,checked_on\nm,x,2026-11-03\n", "at least one of uncached_input"),
        (HEADER.replace("output", "outptu") + "m,standard,,1,5,x,2026-11-03\n", "unknown columns: outptu"),
        (HEADER + "m,standard,,1,5,x\n", "line 2: 6 fields where the header names 7"),
        (HEADER + "m,standard,,1,-5,x,2026-11-03\n", 'line 2: output = "-5": m output: -5 is not a price'),
        (HEADER + 'm,standard,,1,"5,00",x,2026-11-03\n', 'line 2: output = "5,00"'),
        (HEADER + "m,standard,3.11.2026,1,5,x,2026-11-03\n", 'line 2: valid_from = "3.11.2026": not a date'),
        (HEADER + "m,standard,,,,x,2026-11-03\n", "line 2: the row states no price"),
        (HEADER + ",standard,,1,5,,2026-11-03\n", "line 2: model: missing"),
        (HEADER, "a header and no row"),
        (HEADER + 'm,standard,,1,5,"x,2026-11-03\n', "not CSV"),
        (HEADER + "m,standard,,1,5,x,2026-11-03\nm,standard,,1,6,x,2026-11-03\n", "5.00 is held (x), the file says 6"),
        ('{"a": 1', "none of the known price formats"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_remedy_and_saves_nothing(tmp_path, text, words):
    path = write(tmp_path, text)
    err = StringIO()
    with pytest.raises(SystemExit) as stopped:
        call_command("import_prices", str(path), "--approve", stderr=err)
    assert stopped.value.code == 2
    assert words in err.getvalue() and err.getvalue().startswith("prices.csv:")
    assert Price.objects.count() == 0 and AuditEntry.objects.count() == 0


def test_one_bad_file_refuses_the_files_beside_it(tmp_path):
    good = write(tmp_path, HEADER + "m,standard,,1,5,x,2026-11-03\n", "good.csv")
    with pytest.raises(ImportRefused, match="no such file"):
        import_prices(actor=None, paths=[good, tmp_path / "gone.csv"], as_of=AS_OF)
    assert Price.objects.count() == 0


def test_a_price_that_is_held_is_not_overwritten_by_a_file(tmp_path):
    seed_list_prices(as_of=AS_OF)
    path = write(tmp_path, HEADER + "claude-opus-4-5,standard,,5,24,x,2026-11-03\n")
    with pytest.raises(ImportRefused, match=r"25.00 is held \(genai-prices.*the file says 24.00") as caught:
        import_prices(actor=None, paths=[path], as_of=AS_OF)
    assert "the day from which it holds" in str(caught.value)


def test_the_command_speaks_json(tmp_path):
    path = write(tmp_path, HEADER + "m,standard,,1,5,x,2026-11-03\n")
    out = StringIO()
    call_command("import_prices", str(path), "--approve", "--json", stdout=out)
    assert json.loads(out.getvalue()) == [
        {"file_name": "prices.csv", "format": "csv", "added": 2, "held": 0, "approved": True, "disagreements": []}
    ]
    assert output_price("m").usd_per_unit == 5


def test_litellm_prices_are_exact_and_only_the_first_party_ones(tmp_path):
    seed_list_prices(as_of=AS_OF)
    text = """{"claude-opus-4-5-20251101": {"litellm_provider": "anthropic", "input_cost_per_token": 5e-06,
      "output_cost_per_token": 2.4e-05},
     "lab-model-2": {"litellm_provider": "anthropic", "input_cost_per_token": 1e-07,
      "input_cost_per_token_above_100k_tokens": 5e-07, "cache_creation_input_token_cost_above_1hr": 2e-07,
      "input_cost_per_token_batches": 5e-08, "provider_specific_entry": {"us": 1.1},
      "search_context_cost_per_query": {"search_context_size_low": 0.01, "search_context_size_high": 0.01}},
     "anthropic.claude-opus-5": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 1}}"""
    (outcome,) = import_prices(actor=None, paths=[write(tmp_path, text, "litellm.json")], as_of=AS_OF, approve=True)
    assert (outcome.format, outcome.held) == ("litellm", 1)
    assert outcome.disagreements == (
        "output of claude-opus-4-5 (standard, all, global, standard speed) from release: 25.00 is held (genai-prices "
        "0.2.3; LiteLLM 1.109.1; Anthropic pricing page 2026-08), the file says 24.00",
    )
    rows = {
        (row.token_kind, row.prompt_length_band, row.geo, row.service_tier): row.usd_per_unit
        for row in Price.objects.filter(model="lab-model-2")
    }
    assert rows == {
        ("uncached_input", "0-100k", "global", "standard"): D("0.1"),
        ("uncached_input", "0-100k", "us", "standard"): D("0.11"),
        ("uncached_input", "100k-1M", "global", "standard"): D("0.5"),
        ("uncached_input", "100k-1M", "us", "standard"): D("0.55"),
        ("uncached_input", "0-100k", "global", "batch"): D("0.05"),
        ("uncached_input", "0-100k", "us", "batch"): D("0.055"),
        ("cache_write_1h", "0-100k", "global", "standard"): D("0.2"),
        ("cache_write_1h", "0-100k", "us", "standard"): D("0.22"),
        ("web_search", "all", "global", "standard"): D("10"),
    }


def test_genai_prices_are_dated_tiered_and_refused_where_they_cannot_be_kept(tmp_path):
    def file(prices):
        data = [{"id": "anthropic", "models": [{"id": "lab-model-2", "prices": prices}]}]
        return write(tmp_path, json.dumps(data), "data.json")

    tiered = {"input_mtok": {"base": 5, "tiers": [{"start": 200000, "price": 10}]}, "web_searches_kcount": 10}
    dated = [{"prices": tiered}, {"constraint": {"start_date": "2026-03-13"}, "prices": {"input_mtok": 5}}]
    (outcome,) = import_prices(actor=None, paths=[file(dated)], as_of=AS_OF, approve=True)
    assert (outcome.format, outcome.added) == ("genai-prices", 4)
    key = PriceKey("lab-model-2", "standard", "200k-1M", "global", "standard")
    assert price_book().lookup(key, "uncached_input", date(2026, 3, 12)).price.usd_per_unit == 10
    assert price_book().lookup(key, "uncached_input", date(2026, 3, 13)).price.usd_per_unit == 5
    by_hour = [{"constraint": {"start_time": "10:00"}, "prices": {"input_mtok": 5}}]
    with pytest.raises(ImportRefused, match=r"lab-model-2.prices.constraint.*start date"):
        import_prices(actor=None, paths=[file(by_hour)], as_of=AS_OF)
    odd = {"input_mtok": {"base": 5, "tiers": [{"start": 64000, "price": 10}]}}
    with pytest.raises(ImportRefused, match="no band begins at"):
        import_prices(actor=None, paths=[file(odd)], as_of=AS_OF)


def test_the_shipped_file_names_a_source_and_a_day_in_every_row():
    with PRICES_FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    assert all(row["source"] and date.fromisoformat(row["checked_on"]) for row in rows)
