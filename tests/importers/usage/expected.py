"""What a format makes of a file, as plain values: the expected output beside each sample.

    python -m tests.importers.usage.expected langfuse_observations.jsonl [setting=value …]

writes samples/langfuse_observations.expected.json. Then read it: a generated expectation proves nothing by itself.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from billing.core.models import canonical_model
from billing.importers.records import RecordFormat, RequestRow
from billing.importers.usage_formats import BUCKET_FORMATS, RECORD_FORMATS, identify

SAMPLES = Path(__file__).parent / "samples"


def canonical(raw: str) -> str:
    return canonical_model(raw, {}).model


def items_of(fmt: RecordFormat, path: Path, settings: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows and other items, each with its kind; fields that say nothing are left out."""
    found = []
    for item in fmt.rows(path, file_name=path.name, settings=settings):
        values = asdict(item)
        if isinstance(item, RequestRow):
            values["counts"] = {name: count for name, count in values["counts"].items() if count}
            values["facts"] = {name: fact for name, fact in values["facts"].items() if fact is not None}
            values = {name: value for name, value in values.items() if value not in ("", None, {}, False)}
        found.append({"kind": type(item).__name__, **values})
    plain: list[dict[str, Any]] = json.loads(json.dumps(found, default=str))
    return plain


def expected_of(path: Path, settings: Mapping[str, str]) -> Any:
    """The output of the format that claims a file."""
    fmt, _ = identify(path, file_name=path.name)
    recorded = next((item for item in RECORD_FORMATS if item is fmt), None)
    if recorded is not None:
        return items_of(recorded, path, settings)
    bucketed = next(item for item in BUCKET_FORMATS if item is fmt)
    report = asdict(bucketed.read(path, file_name=path.name, canonical=canonical))
    return json.loads(json.dumps(report, default=str))


def expected_file(path: Path) -> Path:
    return path.with_name(path.name.partition(".")[0] + ".expected.json")


def expectation(path: Path) -> Any:
    """What stands beside a sample."""
    file = expected_file(path)
    assert file.exists(), f"write it, then read it: python -m tests.importers.usage.expected {path.name}"
    return json.loads(file.read_text())


if __name__ == "__main__":
    sample = SAMPLES / sys.argv[1]
    told = dict(word.split("=", 1) for word in sys.argv[2:])
    expected_file(sample).write_text(json.dumps(expected_of(sample, told), indent=1) + "\n")
    print(f"wrote {expected_file(sample)}: read it")  # noqa: T201 - a tool for people
