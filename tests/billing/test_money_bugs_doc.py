"""docs/algorithms/pricing.md, "Recurring money bugs": every bug has a source, an answer and a test that exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "algorithms" / "pricing.md").read_text(encoding="utf-8")
BUGS = (
    "cache tokens counted twice",
    "cache tokens dropped",
    "1-hour writes at the 5-minute price",
    "batch discount in part",
    "prompt-length band from a total",
    "history re-priced",
    "days of another time zone",
    "float drift",
    "events counted twice",
    "runtime charges missed",
    "unknown model at zero",
    "inclusive and exclusive input mixed",
    "aliases and dated ids unpriced",
    "cents taken for dollars",
)


def rows() -> list[list[str]]:
    section = TEXT.split("## Recurring money bugs\n")[1].split("\n## ")[0]
    table = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]


def test_every_bug_is_in_the_table():
    assert tuple(row[0] for row in rows()) == BUGS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_bug_has_its_source_and_its_test(row: list[str]):
    _, they, seen, here, tests = row
    assert they and here
    assert len(re.findall(r"\]\(https://github\.com/[\w.-]+/[\w.-]+/(?:issues|pull)/\d+\)", seen)) >= 2
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", tests)
    assert named and len(named) == tests.count("::")
    for file, name in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, f"{file}::{name}"
