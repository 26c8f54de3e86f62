"""The FOCUS file of a period as an answer, with what it leaves out beside it."""

import json
from datetime import date, timedelta
from typing import Final

from django.http import StreamingHttpResponse

from billing.exports.cells import csv_bytes
from billing.exports.focus import COLUMNS, focus_rows
from billing.exports.tables import CSV_TYPE
from billing.queries.focus_lines import account_name, focus_lines, left_out_of
from costgov.downloads import answer

LEFT_OUT: Final = "X-Costgov-Left-Out"
_NAMED: Final = 20  # a header has a few kilobytes


def focus_answer(start: date, end: date) -> StreamingHttpResponse:
    """Days [start, end), streamed month by month. A header says what has no price and so no row; without it all has."""
    rows = focus_rows(focus_lines(start=start, end=end), account=account_name())
    found = answer(csv_bytes(COLUMNS, rows), f"focus-{start}-{end - timedelta(days=1)}.csv", CSV_TYPE)
    missing = left_out_of(start=start, end=end)
    if missing is not None:
        named = [model[:100] for model in missing.models[:_NAMED]]
        found[LEFT_OUT] = json.dumps(
            {
                "tokens": missing.tokens,
                "web_searches": missing.searches,
                "models": named,
                "more_models": missing.others + len(missing.models) - len(named),
            }
        )
    return found
