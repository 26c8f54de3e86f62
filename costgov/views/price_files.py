"""Price files: what a file says beside what is held, and proposing what somebody chooses of it; proposed prices."""

import hashlib
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from django.contrib import messages
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_safe

from audit.roles import Right
from billing.core.price_difference import STATES, PriceDifference, PriceRow
from billing.core.pricebook import PriceError
from billing.importers.base import ImportRefused
from billing.importers.price_formats import PRICE_FORMATS
from billing.models import ModelRelease, Price
from billing.operations.price_changes import PriceRefused
from billing.operations.price_files import Chosen, PriceFile, difference_of, propose_prices, read_price_file
from billing.queries.price_list import Proposal, proposals_of
from billing.queries.price_timeline import PriceTimeline, price_timeline
from billing.queries.prices import list_price, price_book
from costgov import charts
from costgov.pages import BadQuery, cached, now, page, right_required, today
from costgov.queries.price_effects import PriceEffects, proposal_effects
from costgov.timespan import only
from costgov.views.prices import timeline_table

MAX_FILE_BYTES: Final = 20_000_000
KEEP_SECONDS: Final = 3600  # a file waits this long for somebody to choose of it
COLUMNS: Final = ("Input", "Cache read", "5-min write", "1-hour write", "Output", "Web search")


@dataclass(frozen=True, slots=True)
class DifferenceGroup:
    """Rows of one model and state; `numbers` are their places in the file's difference."""

    model: str
    state: str
    rows: tuple[tuple[int, PriceRow], ...]

    @property
    def is_open(self) -> bool:
        return any(row.is_open for _, row in self.rows)


@dataclass(frozen=True, slots=True)
class FilePage:
    """The upload, and the difference once a file was read (`token` finds it again)."""

    formats: tuple[tuple[str, str], ...]
    file: PriceFile | None = None
    token: str = ""
    difference: PriceDifference | None = None
    groups: tuple[DifferenceGroup, ...] = ()
    problems: tuple[str, ...] = ()
    day: str = ""

    @property
    def counts(self) -> dict[str, int]:
        rows = self.difference.rows if self.difference is not None else ()
        return {state: sum(row.state == state for row in rows) for state in STATES}


@dataclass(frozen=True, slots=True)
class ModelTimeline:
    """The prices of one model over time: drawn, and as the table of the drawing."""

    model: str
    name: str
    has_closed: bool
    figure: charts.Figure
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class ProposalPage:
    """Proposed prices and what approving them would do."""

    proposals: tuple[Proposal, ...]
    ids: tuple[int, ...]
    models: tuple[str, ...]
    effects: PriceEffects | None
    timelines: tuple[ModelTimeline, ...]
    problem: str
    columns: tuple[str, ...] = COLUMNS


@right_required(Right.EDIT_PRICES)
def price_file(request: HttpRequest) -> HttpResponse:
    """GET: the upload. POST: a file (its difference), or what was chosen of it (proposals)."""
    if request.method != "POST":
        return _page(request, FilePage(_formats()))
    if token := request.POST.get("token", ""):
        return _propose(request, token)
    upload = request.FILES.get("file")
    if upload is None or upload.size is None:
        return _page(request, FilePage(_formats(), problems=("Choose a price file first.",)), 400)
    if upload.size > MAX_FILE_BYTES:
        problem = f"{upload.size:,} bytes is too large for a price file; at most {MAX_FILE_BYTES:,}."
        return _page(request, FilePage(_formats(), problems=(problem,)), 400)
    content = upload.read()
    name = Path(upload.name or "prices").name
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / name
        place.write_bytes(content)
        try:
            file = read_price_file(path=place, file_name=name, as_of=now())
        except ImportRefused as refusal:
            return _page(request, FilePage(_formats(), problems=tuple(str(refusal).splitlines())), 400)
    found = hashlib.sha256(content).hexdigest()[:32]
    cache.set(_cache_key(request, found), file, KEEP_SECONDS)
    return _page(request, _difference(file, found))


def _difference(file: PriceFile, token: str, *, problems: tuple[str, ...] = (), day: str = "") -> FilePage:
    difference = difference_of(file, today=today())
    groups: dict[tuple[str, str], list[tuple[int, PriceRow]]] = defaultdict(list)
    for number, row in enumerate(difference.rows):
        if row.state != "same":
            groups[row.state, row.price.model].append((number, row))
    return FilePage(
        _formats(),
        file,
        token,
        difference,
        tuple(DifferenceGroup(model, state, tuple(rows)) for (state, model), rows in groups.items()),
        problems,
        day,
    )


def _propose(request: HttpRequest, token: str) -> HttpResponse:
    file = cache.get(_cache_key(request, token))
    if not isinstance(file, PriceFile):
        problem = "The file was not kept any longer: choose it again; nothing was proposed."
        return _page(request, FilePage(_formats(), problems=(problem,)), 400)
    typed = request.POST.get("day", "").strip()
    rows = difference_of(file, today=today()).rows
    numbers = {int(value) for value in request.POST.getlist("row") if value.isascii() and value.isdecimal()}
    chosen = [row for number, row in enumerate(rows) if number in numbers and row.is_open and row.filed is not None]
    try:
        day = _day(typed)
        wanted = [
            Chosen(row.filed, day if row.state == "contradicts" else None) for row in chosen if row.filed is not None
        ]
        created = propose_prices(actor=request.user, chosen=wanted, file_name=file.file_name, as_of=now())  # type: ignore[arg-type]
    except PriceRefused as refusal:
        shown = _difference(file, token, problems=tuple(refusal.problems.values()), day=typed)
        return _page(request, shown, 400)
    number = f"{len(created)} price{'' if len(created) == 1 else 's'}"
    messages.success(request, f"{number} of {file.file_name} proposed: they count once somebody approves them.")
    return redirect(proposals_address([row.pk for row in created]))


def proposals_address(ids: list[int]) -> str:
    """The page that decides on these proposals; all that wait where there are many."""
    return reverse("price-proposed") + ("?" + "&".join(f"price={pk}" for pk in ids) if len(ids) <= 60 else "")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise PriceRefused({"day": f"{text!r} is not a day: write it like 2027-01-01."}) from error


def _cache_key(request: HttpRequest, token: str) -> str:
    return f"costgov:price-file:{request.user.pk}:{token[:64]}"


def _formats() -> tuple[tuple[str, str], ...]:
    return tuple((item.name, item.title) for item in PRICE_FORMATS)


def _page(request: HttpRequest, shown: FilePage, status: int = 200) -> HttpResponse:
    return page(request, "billing/price_file.html", shown, nav="prices", status=status)


# ---- Proposed prices -----------------------------------------------------------------------------------------------


@require_safe
def proposed(request: HttpRequest) -> HttpResponse:
    """?price=1&price=2 (default: all that wait): what approving them would change."""
    only(request, ("price",))
    asked = request.GET.getlist("price")
    if any(not value.isascii() or not value.isdecimal() for value in asked):
        raise BadQuery("?price= takes the numbers of proposed prices; open it from the Prices page.")
    ids = sorted({int(value) for value in asked})
    rows = Price.objects.filter(approved_at=None).order_by("pk")
    found = list((rows.filter(pk__in=ids) if ids else rows).values_list("pk", flat=True))
    if ids and len(found) != len(ids):
        raise Http404("Some of these prices are no longer proposed: they were approved or discarded.")
    shown = cached("price-proposed", lambda: proposal_page(tuple(found)), ids=found, on=today())
    return page(request, "billing/price_proposed.html", shown, nav="prices", on=today())


def proposal_page(ids: tuple[int, ...]) -> ProposalPage:
    """Everything a decision on these proposals needs."""
    prices = [list_price(row) for row in Price.objects.filter(pk__in=ids).order_by("pk")]
    proposals = proposals_of(ids)
    models = tuple(dict.fromkeys(price.model for price in prices))
    if not prices:
        return ProposalPage((), (), (), None, (), "")
    listed = price_book()
    try:
        listed.with_prices(prices)
    except PriceError as error:
        return ProposalPage(proposals, ids, models, None, (), f"{error}.")
    effects = proposal_effects(as_of=now(), ids=ids)
    names = dict(ModelRelease.objects.filter(canonical_id__in=models).values_list("canonical_id", "display_name"))
    timelines: list[ModelTimeline] = []
    for model in models[:6]:
        own = [price for price in prices if price.model == model]
        view = price_timeline(book=listed, model=model, today=today(), proposed=own)
        if view is not None:
            timelines.append(_timeline(model, names.get(model, model), view))
    return ProposalPage(proposals, ids, models, effects, tuple(timelines), "")


def _timeline(model: str, name: str, view: PriceTimeline) -> ModelTimeline:
    columns, rows = timeline_table(view)
    figure = charts.price_timeline_chart(view)
    return ModelTimeline(model, name, bool(view.closed), figure, tuple(columns), tuple(tuple(row) for row in rows))


urlpatterns = [
    path("prices/file/", price_file, name="price-file"),
    path("prices/proposed/", proposed, name="price-proposed"),
]
