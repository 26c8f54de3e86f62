"""Tables to download: any page registers what it shows, and gets CSV and XLSX of it at the same address parameters.

    @download("spend")
    def spend_table(request): → Table

`{% downloads "spend" %}` writes the links. A table is built from the same query as its page.
"""

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final

from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.urls import path
from django.views.decorators.http import require_safe

from billing.exports.tables import CSV_TYPE, XLSX_TYPE, Table, TooManyRows, csv_file, xlsx_file
from costgov.pages import BadQuery

Builder = Callable[[HttpRequest], Table]
TABLES: Final[dict[str, Builder]] = {}
TYPES: Final = {"csv": CSV_TYPE, "xlsx": XLSX_TYPE}


def download(name: str) -> Callable[[Builder], Builder]:
    """Register the builder of a table under a name of its own."""

    def register(builder: Builder) -> Builder:
        if name in TABLES:
            raise ValueError(f"two tables are called {name}")
        TABLES[name] = builder
        return builder

    return register


def streamed(table: Table, ending: str) -> StreamingHttpResponse:
    """A table as a file. Raises BadQuery where a workbook cannot hold it."""
    pieces = csv_file(table) if ending == "csv" else xlsx_file(table)
    return answer(pieces, f"{table.name}.{ending}", TYPES[ending])


def answer(pieces: Iterator[bytes], file_name: str, content_type: str) -> StreamingHttpResponse:
    """Pieces as a download. The first is made before anything is sent, so that a refusal is still a page."""
    try:
        first = next(pieces, b"")
    except TooManyRows as error:
        raise BadQuery(f"{str(error)[0].upper()}{str(error)[1:]}.") from error
    found = StreamingHttpResponse(chain([first], pieces), content_type=content_type)
    found["Content-Disposition"] = f'attachment; filename="{file_name}"'
    found["X-Content-Type-Options"] = "nosniff"
    return found


@require_safe
def fetch(request: HttpRequest, name: str, ending: str) -> StreamingHttpResponse:
    """/download/spend.csv?… with the parameters of its page."""
    if name not in TABLES or ending not in TYPES:
        raise Http404(f"There is no table {name}.{ending} to download.")
    return streamed(TABLES[name](request), ending)


urlpatterns = [path("download/<slug:name>.<slug:ending>", fetch, name="download")]
