"""Files that tell input tokens and nothing of the cache: how long their prompts were is not known, and they say so.

Without all kinds of input tokens a result takes no part in the comparison of tokens; nobody must find that out from a
saving that is called assumed.
"""

import pytest

from routing.core.eval_columns import EvalColumns
from routing.importers import ReadOptions
from tests.importers.evals.reading import AT, document, read, sample, told, written

SAID = "so their tokens are not compared between models"
HEADER = "suite,request_class,sample_id,model,run_at,passed,output_tokens,input_tokens"
ROW = "s,c,T-1,claude-haiku-4-5,2026-11-09T10:00:00Z,true,9,412"
ALL = {"cache_read_tokens": 3, "cache_write_5m_tokens": 2, "cache_write_1h_tokens": 0}


def csv_file(folder, cached):
    header, row = ",".join([HEADER, *cached]), ",".join([ROW, *map(str, cached.values())])
    return written(folder, f"{header}\n{row}\n", "results.csv")


def junit_file(folder, cached):
    facts = {"model": "claude-haiku-4-5", "input_tokens": 412, "output_tokens": 9} | cached
    rows = "".join(f'<property name="{name}" value="{value}"/>' for name, value in facts.items())
    case = f'<testcase classname="x" name="T-1" time="0.2"><properties>{rows}</properties></testcase>'
    suite = f'<testsuite name="s" timestamp="2026-11-09T10:00:00+00:00">{case}</testsuite>'
    return written(folder, f"<testsuites>{suite}</testsuites>", "results.xml")


@pytest.mark.parametrize("make", [csv_file, junit_file], ids=["csv", "junit"])
@pytest.mark.parametrize("missing", [*ALL, None])
def test_a_prompt_is_known_once_all_kinds_are(tmp_path, make, missing):
    path = make(tmp_path, {name: count for name, count in ALL.items() if name != missing})
    (result,) = read(path)
    said = " ".join(told(path).warnings)
    if missing is None:
        assert result.input_tok == 417 and SAID not in said
    else:
        assert result.input_tok is None and SAID in said and "Tell all three, 0 where nothing is cached" in said


def test_a_file_without_tokens_has_nothing_to_say(tmp_path):
    path = written(tmp_path, "suite,sample_id,model,run_at,passed\ns,T-1,m,2026-11-09T10:00:00Z,true\n", "results.csv")
    assert told(path).warnings == []


def test_deepeval_cannot_tell_and_says_so(tmp_path):
    run = document("deepeval")
    for case in run["testRunData"]["testCases"] if "testRunData" in run else run["testCases"]:
        case |= {"inputTokenCount": 412, "outputTokenCount": 9}
    path = written(tmp_path, run, sample("deepeval").name)
    counted = [result for result in read(path) if result.uncached_input_tok]
    assert counted and all(result.input_tok is None for result in counted)
    assert [SAID in sentence for sentence in told(path).warnings].count(True) == 1


@pytest.mark.parametrize(
    ("fields", "says_so"),
    [
        ({"tok": "input_uncached"}, True),
        ({"tok": "input_uncached", "r": "cache_read", "w5": "cache_write_5m", "w1": "cache_write_1h"}, False),
        ({"tok": "input_with_cache"}, False),
        ({"tok": "input_with_cache", "r": "cache_read"}, False),
    ],
)
def test_a_table_of_ones_own_that_tells_whole_prompts_is_comparable(tmp_path, fields, says_so):
    path = written(tmp_path, "case,llm,ok,tok,r,w5,w1\nT-1,m,1,412,12,0,0\n", "t.csv")
    columns = EvalColumns(columns={"case": "sample_id", "llm": "model", "ok": "passed", **fields})
    options = ReadOptions(columns=columns, suite="s", run_at=AT)
    (result,) = read(path, options)
    assert any(SAID in sentence for sentence in told(path, options).warnings) is says_so
    assert (result.input_tok is None) is says_so
