"""Helpers of the tests that read eval files."""

import io
import json
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from routing.core.evidence import CaseResult
from routing.importers import About, EvalImportError, ReadOptions, RejectedRow, all_or_nothing, importer_for

SAMPLES = Path(__file__).parent / "samples"
AT = datetime(2026, 11, 9, 10, tzinfo=UTC)
NAMES = {
    "promptfoo": "promptfoo_results.json",
    "inspect": "inspect_log.json",
    "deepeval": "deepeval_test_run_20261123_175839.json",
    "lm-eval": "lm_eval_samples_ticket_triage_2026-11-09T10-00-00.000000.jsonl",
    "openai-evals": "openai_evals_run.jsonl",
    "junit": "junit_pytest.xml",
    "csv": "pass_fail.csv",
}


def sample(format_name: str) -> Path:
    return SAMPLES / NAMES[format_name]


def document(format_name: str) -> Any:
    return json.loads(sample(format_name).read_text())


def written(folder: Path, content: object, name: str = "results.json") -> Path:
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(
            content if isinstance(content, str) else json.dumps(content), encoding="utf-8", errors="surrogatepass"
        )
    return path


def read(path: Path, options: ReadOptions | None = None, about: About | None = None) -> list[CaseResult]:
    options = options or ReadOptions()
    return list(all_or_nothing(importer_for(path, None, options).read(path, options, about)))


def told(path: Path, options: ReadOptions | None = None) -> About:
    """What the reader says of the file beside its results."""
    about = About()
    read(path, options, about)
    return about


def refusal(path: Path, options: ReadOptions | None = None) -> str:
    with pytest.raises(EvalImportError) as caught:
        read(path, options)
    return str(caught.value)


def rejected(path: Path, options: ReadOptions | None = None) -> list[str]:
    """The errors of rows that could not be read, where the others could."""
    options = options or ReadOptions()
    rows = importer_for(path, None, options).read(path, options)
    return [str(row.error) for row in rows if isinstance(row, RejectedRow)]


def verdicts(results: list[CaseResult]) -> dict[str, float | str]:
    """Case → score, or the kind of error where it has no verdict."""
    return {r.sample_id: r.error if r.score is None else r.score for r in results}


def eval_file(folder: Path, log: Any, *, method: int = 93, name: str = "log.eval", header: bool = True) -> Path:
    """An Inspect log as `.eval`: the members Inspect writes, packed by Zstandard (93) or deflate (8)."""
    log = dict(log)
    members = {f"samples/{s['id']}_epoch_{s['epoch']}.json": s for s in log.pop("samples")}
    members["_journal/start.json"] = {key: log[key] for key in ("version", "eval", "plan")}
    if header:
        members["header.json"] = log
    return zip_file(folder / name, {key: json.dumps(value).encode() for key, value in members.items()}, method)


def zip_file(path: Path, members: dict[str, bytes], method: int = 93) -> Path:
    """A ZIP file; the zipfile module of Python 3.11 cannot write method 93, so its members are stored and renamed."""
    if method != 93:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return path
    packed = {name: zstandard.ZstdCompressor().compress(content) for name, content in members.items()}
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for name, content in packed.items():
            archive.writestr(name, content)
        directory = {info.filename: info for info in archive.infolist()}
    whole = bytearray(memory.getvalue())
    for at in _places(bytes(whole), b"PK\x01\x02"):
        length = int.from_bytes(whole[at + 28 : at + 30], "little")
        name = whole[at + 46 : at + 46 + length].decode()
        if name in directory:
            _declare(whole, at + 10, members[name], len(packed[name]))
            _declare(whole, directory[name].header_offset + 8, members[name], len(packed[name]))
    path.write_bytes(whole)
    return path


def _places(content: bytes, mark: bytes) -> list[int]:
    found, at = [], content.find(mark)
    while at >= 0:
        found.append(at)
        at = content.find(mark, at + 1)
    return found


def _declare(content: bytearray, at: int, plain: bytes, packed: int) -> None:
    """Method, checksum and sizes of a header whose method stands at `at`."""
    content[at : at + 2] = (93).to_bytes(2, "little")
    content[at + 6 : at + 10] = zlib.crc32(plain).to_bytes(4, "little")
    content[at + 10 : at + 14] = packed.to_bytes(4, "little")
    content[at + 14 : at + 18] = len(plain).to_bytes(4, "little")
