"""Which usage counts: the tables of docs/algorithms/usage.md, with the same numbers."""

from dataclasses import replace
from typing import Any

import pytest

from billing.core.counting import (
    CountedRow,
    DayRow,
    LogScope,
    ReportOfDay,
    chosen_report,
    chosen_reports,
    count_day,
    left_out,
    remainder,
)
from billing.core.usage import TokenCounts, UsageKey

LOG, OTHER_LOG, REPORT = 1, 2, 9
KEY = UsageKey(workspace="w1", api_key="k1", model="opus", service_tier="standard", geo="global", speed="standard")
REPORT_KEY = replace(KEY, prompt_length_band="0-200k")
Row = tuple[str, str, int, int | None]


def log(out: int, *, source: int = LOG, requests: int = 1, **key: Any) -> DayRow:
    own = replace(KEY, prompt_length_band="0-100k", request_class="chat")
    return DayRow(source, replace(own, **key), TokenCounts(output_tok=out), requests)


def reported(out: int, **key: Any) -> DayRow:
    return DayRow(REPORT, replace(REPORT_KEY, **key), TokenCounts(output_tok=out), None)


def of_day(*rows: DayRow, **over: int) -> ReportOfDay:
    return ReportOfDay(REPORT, over.get("hours", 24), over.get("latest", 1), rows)


def counted(rows: list[CountedRow]) -> list[Row]:
    """(origin, workspace/key, output tokens, requests), sorted."""
    return sorted(
        ((row.origin, f"{row.key.workspace}/{row.key.api_key}", row.counts.output_tok, row.requests) for row in rows),
        key=repr,
    )


def class_of(key: UsageKey) -> str:
    return {"k1": "mapped"}.get(key.api_key, "")


# name, log rows, report rows, what counts, (logged, reported) above the report
CASES: list[tuple[str, list[DayRow], list[DayRow], list[Row], list[tuple[int, int]]]] = [
    ("a report alone counts as it is", [], [reported(100)], [("report", "w1/k1", 100, None)], []),
    ("logs alone count as they are", [log(40), log(2)], [], [("log", "w1/k1", 2, 1), ("log", "w1/k1", 40, 1)], []),
    (
        "half a day of logs does not hide the other half",
        [log(40)],
        [reported(100)],
        [("log", "w1/k1", 40, 1), ("remainder", "w1/k1", 60, None)],
        [],
    ),
    ("complete logs leave no remainder", [log(100)], [reported(100)], [("log", "w1/k1", 100, 1)], []),
    (
        "within a thousandth above is nothing to report",
        [log(100_100)],
        [reported(100_000)],
        [("log", "w1/k1", 100_100, 1)],
        [],
    ),
    (
        "more than a thousandth above is a finding, and the logs count",
        [log(100_101)],
        [reported(100_000)],
        [("log", "w1/k1", 100_101, 1)],
        [(100_101, 100_000)],
    ),
    (
        "each key for itself: what k1 has too much explains nothing of k2",
        [log(150)],
        [reported(100), reported(30, api_key="k2")],
        [("log", "w1/k1", 150, 1), ("report", "w1/k2", 30, None)],
        [(150, 100)],
    ),
    (
        "each model for itself",
        [log(100, model="haiku")],
        [reported(100), reported(100, model="haiku")],
        [("log", "w1/k1", 100, 1), ("remainder", "w1/k1", 100, None)],
        [],
    ),
    (
        "logs of a key the report does not know count beside it",
        [log(5, api_key="k9")],
        [reported(100)],
        [("log", "w1/k9", 5, 1), ("report", "w1/k1", 100, None)],
        [(5, 0)],
    ),
    (
        "logs without keys speak for the whole channel",
        [log(50, workspace="", api_key="")],
        [reported(100), reported(30, api_key="k2")],
        [("log", "/", 50, 1), ("remainder", "w1/", 80, None)],
        [],
    ),
    (
        "tier, geo and speed that a log does not tell are the standard, global ones",
        [log(60, service_tier="", geo="not_available", speed="")],
        [reported(100)],
        [("log", "w1/k1", 60, 1), ("remainder", "w1/k1", 40, None)],
        [],
    ),
    (
        "a batch is not explained by standard requests",
        [log(60)],
        [reported(100, service_tier="batch")],
        [("log", "w1/k1", 60, 1), ("remainder", "w1/k1", 100, None)],
        [(60, 0)],
    ),
    (
        "a dimension the report does not separate is not compared",
        [log(60, service_tier="batch"), log(20)],
        [reported(100, service_tier="(not grouped)", geo="(not grouped)", speed="(not grouped)")],
        [("log", "w1/k1", 20, 1), ("log", "w1/k1", 60, 1), ("remainder", "w1/k1", 20, None)],
        [],
    ),
]


@pytest.mark.parametrize(("logs", "rows", "wanted", "above"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_counts(logs: list[DayRow], rows: list[DayRow], wanted: list[Row], above: list[tuple[int, int]]) -> None:
    found, excess = count_day(logs, [of_day(*rows)] if rows else [], {}, class_of)
    assert counted(found) == sorted(wanted, key=repr)
    assert [(item.logged, item.reported) for item in excess] == above


def test_what_the_logs_do_not_explain_has_the_class_of_its_key() -> None:
    found, _ = count_day([log(40)], [of_day(reported(100), reported(7, workspace="w2", api_key="k2"))], {}, class_of)
    assert {(row.origin, row.key.request_class) for row in found} == {
        ("log", "chat"),
        ("remainder", "mapped"),
        ("report", ""),
    }
    (left,) = [row for row in found if row.origin == "remainder"]
    assert (left.source, left.key.policy_version, left.key.arm) == (REPORT, 0, "")


def test_a_log_with_keys_of_its_own_speaks_for_its_declared_scope() -> None:
    rows = [reported(100), reported(30, api_key="k2"), reported(9, workspace="w2", api_key="k3")]
    logs = [log(20, source=OTHER_LOG, workspace="", api_key="alias of litellm")]
    whole, _ = count_day(logs, [of_day(*rows)], {OTHER_LOG: LogScope(False)}, class_of)
    assert counted(whole) == [("log", "/alias of litellm", 20, 1), ("remainder", "/", 119, None)]
    one, _ = count_day(logs, [of_day(*rows)], {OTHER_LOG: LogScope(False, (("w1", "k2"),))}, class_of)
    assert counted(one) == [
        ("log", "/alias of litellm", 20, 1),
        ("remainder", "w1/k2", 10, None),
        ("report", "w1/k1", 100, None),
        ("report", "w2/k3", 9, None),
    ]


def test_two_logs_for_one_key_explain_it_together() -> None:
    logs = [log(60), log(30, source=OTHER_LOG, workspace="", api_key="alias")]
    found, excess = count_day(logs, [of_day(reported(100))], {OTHER_LOG: LogScope(False)}, class_of)
    assert sum(row.counts.output_tok for row in found) == 100
    assert excess == []


def test_the_remainder_goes_to_the_bands_that_fall_short() -> None:
    rows = [reported(100), reported(50, prompt_length_band="200k-1M")]
    logs = [log(70), log(10, prompt_length_band="100k-200k"), log(45, prompt_length_band="200k-1M")]
    found, _ = count_day(logs, [of_day(*rows)], {}, class_of)
    left = {row.key.prompt_length_band: row.counts.output_tok for row in found if row.origin == "remainder"}
    assert left == {"0-200k": 20, "200k-1M": 5}
    # Above in one band and short in the other: the total decides, a band never adds to it.
    logs = [log(120), log(10, prompt_length_band="200k-1M")]
    found, _ = count_day(logs, [of_day(*rows)], {}, class_of)
    left = {row.key.prompt_length_band: row.counts.output_tok for row in found if row.origin == "remainder"}
    assert left == {"200k-1M": 20}


def test_per_token_kind() -> None:
    said = TokenCounts(uncached_input_tok=10, cache_read_tok=5, output_tok=7)
    assert remainder(said, TokenCounts(uncached_input_tok=4, cache_read_tok=9)) == TokenCounts(
        uncached_input_tok=6, output_tok=7
    )


def test_of_several_reports_one_counts() -> None:
    coarse = of_day(reported(1, workspace="(not grouped)", api_key="(not grouped)"), latest=7)
    fine = of_day(reported(1), latest=3)
    assert chosen_report([coarse, fine]) is fine
    later = of_day(reported(2), latest=4)
    assert chosen_report([fine, later]) is later
    hourly = of_day(reported(2), latest=4, hours=1)
    assert chosen_report([later, hourly]) is hourly
    csv = of_day(reported(3), latest=99)
    assert chosen_report([replace(fine, rank=1), csv]) == replace(fine, rank=1)
    assert chosen_report([]) is None


def test_logs_above_a_part_accuse_nobody() -> None:
    """A gateway's sums, or a table of one's own, may tell a part: logs that say more are no sign of anything."""
    row = DayRow(1, UsageKey(model="m", workspace="a"), TokenCounts(output_tok=10))
    log = DayRow(2, UsageKey(model="m", workspace="b"), TokenCounts(output_tok=99))
    whole = ReportOfDay(1, 24, 1, (row,))
    counted, above = count_day([log], [whole], {}, lambda key: "")
    assert len(above) == 1
    part, none = count_day([log], [replace(whole, is_whole=False)], {}, lambda key: "")
    assert (part, none) == (counted, [])


def of(organisation: str, *rows: DayRow, **over: int) -> ReportOfDay:
    named = tuple(replace(row, key=replace(row.key, organisation=organisation)) for row in rows)
    source = over.get("source", REPORT)
    return replace(of_day(*named, **over), organisation=organisation, source=source)


ORGANISATIONS: list[tuple[str, list[DayRow], list[ReportOfDay], list[Row]]] = [
    (
        "two organisations both count",
        [],
        [of("a", reported(100)), of("b", reported(30))],
        [("report", "w1/k1", 100, None), ("report", "w1/k1", 30, None)],
    ),
    (
        "one organisation in two sources, by hour and by day: one counts",
        [],
        [of("a", reported(100), hours=1), of("a", reported(90), hours=24, source=8)],
        [("report", "w1/k1", 100, None)],
    ),
    (
        "one report names the organisation, the other does not: the same one",
        [],
        [of("a", reported(100)), of("", reported(90), latest=5)],
        [("report", "w1/k1", 90, None)],
    ),
    (
        "a report of nobody beside two organisations counts nothing",
        [],
        [of("a", reported(100)), of("b", reported(30)), of("", reported(500), latest=5)],
        [("report", "w1/k1", 100, None), ("report", "w1/k1", 30, None)],
    ),
    (
        "a log explains the report of its organisation",
        [log(40, organisation="a")],
        [of("a", reported(100)), of("b", reported(30))],
        [("log", "w1/k1", 40, 1), ("remainder", "w1/k1", 60, None), ("report", "w1/k1", 30, None)],
    ),
    (
        "a log that names an organisation beside a report that does not",
        [log(40, organisation="a")],
        [of("", reported(100))],
        [("log", "w1/k1", 40, 1), ("remainder", "w1/k1", 60, None)],
    ),
    (
        "a report that names an organisation beside a log that does not",
        [log(40)],
        [of("a", reported(100))],
        [("log", "w1/k1", 40, 1), ("remainder", "w1/k1", 60, None)],
    ),
    (
        "a log that names none explains its key, whosever it is",
        [log(40, workspace="w2", api_key="k2")],
        [of("a", reported(100)), of("b", reported(30, workspace="w2", api_key="k2"))],
        [("log", "w2/k2", 40, 1), ("report", "w1/k1", 100, None)],
    ),
    (
        "a gateway's log that names none explains both together",
        [log(40, source=OTHER_LOG)],
        [of("a", reported(100)), of("b", reported(30))],
        [("log", "w1/k1", 40, 1), ("remainder", "w1/k1", 90, None)],
    ),
]


@pytest.mark.parametrize(
    ("logs", "reports", "expected"), [c[1:] for c in ORGANISATIONS], ids=[c[0] for c in ORGANISATIONS]
)
def test_several_organisations(logs: list[DayRow], reports: list[ReportOfDay], expected: list[Row]) -> None:
    scopes = {OTHER_LOG: LogScope(False)}
    for given in (reports, reports[::-1]):
        found, _ = count_day(logs, chosen_reports(given), scopes, class_of)
        assert counted(found) == sorted(expected, key=repr)


def test_a_remainder_of_one_organisation_names_it() -> None:
    found, _ = count_day([log(40, organisation="a")], chosen_reports([of("a", reported(100))]), {}, class_of)
    assert [row.key.organisation for row in found] == ["a", "a"]


def test_reports_of_nobody_are_named() -> None:
    nobody = of("", reported(5))
    assert left_out([of("a", reported(1)), of("b", reported(2)), nobody]) == (nobody,)
    assert left_out([of("a", reported(1)), nobody]) == ()
