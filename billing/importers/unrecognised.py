"""Why no format claims a file: what its beginning shows it to be, and what to do about it."""

import json
import re
from typing import Any, Final

from billing.importers.base import Head, shown
from billing.importers.tables import header_of

Reason = tuple[str, str]
_SHOWN_COLUMNS: Final = 6
_DEEPEST: Final = 4
_LONGEST_NAME: Final = 40  # what is longer may be a prompt
_MOST_WORDS: Final = 4
# First bytes of what people upload by mistake, and what to do with it.
_MAGIC: Final[tuple[tuple[bytes, str, str], ...]] = (
    (b"BZh", "it is compressed with bzip2", "Unpack it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "it is compressed with xz", "Unpack it, or compress it with gzip or zstd"),
    (b"7z\xbc\xaf'\x1c", "it is a 7z archive", "Unpack it and import the files inside"),
    (b"Rar!", "it is a RAR archive", "Unpack it and import the files inside"),
    (b"%PDF", "it is a PDF", "Invoices are typed in on the month's page; usage and costs come from an export"),
    (b"Obj\x01", "it is an Avro file", "Export it as JSON lines or Parquet"),
    (b"ORC", "it is an ORC file", "Export it as JSON lines or Parquet"),
    (b"SQLite format 3", "it is an SQLite database", "Export the table as CSV or JSON lines"),
    (b"\xd0\xcf\x11\xe0", "it is an old Excel workbook", "Save the sheet as CSV (UTF-8) and import that"),
    (b"\x89PNG", "it is a picture", "Export the data behind it"),
    (b"\xff\xd8\xff", "it is a picture", "Export the data behind it"),
)  # fmt: skip
_EVALS: Final = ("it holds results of evals", "Import it on the Evals page, or with manage.py import_evals")
# Of promptfoo, its lines, Inspect, DeepEval, lm-evaluation-harness and its samples.
_EVAL_KEYS: Final[tuple[frozenset[str], ...]] = (
    frozenset({"evalId", "results"}),
    frozenset({"gradingResult", "testCase"}),
    frozenset({"version", "eval", "status"}),
    frozenset({"testCases", "metricsScores"}),
    frozenset({"results", "configs", "versions"}),
    frozenset({"doc_id", "filtered_resps"}),
)
_KEY: Final = re.compile(r'^ {0,4}"(\w{1,40})"\s*:', re.MULTILINE)  # keys at the top of a document too long to read
_LIST: Final = "manage.py usage_formats and the Imports page list what can be imported"
_OF_KNOWN: Final = f"If it is one of the known formats, say which with --format or in the form; {_LIST}"


def likely_reason(head: Head) -> Reason:
    """What is the matter, as a clause, and what to do."""
    return (
        _of_bytes(head)
        or _of_markup(head)
        or _of_elsewhere(head)
        or _of_json(head)
        or _of_table(head)
        or _of_text(head)
    )


def _of_bytes(head: Head) -> Reason | None:
    start = head.start
    if start.startswith(b"PK\x03\x04"):
        if b"_journal/start.json" in start or b"header.json" in start:
            return _EVALS
        if b"[Content_Types].xml" in start or b"xl/" in start:
            return "it is an Excel workbook", "Save the sheet as CSV (UTF-8) and import that"
        return "it is a zip archive", "Unpack it and import the files inside"
    if start[257:262] == b"ustar":
        return "it is a tar archive", "Unpack it and import the files inside"
    for magic, what, remedy in _MAGIC:
        if start.startswith(magic):
            return what, remedy
    zeros = start[0:40:2].count(0), start[1:40:2].count(0)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or (min(zeros) == 0 and max(zeros) > 8):
        return "it is text in UTF-16", "Save it as UTF-8 (as 'CSV UTF-8' in Excel, with iconv -f UTF-16 -t UTF-8)"
    if b"\0" in start:
        return "it is no text", f"Export it as JSON lines, CSV or Parquet; {_LIST}"
    return None


def _of_markup(head: Head) -> Reason | None:
    first = head.text.lstrip()[:200].lower()
    if first.startswith(("<!doctype html", "<html")):
        return "it is a web page, as a login page that was saved", "Sign in and download the export itself"
    if first.startswith("<") and "<testsuite" in first:
        return _EVALS
    if first.startswith("<"):
        return "it is XML", f"Export it as JSON or CSV; {_LIST}"
    return None


def _of_elsewhere(head: Head) -> Reason | None:
    """What another page imports, by its own keys at the top: no advice to unnest it."""
    text = head.text.lstrip()
    if text[:1] not in ("{", "["):
        return None
    if '"input_mtok"' in text or ('"litellm_provider"' in text and '"input_cost_per_token"' in text):
        return "it is a list of prices", "Import it on the Prices page, or with manage.py import_prices"
    keys = set(head.rows[0]) if head.rows else set(_KEY.findall(text))
    is_openai = keys == {"spec"} and '"eval_name"' in text
    return _EVALS if is_openai or any(keys >= known for known in _EVAL_KEYS) else None


def _of_json(head: Head) -> Reason | None:
    text = head.text.lstrip()
    if text[:1] not in ("{", "["):
        return None
    if not head.rows:
        try:
            value = json.loads(text)
        except RecursionError:
            return "its JSON is nested too deeply to be read", "Take the log as its writer wrote it"
        except json.JSONDecodeError as error:
            if error.pos < len(text) - 1:
                return f"its JSON breaks off or is broken at line {error.lineno} ({error.msg})", "Export it again"
            return "its JSON goes on for too long, or ends in the middle", f"Export it as JSON lines. {_OF_KNOWN}"
        except ValueError:
            return None
        return _nested(value) or (
            f"its JSON holds no objects: {shown(value)}",
            f"Export objects, one per line; {_LIST}",
        )
    row = head.rows[0]
    nested = _nested(row)
    if nested is not None:
        return nested
    keys = [shown(key) for key in list(row)[:_SHOWN_COLUMNS]]
    more = ", …" if len(row) > _SHOWN_COLUMNS else ""
    return f"its objects have the keys {', '.join(keys) or '(none)'}{more}, as none of them has", _OF_KNOWN


def _nested(value: Any) -> Reason | None:
    """A list of objects further inside, as an export's envelope has it."""
    path = _path_to_objects(value, (), 0)
    if not path:
        return None
    where = "." + ".".join(path)
    return f"its records are nested, in {where}", f"Write them one per line (jq -c '{where}[]') and import that"


def _path_to_objects(value: Any, path: tuple[str, ...], depth: int) -> tuple[str, ...]:
    if not isinstance(value, dict) or depth == _DEEPEST:
        return ()
    for key, item in value.items():
        if isinstance(item, list) and item and isinstance(item[0], dict) and key.isidentifier():
            return (*path, key)
    for key, item in value.items():
        found = _path_to_objects(item, (*path, key), depth + 1) if key.isidentifier() else ()
        if found:
            return found
    return ()


def _of_table(head: Head) -> Reason | None:
    for delimiter in (",", ";", "\t"):
        header = header_of(head, delimiter=delimiter)
        if len(header) < 2:
            continue
        if not all(0 < len(name) <= _LONGEST_NAME and len(name.split()) <= _MOST_WORDS for name in header):
            return "its first line does not name its columns", "Give it a header line with a short name for each"
        names = ", ".join(shown(name) for name in header[:_SHOWN_COLUMNS])
        more = ", …" if len(header) > _SHOWN_COLUMNS else ""
        return (
            f"it is a table with the columns {names}{more}",
            "Say what its columns are: upload it on the Imports page, or write manage.py column_mapping FILE down, "
            "correct it and give it to import_usage with --mapping",
        )
    return None


def _of_text(head: Head) -> Reason:
    # Its words are not shown: they may be those of a prompt.
    return "it is plain text, neither JSON nor a table, or its beginning is cut off", _OF_KNOWN
