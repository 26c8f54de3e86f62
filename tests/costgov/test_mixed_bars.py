"""One estate with every kind of bar: each page, command, endpoint and record gives the same verdict on every model."""

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import call_command
from django.test import Client

from audit.models import AuditEntry
from billing.models import ModelAlias, ModelRelease, Price
from costgov.jsonout import dumps, plain
from costgov.models import User
from costgov.queries.class_bar import class_bar
from costgov.queries.class_lines import class_lines
from costgov.queries.class_page import class_page
from costgov.queries.class_preview import bar_preview
from costgov.queries.eval_runs import model_runs
from costgov.queries.evals import Judged, eval_matrix, quality
from costgov.queries.evidence_needed import evidence_needed, model_outlook
from costgov.queries.overview import overview
from costgov.queries.policies import change_page, draft_page
from costgov.queries.recommendation import draft_view, recommendation_view
from costgov.tokens import create_token
from routing.core.bars import Bar
from routing.models import ClassException, QualityBar, RequestClass, VerdictRecord
from routing.operations.bars import set_bar
from routing.operations.classes import save_class
from routing.operations.evals import import_evals
from routing.operations.policies import propose
from routing.operations.verdict_records import record_verdicts
from tests.costgov import small_world as world

pytestmark = pytest.mark.django_db
OPUS, SONNET, HAIKU = world.OPUS, world.SONNET, world.HAIKU
RAN = world.AS_OF - timedelta(days=30)
REGISTERED = world.AS_OF - timedelta(days=100)
GRADED = [1, 1, 1, 0.5, 0.8, 1, 0.9, 1, 0.7, 1] * 20  # methods.md §3.7: ln E+ 4.024066 at .85
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
COLUMNS = ("suite", "request_class", "sample_id", "model", "run_at", "passed", "score", "graded_score", *TOKENS)
Row = tuple[str, str, str, float, float | None]  # suite, sample, model, score, grade

BARS: dict[str, dict[str, Any]] = {
    "line": {"bar": "0.94", "tolerance": "0.01"},
    "grades": {"bar": "0.87", "tolerance": "0.02", "metric": "mean_score"},
    "pairs": {"standard": "not_worse", "margin": "0.08"},
    "both": {"bar": "0.55", "tolerance": "0", "standard": "both", "margin": "0.08"},
    "narrow": {"suites": ["core*"], "min_cases": 250},
    "fresh": {"max_age_days": 20},
}
# Class and model → status and what of the cases counted. Opus serves every class.
EXPECTED = {
    ("line", OPUS): ("clears", 198, 200),
    ("line", HAIKU): ("clears", 196, 200),  # ln E+ 4.230509 at .93
    ("grades", OPUS): ("clears", 200, 200),
    ("grades", HAIKU): ("clears", 178, 200),
    ("pairs", OPUS): ("clears", 108, 200),
    ("pairs", SONNET): ("clears", 104, 200),  # 4 won, 8 lost: ln E+ 3.398138 at a margin of .08
    ("both", OPUS): ("clears", 200, 200),
    ("both", SONNET): ("clears", 197, 200),
    ("both", HAIKU): ("falls_short", 140, 200),  # above the line of 55%, 30 points worse than opus
    ("narrow", OPUS): ("not_enough_evidence", 198, 200),
    ("narrow", HAIKU): ("not_enough_evidence", 196, 200),  # clears by the line, 50 cases are missing
    ("fresh", OPUS): ("clears", 198, 200),
    ("fresh", HAIKU): ("clears", 196, 200),
}


def passing(suite: str, model: str, passed: Iterable[int], cases: int = 200) -> list[Row]:
    those = set(passed)
    return [(suite, f"case-{n}", model, float(n in those), None) for n in range(cases)]


def results(slug: str) -> list[Row]:
    if slug == "grades":
        graded = [("suite", f"case-{n}", HAIKU, float(grade >= 0.9), float(grade)) for n, grade in enumerate(GRADED)]
        return [*passing("suite", OPUS, range(200)), *graded]
    if slug == "pairs":  # the first 8 only opus passes, the next 4 only sonnet, 100 both, the others neither
        return [*passing("suite", OPUS, [*range(8), *range(12, 112)]), *passing("suite", SONNET, range(8, 112))]
    if slug == "both":
        return [row for model, count in ((OPUS, 200), (SONNET, 197), (HAIKU, 140))
                for row in passing("suite", model, range(count))]  # fmt: skip
    rows = [*passing("core", OPUS, range(198)), *passing("core", HAIKU, range(196))]
    return rows + (passing("hard", HAIKU, range(5), 100) if slug == "narrow" else [])


def imported(folder: Path, slug: str, rows: Iterable[Row], at: datetime = RAN, name: str = "") -> None:
    path = folder / f"{name or slug}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for suite, sample, model, score, grade in rows:
            passed = {1.0: "true", 0.0: "false"}[score]
            told = "" if grade is None else grade
            writer.writerow([suite, slug, sample, model, at.isoformat(), passed, score, told, 1000, 100, 0, 0, 0])
    import_evals(actor=None, path=path, as_of=at)


@pytest.fixture(autouse=True)
def _frozen(settings: Any) -> Iterator[None]:
    settings.COSTGOV_AS_OF = world.AS_OF
    yield


@pytest.fixture
def estate(tmp_path: Path) -> dict[str, Any]:
    """Six classes that opus serves, each with a bar of its own, set before anything was run."""
    people = world.people()
    world.organisation()
    world.models()
    world.prices()
    for slug, facts in BARS.items():
        save_class(actor=None, slug=slug, facts={"title": slug.title()}, as_of=REGISTERED)
        set_bar(actor=people["eva"], slug=slug, facts=facts, reason="as agreed", as_of=REGISTERED)
        for back in range(40, 0, -1):
            world.use(world.TODAY - timedelta(days=back), OPUS, slug, 100, (200_000, 30_000))
        imported(tmp_path, slug, results(slug))
    return people


Told = tuple[str, bool, int | None, float | None, float | None]


def told(row: Any) -> Told:
    """What a verdict says wherever it is shown."""
    return row.status, row.stale, row.cases_needed, row.pass_rate, row.lower


def expected() -> dict[tuple[str, str], Judged]:
    found = {(row.slug, judged.model): judged for row in quality(as_of=world.AS_OF).classes for judged in row.models}
    return {key: judged for key, judged in found.items() if judged.cases or key in EXPECTED}


@pytest.mark.usefixtures("estate")
def test_each_bar_judges_by_all_of_its_facts() -> None:
    found = expected()
    assert {key: (row.status, round(row.passes, 6), row.cases) for key, row in found.items()} == EXPECTED
    assert {key for key, row in found.items() if row.stale} == {("fresh", OPUS), ("fresh", HAIKU)}
    assert {row.bar_version for row in found.values()} == {2}
    haiku = found["grades", HAIKU]
    assert (round(haiku.ln_e_clear, 6), haiku.metric, haiku.line) == (4.024066, "mean_score", 0.85)
    pair = found["pairs", SONNET].paired
    assert pair is not None and (pair.won, pair.lost, round(pair.ln_e_clear, 6)) == (4, 8, 3.398138)
    assert found["pairs", SONNET].line is None and found["pairs", SONNET].asked.startswith("at most 8 points below")
    short = found["both", HAIKU]
    assert short.lower is not None and short.lower > 0.55 and short.paired is not None
    assert short.paired.status == "falls_short" and short.paired.upper < -0.08
    assert found["narrow", HAIKU].cases_needed == 50 and found["narrow", HAIKU].suites == ("core",)
    (age,) = found["fresh", HAIKU].stale_reasons
    assert (age.kind, age.blocks, age.text) == (
        "age", True, "its newest case ran on 24 Oct 2026; the class allows 20 days",
    )  # fmt: skip


def test_every_page_command_endpoint_and_record_agrees(estate: dict[str, Any]) -> None:
    truth = {key: told(row) for key, row in expected().items()}
    start = world.TODAY - timedelta(days=28)
    seen: dict[str, dict[tuple[str, str], Told]] = {}
    matrix = eval_matrix(as_of=world.AS_OF)
    seen["matrix"] = {(row.slug, cell.model): told(cell) for row in matrix.rows for cell in row.models}
    view = recommendation_view(as_of=world.AS_OF)
    seen["recommendation"] = {
        (row.request_class, option.model): told(option.verdict) for row in view.classes for option in row.options
    }
    for slug in BARS:
        page = class_page(slug=slug, as_of=world.AS_OF, start=start, end=world.TODAY)
        seen[f"class page {slug}"] = {(slug, row.model): told(row.verdict) for row in page.candidates}
        assert page.facts.bar_version == 2 and page.facts.asked == class_bar(slug=slug, as_of=world.AS_OF).asked
    seen["runs"] = {
        (slug, model): told(model_runs(slug=slug, model=model, as_of=world.AS_OF).judged) for slug, model in truth
    }
    for (slug, model), judged in expected().items():
        page_of_runs = model_runs(slug=slug, model=model, as_of=world.AS_OF)
        if page_of_runs.is_pass_fail:
            assert page_of_runs.full_passes == judged.passes, "the cases listed are those that were judged"
    for name, shown in seen.items():
        own = {key: value for key, value in truth.items() if not name.startswith("class page") or key in shown}
        assert own and {key: shown[key] for key in own} == own, name
    assert {row.slug: (row.verdict, row.stale, row.more_cases) for row in class_lines(as_of=world.AS_OF).lines} == {
        slug: truth[slug, OPUS][:3] for slug in BARS
    }
    front = overview(as_of=world.AS_OF, start=start, end=world.TODAY)
    assert {row.slug: (row.verdict, row.stale, row.more_cases) for row in front.classes} == {
        slug: truth[slug, OPUS][:3] for slug in BARS
    }
    assert (front.standing.holding, front.standing.undecided, front.standing.stale) == (5, 1, 1)
    for bar_row in RequestClass.objects.all():
        asked = class_bar(slug=bar_row.slug, as_of=world.AS_OF).bar
        preview = bar_preview(slug=bar_row.slug, bar=asked, as_of=world.AS_OF)
        for each in preview.rows:
            if each.cases:
                own_truth = truth[bar_row.slug, each.model]
                after = (each.status_after, each.stale_after, each.needed_after, each.pass_rate, each.lower)
                assert after == own_truth and not each.changes

    def row_of(entry: dict[str, Any]) -> Told:
        return entry["status"], entry["stale"], entry["cases_needed"], entry["pass_rate"], entry["lower"]

    out = StringIO()
    call_command("quality", "--json", stdout=out)
    _, secret = create_token(actor=estate["vic"], name="t", scopes=["read"], as_of=world.AS_OF)
    answer = Client().get("/api/v1/quality", headers={"Authorization": f"Bearer {secret}"})
    for document in (orjson.loads(out.getvalue()), answer.json()):
        given = {(row["slug"], each["model"]): row_of(each) for row in document["classes"] for each in row["models"]}
        assert {key: given[key] for key in truth} == truth
    record_verdicts(as_of=world.AS_OF)
    records = VerdictRecord.objects.order_by("id")
    kept = {(row.request_class.slug, row.model): (row.status, row.stale, row.lower) for row in records}
    assert {key: kept[key] for key in truth} == {key: (row[0], row[1], row[4]) for key, row in truth.items()}


@pytest.mark.usefixtures("estate")
def test_what_is_recommended_follows_the_bars() -> None:
    view = recommendation_view(as_of=world.AS_OF)
    assert {row.request_class: row.target for row in view.classes} == {
        "line": HAIKU, "grades": HAIKU, "pairs": SONNET, "both": SONNET, "narrow": OPUS, "fresh": OPUS,
    }  # fmt: skip
    draft = draft_page(as_of=world.AS_OF)
    sent = {slug: entry["target"]["model"] for slug, entry in draft.document["assignments"].items()}
    assert {slug: sent.get(slug, OPUS) for slug in BARS} == {row.request_class: row.target for row in view.classes}
    needed = {(row.request_class, row.model): row for row in evidence_needed(as_of=world.AS_OF).rows}
    assert ("narrow", HAIKU) in needed and needed["narrow", HAIKU].to_run.cases == 50
    assert needed["fresh", HAIKU].to_run.kind == "refresh"
    outlook = {row.request_class: row for row in model_outlook(model=HAIKU, as_of=world.AS_OF).rows}
    assert outlook["both"].standing == "falls_short" and outlook["narrow"].standing == "evaluate"


def test_a_change_in_review_is_checked_by_the_bars_of_today(estate: dict[str, Any], tmp_path: Path) -> None:
    draft = draft_view(as_of=world.AS_OF)
    save_class(actor=None, slug="general", facts={"title": "Everything else"}, as_of=world.AS_OF)
    change = propose(
        actor=estate["eva"], document=draft.document, title="All moves", evidence=plain(draft.recommendation),
        as_of=world.AS_OF,
    )  # fmt: skip

    def found(at: datetime = world.AS_OF) -> list[tuple[str, str, str]]:
        page = change_page(change_id=change.pk, reader=estate["ada"], as_of=at)
        assert {item.level for item in page.findings} <= {"warn", "inform"}
        return [(item.kind, item.path.split("/")[2], item.detail) for item in page.findings]

    assert found() == []
    set_bar(actor=estate["eva"], slug="line", facts={"bar": "0.99", "tolerance": "0"}, reason="x", as_of=world.AS_OF)
    set_bar(actor=estate["eva"], slug="pairs", facts={"margin": "0.09"}, reason="x", as_of=world.AS_OF)
    set_bar(actor=estate["eva"], slug="both", facts={"max_age_days": 10}, reason="x", as_of=world.AS_OF)
    told_of = found()
    assert [(kind, slug) for kind, slug, _ in told_of] == [
        ("stale_evidence", "both"), ("bar_changed", "both"), ("not_shown", "line"), ("bar_changed", "line"),
        ("bar_changed", "pairs"),
    ]  # fmt: skip
    details = dict(zip([item[:2] for item in told_of], [item[2] for item in told_of], strict=True))
    assert details["stale_evidence", "both"].startswith("No new move may start on it: its newest case ran on")
    assert "asked: 99% (bar 99%, tolerance 0 points), version 3 of the bar" in details["not_shown", "line"]
    assert "was judged by version 2; version 3 asks: at most 9 points below" in details["bar_changed", "pairs"]
    ClassException.objects.create(
        request_class=RequestClass.objects.get(slug="line"), model=HAIKU, reason="pilot", owner=estate["eva"],
        valid_from=world.TODAY, valid_to=world.TODAY + timedelta(days=9),
    )  # fmt: skip
    assert ("exception", "line") in [item[:2] for item in found()]
    path = tmp_path / "policy.json"
    path.write_bytes(dumps(draft.document))
    out = StringIO()
    call_command("policy", "check", str(path), "--json", stdout=out)
    assert [item["kind"] for item in orjson.loads(out.getvalue())["findings"]] == ["stale_evidence", "exception"]
    html = Client()
    html.force_login(estate["ada"])
    assert "its bar was changed since this was proposed" in html.get(f"/policies/changes/{change.pk}/").content.decode()


def test_tokens_of_suites_that_do_not_count_are_of_other_work(estate: dict[str, Any], tmp_path: Path) -> None:
    """Haiku takes what opus takes on the core cases; on others it takes ten times as much."""

    def cost() -> Decimal | None:
        row = recommendation_view(as_of=world.AS_OF).row("narrow")
        assert row is not None
        return next(option.unit_cost_usd for option in row.options if option.model == HAIKU)

    before = cost()
    other = [*passing("other", OPUS, range(100), 100), *passing("other", HAIKU, range(100), 100)]
    imported(tmp_path, "narrow", other, RAN, "made")
    text = (tmp_path / "made.csv").read_text().replace(f"{HAIKU},", f"{HAIKU}#").splitlines()
    dear = [line.replace("1000,100", "10000,1000") if "#" in line else line for line in text]
    (tmp_path / "dear.csv").write_text("\n".join(dear).replace("#", ",").replace("case-", "long-") + "\n")
    import_evals(actor=None, path=tmp_path / "dear.csv", as_of=RAN + timedelta(hours=1))
    assert cost() == before
    set_bar(actor=estate["eva"], slug="narrow", facts={"suites": []}, reason="all", as_of=world.AS_OF)
    assert cost() != before


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("line", {"bar": "0.97", "tolerance": "0"}),
    ("line", {"plan": [HAIKU, SONNET]}),
    ("line", {"standard": "both", "margin": "0.001"}),
    ("grades", {"metric": "pass_rate"}),
    ("grades", {"bar": "0.92"}),
    ("pairs", {"margin": "0.05"}),
    ("pairs", {"standard": "absolute", "bar": "0.60"}),
    ("both", {"standard": "absolute"}),
    ("narrow", {"suites": []}),
    ("narrow", {"suites": ["hard"], "min_cases": 30}),
    ("narrow", {"suites": ["nothing"]}),
    ("fresh", {"max_age_days": 365, "alpha": "0.001"}),
]


@pytest.mark.parametrize(("slug", "facts"), CHANGES)
def test_the_preview_says_exactly_what_saving_brings(estate: dict[str, Any], slug: str, facts: dict[str, Any]) -> None:
    tried = class_bar(slug=slug, as_of=world.AS_OF, tried=facts)
    assert tried.effect is not None and QualityBar.objects.filter(request_class__slug=slug).count() == 2
    before = {row.model: row.status for row in quality(as_of=world.AS_OF, slug=slug).classes[0].models}
    set_bar(actor=estate["eva"], slug=slug, facts=facts, reason="try it", as_of=world.AS_OF)
    (after,) = quality(as_of=world.AS_OF, slug=slug).classes
    rows = {row.model: row for row in tried.effect.rows}
    assert after.bar_version == 3 and rows.keys() >= {row.model for row in after.models}
    for judged in after.models:
        row = rows[judged.model]
        assert (row.status_after, row.stale_after, row.needed_after, row.pass_rate, row.lower, row.cases) == (
            *told(judged), judged.cases,
        )  # fmt: skip
        assert row.status_before == before.get(judged.model, "no_evidence")
        assert row.reason == judged.reason
    (earlier,) = quality(as_of=world.AS_OF - timedelta(seconds=1), slug=slug).classes
    assert earlier.bar_version == 2, "a day in the past is judged by the bar of that day"
    assert {row.model: row.status for row in earlier.models} == before


# -- what makes evidence old ---------------------------------------------------------------------------------------


def reasons(slug: str, model: str) -> list[tuple[str, bool]]:
    (row,) = quality(as_of=world.AS_OF, slug=slug).classes
    judged = row.of(model)
    assert judged is not None
    return [(reason.kind, reason.blocks) for reason in judged.stale_reasons]


@pytest.mark.usefixtures("estate")
def test_a_newer_snapshot_and_a_retired_model_stop_new_moves(tmp_path: Path) -> None:
    dated = [(suite, sample, f"{HAIKU}-20251001", score, None) for suite, sample, _, score, _ in
             passing("core", HAIKU, range(199))]  # fmt: skip
    imported(tmp_path, "line", dated, RAN + timedelta(days=5), "dated")
    assert reasons("line", HAIKU) == []
    haiku = ModelRelease.objects.get(canonical_id=HAIKU)
    ModelAlias.objects.create(alias=f"{HAIKU}-20251001", release=haiku)
    assert reasons("line", HAIKU) == [], "the snapshot that was tried is the newest one known"
    ModelAlias.objects.create(alias=f"{HAIKU}-20261120", release=haiku)
    assert reasons("line", HAIKU) == [("snapshot", True)]
    ModelAlias.objects.create(alias=f"{HAIKU}-20261224", release=haiku)  # not out yet
    (row,) = quality(as_of=world.AS_OF, slug="line").classes
    judged = row.of(HAIKU)
    assert judged is not None and judged.text == "Clears the bar · Stale"
    assert judged.stale_text == "the cases ran on snapshot 2025-10-01; snapshot 2026-11-20 is newer"
    assert reasons("fresh", HAIKU) == [("age", True)], "cases without a dated name say nothing of snapshots"
    tried = class_bar(slug="line", as_of=world.AS_OF, tried={"bar": "0.95"}).effect
    assert tried is not None
    shown = {row.model: (row.stale_before, row.stale_after, row.stale_text) for row in tried.rows}
    assert shown[HAIKU] == (True, True, judged.stale_text) and shown[OPUS] == (False, False, "")
    view = recommendation_view(as_of=world.AS_OF)
    assert view.row("line").target == OPUS  # type: ignore[union-attr]
    ModelRelease.objects.filter(canonical_id=HAIKU).update(retires_on=world.TODAY)
    assert reasons("grades", HAIKU) == [("retired", True)]


@pytest.mark.usefixtures("estate")
def test_another_price_or_token_count_is_said_and_stops_nothing(tmp_path: Path) -> None:
    price = Price.objects.get(model=HAIKU, token_kind="output", service_tier="standard")
    facts = {name: getattr(price, name) for name in ("model", "token_kind", "service_tier", "source", "checked_on")}
    at = {"proposed_at": RAN, "approved_at": RAN}
    later = world.TODAY - timedelta(days=3)
    Price.objects.create(**facts, **at, usd_per_unit=price.usd_per_unit, valid_from=later - timedelta(days=2))
    assert reasons("line", HAIKU) == [], "the same amount again is no change"
    Price.objects.create(**facts, **at, usd_per_unit=Decimal(4), valid_from=later)
    Price.objects.create(**facts, **at, usd_per_unit=Decimal(3), valid_from=world.TODAY + timedelta(days=9))
    assert reasons("line", HAIKU) == [("price", False)]
    (row,) = quality(as_of=world.AS_OF, slug="line").classes
    judged = row.of(HAIKU)
    assert judged is not None and (judged.stale, judged.text) == (False, "Clears the bar")
    assert judged.stale_text.startswith("its list price changed on 20 Nov 2026, after the newest case")
    imported(tmp_path, "grades", results("grades"), RAN + timedelta(days=1), "again")  # the same tokens
    assert ("tokenizer", False) not in reasons("grades", OPUS)
    path = tmp_path / "recounted.csv"
    text = (tmp_path / "again.csv").read_text().replace(",1000,100,", ",1300,100,")
    path.write_text(text.replace((RAN + timedelta(days=1)).isoformat(), (RAN + timedelta(days=2)).isoformat()))
    import_evals(actor=None, path=path, as_of=RAN + timedelta(days=2))
    assert reasons("grades", OPUS) == [("tokenizer", False)]
    (row,) = quality(as_of=world.AS_OF, slug="grades").classes
    counted = row.of(OPUS)
    assert counted is not None and (counted.repeated_cases, counted.cases) == (200, 200)
    assert "the same 200 cases take 30% more input tokens than when they first ran" in counted.stale_text


# -- command, endpoint, page ---------------------------------------------------------------------------------------


def run(*words: str) -> tuple[int, str, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("quality_bar", *words, stdout=out, stderr=err)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue(), err.getvalue()
    return 0, out.getvalue(), err.getvalue()


def test_the_command_shows_tries_and_sets(estate: dict[str, Any]) -> None:
    code, out, _ = run("pairs")
    assert code == 0 and "at most 8 points below the model that serves" in out and "Standard: at or above" in out
    code, out, _ = run("line", "--try", "--bar", "0.99", "--tolerance", "0")
    assert code == 0 and "tried, not set" in out and "Bar: 94% → 99%" in out
    assert "Clears the bar → Not enough evidence" in out
    assert RequestClass.objects.get(slug="line").bar_version == 2
    code, out, _ = run("line", "--set", "--suite", "core*", "--reason", "easy cases say nothing", "--user", "eva",
                       "--expect-version", "2", "--json")  # fmt: skip
    assert code == 0 and orjson.loads(out)["bar"]["suites"] == ["core*"]
    assert AuditEntry.objects.filter(action="class.bar_set").latest("pk").actor_name == "eva"
    for words, said in (
        (("line", "--bar", "0.9"), "Say --try"),
        (("line", "--set", "--reason", "x"), "Name what changes"),
        (("line", "--set", "--bar", "0.9"), "say why"),
        (("line", "--set", "--bar", "1", "--reason", "x"), "no sample can show a bar of 1"),
        (("line", "--set", "--bar", "0.9", "--reason", "x", "--expect-version", "2"), "You read version 2"),
        (("line", "--set", "--bar", "0.9", "--reason", "x", "--user", "nobody"), "There is no user"),
        (("nope",), "There is no class 'nope'"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (2, "") and said in err
    _, out, _ = run("line", "--set", "--all-suites", "--reason", "all again")
    assert "suites that count         all of the class" in out and "Suites that count: core* → all of the class" in out


def test_the_endpoint_reads_tries_and_sets(estate: dict[str, Any]) -> None:
    _, secret = create_token(actor=estate["eva"], name="t", scopes=["read", "policy:write"], as_of=world.AS_OF)
    _, viewer = create_token(actor=estate["vic"], name="v", scopes=["read", "policy:write"], as_of=world.AS_OF)
    address = "/api/v1/classes/line/bar"

    def send(body: dict[str, Any] | None = None, who: str = secret, to: str = address) -> Any:
        headers = {"Authorization": f"Bearer {who}"}
        if body is None:
            return Client().get(to, headers=headers)
        return Client().post(to, body, content_type="application/json", headers=headers)

    read = send().json()
    assert (read["bar"]["bar"], read["bar"]["version"], len(read["versions"])) == ("0.94", 2, 2)
    tried = send({"bar": "0.99", "is_trial": True})
    assert tried.status_code == 200
    assert {row["model"]: row["status_after"] for row in tried.json()["effect"]["rows"]}[HAIKU] != "clears"
    assert RequestClass.objects.get(slug="line").bar_version == 2
    done = send({"bar": "0.96", "version": 2, "reason": "stricter"})
    assert done.status_code == 201 and done.json()["bar"]["version"] == 3
    for body, who, status, code, said in (
        ({"bar": "0.9", "version": 2, "reason": "x"}, secret, 409, "outdated", "You read version 2"),
        ({"bar": "1", "reason": "x"}, secret, 400, "invalid", "a bar of 1"),
        ({"bar": "0.9"}, secret, 400, "invalid", "say why"),
        ({"standard": "odd", "reason": "x"}, secret, 400, "invalid", "odd"),
        ({"bar": "0.5", "reason": "x"}, viewer, 403, "forbidden", "may not edit classes"),
    ):
        refused = send(body, who)
        assert refused.status_code == status and said in refused.content.decode(), (body, refused.content)
        assert refused.json()["error"]["code"] == code
    assert send(to="/api/v1/classes/nope/bar").status_code == 404
    assert send({"bar": "0.9", "reason": "x"}, to="/api/v1/classes/nope/bar").status_code == 404
    assert RequestClass.objects.get(slug="line").bar == Decimal("0.96")


def test_the_page_keeps_versions_and_stops_the_second_tab(client: Client, estate: dict[str, Any]) -> None:
    client.force_login(estate["eva"])
    html = client.get("/classes/pairs/edit/").content.decode()
    assert "Versions of the bar" in html and 'name="bar_version" value="2"' in html
    assert "There is no line: a model must be shown at most 8 points below the model that serves" in html
    fields = {
        "title": "Pairs", "bar": "95", "tolerance": "2", "alpha": "5", "max_age_days": "90", "latency": "interactive",
        "metric": "pass_rate", "standard": "not_worse", "margin": "5", "min_cases": "40", "suites": "suite\n",
        "bar_version": "2",
    }  # fmt: skip
    refused = client.post("/classes/pairs/edit/", fields)
    assert refused.status_code == 400 and "Say why the bar changes (May be worse by: 8 points → 5 points" in (
        refused.content.decode()
    )
    saved = client.post("/classes/pairs/edit/", {**fields, "reason": "a closer look"})
    assert saved.status_code == 302
    row = RequestClass.objects.get(slug="pairs")
    assert (row.bar_version, row.margin, row.min_cases, row.suites) == (3, Decimal("0.05"), 40, ["suite"])
    second = client.post("/classes/pairs/edit/", {**fields, "margin": "9", "reason": "other tab"})
    assert second.status_code == 400 and "eva set version 3" in second.content.decode()
    page = client.get("/classes/pairs/").content.decode()
    assert "at most 5 points worse than the model that serves" in page
    runs = client.get(f"/evals/pairs/{SONNET}/").content.decode()
    assert "−2 points against the model that serves on 200 shared cases" in runs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"standard": "both", "margin": ""}, "A comparison needs a margin"),
        ({"margin": "0"}, "Nothing can be shown to be no worse at all"),
        ({"min_cases": "10"}, "greater than or equal to 30"),
        ({"bar": "100"}, "less than or equal to 99.9999"),
    ],
)
def test_the_form_explains_what_cannot_be(
    client: Client, estate: dict[str, Any], changes: dict[str, str], said: str
) -> None:
    client.force_login(estate["eva"])
    fields = {
        "title": "Line", "bar": "94", "tolerance": "1", "alpha": "5", "max_age_days": "90", "latency": "interactive",
        "metric": "pass_rate", "standard": "absolute", "min_cases": "30", "reason": "x",
    }  # fmt: skip
    answer = client.post("/classes/line/edit/", fields | changes)
    assert answer.status_code == 400 and said in answer.content.decode()
    assert RequestClass.objects.get(slug="line").bar_version == 2


def test_defaults_of_the_core_are_those_of_the_register() -> None:
    row = save_class(actor=None, slug="new", facts={"title": "New"}, as_of=REGISTERED)
    assert class_bar(slug="new", as_of=world.AS_OF).bar == Bar() and row.bar_version == 1


def test_commands_say_who_may_not(estate: dict[str, Any]) -> None:
    User.objects.create_user("looker")  # of no role
    code, _, err = run("pairs", "--bar", "0.9", "--set", "--reason", "r", "--user", "looker")
    assert code == 2 and "may not" in err
    told = StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("constraints", "--set", "--move", "0.5", "--reason", "r", "--user", "looker", stderr=told)
    assert ended.value.code == 2 and "may not" in told.getvalue()
