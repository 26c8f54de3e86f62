"""The tree keeps its own rules: import direction, lint, format, types, pages under a strict policy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
OWN = ("audit", "bench", "billing", "costgov", "gateway", "routing", "static", "templates", "tests", "docs")


@pytest.mark.parametrize(
    "words",
    [["lint-imports"], ["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "."]],
    ids=["imports", "ruff", "format", "mypy"],
)
def test_tool_finds_nothing(words):
    done = subprocess.run([PROGRAMS / words[0], *words[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_core_runs_without_django():
    """tests/core needs no database and no Django: a core module that imports either would break others' use of it."""
    code = (
        "import sys, pkgutil, importlib\n"
        "sys.modules['django'] = None\n"
        "for name in ('billing.core', 'routing.core', 'billing.importers', 'routing.importers', 'gateway'):\n"
        "    package = importlib.import_module(name)\n"
        "    for found in pkgutil.walk_packages(package.__path__, name + '.'):\n"
        "        importlib.import_module(found.name)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_no_template_breaks_the_content_security_policy():
    offence = re.compile(r"<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=|javascript:", re.IGNORECASE)
    found = [
        f"{path.relative_to(PROJECT)}:{number}: {line.strip()[:100]}"
        for path in sorted((PROJECT / "templates").rglob("*.html"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if offence.search(line)
    ]
    assert found == []


def test_locks_hold_names_versions_and_hashes_but_no_address():
    for lock in sorted((PROJECT / "requirements").glob("*.txt")):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index-url|--find-links", text), lock.name


def test_the_gateway_needs_nothing_but_the_standard_library():
    allowed = set(sys.stdlib_module_names) | {"gateway"}
    pattern = re.compile(r"^\s*(?:from|import)\s+([a-zA-Z_]\w*)", re.MULTILINE)
    for path in (PROJECT / "gateway").rglob("*.py"):
        outside = set(pattern.findall(path.read_text())) - allowed
        assert not outside, f"{path.name}: {outside}"
