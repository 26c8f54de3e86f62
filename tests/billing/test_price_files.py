"""A price file is shown as a difference; what somebody chooses of it becomes proposals, and nothing is overwritten."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.contrib.auth.models import Group
from django.core.management import call_command

from audit.roles import Forbidden
from billing.core.price_difference import percent_words, price_difference
from billing.core.pricebook import Price as ListPrice
from billing.models import Price
from billing.operations.price_changes import PriceRefused, approve_prices
from billing.operations.price_files import Chosen, difference_of, propose_prices, read_price_file
from billing.operations.prices import seed_list_prices
from billing.queries.prices import price_book
from costgov.models import User

AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
TODAY = AS_OF.date()
D = Decimal


def price(usd, kind="output", model="m", source="file", **facts):
    return ListPrice(model, kind, D(usd), source, date(2026, 9, 1), **facts)


def rows_of(difference):
    return [
        (row.state, row.price.model, row.price.token_kind, row.filed and row.filed.usd_per_unit,
         row.held and row.held.usd_per_unit)
        for row in difference.rows
    ]  # fmt: skip


def test_every_state_of_a_row():
    held = [
        price("5", source="list"),
        price("1", "uncached_input", source="list"),
        price("2", "cache_write_1h", source="list"),
        price("0.1", "cache_read", source="list"),
    ]
    filed = [
        price("5"),
        price("1.25", "uncached_input", valid_from=date(2026, 11, 1)),
        price("0.05", "cache_read"),
        price("9", model="new"),
    ]
    found = price_difference(filed, held=held, today=TODAY)
    assert rows_of(found) == [
        ("contradicts", "m", "cache_read", D("0.05"), D("0.1")),
        ("changed", "m", "uncached_input", D("1.25"), D("1")),
        ("added", "new", "output", D("9"), None),
        ("absent", "m", "cache_write_1h", None, D("2")),
        ("same", "m", "output", D("5"), D("5")),
    ]
    assert found.unknown_models == ("new",)
    assert [percent_words(row.change) for row in found.rows] == ["−50%", "+25%", "", "", "+0%"]
    assert len(found.open_rows) == 3


def test_what_is_proposed_already_is_said():
    filed = [price("9", model="new")]
    (row,) = price_difference(filed, held=[], proposed=filed, today=TODAY).rows
    assert row.is_proposed and not row.is_open
    (row,) = price_difference(filed, held=[], proposed=[price("8", model="new")], today=TODAY).rows
    assert row.is_open


def test_two_numbers_for_one_thing_in_a_file_contradict():
    found = price_difference([price("9"), price("8")], held=[], today=TODAY)
    assert {(row.state, row.price.usd_per_unit) for row in found.rows} == {("added", D(9)), ("contradicts", D(8))}


def test_a_dated_file_is_compared_by_its_own_day():
    held = [price("5", source="list"), price("4", source="list", valid_from=date(2026, 11, 1))]
    old, new = price("5", valid_from=date(2026, 10, 1)), price("4", valid_from=date(2026, 11, 15))
    assert [row.state for row in price_difference([old, new], held=held, today=TODAY).rows] == ["same", "same"]
    assert [row.state for row in price_difference([old], held=held, today=TODAY, by_look_up=False).rows] == ["added"]


LITELLM = {
    "claude-opus-5-5": {
        "litellm_provider": "anthropic", "input_cost_per_token": 4e-06, "output_cost_per_token": 2.5e-05,
    },
    "claude-next-1": {
        "litellm_provider": "anthropic", "input_cost_per_token": 1e-06, "output_cost_per_token": 5e-06,
    },
}  # fmt: skip


@pytest.fixture
def file(tmp_path, db):
    seed_list_prices(as_of=AS_OF)
    path = tmp_path / "litellm.json"
    path.write_text(json.dumps(LITELLM))
    return path


@pytest.fixture
def buyer(db):
    user = User.objects.create_user("paula")
    user.groups.add(Group.objects.get(name="procurement"))
    return user


def test_chosen_rows_become_proposals_with_a_day_of_their_own(file, buyer):
    read = read_price_file(path=file, file_name=file.name, as_of=AS_OF)
    difference = difference_of(read, today=TODAY)
    states = {(row.price.model, row.price.token_kind): row.state for row in difference.rows if row.filed}
    assert states == {
        ("claude-opus-5-5", "uncached_input"): "same",
        ("claude-opus-5-5", "output"): "contradicts",
        ("claude-next-1", "uncached_input"): "added",
        ("claude-next-1", "output"): "added",
    }
    assert difference.unknown_models == ("claude-next-1",)
    (wrong,) = [row.price for row in difference.rows if row.state == "contradicts"]
    propose = {"actor": buyer, "file_name": file.name, "as_of": AS_OF}
    with pytest.raises(PriceRefused, match=r"give the day from which 25\.00 holds"):
        propose_prices(**propose, chosen=[Chosen(wrong)])
    with pytest.raises(PriceRefused, match="Choose at least one"):
        propose_prices(**propose, chosen=[])
    added = [Chosen(row.price) for row in difference.rows if row.state == "added"]
    rows = propose_prices(**propose, chosen=[*added, Chosen(wrong, date(2026, 12, 1))])
    assert len(rows) == 3 and "claude-next-1" not in price_book().models
    again = difference_of(read, today=TODAY)
    assert all(row.is_proposed for row in again.rows if row.state == "added")
    with pytest.raises(PriceRefused, match="held or proposed already"):
        propose_prices(**propose, chosen=added)
    approve_prices(actor=buyer, price_ids=[row.pk for row in rows], as_of=AS_OF)
    assert {row.state for row in difference_of(read, today=date(2026, 12, 2)).rows if row.filed} == {"same"}


def test_only_who_may_edit_prices_proposes(file):
    read = read_price_file(path=file, file_name=file.name, as_of=AS_OF)
    viewer = User.objects.create_user("victor")
    with pytest.raises(Forbidden):
        propose_prices(actor=viewer, chosen=[Chosen(read.prices[0])], file_name="x", as_of=AS_OF)
    assert not Price.objects.filter(approved_at=None).exists()


def test_the_command_prints_the_difference_and_keeps_nothing(file):
    out = StringIO()
    call_command("import_prices", str(file), "--difference", stdout=out)
    said = out.getvalue()
    assert "2 added, 0 changed, 1 contradicts, 1 same" in said
    assert "models nobody placed yet: claude-next-1" in said
    assert "contradicts claude-opus-5-5 output [standard, all, global, standard] from release: held 20.00" in said
    assert "→ 25.00, +25%" in said
    assert not Price.objects.filter(approved_at=None).exists()
    out = StringIO()
    call_command("import_prices", str(file), "--difference", "--json", stdout=out)
    (document,) = json.loads(out.getvalue())
    assert document["counts"]["added"] == 2 and document["rows"][0]["file_usd"] == "25"
    out = StringIO()
    call_command("import_prices", str(file), stdout=out)
    assert "2 added" in out.getvalue() and "2 prices proposed" in out.getvalue()
