"""What holds for every format at once: again changes nothing, neither order nor cutting does, and sums are whole.

With the samples of all formats in one installation: request logs, reports, downloads, bills, of the same days and not.
"""

import gzip
import itertools
import json
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.core.usage import COUNTERS
from billing.importers.base import ImportRefused
from billing.importers.usage_formats import RECORD_FORMATS, REQUEST_FORMATS
from billing.models import CostReportLine
from billing.operations.imports import COSTS, USAGE, ImportOptions, ImportOutcome, import_file
from billing.operations.prices import seed_list_prices
from billing.queries.usage_sums import DIMENSIONS
from costgov.queries.spend import spend
from tests.billing.test_hostile_imports import AS_OF, COST_NAMES, NAMES, answers_for, samples
from tests.billing.worlds import daily_sums, state, throw_away_installation

START, END = date(2025, 1, 1), date(2027, 1, 1)
LINE_BY_LINE = sorted({*(one.name for one in REQUEST_FORMATS), *(one.name for one in RECORD_FORMATS)} & set(NAMES))


@cache
def answers(name: str) -> dict[str, str]:
    """What has to be answered for the sample of a format to be read."""
    for told in answers_for(name):
        with throw_away_installation():
            try:
                import_as(name, samples()[name], told)
                return told
            except ImportRefused:
                continue
    raise AssertionError(f"no answers let the sample of {name} be imported")


def import_as(name: str, path: Path, told: dict[str, str]) -> ImportOutcome:
    options = ImportOptions(format=name, answers=told)
    return import_file(actor=None, path=path, as_of=AS_OF, options=options, kind=COSTS if name in COST_NAMES else USAGE)


def take(name: str, path: Path) -> ImportOutcome:
    """Import a file of a format, with the answers that fit its sample."""
    return import_as(name, path, answers(name))


def everything() -> Any:
    """Hours, counted days and cost lines, without the ids of their imports."""
    names = [field.name for field in CostReportLine._meta.concrete_fields if field.name not in _IDS]
    return state(), sorted(CostReportLine.objects.values_list("source__name", *names), key=repr)


_IDS = {"id", "latest_import", "source", "created_at"}


@pytest.mark.django_db
@pytest.mark.parametrize("name", NAMES)
def test_the_same_content_again_changes_nothing(name: str) -> None:
    """The same bytes are known again; the same content in other bytes is imported and leaves all as it was."""
    with throw_away_installation() as folder:
        take(name, samples()[name])
        first = everything()
        assert any(first[0]) or first[1]
        assert take(name, samples()[name]).is_repeat
        packed = folder / f"{samples()[name].name}.gz"
        packed.write_bytes(gzip.compress(samples()[name].read_bytes(), mtime=0))
        assert not take(name, packed).is_repeat
        assert everything() == first


def is_of_lines(path: Path) -> bool:
    """Every line is a record: only such a file can be cut."""
    try:
        return all(isinstance(json.loads(line), dict) for line in path.read_bytes().splitlines())
    except ValueError:
        return False


@pytest.mark.django_db
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_cutting_a_file_of_lines_changes_nothing(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in LINE_BY_LINE if is_of_lines(samples()[name])]))
    lines = samples()[name].read_bytes().splitlines(keepends=True)
    cut = data.draw(st.integers(1, max(1, len(lines) - 1)))
    with throw_away_installation():
        take(name, samples()[name])
        whole = everything()
    with throw_away_installation() as folder:
        for number, part in enumerate((lines[cut:], lines[:cut])):
            if not part:
                continue
            path = folder / f"{number}-{samples()[name].name}"
            path.write_bytes(b"".join(part))
            take(name, path)
        assert everything() == whole


@pytest.mark.django_db
def test_logs_and_a_report_in_either_order() -> None:
    """What is counted and what it costs by day and model, and what cost reports say: the same from both ends.

    Of two reports of a day the later import counts, so one report. The OpenTelemetry sample tells a request of the
    request log: they are one record, of what both know.
    """
    names = sorted({*LINE_BY_LINE, "anthropic_admin_usage", "anthropic_admin_cost", "console_cost_csv"})
    found: list[tuple[dict[Any, Any], dict[Any, Any], Any]] = []
    for order in (names, names[::-1]):
        with throw_away_installation():
            seed_list_prices(as_of=AS_OF)
            for name in order:
                take(name, samples()[name])
            costs = {row.group["model"]: row.cost_usd for row in spend(start=START, end=END, by=("model",)).rows}
            found.append((daily_sums("date", "channel", "model"), costs, everything()[1]))
    one, other = found
    for left, right in zip(one[:2], other[:2], strict=True):
        assert {key: (left.get(key), right.get(key)) for key in left | right if left.get(key) != right.get(key)} == {}
    assert one[2] == other[2]


@pytest.mark.django_db
def test_every_grouping_of_everything_adds_up() -> None:
    """All samples together."""
    with throw_away_installation():
        seed_list_prices(as_of=AS_OF)
        for name in NAMES:
            take(name, samples()[name])
        check_groupings()


def check_groupings() -> None:
    """By every dimension and every two of some: money, tokens, unpriced tokens and bounds add up to the total."""
    total = spend(start=START, end=END, by=()).total
    assert total.cost_usd > 0 and total.unpriced_tok > 0
    counters = [counter for counter in COUNTERS if counter != "web_searches"]
    crossed = ("day", "month", "class", "model", "source", "origin", "tier", "cost_centre", "token_kind")
    for by in [*((one,) for one in DIMENSIONS), *itertools.combinations(crossed, 2)]:
        report = spend(start=START, end=END, by=by)
        rows = report.rows
        assert sum((row.cost_usd for row in rows), Decimal(0)) == total.cost_usd == report.total.cost_usd, by
        assert sum(row.unpriced_tok for row in rows) == total.unpriced_tok, by
        assert sum((row.lowest_usd for row in rows), Decimal(0)) == total.lowest_usd, by
        for counter in counters:
            assert sum(getattr(row, counter) for row in rows) == getattr(total, counter), (by, counter)
