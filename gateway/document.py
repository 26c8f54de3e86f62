"""The policy document: parsing, canonical form, content hash, validation (policy-spec.md §1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any, Final

from gateway.findings import Finding, PolicyError
from gateway.validation import check_document

__all__ = [
    "MAX_DOCUMENT_BYTES",
    "Finding",
    "PolicyError",
    "canonical_json",
    "content_hash",
    "parse_document",
    "validate_document",
]

MAX_DOCUMENT_BYTES: Final = 1024 * 1024


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no blanks: equal values give equal bytes.

    Raises TypeError or ValueError for what JSON cannot hold (NaN, sets, lone surrogates).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the canonical JSON without ``version``: two versions with equal content have equal hashes."""
    return hashlib.sha256(canonical_json({key: document[key] for key in document if key != "version"})).hexdigest()


def parse_document(body: bytes) -> dict[str, Any]:
    """JSON object from bytes. Raises PolicyError: over 1 MiB, not UTF-8, not JSON, a key given twice, not an object."""
    if len(body) > MAX_DOCUMENT_BYTES:
        raise PolicyError([Finding("", len(body), f"the document has over {MAX_DOCUMENT_BYTES} bytes; shorten it")])
    repeated: list[str] = []

    def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            seen: set[str] = set()
            repeated.extend(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        return members

    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=without_repeats)
    except UnicodeDecodeError as error:
        raise PolicyError([Finding("", error.start, "not UTF-8 at this byte; save the file as UTF-8")]) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise PolicyError([Finding("", str(error), "not valid JSON; correct it at the place named")]) from error
    if repeated:
        raise PolicyError([Finding("", key, "this key is given twice in one object; keep one") for key in repeated])
    if not isinstance(document, dict):
        raise PolicyError([Finding("", type(document).__name__, "the document must be a JSON object")])
    return document


def validate_document(
    document: Any,
    *,
    allowed_models: Collection[str] | None = None,
    registered_classes: Collection[str] | None = None,
) -> list[Finding]:
    """Every problem of a policy document, by section; an empty list means valid. Source: policy-spec.md §1, §3.

    ``allowed_models``: the organisation's allowed list; ``registered_classes``: slugs of the register. None: skip.
    """
    if not isinstance(document, Mapping):
        return [Finding("", document, "the document must be a JSON object")]
    try:
        size = len(json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        return [Finding("", str(error), "the document holds a value JSON cannot; remove it")]
    if size > MAX_DOCUMENT_BYTES:
        return [Finding("", size, f"the document has over {MAX_DOCUMENT_BYTES} bytes; shorten it")]
    return check_document(document, allowed_models=allowed_models, registered_classes=registered_classes)
