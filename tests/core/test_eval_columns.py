"""The mapping of a table of evals: its document, what contradicts itself, and what is guessed of a header."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routing.core.eval_columns import (
    FIELDS,
    SCHEMA,
    ColumnsError,
    EvalColumns,
    contradictions,
    guess,
    parse_eval_columns,
)

GOOD = {"schema": SCHEMA, "columns": {"id": "sample_id", "ok": "passed"}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "costgov.eval_columns/2"}, "this version reads 'costgov.eval_columns/1'"),
        ({"schema": 1}, "schema must be text"),
        ({"columns": {}}, "columns names 0 columns"),
        ({"columns": []}, "columns must be an object"),
        ({"columns": {"a": "nosuch"}}, "a field is one of sample_id, model"),
        ({"columns": {"a" * 300: "score"}}, "at most 255 characters"),
        ({"columns": {"a\n b": "score"}}, "write plain text"),
        ({"columns": {str(n): "score" for n in range(600)}}, "name 1 to 500"),
        ({"constants": {"cost_usd": "1"}}, "'cost_usd' is not one of suite, model, request_class, mode"),
        ({"constants": {"model": 3}}, "constants: model must be text"),
        ({"score_max": 0}, "write the best score there is"),
        ({"score_max": True}, "score_max must be a number"),
        ({"score_max": float("nan")}, "write the best score there is"),
        ({"pass_at": 1.5}, "write a share above 0"),
        ({"pass_at": 0}, "write a share above 0"),
        ({"time_format": "us"}, "use one of iso, epoch_s, epoch_ms"),
        ({"delimiter": "|"}, "a comma, a semicolon or a tab"),
        ({"colums": {}}, "unknown key 'colums'"),
    ],
)
def test_documents_that_are_no_mapping(change, words):
    with pytest.raises(ColumnsError) as caught:
        parse_eval_columns(GOOD | change)
    assert words in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"schema": SCHEMA}])
def test_shapes_that_are_no_document(document):
    with pytest.raises(ColumnsError):
        parse_eval_columns(document)


@pytest.mark.parametrize(
    ("columns", "settings", "header", "said"),
    [
        ({"id": "sample_id", "ok": "passed"}, {}, "id ok", []),
        ({"ok": "passed"}, {}, "id ok", ["no column says which case a row is."]),
        ({"id": "sample_id"}, {}, "id ok", ["no column says how a case did."]),
        ({"id": "sample_id", "x": "passed"}, {}, "id ok", ["x: the table has no such column."]),
        ({"id": "sample_id", "ok": "passed"}, {}, "id ok ok", ["ok: the table has this column twice."]),
        ({"id": "sample_id", "a": "passed", "b": "passed"}, {}, "id a b", ["b: a and b both say passed or failed."]),
        (
            {"id": "sample_id", "ok": "passed", "m": "model"}, {"constants": {"model": "x"}}, "id ok m",
            ["m: the model is read from the column and also set to x."],
        ),
        (
            {"id": "sample_id", "ok": "passed", "a": "latency_ms", "b": "latency_s"}, {}, "id ok a b",
            ["b: two columns say the latency."],
        ),
        (
            {"id": "sample_id", "ok": "passed", "a": "input_uncached", "b": "input_with_cache"}, {}, "id ok a b",
            ["b: two columns say the input tokens."],
        ),
        (
            {"input": "sample_id", "ok": "passed"}, {}, "input ok",
            ["input: its name says that it holds what was asked or answered, and would be kept as the id of the case."],
        ),
        ({"id": "sample_id", "s": "score"}, {"pass_at": 0.5}, "id s", []),
        ({"id": "sample_id", "ok": "passed"}, {"pass_at": 0.5}, "id ok", ["there is no score", "passed or failed"]),
        ({"id": "sample_id", "meta.ok": "passed"}, {}, "id meta", []),
    ],
)  # fmt: skip
def test_contradictions(columns, settings, header, said):
    found = [str(item) for item in contradictions(EvalColumns(columns=columns, **settings), header.split())]
    assert len(found) == len(said)
    for words, text in zip(said, found, strict=True):
        assert words.rstrip(".") in text and text.endswith(".")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("id,model,score", {"id": "sample_id", "model": "model", "score": "score"}),
        ("Example ID,id,Model Name,Passed", {"Example ID": "sample_id", "Model Name": "model", "Passed": "passed"}),
        ("promptTokens,outputTokens,input_tokens", {"promptTokens": "input_with_cache", "outputTokens": "output"}),
        ("latency,latency_ms", {"latency_ms": "latency_ms"}),
        ("scores.a,scores.b", {}),
        ("scores.a", {"scores.a": "score"}),
        ("input,output,expected", {}),
        ("id,id", {}),
    ],
)  # fmt: skip
def test_guesses(header, expected):
    assert guess(header.split(",")).columns == expected


@given(st.lists(st.text(max_size=20), max_size=12), st.lists(st.text(max_size=20), max_size=12))
def test_a_guess_uses_a_column_and_a_field_once_and_only_columns_that_exist(header, row):
    found = guess(header, row).columns
    assert set(found.values()) <= set(FIELDS) and len(set(found.values())) == len(found)
    assert not [c for c in contradictions(EvalColumns(found), [name.strip() for name in header]) if c.place]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=10) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the document
@given(st.dictionaries(st.sampled_from(["schema", "columns", "constants", "score_max", "pass_at", "delimiter"]), JSON))
def test_any_document_is_a_mapping_or_an_error_that_says_why(document):
    try:
        assert isinstance(parse_eval_columns({**GOOD, **document}), EvalColumns)
    except ColumnsError as error:
        assert str(error)
