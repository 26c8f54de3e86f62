"""What the evidence asks of somebody: open work items of every class, and closing one with what came of it."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_safe

from audit.roles import Right
from billing.exports.tables import Table
from costgov.downloads import download
from costgov.pages import choice, now, page, right_required
from costgov.timespan import only
from costgov.views.evals import MissingPage
from routing.models import RequestClass, WorkItem
from routing.operations.work_items import ItemRefused, close_work_item
from routing.queries.work_items import WorkItemRow, WorkItems, every_work_item, work_item, work_items

STATES = (("open", "Open"), ("all", "Open and closed"))
KINDS = tuple((kind.value, kind.label) for kind in WorkItem.Kind)
_COLUMNS = ("id", "slug", "model", "kind", "text", "remedy", "concerns", "opened_at", "closed_at", "closed_by",
            "closing_note", "resolved_itself")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ItemQuestion:
    slug: str = ""
    kind: str = ""
    with_closed: bool = False

    @property
    def is_narrowed(self) -> bool:
        return bool(self.slug or self.kind)


@dataclass(frozen=True, slots=True)
class ItemsPage:
    view: WorkItems
    question: ItemQuestion
    classes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class CloseItemPage:
    """`problem`: why closing was refused; `note`: what was typed."""

    item: WorkItemRow
    problem: str
    note: str
    back: str


def asked(request: HttpRequest) -> ItemQuestion:
    """?class=, ?kind=, ?state=. Raises BadQuery."""
    only(request, ("class", "kind", "state"))
    kind = choice(request, "kind", ["", *(value for value, _ in KINDS)], "")
    state = choice(request, "state", [value for value, _ in STATES], "open")
    return ItemQuestion(request.GET.get("class", ""), kind, state == "all")


@require_safe
def items(request: HttpRequest) -> HttpResponse:
    question = asked(request)
    found = work_items(slug=question.slug, kind=question.kind, with_closed=question.with_closed)
    classes = (
        RequestClass.objects.filter(work_items__isnull=False).distinct().order_by("title").values_list("slug", "title")
    )
    value = ItemsPage(found, question, tuple(classes))
    return page(request, "routing/work_items.html", value, nav="evals", kinds=KINDS, item_states=STATES)


@download("work-items")
def items_table(request: HttpRequest) -> Table:
    """Every item under the filters of the page, also those beyond what it lists."""
    question = asked(request)
    found = every_work_item(slug=question.slug, kind=question.kind, with_closed=question.with_closed)
    rows = ([getattr(item, name) for name in _COLUMNS] for item in found)
    kinds = ["moment" if name.endswith("_at") else "text" for name in _COLUMNS]
    return Table("work-items", "Work items", _COLUMNS, rows, kinds)


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.JUDGE_EVIDENCE)
def close(request: HttpRequest, item_id: int) -> HttpResponse:
    """Ask what came of it, then close. `back`: the page it was opened from."""
    problem, note = "", request.POST.get("note", "")
    back = request.POST.get("back") or request.GET.get("back", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
        back = reverse("work-items")
    if request.method == "POST":
        try:
            close_work_item(actor=request.user, item_id=item_id, note=note, as_of=now())  # type: ignore[arg-type]
        except ItemRefused as error:
            problem = str(error)
        else:
            messages.success(request, f"Work item {item_id} is closed.")
            return redirect(back)
    item = work_item(item_id=item_id)
    if item is None:
        missing = MissingPage(f"There is no work item number {item_id}. See the list for those there are.")
        return page(request, "routing/evals_missing.html", missing, nav="evals", status=404)
    value = CloseItemPage(item, problem, note, back)
    return page(request, "routing/work_item_close.html", value, nav="evals", status=400 if problem else 200)


urlpatterns = [
    path("evals/work/", items, name="work-items"),
    path("evals/work/<int:item_id>/close/", close, name="work-item-close"),
]
