"""Sizing an offer on a forecast of its year: what is kept, by whom, on what, and what is refused."""

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from audit.models import AuditEntry
from audit.roles import Forbidden
from billing.core.commitments import measure, offers_of
from billing.core.terms import Terms, content_hash, parse_terms, terms_document
from billing.models import CommitmentSizing, CommitmentTerms, Forecast
from billing.queries.commitments import all_terms, kept_terms, sizing_record, sizing_summaries
from billing.queries.forecasts import forecast_paths
from billing.queries.prices import price_version
from costgov.models import User
from costgov.operations.commitments import SizingRefused, save_terms, size_commitment, size_offer
from routing.models import PolicyVersion
from tests.costgov import small_world as world
from tests.costgov.sizing_world import TERMS, build

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def frozen(settings: Any) -> None:
    settings.COSTGOV_AS_OF = world.AS_OF


@pytest.fixture
def people() -> dict[str, User]:
    return build()


def sized(actor: User | None = None, terms: Terms = TERMS, **options: Any) -> CommitmentSizing:
    return size_offer(actor=actor, as_of=world.AS_OF, terms=terms, **{"paths": 500, **options})


# ---- What is kept ----------------------------------------------------------------------------------------------------


def test_a_sizing_is_measured_on_the_forecast_it_names(people: dict[str, User]):
    record = sizing_record(sizing_id=sized(people["priya"]).pk)
    paths = forecast_paths(record.basis.forecast_id)
    assert (paths.months[0], paths.end, len(paths.months)) == (date(2027, 1, 1), date(2028, 1, 1), 12)
    assert record.sizing.path_count == 500
    for policy in record.sizing.policies:
        found = measure(paths.of(policy.policy).sum(axis=1), offers_of(TERMS))
        assert [float(row.expected_payable_usd) for row in policy.offers] == pytest.approx(
            [row.expected_payable_usd for row in found], abs=1e-5
        )
        assert [row.shortfall_probability for row in policy.offers] == [row.shortfall_probability for row in found]


def test_it_names_what_it_rests_on(people: dict[str, User]):
    row = sized(people["priya"])
    record = sizing_record(sizing_id=row.pk)
    forecast = Forecast.objects.get(pk=row.forecast_id)
    assert record.basis.price_version == price_version()
    version = PolicyVersion.objects.get()
    assert record.basis.policy_hash == row.policy_hash == version.content_hash
    assert record.basis.policy == f"{version.policy}@1"
    assert record.basis.terms_hash == content_hash(TERMS)
    assert record.basis.cutoff_date == date(2026, 11, 22)
    assert record.basis.seed == forecast.inputs["seed"]
    assert (record.basis.baseline_model, record.basis.baseline_name) == (
        world.OPUS,
        "Claude Opus 4.5".replace(".", "-"),
    )
    assert (record.created_by, record.created_at) == ("priya", world.AS_OF)


def test_ten_thousand_paths_by_default(people: dict[str, User]):
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    row = size_commitment(actor=people["priya"], as_of=world.AS_OF, terms_id=kept.pk)
    assert sizing_record(sizing_id=row.pk).sizing.path_count == 10_000


def test_the_same_again_changes_nothing(people: dict[str, User]):
    first = sized(people["priya"])
    entries = AuditEntry.objects.count()
    assert sized(people["ada"]).pk == first.pk
    assert AuditEntry.objects.count() == entries
    assert (CommitmentSizing.objects.count(), CommitmentTerms.objects.count(), Forecast.objects.count()) == (1, 1, 1)


def test_terms_are_one_offer_however_they_are_written(people: dict[str, User]):
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF, name="Offer of 18 Nov")
    document = terms_document(TERMS)
    document["bands"][0]["commitment"] = "150.00"
    again = save_terms(actor=people["priya"], terms=parse_terms(document), as_of=world.AS_OF, name="Another name")
    assert (again.pk, again.name) == (kept.pk, "Offer of 18 Nov")
    other = save_terms(actor=people["priya"], terms=replace(TERMS, overage="discounted"), as_of=world.AS_OF)
    assert other.pk != kept.pk
    assert other.name == "$150–$400 from 1 Jan 2027, overage at the discounted price"


def test_lists_show_the_newest_first_without_its_curves(people: dict[str, User]):
    first = sized(people["priya"])
    second = sized(people["ada"], replace(TERMS, overage="discounted"))
    rows = sizing_summaries()
    assert [row.id for row in rows] == [second.pk, first.pk]
    best = sizing_record(sizing_id=first.pk).sizing.policy("optimised").best
    assert rows[1].recommended == best.name
    assert rows[1].expected_payable_usd == best.expected_payable_usd
    assert rows[1].created_by == "priya"
    assert {row.sizing_id for row in all_terms()} == {first.pk, second.pk}
    assert kept_terms(terms_id=first.terms_id).terms == TERMS


# ---- Audit and rights ------------------------------------------------------------------------------------------------


def test_every_step_is_in_the_audit_trail(people: dict[str, User]):
    row = sized(people["priya"])
    entries = {entry.action: entry for entry in AuditEntry.objects.filter(actor=people["priya"])}
    after: dict[str, Any] = {action: entry.after for action, entry in entries.items()}
    assert {"terms.saved", "forecast.made", "commitment.sized"} <= set(entries)
    assert after["terms.saved"]["bands"][0] == {"name": "T1", "commitment": "150", "discount": "0.06"}
    done = entries["commitment.sized"]
    assert (done.object_type, done.object_id) == ("commitment_sizing", str(row.pk))
    assert after["commitment.sized"]["basis"]["forecast_id"] == row.forecast_id
    assert after["commitment.sized"]["recommended"] == row.result["summary"]["recommended"]


@pytest.mark.parametrize("name", ["eva", "vic", "xen"])
def test_only_procurement_and_admins_may(people: dict[str, User], name: str):
    with pytest.raises(Forbidden, match="may not edit commitment terms"):
        sized(people[name])
    kept = save_terms(actor=people["priya"], terms=TERMS, as_of=world.AS_OF)
    with pytest.raises(Forbidden, match="may not size a commitment"):
        size_commitment(actor=people[name], as_of=world.AS_OF, terms_id=kept.pk)
    assert not CommitmentSizing.objects.exists()


# ---- What is refused -------------------------------------------------------------------------------------------------


def test_a_year_that_has_begun_is_refused_and_nothing_is_kept(people: dict[str, User]):
    with pytest.raises(SizingRefused, match="began on 2026-11-01, before today, 2026-11-23"):
        sized(people["priya"], replace(TERMS, start=date(2026, 11, 1)))
    assert not CommitmentTerms.objects.exists()
    assert not AuditEntry.objects.filter(action="terms.saved").exists()


def test_without_usage_nothing_can_be_sized():
    people = world.people()
    world.organisation()
    with pytest.raises(SizingRefused, match="There is no usage yet: import usage first"):
        sized(people["priya"])
    assert not CommitmentTerms.objects.exists()


def test_classes_with_a_very_short_history_do_not_carry_a_commitment(people: dict[str, User]):
    for back in range(10, 0, -1):
        world.use(world.TODAY - timedelta(days=back), world.SONNET, "new-thing", 500, (9_000_000, 900_000))
    without = sizing_record(sizing_id=sized(people["priya"]).pk)
    assert without.basis.left_out == ("new-thing: less than four weeks of history",)
    assert "without new-thing" in without.basis.scenario
    told = sizing_record(sizing_id=sized(people["priya"], include_very_short=True).pk)
    assert (told.basis.left_out, told.basis.very_short) == ((), ("new-thing",))
    means = [float(r.sizing.policy("current").year.mean_usd) for r in (without, told)]
    assert means[1] > means[0] + 10_000  # about 40 usd a day more


def test_a_history_that_is_all_very_short_is_refused():
    people = world.people()
    world.organisation()
    world.models()
    world.prices()
    world.classes()
    world.usage(days=10)
    with pytest.raises(SizingRefused, match="Every class has less than four weeks of history"):
        sized(people["priya"])
    assert sized(people["priya"], include_very_short=True).pk


# ---- The command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "terms.json"
    path.write_text(json.dumps(terms_document(TERMS)))
    return path


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        call_command("size_commitment", *words, "--paths", "500")
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_the_command_prints_the_answer_and_every_offer(
    people: dict[str, User], document: Path, capsys: pytest.CaptureFixture[str]
):
    code, out, err = run(capsys, "--terms", str(document))
    assert (code, err) == (0, "")
    assert "Optimised" in out
    assert "All on " in out
    assert "<- recommended" in out
    assert "No commitment" in out
    assert "T2 beats T1 from $" in out
    assert sizing_record(sizing_id=CommitmentSizing.objects.get().pk).created_by == "the system"


def test_the_command_as_json(people: dict[str, User], document: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = run(capsys, "--terms", str(document), "--json")
    found = json.loads(out)
    assert code == 0
    routed = next(row for row in found["sizing"]["policies"] if row["policy"] == "optimised")
    record = sizing_record(sizing_id=found["id"])
    assert (
        Decimal(routed["offers"][1]["expected_payable_usd"])
        == record.sizing.policy("optimised").offers[1].expected_payable_usd
    )
    assert isinstance(routed["offers"][1]["shortfall_probability"], float)
    assert found["basis"]["price_version"] == price_version()


def test_the_command_writes_the_sheet(
    people: dict[str, User], document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out_file = tmp_path / "sheet.xlsx"
    code, out, _ = run(capsys, "--terms", str(document), "--out", str(out_file))
    assert code == 0
    assert out_file.read_bytes().startswith(b"PK")
    assert f"sheet written to {out_file}" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.xlsx", "terms.json"]


BAD_BAND = {"name": "T1", "commitment": 5, "discount": "6"}


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("", ["it is empty"]),
        ("{", ["line 1, column 2: not JSON"]),
        ('{"schema": "costgov.terms/1"}', ["overage: missing", "bands: missing", "start: missing"]),
        (
            json.dumps({**terms_document(TERMS), "rollover": "0.5", "bands": [BAD_BAND]}),
            ['rollover: "0.5". Not supported yet', "bands[0].commitment: 5. Write it as", "6 per cent is 0.06"],
        ),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused_with_every_problem(
    people: dict[str, User], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, messages: list[str]
):
    path = tmp_path / "bad.json"
    path.write_text(content)
    code, out, err = run(capsys, "--terms", str(path), "--json")
    assert (code, out) == (2, "")
    for message in messages:
        assert message in err
    assert err.count(str(path)) == len(err.strip().splitlines())
    assert not CommitmentTerms.objects.exists()
    assert not Forecast.objects.exists()


def test_bad_places_are_refused_before_anything_is_kept(
    people: dict[str, User], document: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    missing = str(tmp_path / "none.json")
    assert run(capsys, "--terms", missing)[0] == 2
    for out, why in (
        (tmp_path / "sheet.pdf", "ends in .xlsx"),
        (tmp_path / "none" / "sheet.xlsx", "is not a folder"),
        (tmp_path, "ends in .xlsx"),
    ):
        code, _, err = run(capsys, "--terms", str(document), "--out", str(out))
        assert (code, why in err) == (2, True), err
    folder = tmp_path / "folder.xlsx"
    folder.mkdir()
    assert "is a folder" in run(capsys, "--terms", str(document), "--out", str(folder))[2]
    assert not CommitmentTerms.objects.exists()


def test_the_command_says_why_nothing_can_be_sized(document: Path, capsys: pytest.CaptureFixture[str]):
    code, out, err = run(capsys, "--terms", str(document))
    assert (code, out, err.strip()) == (2, "", "There is no usage yet: import usage first.")
    assert not CommitmentTerms.objects.exists()


def test_differences_between_policies_are_exact_per_path(people: dict[str, User]):
    paths = forecast_paths(sized(people["priya"]).forecast_id)
    baseline, current = paths.of("baseline").sum(axis=1), paths.of("current").sum(axis=1)
    assert np.corrcoef(baseline, current)[0, 1] > 0.9
