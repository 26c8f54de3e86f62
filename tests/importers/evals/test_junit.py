"""JUnit XML: what counts as failed, what is left out, and XML that wants something else."""

import gzip
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from routing.importers import ReadOptions, importer_named
from tests.importers.evals.reading import AT, read, refusal, rejected, told, verdicts, written

HEAD = '<testsuite name="triage@2" timestamp="2026-11-23T17:58:44.659694+00:00">'


def properties(**facts):
    rows = "".join(f'<property name="{name}" value="{value}"/>' for name, value in facts.items())
    return f"<properties>{rows}</properties>"


def case(inside="", *, name="T-1", facts=None, attributes='classname="test_x" time="0.25"'):
    facts = {"model": "claude-haiku-4-5"} if facts is None else facts
    return f'<testcase {attributes} name="{name}">{properties(**facts)}{inside}</testcase>'


def suite(folder, *cases, head=HEAD, name="results.xml"):
    return written(folder, f"<testsuites>{head}{''.join(cases)}</testsuite></testsuites>", name)


# -- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ("", 1.0),
        ('<failure message="assert 1 == 2"/>', 0.0),
        ('<failure message="AssertionError: expected Negative"/>', 0.0),
        ('<failure message="Failed: DID NOT RAISE"/>', 0.0),
        ('<failure type="AssertionError" message="boom"/>', 0.0),
        ('<failure type="org.opentest4j.AssertionFailedError" message="x"/>', 0.0),
        ('<failure type="org.junit.ComparisonFailure" message="x"/>', 0.0),
        ('<failure message="Error: expect(received).toBe(expected)"/>', 0.0),
        ("<failure>no attributes at all</failure>", 0.0),
        ('<failure message="RuntimeError: overloaded_error"/>', "overloaded_error"),
        ('<failure type="java.net.SocketTimeoutException" message="secret"/>', "timeout"),
        ('<failure message="json.decoder.JSONDecodeError: secret"/>', "jsondecodeerror"),
        ('<failure message="KeyError: secret"/>', "keyerror"),
        ('<error message="failed on setup with &quot;RuntimeError: rate_limit_error&quot;"/>', "rate_limit_error"),
        ("<error/>", "error"),
        ('<skipped type="pytest.skip" message="provider outage"/>', "skipped"),
        ('<failure message="assert 0"/><error message="teardown broke: OSError"/>', "oserror"),
        ("<system-out>secret</system-out>", 1.0),
    ],
)  # fmt: skip
def test_what_counts(tmp_path, inside, expected):
    path = suite(tmp_path, case(inside))
    assert verdicts(read(path)) == {"test_x::T-1": expected}
    assert "secret" not in repr(read(path)) and "outage" not in repr(read(path))


def test_exceptions_are_said_with_their_names(tmp_path):
    cases = [case(f'<failure message="{name}: x"/>', name=name) for name in ("KeyError", "OSError", "KeyError")]
    assert told(suite(tmp_path, *cases)).warnings == [
        "3 tests ended in an exception that is no assertion (KeyError, OSError): left out, not failed. Assert on the "
        "answer where such a case should count as failed."
    ]


@pytest.mark.parametrize(
    ("inside", "score", "attempts"),
    [
        ("<flakyFailure/>", 0.5, 2),
        ("<rerunFailure/><rerunFailure/>", 1 / 3, 3),
        ('<rerun/><failure message="assert 0"/>', 0.0, 2),
        ("", 1.0, None),
    ],
)
def test_passing_after_a_rerun_is_a_share_of_the_tries(tmp_path, inside, score, attempts):
    (r,) = read(suite(tmp_path, case(inside)))
    assert (r.score, r.attempts) == (score, attempts)


# -- facts ---------------------------------------------------------------------------------------------------------

FACTS = {
    "model": "anthropic/claude-opus-4-8", "request_class": "classify", "suite": "own@7", "sample_id": "S-1",
    "input_tokens": 120, "cache_read_tokens": 1, "cache_write_5m_tokens": 5200, "cache_write_1h_tokens": 0,
    "output_tokens": 9, "cost_usd": "0.5", "latency_ms": 612.5, "score": 0.75, "attempts": 3, "repeat": 2,
    "prompt_version": "v3", "thinking": 1024, "effort": "low",
}  # fmt: skip


def test_properties_are_the_facts_of_a_case(tmp_path):
    (r,) = read(suite(tmp_path, case(facts=FACTS)))
    assert (r.suite, r.suite_version, r.sample_id, r.candidate, r.request_class) == (
        "own", "7", "S-1", "claude-opus-4-8", "classify",
    )  # fmt: skip
    assert (r.uncached_input_tok, r.cache_read_tok, r.cache_write_5m_tok, r.cache_write_1h_tok, r.output_tok) == (
        120, 1, 5_200, 0, 9,
    )  # fmt: skip
    assert (r.cost_usd, r.latency_ms, r.graded_score, r.attempts) == (Decimal("0.5"), 612.5, 0.75, 3)
    assert (r.repeat, r.prompt_version, r.mode) == ("2", "v3", "thinking=1024 effort=low")
    assert r.run_at == datetime(2026, 11, 23, 17, 58, 44, 659694, UTC)


def test_properties_of_the_suite_serve_its_cases(tmp_path):
    head = HEAD + properties(model="claude-opus-4-8", request_class="classify")
    own, inherited = read(suite(tmp_path, case(), case(name="T-2", facts={}), head=head))
    assert (own.candidate, inherited.candidate) == ("claude-haiku-4-5", "claude-opus-4-8")
    assert {own.request_class, inherited.request_class} == {"classify"}


def test_the_only_model_of_the_file_serves_tests_that_broke_before_they_named_it(tmp_path):
    path = suite(tmp_path, case(), case("<skipped/>", name="T-2", facts={}))
    assert {r.candidate for r in read(path)} == {"claude-haiku-4-5"}
    assert told(path).warnings == ["1 test names no model: it counts for claude-haiku-4-5, the only one that is named."]
    two = suite(tmp_path, case(), case(name="b", facts={"model": "claude-opus-4-8"}), case(name="c", facts={}))
    (said,) = rejected(two)
    assert "results.xml, line 1, test c: model: no model. Say record_property" in said
    assert len(read(two, ReadOptions(model="claude-sonnet-4-6"))) == 3


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [("pytest", "", ("pytest", "1")), ("pytest", "triage@4", ("triage", "4")), ("own@2", "triage", ("own", "2"))],
)
def test_the_name_pytest_is_none(tmp_path, name, option, expected):
    (r,) = read(suite(tmp_path, case(), head=HEAD.replace("triage@2", name)), ReadOptions(suite=option))
    assert (r.suite, r.suite_version) == expected


def test_a_suite_without_a_time_needs_it(tmp_path):
    path = suite(tmp_path, case(), head='<testsuite name="x">')
    assert "timestamp: no time of the run. Say when the tests were run (--run-at)" in rejected(path)[0]
    assert read(path, ReadOptions(run_at=AT))[0].run_at == AT


def test_time_is_the_latency_in_seconds(tmp_path):
    assert [r.latency_ms for r in read(suite(tmp_path, case(), case("<skipped/>", name="b")))] == [250.0, None]


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"input_tokens": "many"}, "input_tokens = 'many': is not a number"),
        ({"cost_usd": "1e400"}, "cost_usd = '1e400': is not finite"),
        ({"score": "NaN"}, "score = 'NaN': is not finite"),
        ({"score": 2}, "score = '2': is outside 0 … 1"),
        ({"attempts": 0}, "attempts = '0': is no number of attempts"),
        ({"output_tokens": "9" * 5_000}, "output_tokens = "),
        ({"sample_id": "x" * 600}, "600 characters"),
    ],
)
def test_properties_that_are_wrong(tmp_path, facts, words):
    (said,) = rejected(suite(tmp_path, case(facts={"model": "m"} | facts)))
    assert words in said and said.startswith("results.xml, line 1, test T-1: ")


# -- XML -----------------------------------------------------------------------------------------------------------


def test_a_suite_without_testsuites_around_it(tmp_path):
    assert len(read(written(tmp_path, f"{HEAD}{case()}</testsuite>", "r.xml"))) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path, encoding):
    content = f'<?xml version="1.0" encoding="{encoding}"?>{HEAD}{case(name="Tür")}</testsuite>'
    assert list(verdicts(read(written(tmp_path, content.encode(encoding), "r.xml")))) == ["test_x::Tür"]


def test_many_tests_with_long_texts_take_no_memory(tmp_path):
    long = "x" * 100_000
    cases = [case(f'<failure message="{long}">{long}</failure>', name=f"T-{n}") for n in range(200)]
    path = suite(tmp_path, *cases)
    tracemalloc.start()
    try:
        assert sum(1 for _ in importer_named("junit").read(path)) == 200
        assert tracemalloc.get_traced_memory()[1] < 4 << 20 < path.stat().st_size
    finally:
        tracemalloc.stop()


def test_packed(tmp_path):
    path = suite(tmp_path, case())
    assert read(written(tmp_path, gzip.compress(path.read_bytes()), "r.xml.gz")) == read(path)


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "prolog",
    [
        f"{BOMB}]>",
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://example.com/x.dtd">',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "x"> %p;]>',
        "<!DOCTYPE testsuites>",
    ],
    ids=["bomb", "file", "address", "parameter", "bare"],
)
def test_document_types_are_refused(tmp_path, prolog):
    content = f'<?xml version="1.0"?>{prolog}{HEAD}{case(name="&i;" if "ENTITY i" in prolog else "a")}</testsuite>'
    said = refusal(written(tmp_path, content, "r.xml"))
    assert (
        said == "r.xml, line 1: declares a document type. No runner writes one: remove it, it can only hide something."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"{HEAD}{case()}", "is not complete XML at column"),
        (f'{HEAD}<testcase name="a', "is not complete XML at column"),
        (f"{HEAD}{case()}</testsuites>", "mismatched tag"),
        (f"{HEAD}<testcase name='&x;'/></testsuite>", "undefined entity"),
        ("<testsuites></testsuites>", "holds no test case"),
        ("<testsuites>" + "<a>" * 1_000, "is nested too deeply"),
        ('<?xml version="1.0" encoding="nosuch"?><testsuites/>', "encoding"),
        ('<?xml version="1.0" encoding="shift_jis"?><testsuites/>', "encoding"),
        (f"{HEAD}\x00{case()}</testsuite>", "not well-formed"),
    ],
    ids=["open", "cut", "crossed", "entity", "empty", "deep", "unknown", "multibyte", "null"],
)
def test_xml_that_cannot_be_read(tmp_path, content, words):
    said = refusal(written(tmp_path, content, "r.xml"))
    assert words in said and said.startswith("r.xml")


def test_a_latin_byte_in_utf8_is_said(tmp_path):
    assert "not well-formed" in refusal(written(tmp_path, f'{HEAD}<testcase name="é"/>'.encode("latin-1"), "r.xml"))
