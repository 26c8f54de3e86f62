"""Hostile variants of a sample file: of the whole file, and of one value in it. The same for every format."""

import csv
import gzip
import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zstandard

SAMPLES = Path(__file__).resolve().parents[1] / "importers"
RAW = "\ue000"  # a character of private use: stands in for JSON text that Python does not write

# Text of a JSON value that no count, price or time can be; and of a cell of a table.
HOSTILE_JSON = {
    "NaN": "NaN",
    "infinity": "-Infinity",
    "1e400": "1e400",
    "a negative": "-1",
    "a fraction": "1.5",
    "above a bigint": "9223372036854775808",
    "thirty digits": "1" + "0" * 30,
    "a number in words": '"twelve"',
    "true": "true",
    "a list": "[1]",
    "an object": '{"a": 1}',
    "1900": '"1900-01-01T00:00:00Z"',
    "2100": '"2100-01-01T00:00:00Z"',
    "a NUL": '"\\u0000"',
    "half a character": '"\\ud800"',
    "nested 10,000 deep": "[" * 10_000 + "]" * 10_000,
    "not JSON": "oops",
}
HOSTILE_CELLS = {
    "NaN": "NaN",
    "infinity": "-Infinity",
    "1e400": "1e400",
    "a negative": "-1",
    "a fraction": "1.5",
    "above a bigint": "9223372036854775808",
    "thirty digits": "1" + "0" * 30,
    "in words": "twelve",
    "1900": "1900-01-01",
    "2100": "2100-01-01",
    "a NUL": "a\0b",
    "a formula": "=cmd|' /C calc'!A0",
    "a lone quote": 'a"b',
}
# Of these a count or amount may really be one: what is imported then is another, exact number.
MAY_BE_MEANT = {"a negative", "a fraction", "above a bigint", "thirty digits"}


def is_table(data: bytes) -> bool:
    return data.lstrip(b"\xef\xbb\xbf \r\n")[:1] not in (b"{", b"[") and not data.startswith((b"event:", b"data:"))


def same_content(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The file as other programs would write it: everything in it is as before."""
    yield "gzip", gzip.compress(data, mtime=0)
    yield "zstd", zstandard.ZstdCompressor().compress(data)
    half = data.find(b"\n", len(data) // 2) + 1
    yield "gzip in two members", gzip.compress(data[:half], mtime=0) + gzip.compress(data[half:], mtime=0)
    yield "a byte order mark", b"\xef\xbb\xbf" + data
    if b"\r" not in data:
        yield "CRLF", data.replace(b"\n", b"\r\n")
    yield "no line end at the end", data.rstrip(b"\n")
    yield "blank lines at the end", data + b"\n\n \n"


def broken(data: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """The file damaged as a whole; `count` times cut and a bit of it flipped by chance."""
    chance = random.Random(seed)
    text = data.decode("utf-8")
    yield "UTF-16", text.encode("utf-16")
    yield "UTF-16 without a mark", text.encode("utf-16-le")
    yield "Latin-1", (text + "é").encode("latin-1", errors="replace")
    yield "a NUL at the end", data + b"\0"
    yield "NULs inside", data[: len(data) // 2] + b"\0\0\0" + data[len(data) // 2 :]
    yield "no bytes", b""
    packed = gzip.compress(data, mtime=0)
    yield "a cut gzip", packed[: len(packed) * 3 // 4]
    yield "gzip's first bytes only", b"\x1f\x8b" + data
    yield "gzip around what is not deflated", packed[:10] + b"\xff" * 40 + packed[50:]
    yield "zstd's first bytes only", b"\x28\xb5\x2f\xfd" + data
    for number in range(count):
        yield f"cut {number}", data[: chance.randrange(1, len(data))]
    for number in range(count):
        place = chance.randrange(len(data))
        yield f"flip {number}", data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]


def changed_values(data: bytes, seed: int, count: int) -> Iterator[tuple[str, str, bool, bytes]]:
    """One value made hostile: what it became, the field, whether it was a number, and the file."""
    chance = random.Random(seed)
    if is_table(data):
        yield from _changed_cells(data, chance, count)
        return
    records, write = _records(data)
    leaves = [(number, path, value) for number, record in enumerate(records) for path, value in _leaves(record)]
    numbers = [leaf for leaf in leaves if type(leaf[2]) in (int, float)]
    for _ in range(count):
        number, path, value = chance.choice(numbers if chance.random() < 0.6 and numbers else leaves)
        what = chance.choice(list(HOSTILE_JSON))
        texts = [json.dumps(record, ensure_ascii=False) for record in records]
        texts[number] = json.dumps(_replaced(records[number], path, RAW), ensure_ascii=False).replace(
            f'"{RAW}"', HOSTILE_JSON[what]
        )
        yield what, str(path[-1]), type(value) in (int, float), write(texts)


def _changed_cells(data: bytes, chance: random.Random, count: int) -> Iterator[tuple[str, str, bool, bytes]]:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"))))
    for _ in range(count):
        row, column = chance.randrange(1, len(rows)), chance.randrange(len(rows[0]))
        what = chance.choice(list(HOSTILE_CELLS))
        copy = [list(line) for line in rows]
        was_number = re.fullmatch(r"-?[0-9]+(?:\.[0-9]+)?", copy[row][column]) is not None
        copy[row][column] = HOSTILE_CELLS[what]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(copy)
        yield what, rows[0][column], was_number, out.getvalue().encode()


def _records(data: bytes) -> tuple[list[Any], Callable[[list[str]], bytes]]:
    """The JSON values of a file, and how their texts become one again: lines, events, or one value."""
    text = data.decode("utf-8")
    lines = text.splitlines()
    if text.startswith(("event:", "data:")):
        places = [n for n, line in enumerate(lines) if line.startswith("data: {")]

        def events(texts: list[str]) -> bytes:
            told = dict(zip(places, texts, strict=True))
            return "\n".join(f"data: {told[n]}" if n in told else line for n, line in enumerate(lines)).encode() + b"\n"

        return [json.loads(lines[n][6:]) for n in places], events
    try:
        return [json.loads(text)], lambda texts: texts[0].encode()
    except ValueError:
        return [json.loads(line) for line in lines if line.strip()], lambda texts: ("\n".join(texts) + "\n").encode()


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, (*path, number))
    elif path:
        yield path, value


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy
