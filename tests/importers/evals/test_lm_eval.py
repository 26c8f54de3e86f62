"""lm-evaluation-harness: samples with and without the results file beside them."""

import json
import shutil
from datetime import UTC, datetime

import pytest

from routing.importers import About, ReadOptions
from tests.importers.evals.reading import AT, SAMPLES, read, refusal, rejected, sample, told, verdicts, written

TIME = "2026-11-09T10-00-00.000000"
NAME = f"samples_ticket_triage_{TIME}.jsonl"
GIVEN = ReadOptions(run_at=AT, model="claude-haiku-4-5")


def lines(*changes):
    first = json.loads(sample("lm-eval").read_text().splitlines()[0])
    return "".join(json.dumps(first | {"doc_id": n} | change) + "\n" for n, change in enumerate(changes))


def results(folder, **changes):
    content = json.loads((SAMPLES / f"lm_eval_results_{TIME}.json").read_text()) | changes
    return written(folder, content, f"results_{TIME}.json")


def test_the_results_file_beside_names_model_and_time(tmp_path):
    shutil.copy(sample("lm-eval"), tmp_path / NAME)
    results(tmp_path, lm_eval_version="0.4.9")
    about = About()
    found = read(tmp_path / NAME, None, about)
    assert {(r.suite, r.candidate, r.run_at, r.prompt_version) for r in found} == {
        ("ticket_triage", "claude-haiku-4-5", datetime(2026, 11, 9, 10, tzinfo=UTC), "0-shot")
    }
    assert verdicts(found) == {"0": 1.0, "1": 0.0} and about.tool == "lm-evaluation-harness 0.4.9"


def test_samples_alone_need_model_and_time(tmp_path):
    path = tmp_path / NAME
    shutil.copy(sample("lm-eval"), path)
    assert "model: no model: samples do not name it. Lay the results_*.json of the run beside it" in refusal(path)
    assert "run_at: no time of the run: samples do not hold it" in refusal(path, ReadOptions(model="m"))
    assert verdicts(read(path, GIVEN)) == {"0": 1.0, "1": 0.0}


def test_another_runs_results_do_not_serve(tmp_path):
    shutil.copy(sample("lm-eval"), tmp_path / NAME)
    results(tmp_path).rename(tmp_path / "results_2026-11-08T10-00-00.000000.json")
    assert "no model" in refusal(tmp_path / NAME)


def test_an_upload_keeps_its_task_in_the_name_the_person_gave(tmp_path):
    path = written(tmp_path, lines({}), "upload.bin")
    assert "suite: no task" in refusal(path, GIVEN)
    options = ReadOptions(run_at=AT, model="m", file_name=NAME)
    assert read(path, options)[0].suite == "ticket_triage"
    assert read(path, ReadOptions(run_at=AT, model="m", suite="tickets@2"))[0].suite_version == "2"


def test_a_results_file_holds_no_cases(tmp_path):
    said = refusal(results(tmp_path))
    assert "is a results file, which holds averages and no cases. Import the samples_*.jsonl beside it" in said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_name": "anthropic/claude-opus-4-8"}, "claude-opus-4-8"),
        ({"model_name": None, "config": {"model_args": "model=claude-opus-4-8,max_tokens=3"}}, "claude-opus-4-8"),
        ({"model_name": None, "config": {"model_args": {"model": "claude-opus-4-8"}}}, "claude-opus-4-8"),
        ({"model_name": None, "config": {"model_args": '{"model": "claude-opus-4-8"}'}}, "claude-opus-4-8"),
    ],
)
def test_where_the_model_stands(tmp_path, change, expected):
    results(tmp_path, **change)
    assert read(written(tmp_path, lines({}), NAME))[0].candidate == expected


@pytest.mark.parametrize(
    ("config", "configs", "mode"),
    [
        ({}, {}, ""),
        ({"gen_kwargs": "temperature=0.0,top_p=1"}, {}, "temperature=0"),
        ({"gen_kwargs": {"temperature": 0.0}}, {}, "temperature=0"),
        ({}, {"ticket_triage": {"generation_kwargs": {"temperature": 0.7, "until": ["x"]}}}, "temperature=0.7"),
        ({"model_args": "model=m,reasoning_effort=low"}, {}, "effort=low"),
    ],
)
def test_mode(tmp_path, config, configs, mode):
    results(tmp_path, config=config, configs=configs)
    assert read(written(tmp_path, lines({}), NAME))[0].mode == mode


# -- metrics and filters -------------------------------------------------------------------------------------------


def test_the_first_metric_judges_and_another_can_be_named(tmp_path):
    path = written(tmp_path, lines({"metrics": ["acc", "acc_norm"], "acc": 1.0, "acc_norm": 0.0}), NAME)
    assert [r.score for r in read(path, GIVEN)] == [1.0]
    assert told(path, GIVEN).warnings == ["Cases are judged by acc; the file also has acc_norm (--metric)."]
    named = ReadOptions(run_at=AT, model="m", metric="acc_norm")
    assert [r.score for r in read(path, named)] == [0.0] and told(path, named).warnings == []


def test_one_of_several_filters_judges(tmp_path):
    filters = {"strict": 0.0, "flexible": 1.0}
    rows = [{"doc_id": n, "filter": name, "exact_match": filters[name]} for n in (0, 1) for name in filters]
    path = written(tmp_path, lines(*rows), NAME)
    assert verdicts(read(path, GIVEN)) == {"0": 0.0, "1": 0.0}
    assert told(path, GIVEN).warnings == [
        "Answers were read by the filter strict; the file also has flexible. Name another with --metric "
        "exact_match,FILTER."
    ]
    other = ReadOptions(run_at=AT, model="m", metric="exact_match,flexible")
    assert verdicts(read(path, other)) == {"0": 1.0, "1": 1.0}
    said = refusal(path, ReadOptions(run_at=AT, model="m", metric="exact_match,nosuch"))
    assert said == f"{NAME}: metric = 'nosuch': no sample has this filter. The file has: flexible, strict."


@pytest.mark.parametrize(
    ("value", "score"), [(1, 1.0), (0.0, 0.0), (True, 1.0), (0.5, 0.5), (None, None), (float("nan"), None)]
)
def test_values(tmp_path, value, score):
    (found,) = read(written(tmp_path, lines({"exact_match": value}), NAME), GIVEN)
    assert (found.score, found.error) == (score, "" if score is not None else "no verdict")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"exact_match": 12.5}, "exact_match = 12.5: is outside 0 … 1"),
        ({"exact_match": [0.1, 5]}, "exact_match = [0.1, 5]: is not a number"),
        ({"metrics": []}, "metrics: names no metric"),
        ({"metrics": ["bleu"]}, "metric = 'bleu': is no metric of the sample. It has: bleu"),
        ({"doc_id": None}, "doc_id: no id of the case"),
        ({"doc_id": 10**600}, "601 characters"),
    ],
)
def test_samples_that_cannot_be_read(tmp_path, change, words):
    (said,) = rejected(written(tmp_path, lines(change), NAME), GIVEN)
    assert words in said and said.startswith(f"{NAME}, line 1: ")


def test_a_metric_of_which_less_is_better_is_no_score(tmp_path):
    results(tmp_path, higher_is_better={"ticket_triage": {"exact_match": False}})
    (said,) = rejected(written(tmp_path, lines({}), NAME))
    assert "metric = 'exact_match': cannot be a score. A lower value of it is better" in said


@pytest.mark.parametrize(
    ("date", "words"), [("soon", "is not a number"), (1e30, "is no time"), (float("nan"), "is not finite")]
)
def test_a_date_that_is_none(tmp_path, date, words):
    results(tmp_path, date=date)
    assert words in refusal(written(tmp_path, lines({}), NAME))


def test_a_truncated_line_is_named(tmp_path):
    content = lines({}, {})
    (said,) = rejected(written(tmp_path, content[:-20], NAME), GIVEN)
    assert said.startswith(f"{NAME}, line 2: is not JSON at column")


def test_a_class_stands_in_the_doc(tmp_path):
    path = written(tmp_path, lines({"doc": {"request_class": "classify", "class": "a label"}}, {"doc": {}}), NAME)
    options = ReadOptions(run_at=AT, model="m", request_class="given")
    assert [r.request_class for r in read(path, options)] == ["classify", "given"]
