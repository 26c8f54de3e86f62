"""The committed parameter tables: derived by the committed script, each row with its origin, true to the data sets."""

import csv
import gzip
import os
from collections import Counter
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from costgov.demo import derive, tables
from costgov.demo.eval_files import EVAL_FILES, GENERATED, suite_results
from costgov.demo.organisation import HAIKU_45, OPUS_45, OPUS_46, SONNET_45, SONNET_46

SHARED = os.environ.get("COSTGOV_SHARED")
needs_data = pytest.mark.skipif(not SHARED, reason="COSTGOV_SHARED does not name the folder of the public data sets")
TABLES = sorted(path.name for path in tables.FOLDER.iterdir())


@needs_data
def test_the_script_derives_exactly_the_committed_tables():
    derived = derive.derive(Path(str(SHARED)) / "data")
    assert sorted(derived) == TABLES
    for name, text in derived.items():
        assert (tables.FOLDER / name).read_text() == text, name


@pytest.mark.parametrize("name", TABLES)
def test_every_row_names_source_licence_and_script(name):
    for row in tables.rows(name):
        assert row["file"].split("/")[0] in {"traces", "evals", "usage", "series"}
        assert "@" in row["source"] and row["licence"] in {"Apache-2.0", "MIT", "CC BY 4.0", "BSD-3-Clause"}
        assert row["script"] == "costgov/demo/derive.py"


def _ranks(values):
    """Ranks with ties averaged."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - counts / 2)[inverse]


@needs_data
def test_drawn_sizes_have_the_shape_of_the_trace():
    """Mean, median and rank correlation of a large draw against the trace itself (Claude Code main agents)."""
    real = []
    with gzip.open(Path(str(SHARED)) / "data/traces/claude_code_requests_a.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["agent"] == "main" and int(row["input_tokens"]) <= 200_000:
                reuse = int(row["reuse_tokens_5m"])
                real.append((64 * int(row["prefix_blocks"]) - reuse, reuse, int(row["output_tokens"])))
    names = ("cache_write_5m", "cache_read", "output")
    expected = dict(zip(names, np.array(real).T, strict=True))
    drawn = tables.sizes("agentic-coding").draw(np.random.default_rng(1), 100_000)
    for name in names:
        assert drawn[name].mean() == pytest.approx(expected[name].mean(), rel=0.05)
        assert np.median(drawn[name]) == pytest.approx(np.median(expected[name]), rel=0.03)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        pair = (names[one], names[other])
        found, wanted = (np.corrcoef(*(_ranks(values[name]) for name in pair))[0, 1] for values in (drawn, expected))
        assert found == pytest.approx(wanted, abs=0.03), pair


@needs_data
def test_reuse_facts_sum_to_the_totals_the_data_set_states():
    row = tables.reuse("long-document-chat")
    assert row is not None
    assert (row["requests"], row["input_tok"]) == ("5719", "73604194")
    assert (row["reuse_5m_tok"], row["reuse_1h_tok"]) == ("20693275", "25550618")


# Published counts: (suite, model) -> passes, cases, cost in usd.
PUBLISHED = {
    ("swe-bench", OPUS_45): (383, 500, "897.65414735"),
    ("swe-bench", OPUS_46): (384, 500, "385.97496535"),
    ("swe-bench", SONNET_45): (371, 500, "575.27995165"),
    ("swt-bench", OPUS_45): (340, 433, "580.28123685"),
    ("swt-bench", OPUS_46): (341, 433, "186.1585367"),
    ("swt-bench", SONNET_45): (298, 430, "402.47975655"),
}


@pytest.mark.parametrize(("suite", "model"), PUBLISHED)
def test_benchmark_files_reproduce_passes_and_cost(suite, model):
    results = [row for row in suite_results(suite) if row.model == model]
    passes, cases, cost = PUBLISHED[suite, model]
    assert (sum(row.passed for row in results), len(results)) == (passes, cases)
    assert len({row.sample_id for row in results}) == cases
    assert sum(row.cost_usd or 0 for row in results) == Decimal(cost)
    assert all(row.cost_usd is not None and row.cost_usd >= 0 for row in results)


# Joint outcomes in the order Opus 4.5, Opus 4.6, Sonnet 4.5 ('-' = no row), as counted in the data set.
JOINT = {
    "swe-bench": {"111": 332, "000": 81, "110": 28, "011": 14, "101": 13, "001": 12, "010": 10, "100": 10},
    "swt-bench": {"111": 255, "000": 56, "110": 54, "101": 19, "011": 16, "010": 13, "100": 9, "001": 8, "11-": 3},
}


@pytest.mark.parametrize("suite", JOINT)
def test_benchmark_files_reproduce_joint_passes(suite):
    outcome = {(row.sample_id, row.model): "01"[row.passed] for row in suite_results(suite)}
    ids = {sample_id for sample_id, _ in outcome}
    joint = Counter("".join(outcome.get((one, model), "-") for model in (OPUS_45, OPUS_46, SONNET_45)) for one in ids)
    assert joint == JOINT[suite]


@pytest.mark.parametrize(
    ("model", "passes", "input_tok", "output_tok"),
    [(OPUS_46, 50, 517_521, 61_283), (SONNET_46, 48, 561_128, 67_103), (HAIKU_45, 54, 546_648, 69_289)],
)
def test_bashkit_file_reproduces_passes_and_tokens(model, passes, input_tok, output_tok):
    results = [row for row in suite_results("bashkit") if row.model == model]
    assert (len(results), sum(row.passed for row in results)) == (58, passes)
    assert sum(row.input_tok or 0 for row in results) == input_tok
    assert sum(row.output_tok or 0 for row in results) == output_tok
    assert all(row.input_tok and row.output_tok for row in results)


@pytest.mark.parametrize(("model", "passes"), [(OPUS_45, 90), (OPUS_46, 90), (SONNET_46, 90), (HAIKU_45, 76)])
def test_sveltebench_file_has_nine_cases_of_ten_runs(model, passes):
    results = [row for row in suite_results("sveltebench") if row.model == model]
    assert (len(results), sum(row.passed for row in results)) == (90, passes)
    assert Counter(Counter(row.sample_id for row in results).values()) == {10: 9}


@pytest.mark.parametrize("suite", GENERATED, ids=lambda suite: suite.name)
def test_generated_suites_lie_near_their_stated_true_rates(suite):
    assert 400 <= suite.cases <= 500
    results = suite_results(suite.name)
    for model, rate in suite.rates.items():
        passes = sum(row.passed for row in results if row.model == model)
        assert abs(passes - rate * suite.cases) <= 3 * (suite.cases * rate * (1 - rate)) ** 0.5


def test_only_models_with_the_old_tokenizer_occur():
    used = {row.model for file in EVAL_FILES for row in file.results()}
    assert used <= {OPUS_45, OPUS_46, SONNET_45, SONNET_46, HAIKU_45}
