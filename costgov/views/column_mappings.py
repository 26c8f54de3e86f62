"""Tables of somebody's own: say what the columns are, see the first rows as they would count, keep it for the next."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.forms import BoundField
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.roles import Right
from billing.core.column_mapping import ColumnMapping, MappingError, contradictions, parse_mapping
from billing.operations.column_mappings import (
    MappingChanged,
    MappingRefused,
    NotWaiting,
    delete_mapping,
    discard_table,
    save_mapping,
)
from billing.queries.column_mappings import (
    KeptMapping,
    MappingCheck,
    WaitingTable,
    check_table,
    kept_mapping,
    kept_mappings,
    waiting_table,
)
from billing.queries.import_pages import import_row
from costgov.mapping_form import MappingForm
from costgov.operations.usage import describe_table
from costgov.pages import now, page, right_required


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """One column: its name, its first values (none where they may be text of prompts) and its select."""

    name: str
    values: tuple[str, ...]
    is_masked: bool
    control: BoundField | None


@dataclass(frozen=True)
class DescribePage:
    """A waiting table and what would become of it."""

    table: WaitingTable
    form: MappingForm
    columns: tuple[ColumnLine, ...]
    cells: tuple[tuple[int, tuple[tuple[str, bool], ...]], ...]
    check: MappingCheck


@dataclass(frozen=True)
class MappingsPage:
    mappings: tuple[KeptMapping, ...]


@dataclass(frozen=True)
class MappingEditPage:
    item: KeptMapping
    form: MappingForm
    columns: tuple[ColumnLine, ...]
    problems: tuple[str, ...]


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.IMPORT_USAGE)
def describe(request: HttpRequest, import_id: int) -> HttpResponse:
    """What the columns are. A POST shows the same with its first rows; `keep` in it imports the table."""
    table = _waiting(import_id)
    if table is None:
        return _gone(request, import_id)
    form = _form(table, request.POST if request.method == "POST" else None)
    mapping, check = _checked(table, form, import_id)
    if request.method == "POST" and not check.can_import and _waiting(import_id) is None:
        return _gone(request, import_id)
    if request.method == "POST" and "keep" in request.POST and mapping is not None and check.can_import:
        try:
            kept = describe_table(
                actor=request.user,  # type: ignore[arg-type]
                import_id=import_id,
                mapping=mapping,
                as_of=now(),
                seen=request.POST.get("seen"),
            )
        except NotWaiting:
            return _gone(request, import_id)
        except MappingChanged as changed:
            table = _waiting(import_id) or table
            form = _form(table, _seen_now(request.POST, table.kept))
            check = MappingCheck(changed.reasons, check.preview)
        except MappingRefused as refused:
            check = MappingCheck(refused.reasons, None)
        else:
            messages.success(
                request,
                f"The table is being imported; the next one with these columns is read as “{kept.name}” by itself.",
            )
            return redirect("import-detail", import_id)
    if request.method == "POST" and "keep" in request.POST:
        messages.error(request, "Not imported yet: what stands under “As it would be read” has to be settled first.")
    view = DescribePage(table, form, _lines(table, form), _cells(table), check)
    return page(
        request,
        "billing/describe_table.html",
        view,
        nav="imports",
        status=400 if request.method == "POST" and "keep" in request.POST else 200,
    )


@never_cache
@require_POST
@right_required(Right.IMPORT_USAGE)
def preview(request: HttpRequest, import_id: int) -> HttpResponse:
    """A fragment: the first rows as they would count under what the form says now."""
    table = _waiting(import_id)
    if table is None:
        return HttpResponse(headers={"HX-Refresh": "true"})
    form = _form(table, request.POST)
    _, check = _checked(table, form, import_id)
    return render(request, "billing/_mapping_preview.html", {"check": check, "form": form})


@require_POST
@right_required(Right.IMPORT_USAGE)
def discard(request: HttpRequest, import_id: int) -> HttpResponse:
    try:
        discard_table(actor=request.user, import_id=import_id, as_of=now())  # type: ignore[arg-type]
    except NotWaiting:
        return _gone(request, import_id)
    messages.success(request, "The table is deleted; nothing of it was kept.")
    return redirect("imports")


@require_safe
def mappings(request: HttpRequest) -> HttpResponse:
    return page(request, "billing/column_mappings.html", MappingsPage(kept_mappings()), nav="imports")


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.IMPORT_USAGE)
def edit(request: HttpRequest, mapping_id: int) -> HttpResponse:
    """Change a kept mapping: it holds for files imported from now on."""
    item = _kept(mapping_id)
    mapping = parse_mapping(item.document)
    form = MappingForm(
        request.POST if request.method == "POST" else None,
        header=mapping.header,
        mapping=mapping,
        version=item.version,
    )
    problems: tuple[str, ...] = ()
    if request.method == "POST" and form.is_valid():
        try:
            save_mapping(
                actor=request.user,  # type: ignore[arg-type]
                mapping=form.mapping(),
                as_of=now(),
                seen=request.POST.get("seen"),
            )
        except MappingChanged as changed:
            problems = tuple(str(reason) for reason in changed.reasons)
            form = MappingForm(_seen_now(request.POST, _kept(mapping_id)), header=mapping.header, mapping=mapping)
        except MappingRefused as refused:
            problems = tuple(str(reason) for reason in refused.reasons)
        except MappingError as error:
            problems = (str(error),)
        else:
            messages.success(request, "Saved. Files imported from now on are read so; earlier ones stay as they are.")
            return redirect("column-mappings")
    columns = tuple(ColumnLine(name, (), False, form.control_of(i)) for i, name in enumerate(mapping.header))
    view = MappingEditPage(item, form, columns, problems)
    return page(request, "billing/column_mapping_edit.html", view, nav="imports", status=400 if problems else 200)


@require_POST
@right_required(Right.IMPORT_USAGE)
def delete(request: HttpRequest, mapping_id: int) -> HttpResponse:
    _kept(mapping_id)
    name = delete_mapping(actor=request.user, mapping_id=mapping_id, as_of=now())  # type: ignore[arg-type]
    messages.success(request, f"“{name}” is deleted; what was imported with it stays.")
    return redirect("column-mappings")


def _waiting(import_id: int) -> WaitingTable | None:
    return waiting_table(import_id=import_id)


def _gone(request: HttpRequest, import_id: int) -> HttpResponse:
    """Already described: its import; else why there is nothing."""
    if import_row(import_id=import_id) is not None:
        messages.info(request, "The columns of this table were said already; this is its import.")
        return redirect("import-detail", import_id)
    messages.info(
        request, f"Table {import_id} does not wait any more: it was imported, discarded or deleted after a day."
    )
    return redirect(reverse("imports"))


def _kept(mapping_id: int) -> KeptMapping:
    item = kept_mapping(mapping_id=mapping_id)
    if item is None:
        raise Http404(f"There is no column mapping {mapping_id}.")
    return item


def _form(table: WaitingTable, data: Any) -> MappingForm:
    return MappingForm(
        data,
        header=table.head.header,
        masked=table.head.masked,
        mapping=table.proposed,
        version=table.kept.version if table.kept is not None else "",
    )


def _seen_now(data: QueryDict, kept: KeptMapping | None) -> QueryDict:
    """The form as it was sent, now knowing of the mapping that came in between: sent again it wins."""
    again = data.copy()
    again["seen"] = kept.version if kept is not None else ""
    return again


def _checked(table: WaitingTable, form: MappingForm, import_id: int) -> tuple[ColumnMapping | None, MappingCheck]:
    if not form.is_bound:
        mapping = table.proposed
        return mapping, check_table(import_id=import_id, mapping=mapping, as_of=now())
    if not form.is_valid():
        first = next(iter(form.errors.values()))
        return None, MappingCheck((), None, str(first[0]))
    try:
        mapping = form.mapping()
    except MappingError as error:
        return None, MappingCheck((), None, str(error))
    wrong = contradictions(mapping)
    if wrong:
        return mapping, MappingCheck(wrong, None)
    return mapping, check_table(import_id=import_id, mapping=mapping, as_of=now())


def _lines(table: WaitingTable, form: MappingForm) -> tuple[ColumnLine, ...]:
    head = table.head
    return tuple(
        ColumnLine(
            name,
            () if name in head.masked else _first_values([row.get(name, "") for _, row in head.rows]),
            name in head.masked,
            form.control_of(i),
        )
        for i, name in enumerate(head.header)
    )


def _first_values(values: list[str]) -> tuple[str, ...]:
    return tuple(list(dict.fromkeys(value[:40] for value in values if value))[:3])


def _cells(table: WaitingTable) -> tuple[tuple[int, tuple[tuple[str, bool], ...]], ...]:
    head = table.head
    return tuple(
        (
            line,
            tuple(("" if name in head.masked else row.get(name, "")[:60], name in head.masked) for name in head.header),
        )
        for line, row in head.rows
    )


urlpatterns = [
    path("imports/<int:import_id>/columns/", describe, name="describe-table"),
    path("imports/<int:import_id>/columns/preview/", preview, name="describe-preview"),
    path("imports/<int:import_id>/columns/discard/", discard, name="describe-discard"),
    path("imports/mappings/", mappings, name="column-mappings"),
    path("imports/mappings/<int:mapping_id>/", edit, name="column-mapping"),
    path("imports/mappings/<int:mapping_id>/delete/", delete, name="column-mapping-delete"),
]
