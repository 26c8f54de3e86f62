"""The commitment pages: what each role sees and may do, what is kept on an error, what the sheet holds."""

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from python_calamine import CalamineWorkbook

from audit.models import AuditEntry
from billing.core.money import round_usd
from billing.core.sizing import OPTIMISED, POLICIES
from billing.core.sizing_record import answer, text_of
from billing.core.terms import Terms, parse_terms, read_terms, terms_document
from billing.core.words import usd
from billing.models import CommitmentSizing, CommitmentTerms, Price
from billing.queries.commitments import kept_terms, sizing_record
from costgov import charts
from costgov.celery import app
from costgov.models import User
from costgov.operations.commitments import save_terms, size_offer
from costgov.queries.commitments import commitment_figure, sensitivity_figure, sensitivity_summary, sizing_page
from costgov.tasks import size_commitment
from costgov.templatetags.costgov_format import pct, usd0
from routing.models import Activation, PolicyVersion
from tests.core import sizings
from tests.costgov import small_world as world
from tests.costgov.sizing_world import TERMS, build

pytestmark = [
    pytest.mark.django_db,
    # Celery keeps results in Redis with a call that redis-py wants renamed; not ours to change.
    pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning"),
]
FORM = {
    "name": "Offer of 18 Nov",
    "start": "2027-01-01",
    "overage": "list",
    "stated_in": "payable",
    "band_name": ["T1", "T2", ""],
    "band_commitment": ["150", "$400", ""],
    "band_discount": ["6", "12 %", ""],
    "action": "size",
}


@pytest.fixture(autouse=True)
def frozen(settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people() -> dict[str, User]:
    return build()


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The worker's task runs where it is queued, its answer kept as a worker keeps it."""
    monkeypatch.setattr(size_commitment, "store_eager_result", True)
    app.conf.update(task_always_eager=True, task_store_eager_result=True)
    yield
    app.conf.update(task_always_eager=False, task_store_eager_result=False)


@pytest.fixture
def sizing(people: dict[str, User]) -> CommitmentSizing:
    return size_offer(actor=people["priya"], as_of=world.AS_OF, terms=TERMS, name="Offer A", paths=1_000)


def see(client: Client, who: User, path: str, status: int = 200) -> str:
    client.force_login(who)
    answered = client.get(path)
    assert answered.status_code == status
    return str(answered.content.decode())


def words(html: str) -> str:
    """What a reader reads: no tags, one space."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#x27;", "'")


# ---- One sizing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["priya", "eva", "vic", "ada", "xen"])
def test_everybody_may_read_a_sizing(client: Client, people: dict[str, User], sizing: CommitmentSizing, name: str):
    read = words(see(client, people[name], f"/commitments/{sizing.pk}/"))
    record = sizing_record(sizing_id=sizing.pk)
    assert re.sub(r"\s+", " ", text_of(answer(record))).split(". ")[0].split("$")[0].strip() in read
    for name_ in POLICIES:
        for row in record.sizing.policy(name_).offers:
            for value in (row.expected_payable_usd, row.cvar95_usd, row.mean_regret_usd, row.max_regret_usd):
                assert usd0(value) in read
    assert "Recommended" in read
    assert record.sizing.policy(OPTIMISED).choice.reason in read


def test_recommended_is_a_word_and_an_icon_not_only_a_colour(
    client: Client, people: dict[str, User], sizing: CommitmentSizing
):
    html = see(client, people["vic"], f"/commitments/{sizing.pk}/")
    best = sizing_record(sizing_id=sizing.pk).sizing.policy(OPTIMISED).choice.name
    row = next(part for part in html.split("<tr") if f">{best}</span>" in part and "Recommended" in part)
    assert 'class="rec"' in row
    assert "#circle-check" in row
    assert ">Recommended</span>" in row


def test_a_risk_above_the_limit_is_said_with_an_icon(client: Client, people: dict[str, User]):
    high = Terms(
        TERMS.start, "list", "payable", (replace(TERMS.bands[1], commitment_usd=TERMS.bands[1].commitment_usd * 9),)
    )
    kept = size_offer(actor=people["priya"], as_of=world.AS_OF, terms=high, paths=500)
    record = sizing_record(sizing_id=kept.pk)
    assert record.sizing.policy(OPTIMISED).offers[1].shortfall_probability > 0.2
    html = see(client, people["vic"], f"/commitments/{kept.pk}/")
    assert 'aria-label="Above the limit"' in html
    assert "Do not commit to these bands" in words(html)


def test_the_page_and_the_sheet_agree(client: Client, people: dict[str, User], sizing: CommitmentSizing):
    html = see(client, people["eva"], f"/commitments/{sizing.pk}/")
    answered = client.get(f"/commitments/{sizing.pk}/sizing.xlsx")
    assert answered["Content-Disposition"] == f'attachment; filename="commitment-2027-01-01-sizing-{sizing.pk}.xlsx"'
    book = CalamineWorkbook.from_filelike(io.BytesIO(answered.content))
    rows = [row for row in book.get_sheet_by_name("Offers").to_python() if row[0] == "Optimised"]
    assert [row[1] for row in rows] == ["No commitment", "T1", "T2"]
    kept = sizing_record(sizing_id=sizing.pk).sizing.policy(OPTIMISED).offers
    read = words(html)
    for row, offer in zip(rows, kept, strict=True):
        figures = (offer.expected_payable_usd, offer.expected_unused_usd, offer.cvar95_usd, offer.max_regret_usd)
        assert [row[5], row[9], row[10], row[12]] == [float(round_usd(figure)) for figure in figures]
        assert all(usd0(figure) in read for figure in figures)
        assert row[8] == offer.shortfall_probability
        assert pct(offer.shortfall_probability) in read
    summary = book.get_sheet_by_name("Summary").to_python()
    assert summary[0][0] == "How much to commit: Northwind"


def test_the_download_can_be_had_twice_by_anybody_who_reads(
    client: Client, people: dict[str, User], sizing: CommitmentSizing
):
    client.force_login(people["vic"])
    first, second = (client.get(f"/commitments/{sizing.pk}/sizing.xlsx") for _ in range(2))
    assert first.status_code == second.status_code == 200
    assert CommitmentSizing.objects.count() == 1


def test_nothing_is_stale_on_the_day_it_was_made(client: Client, people: dict[str, User], sizing: CommitmentSizing):
    assert sizing_page(sizing_id=sizing.pk, as_of=world.AS_OF).changed == ()
    assert "Stale" not in see(client, people["priya"], f"/commitments/{sizing.pk}/")


def test_what_changed_since_is_named_and_can_be_sized_again(
    client: Client, people: dict[str, User], sizing: CommitmentSizing
):
    Price.objects.filter(model=world.OPUS, token_kind="output", service_tier="standard").update(usd_per_unit="26")
    version = PolicyVersion.objects.get()
    again = PolicyVersion.objects.create(
        policy=version.policy, version=2, document=version.document, content_hash="9" * 64, created_by=people["eva"],
        created_at=world.AS_OF,
    )  # fmt: skip
    Activation.objects.create(
        environment="prod", sequence=2, policy_version=again, activated_by=people["eva"],
        activated_at=world.AS_OF,
    )  # fmt: skip
    world.use(world.TODAY, world.SONNET, "drafting", 50, (50_000, 40_000))
    changed = sizing_page(sizing_id=sizing.pk, as_of=world.AS_OF + timedelta(days=1)).changed
    assert changed == (
        "prices were changed or added",
        f"policy {version.policy} version 2 became active",
        "usage is known to 23 Nov 2026, not only to 22 Nov 2026",
    )
    html = see(client, people["priya"], f"/commitments/{sizing.pk}/")
    assert "prices were changed or added" in html
    assert "Size again" in html
    assert "Size again" not in see(client, people["vic"], f"/commitments/{sizing.pk}/")


def test_an_unknown_sizing_is_not_found(client: Client, people: dict[str, User]):
    see(client, people["vic"], "/commitments/999/", 404)
    see(client, people["vic"], "/commitments/999/sizing.xlsx", 404)
    see(client, people["vic"], "/commitments/terms/999/", 404)


# ---- Charts ----------------------------------------------------------------------------------------------------------


def test_the_curve_draws_what_was_kept():
    record = sizings.record(count=500)
    figure = commitment_figure(record)
    lines = [trace for trace in figure["data"] if trace.get("name")]
    assert {trace["name"] for trace in lines} == {"All on Opus 4.5", "Current policy", "Optimised"}
    marks = {
        trace["text"][0]: (trace["x"][0], trace["y"][0]) for trace in figure["data"] if trace.get("mode") == "markers"
    }
    best = record.sizing.policy(OPTIMISED).best
    assert marks["Recommended: T1"] == (500_000.0, pytest.approx(float(best.expected_payable_usd)))
    assert marks["Best unrouted: T2"][0] == 1_000_000.0
    assert marks[f"Lowest {usd(best.best_amount_usd)}"][0] == pytest.approx(float(best.best_amount_usd))
    assert [row["text"] for row in figure["layout"]["annotations"]][:3] == ["T1 −6%", "T2 −12%", "T3 −18%"]


def test_the_tornado_names_an_offer_that_would_then_be_best():
    record = sizings.record(count=2_000)
    figure = sensitivity_figure(record)
    half = next(row for row in record.sizing.sensitivity if row.label == "Share of moves that land")
    assert half.high_best == "T1" or any(
        "half land → T2" in str(row["text"]) for row in figure["layout"]["annotations"]
    )
    assert set(figure) == set(charts.tornado([], 1))
    price = next(row for row in record.sizing.sensitivity if row.label == "List price")
    assert sensitivity_summary(record) == (
        f"What matters most is the list price: −33%, the best offer is expected to cost {usd(price.low_usd)}, not "
        f"{usd(half.low_usd)}."
    )


def test_names_of_bands_hold_no_markup_inside_charts():
    terms = replace(TERMS, bands=(replace(TERMS.bands[0], name="<b>T&1</b>"),))
    text = json.dumps(commitment_figure(sizings.record(terms, 50)), ensure_ascii=False)
    assert "<b>" not in text
    assert "‹b›T＆1‹/b› −6%" in text


# ---- The list --------------------------------------------------------------------------------------------------------


def test_the_list_links_every_sizing_and_offer(client: Client, people: dict[str, User], sizing: CommitmentSizing):
    html = see(client, people["vic"], "/commitments/")
    assert f'href="/commitments/{sizing.pk}/"' in html
    assert f'href="/commitments/terms/{sizing.terms_id}/"' in html
    assert "Enter an offer" not in html
    assert "Enter an offer" in see(client, people["priya"], "/commitments/")


def test_without_usage_the_list_leads_to_the_import(client: Client):
    people = world.people()
    read = words(see(client, people["priya"], "/commitments/"))
    assert "Nothing to size a commitment on yet" in read
    assert "Import usage" in read


def test_with_a_few_days_the_list_says_how_many_are_needed(client: Client):
    people = world.people()
    world.usage(days=3)
    assert "at least 7 whole days" in words(see(client, people["priya"], "/commitments/"))


# ---- The form --------------------------------------------------------------------------------------------------------


def post(client: Client, who: User, **changes: Any) -> Any:
    client.force_login(who)
    return client.post("/commitments/terms/new/", {**FORM, **changes})


def test_typed_bands_become_terms_and_are_sized(client: Client, people: dict[str, User], inline: None):
    answered = post(client, people["priya"])
    kept = CommitmentTerms.objects.get()
    assert (answered.status_code, answered["Location"]) == (302, f"/commitments/terms/{kept.pk}/?sized")
    assert parse_terms(kept.document) == TERMS
    assert kept.name == "Offer of 18 Nov"
    sizing = CommitmentSizing.objects.get()
    assert client.get(answered["Location"])["Location"] == f"/commitments/{sizing.pk}/"
    assert sizing_record(sizing_id=sizing.pk).sizing.path_count == 10_000


def test_a_double_submit_keeps_one_offer_and_one_sizing(client: Client, people: dict[str, User], inline: None):
    first, second = post(client, people["priya"]), post(client, people["priya"])
    assert first["Location"] == second["Location"]
    assert (CommitmentTerms.objects.count(), CommitmentSizing.objects.count()) == (1, 1)
    assert AuditEntry.objects.filter(action__in=["terms.saved", "commitment.sized"]).count() == 2


def test_an_offer_can_be_kept_without_sizing(client: Client, people: dict[str, User]):
    answered = post(client, people["priya"], action="save")
    assert answered["Location"] == f"/commitments/terms/{CommitmentTerms.objects.get().pk}/"
    assert not CommitmentSizing.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overage": ""}, "Say how use beyond the commitment is billed."),
        ({"stated_in": ""}, "Say what the amounts mean."),
        ({"start": "tomorrow"}, "Give the first day of the year on offer"),
        ({key: ["", "", ""] for key in ("band_name", "band_commitment", "band_discount")}, "at least one band"),
        ({"band_commitment": ["150,00", "400", ""]}, "Give US dollars a year"),
        ({"band_commitment": ["", "400", ""]}, "Give US dollars a year"),
        ({"band_discount": ["106", "12", ""]}, "Give per cent from 0 up to"),
        ({"band_discount": ["six", "12", ""]}, "Give per cent from 0 up to"),
        ({"band_name": ["", "T2", ""]}, "Give the band a short name"),
        ({"band_name": ["T2", "T2", ""]}, "Give every band a name of its own."),
        ({"band_commitment": ["500", "400", ""]}, "List bands by rising commitment."),
        ({"band_discount": ["14", "12", ""]}, "A larger commitment with a smaller discount is never worth signing"),
    ],
)  # fmt: skip
def test_an_error_is_said_at_its_field_and_everything_typed_stays(
    client: Client, people: dict[str, User], changes: dict[str, Any], said: str
):
    typed = {**FORM, **changes}
    answered = post(client, people["priya"], **changes)
    html = answered.content.decode()
    assert answered.status_code == 400
    assert said in html
    for key in ("band_name", "band_commitment", "band_discount"):
        found = re.findall(rf'name="{key}" value="([^"]*)"', html)
        assert found == typed[key]
    assert 'value="Offer of 18 Nov"' in html
    assert ('id="overage-list" name="overage" value="list" checked' in html) == (typed["overage"] == "list")
    assert not CommitmentTerms.objects.exists()


def test_an_error_belongs_to_the_row_it_was_typed_in(client: Client, people: dict[str, User]):
    answered = post(
        client, people["priya"],
        band_name=["", "T1", "T2"], band_commitment=["", "150", "x"], band_discount=["", "6", "12"],
    )  # fmt: skip
    html = answered.content.decode()
    assert 'id="e-commitment-3"' in html
    assert 'id="e-commitment-2"' not in html


def test_rows_come_and_go_without_javascript(client: Client, people: dict[str, User]):
    added = post(client, people["priya"], action="add").content.decode()
    assert re.findall(r'name="band_name" value="([^"]*)"', added) == ["T1", "T2", "", ""]
    removed = post(client, people["priya"], remove="0").content.decode()
    assert re.findall(r'name="band_name" value="([^"]*)"', removed) == ["T2", ""]
    assert 'value="$400"' in removed
    assert 'name="start" type="date" value="2027-01-01"' in removed
    last = post(client, people["priya"], remove="0", band_name=["T1"], band_commitment=["1"], band_discount=["6"])
    assert re.findall(r'name="band_name" value="([^"]*)"', last.content.decode()) == [""]
    hostile = post(client, people["priya"], remove="x", band_name=["a"] * 99)
    assert hostile.status_code == 200
    assert hostile.content.decode().count('name="band_name"') == 20
    assert not CommitmentTerms.objects.exists()


def test_enter_in_a_field_saves_and_removes_nothing(client: Client, people: dict[str, User]):
    """Browsers press the first submit button of a form: it must not be one that removes a row."""
    html = see(client, people["priya"], "/commitments/terms/new/")
    form = html[html.index('enctype="multipart/form-data"') :]
    first = re.search(r'<button[^>]*type="submit"[^>]*>', form)
    assert first is not None
    assert 'name="action" value="size"' in first[0]


def test_an_offer_goes_out_and_comes_in_again(client: Client, people: dict[str, User]):
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    client.force_login(people["vic"])
    exported = client.get(f"/commitments/terms/{kept.pk}/terms.json")
    assert exported["Content-Disposition"] == f'attachment; filename="terms-2027-01-01-{kept.pk}.json"'
    assert read_terms(exported.content) == TERMS
    file = SimpleUploadedFile("terms.json", exported.content, "application/json")
    answered = post(client, people["priya"], action="import", document=file)
    html = answered.content.decode()
    assert answered.status_code == 200
    assert re.findall(r'name="band_(?:commitment|discount)" value="([^"]*)"', html) == ["150", "6", "400", "12"]
    assert "Nothing is kept yet" in html
    assert CommitmentTerms.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Choose a JSON file first."),
        (b"{", "line 1, column 2: not JSON"),
        (json.dumps({**terms_document(TERMS), "months": 36}).encode(), "months: 36. Only 12, one year"),
        (b"x" * 200_001, "is too large for terms"),
    ],
)
def test_a_bad_import_is_refused_and_what_was_typed_stays(
    client: Client, people: dict[str, User], content: bytes, said: str
):
    extra = {"document": SimpleUploadedFile("bad.json", content, "application/json")} if content else {}
    answered = post(client, people["priya"], action="import", **extra)
    html = answered.content.decode()
    assert answered.status_code == 400
    assert said in html
    assert 'value="$400"' in html


def test_a_new_offer_may_start_from_a_kept_one(client: Client, people: dict[str, User]):
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    html = see(client, people["priya"], f"/commitments/terms/new/?from={kept.pk}")
    assert re.findall(r'name="band_commitment" value="([^"]*)"', html) == ["150", "400"]
    see(client, people["priya"], "/commitments/terms/new/?from=999", 404)


@pytest.mark.parametrize("name", ["eva", "vic", "xen"])
def test_only_procurement_and_admins_change_anything(client: Client, people: dict[str, User], name: str):
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    assert "Ask somebody with one of these roles" in see(client, people[name], "/commitments/terms/new/", 403)
    assert post(client, people[name]).status_code == 403
    assert client.post(f"/commitments/terms/{kept.pk}/size/").status_code == 403
    assert "Size this offer" not in see(client, people[name], f"/commitments/terms/{kept.pk}/")
    assert (CommitmentTerms.objects.count(), CommitmentSizing.objects.count()) == (1, 0)


# ---- While it runs ---------------------------------------------------------------------------------------------------


def test_progress_asks_again_until_it_leads_to_the_sizing(
    client: Client, people: dict[str, User], monkeypatch: pytest.MonkeyPatch
):
    queued: list[dict[str, Any]] = []
    monkeypatch.setattr(size_commitment, "apply_async", lambda **given: queued.append(given))
    answered = post(client, people["priya"])
    path = answered["Location"].split("?")[0]
    waiting = see(client, people["priya"], answered["Location"])
    assert "Waiting for a worker" in waiting
    assert f'hx-get="{path}progress/"' in waiting
    assert '<noscript><meta http-equiv="refresh"' in waiting
    post(client, people["priya"])
    assert len(queued) == 1  # the second press found the first
    size_commitment.backend.store_result(queued[0]["task_id"], {"note": "Forecasting volumes and spend"}, "PROGRESS")
    assert "Forecasting volumes and spend" in see(client, people["vic"], f"{path}progress/")
    done = size_commitment.apply(**{key: queued[0][key] for key in ("kwargs", "task_id")})
    size_commitment.backend.store_result(queued[0]["task_id"], done.result, "SUCCESS")
    led = client.get(f"{path}progress/")
    sizing = CommitmentSizing.objects.get()
    assert led["HX-Redirect"] == f"/commitments/{sizing.pk}/"
    assert "hx-get" not in led.content.decode()


def test_a_refusal_is_said_where_it_was_asked_for(client: Client, people: dict[str, User], inline: None):
    answered = post(client, people["priya"], start="2026-11-01")
    read = words(see(client, people["priya"], answered["Location"]))
    assert "Not sized." in read
    assert "began on 2026-11-01, before today, 2026-11-23" in read
    assert not CommitmentSizing.objects.exists()


def test_a_failure_is_said_without_its_insides(
    client: Client, people: dict[str, User], inline: None, monkeypatch: pytest.MonkeyPatch
):
    def broken(**given: Any) -> None:
        raise RuntimeError("secret insides")

    monkeypatch.setattr("costgov.operations.commitments.make_forecast", broken)
    answered = post(client, people["priya"])
    html = see(client, people["priya"], answered["Location"])
    assert "failed and nothing was kept" in html
    assert "secret insides" not in html


def test_sizing_again_counts_very_short_classes_only_when_told(client: Client, people: dict[str, User], inline: None):
    for back in range(10, 0, -1):
        world.use(world.TODAY - timedelta(days=back), world.SONNET, "new-thing", 500, (9_000, 900))
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    client.force_login(people["priya"])
    client.post(f"/commitments/terms/{kept.pk}/size/")
    first = kept_terms(terms_id=kept.pk).sizing_id or 0
    assert "new-thing: less than four weeks of history" in words(see(client, people["priya"], f"/commitments/{first}/"))
    client.post(f"/commitments/terms/{kept.pk}/size/", {"include_very_short": "on"})
    second = kept_terms(terms_id=kept.pk).sizing_id or 0
    assert second != first
    assert "counted because priya said" in words(see(client, people["priya"], f"/commitments/{second}/"))
