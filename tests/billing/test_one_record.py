"""One request told by several logs: one record with what each of them knows, whatever the order of the imports."""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import DailyUsage, Import
from billing.operations.imports import ImportOptions, import_file
from billing.queries.imports import request_store, stored_imports
from billing.store.values import STORE_COLUMNS
from tests.billing.conftest import AS_OF, ImportIt
from tests.billing.worlds import Row, daily_rows, rollup_rows, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

NAMED = {"workspace_id": "wrkspc_a", "api_key_id": "apikey_a", "organization_id": "org_a"}
Maker = Callable[[Path, str], tuple[str, Path]]


def log(*rows: dict[str, Any], source: str = "Request logs") -> Maker:
    return lambda folder, name: (source, write_lines(folder / f"{name}.jsonl", rows))


def bare(number: int, **over: Any) -> dict[str, Any]:
    """A request log that tells neither organisation, workspace nor key, tier nor speed."""
    row = envelope(number, **{"workspace_id": None, "api_key_id": None, "organization_id": None, **over})
    usage = {key: value for key, value in row["response"]["usage"].items() if key not in ("service_tier", "speed")}
    row["response"] = {**row["response"], "usage": usage}
    return row


def span(number: int, *, output: int = 10, written: int = 0) -> dict[str, Any]:
    attributes = {
        "gen_ai.operation.name": {"stringValue": "chat"},
        "gen_ai.provider.name": {"stringValue": "anthropic"},
        "gen_ai.request.model": {"stringValue": "claude-haiku-4-5"},
        "gen_ai.response.model": {"stringValue": "claude-haiku-4-5"},
        "gen_ai.response.id": {"stringValue": f"msg_{number:06}"},
        "gen_ai.usage.input_tokens": {"intValue": "100"},
        "gen_ai.usage.output_tokens": {"intValue": str(output)},
    }
    if written:
        attributes["gen_ai.usage.cache_creation.input_tokens"] = {"intValue": str(written)}
    return {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "startTimeUnixNano": "1794214800250000000",  # 2026-11-09 09:00:00.25 UTC
        "endTimeUnixNano": "1794214801250000000",
        "attributes": [{"key": key, "value": value} for key, value in attributes.items()],
    }


def trace(*spans: dict[str, Any]) -> Maker:
    def write(folder: Path, name: str) -> tuple[str, Path]:
        scope = {"scopeSpans": [{"spans": list(spans)}], "resource": {"attributes": []}}
        return "OpenTelemetry", write_json(folder / f"{name}.json", {"resourceSpans": [scope]})

    return write


def gateway(*numbers: int, **over: Any) -> Maker:
    rows = [payload(number, 1_794_214_800.125, **over) for number in numbers]
    return lambda folder, name: ("LiteLLM", write_lines(folder / f"{name}.jsonl", rows))


def day_report(**over: Any) -> Maker:
    day = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
    return lambda folder, name: ("report", write_json(folder / f"{name}.json", report((*day, [result(**over)]))))


def bring(makers: list[Maker], order: tuple[int, ...], folder: Path) -> None:
    for index in order:
        source, path = makers[index](folder, f"file-{index}")
        options = ImportOptions(source=source, answers={"input_includes_cache": "no"} if "Tele" in source else {})
        import_file(actor=None, path=path, as_of=AS_OF, options=options)


def records() -> list[Row]:
    """What is stored of each request, but which import brought it."""
    store = request_store()
    names = [name for name in STORE_COLUMNS if name not in ("import_id", "source_id")]
    files = store.files(stored_imports())
    if not files:
        return []
    with store.engine("test") as engine:
        listed = ", ".join(f"'{name}'" for name in files)
        return sorted(engine.query(f"SELECT {', '.join(names)} FROM read_parquet([{listed}])"), key=repr)


def found(makers: list[Maker], order: tuple[int, ...]) -> tuple[list[Row], list[Row], list[Row]]:
    with throw_away_installation() as folder:
        bring(makers, order, folder)
        first = daily_rows(), rollup_rows(), records()
        bring(makers, order, folder)  # again: nothing changes
        assert (daily_rows(), rollup_rows(), records()) == first
        return first


LIKE_LITELLM = {
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 30,
    "cache_creation": {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 0},
}
BATCH = {"service_tier": "batch", "inference_geo": "us"}
CASES: dict[str, tuple[list[Maker], dict[str, Any]]] = {
    "span and log": (
        [trace(span(1)), log(envelope(1, usage=BATCH, **NAMED))],
        {"workspace": "wrkspc_a", "api_key": "apikey_a", "service_tier": "batch", "geo": "us", "requests": 1},
    ),
    "span, bare log, full log": (
        [trace(span(1)), log(bare(1), source="bare"), log(envelope(1, usage=BATCH, **NAMED))],
        {"organisation": "org_a", "workspace": "wrkspc_a", "service_tier": "batch", "geo": "us"},
    ),
    "each log knows one thing": (
        [
            log(bare(1, organization_id="org_a"), source="a"),
            log(bare(1, tags={"request_class": "triage"}), source="b"),
            log(bare(1, usage={"inference_geo": "us"}), source="c"),
        ],
        {"organisation": "org_a", "geo": "us", "output_tok": 10},
    ),
    "two tiers": (
        [log(envelope(1)), log(envelope(1, usage={"service_tier": "batch"}), source="b")],
        {"service_tier": "batch"},
    ),
    "two workspaces": (
        [log(envelope(1, workspace_id="wrkspc_b")), log(envelope(1, workspace_id="wrkspc_a"), source="b")],
        {"workspace": "wrkspc_a"},
    ),
    "an alias and a dated id": (
        [log(envelope(1)), log(envelope(1, model="claude-haiku-4-5-20251001"), source="b")],
        {"model": "claude-haiku-4-5"},
    ),
    "gateway and log": (
        [gateway(1), log(envelope(1, usage=LIKE_LITELLM, **NAMED))],
        {"workspace": "wrkspc_a", "api_key": "apikey_a", "requests": 1},
    ),
    "a gateway's key says nothing beside a log without": (
        [gateway(1), log(bare(1, usage=LIKE_LITELLM))],
        {"api_key": "", "workspace": ""},
    ),
    "the lifetime of writes, told once": (
        [
            log(envelope(1, usage={"cache_creation_input_tokens": 30, "cache_creation": None})),
            log(
                envelope(
                    1,
                    usage={
                        "cache_creation_input_tokens": 30,
                        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                    },
                ),
                source="b",
            ),
        ],
        {"cache_write_5m_tok": 10, "cache_write_1h_tok": 20},
    ),
    "ids that only a third log joins": (
        [
            log(envelope(1) | {"request_id": None}, source="a"),
            log(envelope(1, response_id=None), source="b"),
            log(envelope(1), source="c"),
        ],
        {"requests": 1, "output_tok": 10},
    ),
    "a day earlier by another clock": (
        [log(envelope(1, "2026-11-10T00:00:00Z")), log(envelope(1, "2026-11-09T23:59:59.900Z"), source="b")],
        {"requests": 1},
    ),
    "beside a report of another key": (
        [trace(span(1)), log(envelope(1, **NAMED)), day_report(output_tokens=40, api_key_id="other")],
        {"requests": 1},
    ),
}


@pytest.mark.django_db
@pytest.mark.parametrize(("makers", "expected"), CASES.values(), ids=CASES)
def test_every_order_of_imports_gives_one_record(makers: list[Maker], expected: dict[str, Any]) -> None:
    first, *others = [found(makers, order) for order in permutations(range(len(makers)))]
    for other in others:
        assert other == first
    with throw_away_installation() as folder:
        bring(makers, tuple(range(len(makers))), folder)
        row = DailyUsage.objects.get(origin="log")
        assert {name: getattr(row, name) for name in expected} == expected


TOLD: dict[str, tuple[str, ...]] = {
    "organization_id": ("", "org_a", "org_b"),
    "workspace_id": ("", "wrkspc_a", "wrkspc_b"),
    "api_key_id": ("", "apikey_a"),
    "service_tier": ("", "standard", "batch", "priority"),
    "inference_geo": ("", "global", "us", "not_available"),
    "speed": ("", "standard", "fast"),
    "class": ("", "triage", "chat"),
    "at": ("2026-11-09T23:59:59Z", "2026-11-10T00:00:01Z"),
    "model": ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
    "ids": ("both", "request", "response"),
}
tellings = st.lists(
    st.tuples(st.sampled_from("abc"), st.fixed_dictionaries({name: st.sampled_from(v) for name, v in TOLD.items()})),
    min_size=2,
    max_size=4,
)


def telling(told: dict[str, str]) -> dict[str, Any]:
    keys = {name: told[name] or None for name in ("organization_id", "workspace_id", "api_key_id")}
    usage = {name: told[name] or None for name in ("service_tier", "inference_geo", "speed")}
    tags = {"request_class": told["class"]} if told["class"] else {}
    row = envelope(1, told["at"], usage=usage, model=told["model"], tags=tags, **keys)
    if told["ids"] == "response":
        row["request_id"] = None
    if told["ids"] == "request":
        row["response"] = {**row["response"], "id": None}
    return row


@pytest.mark.django_db
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=tellings, data=st.data())
def test_what_is_known_does_not_hang_on_the_order(rows: list[tuple[str, dict[str, str]]], data: st.DataObject) -> None:
    """The same tellings, each in a file of its own or several in one, of several sources, in two orders."""
    rows = [*rows, ("a", {name: values[0] for name, values in TOLD.items()})]  # joins the ids of all
    rows[-1][1]["ids"] = "both"
    makers = [log(telling(told), source=source) for source, told in rows]
    order = tuple(data.draw(st.permutations(range(len(makers)))))
    with throw_away_installation() as folder:
        bring(makers, tuple(range(len(makers))), folder)
        one = daily_rows(), rollup_rows(), records()
    with throw_away_installation() as folder:
        bring(makers, order, folder)
        assert (daily_rows(), rollup_rows(), records()) == one
    if len({source for source, _ in rows}) == 1:
        with throw_away_installation() as folder:
            bring([log(*(telling(told) for _, told in rows), source=rows[0][0])], (0,), folder)
            assert (daily_rows(), rollup_rows(), records()) == one


def test_what_only_completes_a_record_counts_as_a_duplicate(import_it: ImportIt, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "bare.jsonl", [bare(1), bare(2)]))
    outcome = import_it(write_lines(tmp_path / "full.jsonl", [envelope(1), envelope(3)]))
    assert (outcome.accepted, outcome.duplicates) == (1, 1)
    assert {row.accepted for row in Import.objects.filter(file_name="bare.jsonl")} == {2}
