"""Shipped list prices: every model there, idempotent, and never over what an organisation entered."""

from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from audit.models import AuditEntry
from billing.core.pricebook import PriceKey, PriceNotFound
from billing.core.usage import TOKEN_KINDS
from billing.models import ModelAlias, ModelRelease, Price
from billing.operations.prices import seed_list_prices, shipped_prices
from billing.queries.imports import model_aliases
from billing.queries.prices import model_prices, price_book

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = AS_OF.date()

# model, input, 5m write, 1h write, cache read, output: the prices found (usd per million tokens, first-party API)
STANDARD = [
    ("claude-fable-5-2", "8", "10", "16", "0.20", "40"),
    ("claude-mythos-5-2", "8", "10", "16", "0.20", "40"),
    ("claude-fable-5-1", "10", "12.50", "20", "0.25", "50"),
    ("claude-mythos-5-1", "10", "12.50", "20", "0.25", "50"),
    ("claude-fable-5", "10", "12.50", "20", "1", "50"),
    ("claude-mythos-5", "10", "12.50", "20", "1", "50"),
    ("claude-mythos-preview", "10", "12.50", "20", "1", "50"),
    ("claude-opus-5-5", "4", "5", "8", "0.20", "20"),
    ("claude-opus-5", "5", "6.25", "10", "0.50", "25"),
    ("claude-opus-4-8", "5", "6.25", "10", "0.50", "25"),
    ("claude-opus-4-7", "5", "6.25", "10", "0.50", "25"),
    ("claude-opus-4-6", "5", "6.25", "10", "0.50", "25"),
    ("claude-opus-4-5", "5", "6.25", "10", "0.50", "25"),
    ("claude-opus-4-1", "15", "18.75", "30", "1.50", "75"),
    ("claude-opus-4", "15", "18.75", "30", "1.50", "75"),
    ("claude-sonnet-5-5", "2", "2.50", "4", "0.10", "10"),
    ("claude-sonnet-5", "2", "2.50", "4", "0.20", "10"),
    ("claude-sonnet-4-6", "3", "3.75", "6", "0.30", "15"),
    ("claude-sonnet-4-5", "3", "3.75", "6", "0.30", "15"),
    ("claude-sonnet-4", "3", "3.75", "6", "0.30", "15"),
    ("claude-haiku-4-5", "1", "1.25", "2", "0.10", "5"),
    ("claude-3-7-sonnet", "3", "3.75", "6", "0.30", "15"),
    ("claude-3-5-sonnet", "3", "3.75", "6", "0.30", "15"),
    ("claude-3-5-haiku", "0.80", "1", "1.60", "0.08", "4"),
    ("claude-3-opus", "15", "18.75", "30", "1.50", "75"),
    ("claude-3-haiku", "0.25", "0.30", "0.50", "0.03", "1.25"),
    ("claude-3-sonnet", "3", "3.75", "6", "0.30", "15"),
]
WITHOUT_BATCH = {"claude-mythos-preview", "claude-3-sonnet"}
NO_US = {model for model, *_ in STANDARD if model.split("-")[1] == "3"} | {
    "claude-opus-4-5", "claude-opus-4-1", "claude-opus-4", "claude-sonnet-4-5", "claude-sonnet-4", "claude-haiku-4-5",
}  # fmt: skip


@pytest.fixture
def seeded(db):
    return seed_list_prices(as_of=AS_OF)


def of(book, model, kind, *, tier="standard", band="0-100k", geo="global", speed="standard", on=TODAY):
    return book.lookup(PriceKey(model, tier, band, geo, speed), kind, on).price.usd_per_unit


@pytest.mark.parametrize(("model", "inp", "w5", "w1", "read", "out"), STANDARD)
def test_every_model_has_its_prices_in_every_tier_and_geo(seeded, model, inp, w5, w1, read, out):
    book = price_book()
    kinds = {"uncached_input": inp, "cache_write_5m": w5, "cache_write_1h": w1, "cache_read": read, "output": out}
    for kind, price in kinds.items():
        usd = Decimal(price)
        assert of(book, model, kind) == usd
        if model not in WITHOUT_BATCH:
            assert of(book, model, kind, tier="batch") == usd / 2
        if model not in NO_US:
            assert of(book, model, kind, geo="us") == usd * Decimal("1.1")
        else:
            with pytest.raises(PriceNotFound, match="no price for this tier, geo and speed"):
                of(book, model, kind, geo="us")


def test_haiku_5_5_depends_on_the_prompt_length(seeded):
    book = price_book()
    short = {"uncached_input": "0.10", "cache_write_5m": "0.125", "cache_write_1h": "0.20", "cache_read": "0.01"}
    for kind, usd in {**short, "output": "0.50"}.items():
        assert of(book, "claude-haiku-5-5", kind) == Decimal(usd)
        assert of(book, "claude-haiku-5-5", kind, band="100k-200k") == 5 * Decimal(usd)
        assert of(book, "claude-haiku-5-5", kind, band="200k-1M") == 5 * Decimal(usd)
        with pytest.raises(PriceNotFound, match="depends on the prompt length") as caught:
            of(book, "claude-haiku-5-5", kind, band="")
        assert caught.value.prices == (Decimal(usd), 5 * Decimal(usd))


@pytest.mark.parametrize(
    ("model", "band", "on", "inp", "out"),
    [
        ("claude-opus-4-6", "200k-1M", date(2026, 3, 12), "10", "37.5"),
        ("claude-opus-4-6", "200k-1M", date(2026, 3, 13), "5", "25"),
        ("claude-opus-4-6", "0-100k", date(2026, 3, 12), "5", "25"),
        ("claude-sonnet-4-6", "200k-1M", date(2026, 3, 12), "6", "22.5"),
        ("claude-sonnet-4-6", "200k-1M", date(2026, 3, 13), "3", "15"),
        ("claude-sonnet-4-5", "200k-1M", date(2026, 4, 29), "6", "22.5"),
    ],
)
def test_long_context_prices_ended_on_their_day(seeded, model, band, on, inp, out):
    book = price_book()
    assert of(book, model, "uncached_input", band=band, on=on) == Decimal(inp)
    assert of(book, model, "output", band=band, on=on) == Decimal(out)


def test_long_requests_of_sonnet_4_5_have_no_price_after_the_beta_ended(seeded):
    with pytest.raises(PriceNotFound):
        of(price_book(), "claude-sonnet-4-5", "output", band="200k-1M", on=date(2026, 4, 30))


@pytest.mark.parametrize("model", ["claude-fable-5-2", "claude-mythos-5-2", "claude-opus-5-5", "claude-opus-5"])
def test_fast_mode_is_twice_every_kind(seeded, model):
    book = price_book()
    for kind in TOKEN_KINDS:
        assert of(book, model, kind, speed="fast") == 2 * of(book, model, kind)


def test_fast_mode_of_opus_4_8_ends(seeded):
    book = price_book()
    assert of(book, "claude-opus-4-8", "output", speed="fast", on=date(2026, 11, 29)) == 50
    with pytest.raises(PriceNotFound, match="do not hold on that day"):
        of(book, "claude-opus-4-8", "output", speed="fast", on=date(2026, 11, 30))


def test_web_searches_cost_ten_dollars_a_thousand(seeded):
    assert of(price_book(), "claude-haiku-5-5", "web_search", band="") == 10
    assert of(price_book(), "claude-sonnet-4-5", "web_search", tier="batch") == 10


def test_models_are_placed_with_limits_and_retirements(seeded):
    tiers = dict(ModelRelease.objects.values_list("canonical_id", "tier"))
    assert set(tiers) == {price.model for price in shipped_prices()}
    assert {tier for model, tier in tiers.items() if "opus" in model or "fable" in model or "mythos" in model} == {
        "frontier"
    }
    assert {tier for model, tier in tiers.items() if "sonnet" in model} == {"balanced"}
    assert {tier for model, tier in tiers.items() if "haiku" in model} == {"fast"}
    retired = dict(ModelRelease.objects.exclude(retires_on=None).values_list("canonical_id", "retires_on"))
    assert retired == {
        "claude-opus-4-1": date(2026, 8, 5),
        "claude-opus-4": date(2026, 6, 15),
        "claude-sonnet-4": date(2026, 6, 15),
        "claude-mythos-preview": date(2026, 6, 30),
        "claude-sonnet-4-5": date(2026, 11, 30),
        "claude-3-haiku": date(2026, 4, 20),
        "claude-3-7-sonnet": date(2026, 2, 19),
        "claude-3-5-haiku": date(2026, 2, 19),
        "claude-3-opus": date(2026, 1, 5),
    }
    opus = ModelRelease.objects.get(canonical_id="claude-opus-4-5")
    assert (opus.tokenizer_generation, opus.max_input_tok, opus.min_cacheable_tok) == (1, 200_000, 4_096)


def test_names_of_dated_releases_mean_the_model(seeded):
    names = model_aliases()
    assert names["claude-sonnet-4-5-20250929"] == "claude-sonnet-4-5"
    assert names["claude-opus-4-0"] == "claude-opus-4"
    assert names["claude-3-7-sonnet-latest"] == "claude-3-7-sonnet"


def test_routing_sees_the_same_prices(seeded):
    prices = model_prices(on=TODAY)
    sonnet = prices["claude-sonnet-4-5"]
    assert sonnet.standard is not None and sonnet.batch is not None
    assert (sonnet.standard.output, sonnet.batch.output) == (Decimal(15), Decimal("7.5"))
    assert prices["claude-haiku-5-5"].standard is None
    assert "prompt length" in prices["claude-haiku-5-5"].reason


def test_every_shipped_price_names_source_and_day(seeded):
    assert all(price.source and price.checked_on >= date(2026, 8, 22) for price in shipped_prices())
    assert Price.objects.filter(approved_at=None).count() == 0


def test_seeding_again_changes_nothing_and_writes_no_entry(seeded):
    before = list(Price.objects.order_by("pk").values())
    again = seed_list_prices(as_of=AS_OF)
    assert not again.changed and again.prices_held == seeded.prices_added == len(before)
    assert list(Price.objects.order_by("pk").values()) == before
    assert AuditEntry.objects.filter(action="prices.seeded").count() == 1


def own_price(**facts):
    values = {"model": "claude-opus-4-6", "token_kind": "output", "usd_per_unit": Decimal("24"), "source": "contract"}
    return Price.objects.create(**{**values, "checked_on": TODAY, "proposed_at": AS_OF, "approved_at": AS_OF, **facts})


def test_an_organisations_own_prices_are_not_overwritten_by_seeding(db):
    same_key = own_price(valid_from=None, prompt_length_band="0-200k", valid_to=date(2026, 3, 13))
    earlier_start = own_price(token_kind="cache_read", valid_from=date(2026, 1, 1), usd_per_unit=Decimal("0.4"))
    outcome = seed_list_prices(as_of=AS_OF)
    assert outcome.prices_kept > 0
    same_key.refresh_from_db()
    assert same_key.usd_per_unit == 24
    book = price_book()
    assert of(book, "claude-opus-4-6", "cache_read", on=date(2026, 6, 1)) == Decimal("0.4")
    assert of(book, "claude-opus-4-6", "cache_read", on=date(2025, 12, 31)) == Decimal("0.5")
    assert earlier_start.pk in set(Price.objects.values_list("pk", flat=True))


def test_a_model_the_organisation_placed_keeps_its_facts(db):
    own = ModelRelease.objects.create(
        canonical_id="claude-opus-4-5", display_name="Our Opus", tier="balanced", is_allowed=False
    )
    ModelAlias.objects.create(alias="claude-opus-4.5", release=own)
    outcome = seed_list_prices(as_of=AS_OF)
    own.refresh_from_db()
    assert (own.display_name, own.tier, own.is_allowed) == ("Our Opus", "balanced", False)
    assert (own.max_input_tok, outcome.models_filled) == (200_000, 1)


def test_the_command_seeds_and_says_so(db):
    out = StringIO()
    call_command("seed_prices", stdout=out)
    assert "30 added" in out.getvalue()
    out = StringIO()
    call_command("seed_prices", "--json", stdout=out)
    assert '"prices_added": 0' in out.getvalue()
