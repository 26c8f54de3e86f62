"""Cost centres and what they carry, from a CSV of our own or from the tags of the Admin API's list of workspaces.

CSV columns: code (required), name, team, owner, channel, workspace, api_key, class, from, to. A line that names none of
channel, workspace, api_key and class only registers the cost centre; `*` in one of them means "any", so a line with `*`
alone carries all other usage. Days are written as 2026-11-22; `to` is the day after the last.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

MAX_BYTES: Final = 20_000_000
COLUMNS: Final = ("code", "name", "team", "owner", "channel", "workspace", "api_key", "class", "from", "to")
TAGS: Final = ("cost_centre", "cost_center", "cost-centre", "cost-center", "costcentre", "costcenter")
ANY: Final = "*"


class CostCentreFileError(ValueError):
    """A file that cannot be read; every problem with its line, field and value."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(self.problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        )


@dataclass(frozen=True, slots=True)
class CentreLine:
    """One line: a cost centre, and what it carries where `maps`. '' = as it is held, or any usage."""

    line: int
    code: str
    name: str = ""
    team: str = ""
    owner: str = ""
    channel: str = ""
    workspace: str = ""
    api_key: str = ""
    request_class: str = ""
    valid_from: date | None = None
    valid_to: date | None = None
    maps: bool = False


def read_cost_centres(data: bytes, *, tag: str = "") -> list[CentreLine]:
    """Lines of a CSV, or of a list of workspaces (JSON, one line per tagged workspace). Raises CostCentreFileError.

    `tag`: the tag that holds the code; by default any spelling of cost centre.
    """
    if len(data) > MAX_BYTES:
        raise CostCentreFileError([f"the file has {len(data):,} bytes; at most {MAX_BYTES:,} are read"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CostCentreFileError([f"the file is not UTF-8 (byte {error.start}): save it as UTF-8"]) from error
    if text.lstrip()[:1] in ("{", "["):
        return _workspaces(text, tag)
    return _csv(text)


def _csv(text: str) -> list[CentreLine]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise CostCentreFileError([f"line {reader.line_num}: {error}"]) from error
    problems = [
        f"line 1: column {name!r} is not known; use {', '.join(COLUMNS)}" for name in header if name not in COLUMNS
    ]
    if "code" not in header:
        problems.append(f"line 1: there is no column code; use {', '.join(COLUMNS)}")
    if len(set(header)) < len(header):
        problems.append("line 1: a column is named twice")
    if problems:
        raise CostCentreFileError(problems)
    reader_rows = [(line, dict(zip(header, row.values(), strict=False)), row) for line, row in rows]
    found = []
    for line, values, raw in reader_rows:
        if None in raw:
            problems.append(f"line {line}: it has more fields than the header")
            continue
        read = _line(line, {name: (value or "").strip() for name, value in values.items()}, problems)
        if read is not None:
            found.append(read)
    _finish(found, problems)
    return found


def _line(line: int, values: Mapping[str, str], problems: list[str]) -> CentreLine | None:
    if not values.get("code"):
        problems.append(f"line {line}: code is empty: give the code of the cost centre")
        return None
    days: dict[str, date | None] = {}
    for name in ("from", "to"):
        try:
            days[name] = date.fromisoformat(values[name]) if values.get(name) else None
        except ValueError:
            problems.append(f"line {line}: {name} {values[name]!r} is not a day; write it as 2026-11-22")
            return None
    start, end = days["from"], days["to"]
    if start is not None and end is not None and start >= end:
        problems.append(f"line {line}: it ends on {end}, but starts on {start}: end it later")
        return None
    named = {name: values.get(name, "") for name in ("channel", "workspace", "api_key", "class")}
    plain = {name: "" if value == ANY else value for name, value in named.items()}
    return CentreLine(
        line, values["code"], values.get("name", ""), values.get("team", ""), values.get("owner", ""),
        plain["channel"], plain["workspace"], plain["api_key"], plain["class"], start, end, any(named.values()),
    )  # fmt: skip


def _workspaces(text: str, tag: str) -> list[CentreLine]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CostCentreFileError([f"the file is no JSON: {error}"]) from error
    rows = document.get("data") if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise CostCentreFileError(["the file is no list of workspaces: it has no list named data"])
    problems: list[str] = []
    found = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
            problems.append(f"workspace {number}: it has no id")
            continue
        code = _tagged(row.get("tags"), tag)
        if code:
            found.append(CentreLine(number, code, workspace=row["id"], maps=True))
    if not found and not problems:
        said = f"tag {tag!r}" if tag else f"tag for a cost centre ({', '.join(TAGS[:2])}, …)"
        problems.append(f"none of {len(rows)} workspaces has a {said}; name the tag that holds the code")
    _finish(found, problems)
    return found


def _tagged(tags: Any, tag: str) -> str:
    if not isinstance(tags, dict):
        return ""
    names = (tag,) if tag else TAGS
    return next((str(value).strip() for name, value in tags.items() if name.lower() in names or name in names), "")


def _finish(lines: Iterable[CentreLine], problems: list[str]) -> None:
    """Two lines that give the same usage to two cost centres from the same day contradict each other."""
    seen: dict[tuple[object, ...], CentreLine] = {}
    for line in lines:
        place = (line.channel, line.workspace, line.api_key, line.request_class, line.valid_from)
        other = seen.setdefault(place, line) if line.maps else line
        if other.code != line.code:
            problems.append(
                f"line {line.line}: {line.code} and, in line {other.line}, {other.code} carry the same usage: keep one"
            )
    if problems:
        raise CostCentreFileError(problems)
