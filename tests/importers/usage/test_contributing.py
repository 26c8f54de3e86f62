"""The worked example of CONTRIBUTING.md runs as it stands there."""

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

from billing.core.usage import COUNTERS
from billing.importers.base import read_head
from billing.importers.format_guide import FormatGuide
from billing.importers.formats import ALL_FORMATS
from billing.importers.records import Left, RequestRow
from tests.importers.usage.test_hostile_records import Shape, changed

GUIDE = (Path(__file__).parents[3] / "CONTRIBUTING.md").read_text()


def block(language: str, holds: str) -> str:
    """The first code block of a language that holds a text."""
    return next(code for code in re.findall(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL) if holds in code)


def example_format() -> Any:
    module = types.ModuleType("acme_gateway")
    sys.modules[module.__name__] = module
    try:
        exec(compile(block("python", "class AcmeGateway"), "CONTRIBUTING.md", "exec"), module.__dict__)
    finally:
        del sys.modules[module.__name__]
    return module.AcmeGateway()


def test_the_example_format_reads_its_sample(tmp_path: Path) -> None:
    sample = tmp_path / "acme_gateway.jsonl"
    sample.write_text(block("json", "acme_id"))
    fmt = example_format()
    head = read_head(sample, sample.name)
    assert [fmt.claims(head), *(item.claims(head) for item in ALL_FORMATS)] == [True] + [False] * len(ALL_FORMATS)
    done, failed, other = fmt.rows(sample, file_name=sample.name, settings={})
    assert isinstance(done, RequestRow)
    assert [getattr(done.counts, name) for name in COUNTERS] == [120, 5_200, 0, 0, 310, 0]
    assert (failed.is_failed, failed.counts.is_zero) == (True, True)
    assert other == Left("a model that is not Claude (gpt-5-mini)")


def test_the_entries_of_the_example_fit_it(tmp_path: Path) -> None:
    fmt = example_format()
    described = eval(block("python", "FormatGuide("), {"FormatGuide": FormatGuide})
    shape = eval(block("python", "Shape("), {"Shape": Shape})
    assert described.name == shape.name == fmt.name
    record = tmp_path / "acme_gateway.jsonl"
    for place, message in [((), ""), (shape.count, "missing"), (shape.time, "missing"), (shape.id[0], "missing")]:
        record.write_text(json.dumps(changed(shape.good, place, None) if place else shape.good))
        (item,) = fmt.rows(record, file_name=record.name, settings={})
        assert getattr(item, "message", "") == message
