"""Two or three sources of one day, in every order: what counts, as a table of literal cases.

A request has 10 output tokens (envelope, payload), with key apikey_a of wrkspc_a where its log names them.
"""

from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from billing.models import DailyUsage
from billing.operations.imports import ImportOptions, import_file
from tests.billing.conftest import AS_OF
from tests.billing.worlds import state, throw_away_installation
from tests.importers.usage.envelopes import envelope, payload, report, result, write_json, write_lines

DAY = ("2026-11-09T00:00:00Z", "2026-11-10T00:00:00Z")
Maker = tuple[str, Callable[[Path, str], Path]]
CSV = (
    "usage_date_utc,model,workspace,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_write_5m,"
    "usage_input_tokens_cache_write_1h,usage_input_tokens_cache_read,usage_output_tokens,web_search_count\n"
)


def log(*numbers: int, at: str = "2026-11-09T09:00:00Z", source: str = "Request logs", **over: Any) -> Maker:
    return source, lambda folder, name: write_lines(
        folder / f"{name}.jsonl", [envelope(n, at, **over) for n in numbers]
    )


def gateway(*numbers: int) -> Maker:
    started = 1_794_214_800.0  # 2026-11-09 09:00 UTC
    return "LiteLLM", lambda folder, name: write_lines(folder / f"{name}.jsonl", [payload(n, started) for n in numbers])


def by_day(tokens: int, source: str = "report", **over: Any) -> Maker:
    return source, lambda folder, name: write_json(
        folder / f"{name}.json", report((*DAY, [result(output_tokens=tokens, **over)]))
    )


def by_hour(*tokens: int, source: str = "report", **over: Any) -> Maker:
    buckets = [
        (f"2026-11-09T{9 + i:02}:00:00Z", f"2026-11-09T{10 + i:02}:00:00Z", [result(output_tokens=count, **over)])
        for i, count in enumerate(tokens)
    ]
    return source, lambda folder, name: write_json(folder / f"{name}.json", report(*buckets))


def console(tokens: int) -> Maker:
    def write(folder: Path, name: str) -> Path:
        path = folder / f"{name}.csv"
        path.write_text(CSV + f"2026-11-09,claude-haiku-4-5,Default,a,0,0,0,0,{tokens},0\n")
        return path

    return "console", write


KEYED = {"api_key_id": "apikey_a", "workspace_id": "wrkspc_a"}
CASES: list[tuple[str, list[Maker], dict[str, int]]] = [
    ("log and log, apart", [log(1, 2), log(3)], {"log": 30}),
    ("log and log, the same", [log(1, 2), log(1, 2, source="again")], {"log": 20}),
    ("log and log, overlapping", [log(1, 2), log(2, 3, source="again")], {"log": 30}),
    ("three logs in a chain", [log(1, 2), log(2, 3), log(3, 4)], {"log": 40}),
    ("log and gateway, the same request", [log(1), gateway(2)], {"log": 20}),
    ("log and day report, explained", [log(1, 2), by_day(20)], {"log": 20}),
    ("log and day report, in part", [log(1, 2), by_day(50)], {"log": 20, "remainder": 30}),
    ("log above the day report", [log(1, 2, 3), by_day(20)], {"log": 30}),
    ("log and hour report, in part", [log(1), by_hour(10, 25)], {"log": 10, "remainder": 25}),
    ("log of another key", [log(1), by_day(40, api_key_id="other")], {"log": 10, "report": 40}),
    ("log of the same key", [log(1), by_day(40, **KEYED)], {"log": 10, "remainder": 30}),
    ("gateway speaks for the channel", [gateway(1), by_day(40, api_key_id="other")], {"log": 10, "remainder": 30}),
    ("two logs and a report", [log(1), gateway(2), by_day(50)], {"log": 20, "remainder": 30}),
    ("day and hour report of one source", [by_day(50), by_hour(30, 25, **KEYED)], {"report": 55}),
    ("hour report of more dimensions", [by_hour(50, source="a"), by_day(60, source="b", **KEYED)], {"report": 60}),
    ("report before CSV", [by_day(50), console(60)], {"report": 50}),
    ("CSV alone", [console(60)], {"report": 60}),
    ("log, report and CSV", [log(1), by_day(50), console(60)], {"log": 10, "remainder": 40}),
]


def sums() -> dict[str, int]:
    found: dict[str, int] = {}
    for origin, tokens in DailyUsage.objects.values_list("origin", "output_tok"):
        found[origin] = found.get(origin, 0) + tokens
    return {origin: tokens for origin, tokens in found.items() if tokens}


def bring(makers: list[Maker], order: tuple[int, ...], folder: Path) -> None:
    for index in order:
        source, write = makers[index]
        path = write(folder, f"file-{index}")
        import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(source=source))


@pytest.mark.django_db
@pytest.mark.parametrize(("makers", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_counts_in_every_order(makers: list[Maker], expected: dict[str, int]) -> None:
    found = []
    for order in permutations(range(len(makers))):
        with throw_away_installation() as folder:
            bring(makers, order, folder)
            assert sums() == expected, order
            found.append(state()[1])
            bring(makers, order, folder)  # the same files again change nothing
            assert state()[1] == found[-1]
    tokens = [sorted((row[1], row[2], row[7], row[-3]) for row in days) for days in found]
    assert all(each == tokens[0] for each in tokens)


RESTATED: list[tuple[str, Maker, Maker, dict[str, int]]] = [
    ("day report", by_day(50), by_day(45), {"report": 45}),
    ("hour report, one hour", by_hour(30, 20), by_hour(35), {"report": 55}),
    ("hour report, hours later", by_hour(30), by_hour(30, 5), {"report": 35}),
    ("CSV", console(60), console(61), {"report": 61}),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("first", "second", "expected"), [c[1:] for c in RESTATED], ids=[c[0] for c in RESTATED])
def test_restated_data_replaces(first: Maker, second: Maker, expected: dict[str, int]) -> None:
    with throw_away_installation() as folder:
        bring([first, second], (0, 1), folder)
        assert sums() == expected


@pytest.mark.django_db
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_log_explains_the_console_download(order: tuple[int, int]) -> None:
    """The download names keys, the log tells their ids: key by key the two would not meet and count twice."""
    with throw_away_installation() as folder:
        bring([log(1), console(60)], order, folder)
        assert sums() == {"log": 10, "remainder": 50}


@pytest.mark.django_db
def test_a_request_told_anew_replaces_only_when_asked() -> None:
    better = log(1, usage={"output_tokens": 12})[1]
    with throw_away_installation() as folder:
        bring([log(1, 2), by_day(50)], (0, 1), folder)
        import_file(actor=None, path=better(folder, "better"), as_of=AS_OF, options=ImportOptions(replace=True))
        assert sums() == {"log": 22, "remainder": 28}
