"""Remarks of an import stay few, however odd the file."""

from dataclasses import replace

from billing.operations.import_findings import FINDINGS_SHOWN, request_findings, unknown_model_findings
from billing.queries.import_pages import MODELS_SHOWN, ModelBrought, _largest
from billing.store import Summary


def test_of_many_unknown_models_the_largest_are_named_and_the_others_counted() -> None:
    found = unknown_model_findings([(number, f"m-{number:06d}") for number in range(1, 100_001)])
    assert len(found) == FINDINGS_SHOWN + 1
    assert found[0].startswith("Unknown model m-100000 (100,000 tokens): listed as unpriced.")
    # 1 + … + 99,980 tokens
    assert found[-1] == "… and 99,980 more unknown models (4,998,050,190 tokens), unpriced as well."


def test_one_request_and_many() -> None:
    one = Summary(1, 0, 1, 1, None, None, (), 1)
    assert request_findings(one) == [
        "1 request tells cache writes without their lifetime: counted as 5-minute writes.",
        "1 answer came from LiteLLM's own cache: no tokens of the provider.",
        "1 request is unclassified.",
    ]
    many = request_findings(replace(one, split_assumed=1_200, gateway_cache_hits=2, unclassified=0))
    assert [text[:19] for text in many] == ["1,200 requests tell", "2 answers came from"]


def test_few_are_all_named() -> None:
    found = unknown_model_findings([(5, "a"), (7, "b")])
    assert [text.split(":")[0] for text in found] == ["Unknown model b (7 tokens)", "Unknown model a (5 tokens)"]
    assert unknown_model_findings([]) == []


def test_what_many_models_brought_is_whole_in_few_rows() -> None:
    rows = [ModelBrought(f"m-{number:06d}", 2, number) for number in range(1, 100_001)]
    shown = _largest(rows)
    assert len(shown) == MODELS_SHOWN + 1
    assert sum(row.tokens for row in shown) == 5_000_050_000
    assert sum(row.requests or 0 for row in shown) == 200_000
    assert shown[-1].model == f"({100_000 - MODELS_SHOWN:,} other models)"
    assert _largest(rows[:3]) == tuple(rows[:3])
    unknown = _largest([ModelBrought(f"m-{number}", None, 1) for number in range(MODELS_SHOWN + 1)])
    assert unknown[-1].requests is None
