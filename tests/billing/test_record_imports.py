"""Imports of formats read row by row: questions and their answers, one request in several logs, sums beside reports."""

import json
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from audit.models import AuditEntry
from billing.importers.base import ImportRefused
from billing.models import DailyUsage, Import, UsageSource
from billing.operations.imports import ImportOptions, import_file
from billing.operations.source_settings import BadAnswer, set_source_setting
from billing.operations.upkeep import delete_import
from tests.billing.conftest import AS_OF, ImportIt, everything
from tests.billing.worlds import daily_sums, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines
from tests.importers.usage.test_hostile_records import daily, event
from tests.importers.usage.test_record_formats import export, helicone, observation, span, spend_row

CACHED = {"gen_ai.usage.cache_read.input_tokens": 40}
COUNTS = ("uncached_input_tok", "cache_read_tok", "cache_write_5m_tok", "cache_write_1h_tok", "output_tok")


def counted() -> tuple[int, ...]:
    """Everything that counts, summed: the six counters."""
    return daily_sums().get((), (0,) * 6)


def spans(path: Path, number: int = 1, tokens: int = 100, **over: Any) -> Path:
    told: dict[str, Any] = {**CACHED, **over}
    return write_json(path, export(span(number, tokens=tokens, **told)))


# --- questions -----------------------------------------------------------------------------------------------------


def test_an_unanswered_question_refuses_the_file_and_leaves_nothing(
    import_it: ImportIt, var: Path, tmp_path: Path
) -> None:
    path = spans(tmp_path / "spans.json")
    before = everything(var, without=("billing_import",))
    with pytest.raises(ImportRefused) as refused:
        import_it(path)
    said = str(refused.value)
    for part in (
        "spans.json: line 1: input_includes_cache: does the number of input tokens contain the cached ones?",
        "Here input is 100 and cached are 40",
        "--input-includes-cache yes or no",
        "source 'OpenTelemetry'",
    ):
        assert part in said
    assert everything(var, without=("billing_import",)) == before
    assert Import.objects.get().problems[0]["field"] == "input_includes_cache"


def test_an_answer_is_remembered_on_the_source(import_it: ImportIt, tmp_path: Path) -> None:
    outcome = import_it(spans(tmp_path / "a.json"), answers={"input_includes_cache": "yes"})
    assert counted()[:2] == (60, 40)
    assert outcome.findings[0] == (
        "Input includes cached tokens: yes, as was said; remembered for source OpenTelemetry."
    )
    assert any("Traces are often a sample" in finding for finding in outcome.findings)
    import_it(spans(tmp_path / "b.json", 2))
    assert counted()[:2] == (120, 80)
    with pytest.raises(ImportRefused, match=r"source 'OpenTelemetry' says yes\. Leave the answer out"):
        import_it(spans(tmp_path / "c.json", 3), answers={"input_includes_cache": "no"})
    import_it(spans(tmp_path / "c.json", 3), source="Other emitter", answers={"input_includes_cache": "no"})
    assert counted()[:2] == (220, 120)
    assert dict(UsageSource.objects.values_list("name", "settings")) == {
        "OpenTelemetry": {"input_includes_cache": "yes"},
        "Other emitter": {"input_includes_cache": "no"},
    }


def test_what_a_file_proves_is_remembered_too(import_it: ImportIt, tmp_path: Path) -> None:
    outcome = import_it(spans(tmp_path / "a.json", tokens=30))
    assert "no, found out from the file" in outcome.findings[0]
    import_it(spans(tmp_path / "b.json", 2))  # cannot tell by itself
    assert counted()[:2] == (130, 80)


def test_a_wrong_answer_names_the_row_that_contradicts_it(import_it: ImportIt, tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="smaller than the 40 cached tokens that it should contain"):
        import_it(spans(tmp_path / "a.json", tokens=30), answers={"input_includes_cache": "yes"})
    assert not UsageSource.objects.exists()


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"input_includes_cache": "maybe"}, "'maybe' is none of yes, no"),
        ({"at": "2026-11-09T10:00:00"}, "is not an instant with a zone"),
        ({"colour": "red"}, "there is no setting 'colour'"),
    ],
)
def test_an_answer_nobody_can_read(
    import_it: ImportIt, tmp_path: Path, answers: Mapping[str, str], message: str
) -> None:
    with pytest.raises(ImportRefused, match=message):
        import_it(spans(tmp_path / "a.json"), answers=answers)


def test_a_changed_answer_holds_for_new_files_and_for_old_ones_imported_again(
    import_it: ImportIt, tmp_path: Path
) -> None:
    old = spans(tmp_path / "old.json")
    import_it(old, answers={"input_includes_cache": "yes"})
    source = UsageSource.objects.get()
    set_source_setting(actor=None, source_id=source.pk, name="input_includes_cache", value="no", as_of=AS_OF)
    assert counted()[:2] == (60, 40)
    with pytest.raises(ImportRefused, match=r"uncached_input_tok = 100: request otel:t1:s1 has 60 in import"):
        import_it(old)
    again = import_it(old, replace=True)
    assert (again.is_repeat, again.accepted, counted()[:2]) == (False, 1, (100, 40))
    assert import_it(old).is_repeat
    # And back again: the bytes were read both ways before, the last reading stands.
    set_source_setting(actor=None, source_id=source.pk, name="input_includes_cache", value="yes", as_of=AS_OF)
    assert (import_it(old, replace=True).is_repeat, counted()[:2]) == (False, (60, 40))
    entry = AuditEntry.objects.filter(action="usage.source_setting_changed").earliest("pk")
    assert (entry.before, entry.after) == ({"input_includes_cache": "yes"}, {"input_includes_cache": "no"})
    with pytest.raises(BadAnswer, match="a source has no setting 'at'"):
        set_source_setting(actor=None, source_id=source.pk, name="at", value="", as_of=AS_OF)


def test_a_wrong_time_of_the_requests_is_corrected_by_deleting_first(
    import_it: ImportIt, tmp_path: Path, django_capture_on_commit_callbacks: Any
) -> None:
    """Known requests keep their time, so another answer to the same bytes must not pass as done."""
    path = tmp_path / "answers.jsonl"
    answer = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-haiku-4-5", "content": []}
    path.write_text(json.dumps(answer | {"usage": {"input_tokens": 5, "output_tokens": 7}}) + "\n")
    first = import_it(path, answers={"at": "2026-11-09T14:00:00Z"})
    assert import_it(path, answers={"at": "2026-11-09T14:00:00Z"}).is_repeat and import_it(path).is_repeat
    right = {"at": "2026-11-08T14:00:00Z"}
    with pytest.raises(ImportRefused) as refused:
        import_it(path, answers=right, replace=True)
    assert str(refused.value) == (
        f"answers.jsonl: at = 2026-11-08T14:00:00Z: the same bytes are import {first.import_id}, read with "
        "2026-11-09T14:00:00Z; requests that are known keep their time. "
        f"Delete import {first.import_id} (on its page, or manage.py delete_import {first.import_id} --yes), "
        "then import the file with the right answer."
    )
    with django_capture_on_commit_callbacks(execute=True):
        delete_import(actor=None, import_id=first.import_id, as_of=AS_OF, class_of_key=lambda *_: "")
    assert import_it(path, answers=right).accepted == 1
    assert [row.date.day for row in DailyUsage.objects.all()] == [8]


# --- one request, several logs -------------------------------------------------------------------------------------

# 100 uncached, 20 read, 30 written (10 for five minutes, 20 for an hour), 10 out, as five tools tell it.
SPLIT = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}
TOLD = {"cache_read_input_tokens": 20, "cache_creation_input_tokens": 30}


def five_logs(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    row = envelope(1, usage={**TOLD, "cache_creation": SPLIT})
    lite = payload(1, id="msg_000001")
    lite["metadata"]["usage_object"]["prompt_tokens_details"]["cache_creation_token_details"] = SPLIT
    code = event(request_id="req_000001", model="claude-haiku-4-5", cache_read_tokens=20, cache_creation_tokens=30)
    spent = spend_row(1, call_type="anthropic_messages", request_id="msg_000001")
    traced = {
        "gen_ai.response.id": "msg_000001",
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 30,
    }
    seen: dict[str, Any] = traced
    return [
        (write_lines(folder / "messages.jsonl", [row]), {}),
        (write_lines(folder / "litellm.jsonl", [lite]), {}),
        (write_lines(folder / "code.jsonl", [code]), {}),
        (write_lines(folder / "spend.jsonl", [spent]), {}),
        (write_json(folder / "spans.json", export(span(1, tokens=150, **seen))), {"input_includes_cache": "yes"}),
    ]


@pytest.mark.django_db
def test_one_request_in_several_logs_counts_once_in_every_order() -> None:
    for order in list(permutations(range(5)))[::17]:
        with throw_away_installation() as folder:
            files = five_logs(folder)
            for index in order:
                path, answers = files[index]
                import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(answers=answers))
            assert daily_sums()[()] == (100, 20, 10, 20, 10, 0), order
            requests = sum(row.requests or 0 for row in DailyUsage.objects.all())
            assert requests == 1, order


def test_a_log_that_tells_the_lifetime_wins_within_one_file_too(import_it: ImportIt, tmp_path: Path) -> None:
    untold = envelope(1, usage={**TOLD, "cache_creation": None})
    told = envelope(1, usage={**TOLD, "cache_creation": SPLIT})
    outcome = import_it(write_lines(tmp_path / "log.jsonl", [untold, told, untold]))
    assert (outcome.accepted, outcome.duplicates) == (1, 2)
    assert counted() == (100, 20, 10, 20, 10, 0)


def test_another_number_of_written_tokens_is_still_a_conflict(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "a.jsonl", [envelope(1, usage={**TOLD, "cache_creation": SPLIT})]))
    code = event(request_id="req_000001", cache_read_tokens=20, cache_creation_tokens=31)
    with pytest.raises(ImportRefused, match="cache_write_5m_tok = 31"):
        import_it(write_lines(tmp_path / "b.jsonl", [code]))


def test_failures_of_litellm_are_known_from_its_payload_and_its_table(import_it: ImportIt, tmp_path: Path) -> None:
    started = 1_795_456_497.627371
    failed = payload(1, started=started, id="call-1", status="failure", hidden_params={})
    row = spend_row(
        1, status="failure", request_id="call-1", startTime="2026-11-23 17:54:57.627371", prompt_tokens=0,
        completion_tokens=0, metadata="{}",
    )  # fmt: skip
    assert import_it(write_lines(tmp_path / "a.jsonl", [failed])).failed_requests == 1
    assert import_it(write_lines(tmp_path / "b.jsonl", [row])).duplicates == 1


def test_rows_without_an_id_of_the_provider_are_said(import_it: ImportIt, tmp_path: Path) -> None:
    rows = [observation(1), observation(2), observation(3, type="SPAN")]
    outcome = import_it(write_lines(tmp_path / "l.jsonl", rows))
    assert "1 row left out: an observation that is no model call." in outcome.findings
    assert any(finding.startswith("In 2 rows no id of the provider is told") for finding in outcome.findings)


def test_good_rows_of_a_bad_file(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "h.jsonl", [helicone(1), helicone(2, prompt_tokens=-1, completion_tokens=-2), "{"])
    with pytest.raises(ImportRefused) as refused:
        import_it(path)
    assert "h.jsonl: line 2: prompt_tokens = -1: a count cannot be negative" in str(refused.value)
    outcome = import_it(path, good_rows=True)
    assert (outcome.accepted, outcome.rejected) == (1, 2)


def test_a_file_without_a_request_of_claude(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "h.jsonl", [helicone(1, model="gpt-5", provider="OPENAI")])
    with pytest.raises(ImportRefused, match=r"holds no requests of Claude: a model that is not Claude \(gpt-5\)"):
        import_it(path)


# --- beside reports ------------------------------------------------------------------------------------------------

DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_litellms_sums_come_after_the_providers_report_and_never_on_top(
    import_it: ImportIt, tmp_path: Path, order: tuple[int, ...]
) -> None:
    said = result(uncached_input_tokens=500, output_tokens=50, model="claude-haiku-4-5")
    files = [
        write_json(tmp_path / "report.json", report((*DAY, [said]))),
        write_lines(tmp_path / "daily.jsonl", [daily(model="claude-haiku-4-5", prompt_tokens=9_000)]),
        write_lines(tmp_path / "spend.jsonl", [spend_row(1)]),
    ]
    for index in order:
        import_it(files[index])
    # The report: 500 in, 50 out; the log adds only the cached tokens that the report does not tell.
    assert counted() == (500, 20, 30, 0, 50, 0)


def test_litellms_sums_alone_and_under_its_logs(import_it: ImportIt, tmp_path: Path) -> None:
    sums = daily(
        model="claude-haiku-4-5", prompt_tokens=450, completion_tokens=30, cache_read_input_tokens=60,
        cache_creation_input_tokens=90, api_requests=3,
    )  # fmt: skip
    import_it(write_lines(tmp_path / "daily.jsonl", [sums]))
    assert counted() == (300, 60, 90, 0, 30, 0)
    import_it(write_lines(tmp_path / "spend.jsonl", [spend_row(1)]))
    assert counted() == (300, 60, 90, 0, 30, 0)


def test_good_rows_of_litellms_sums(import_it: ImportIt, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "daily.jsonl", [daily(), daily(date="2026-11-10", prompt_tokens=-1)])
    with pytest.raises(ImportRefused, match="line 2: prompt_tokens = -1: a count cannot be negative"):
        import_it(path)
    assert not DailyUsage.objects.exists()
    outcome = import_it(path, good_rows=True)
    assert (outcome.accepted, outcome.rejected, counted()) == (1, 1, (100, 0, 0, 0, 10, 0))


def test_an_import_is_the_same_twice_and_split_in_parts(import_it: ImportIt, tmp_path: Path) -> None:
    rows = [helicone(number, request_created_at=f"2026-11-{9 + number % 3:02}T09:00:00Z") for number in range(9)]
    import_it(write_lines(tmp_path / "whole.jsonl", rows))
    before = counted()
    for start in (0, 4, 7):
        import_it(write_lines(tmp_path / f"part{start}.jsonl", rows[start : start + 4]))
    array = tmp_path / "array.json"
    array.write_text(json.dumps(rows))
    assert import_it(array).accepted == 0
    assert counted() == before
