"""promptfoo's version 2: results in a table, a row for each test and a column for each prompt and provider."""

from typing import Any

from routing.importers.base import EvalImportError
from routing.importers.files import Json, part

_AGAIN = "Export it again with promptfoo eval --output results.json"


def results_of_table(summary: Json) -> list[dict[str, Any]]:
    """Every cell as a result of version 3 is written, so that one reader judges both.

    Columns name the label of a provider; its id stands in the list of results beside the table.
    """
    table = part(summary, "table")
    prompts, body = part(table, "head").get("prompts"), table.get("body")
    if not isinstance(prompts, list) or not isinstance(body, list):
        raise EvalImportError("has no head.prompts or no body", remedy=_AGAIN, field="results.table")
    ids = _ids_of_labels(summary.get("results"))
    return [
        _result(row, prompt, cell, ids, test=test, column=column)
        for test, row in enumerate(body)
        if isinstance(row, dict)
        for column, (prompt, cell) in enumerate(zip(prompts, _cells(row), strict=False))
        if isinstance(cell, dict)
    ]


def _cells(row: Json) -> list[Any]:
    cells = row.get("outputs")
    return cells if isinstance(cells, list) else []


def _ids_of_labels(results: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for row in results if isinstance(results, list) else []:
        provider = part(row, "provider")
        if isinstance(provider.get("label"), str) and isinstance(provider.get("id"), str):
            found[provider["label"]] = provider["id"]
    return found


def _result(row: Json, prompt: object, cell: Json, ids: dict[str, str], *, test: int, column: int) -> dict[str, Any]:
    head = prompt if isinstance(prompt, dict) else {}
    named = cell.get("provider") or head.get("provider") or ""
    label = named if isinstance(named, str) else str(part(cell, "provider").get("id") or "")
    case = part(row, "test") or part(cell, "testCase")
    return {
        "testIdx": row.get("testIdx", test),
        "promptIdx": column,
        "promptId": head.get("id"),
        "prompt": {"label": head.get("label") or head.get("display"), "raw": head.get("raw")},
        "provider": {"id": ids.get(label, label), "label": label},
        "testCase": {**case, "vars": case.get("vars") or row.get("vars")},
        "metadata": cell.get("metadata") or case.get("metadata"),
        "success": cell.get("pass"),
        "score": cell.get("score"),
        "namedScores": cell.get("namedScores"),
        "failureReason": cell.get("failureReason"),
        "error": cell.get("error"),
        "gradingResult": cell.get("gradingResult"),
        "latencyMs": cell.get("latencyMs"),
        "cost": cell.get("cost"),
        "tokenUsage": cell.get("tokenUsage"),
        "response": cell.get("response"),
    }
