"""Commitments: offers kept, an offer typed in or imported, sizing it with progress, one sizing and its sheet."""

from dataclasses import dataclass

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.core.sizing_record import SizingRecord, rules
from billing.core.terms import TermsRefused, read_terms, terms_document
from billing.exports.commitment_xlsx import commitment_xlsx
from billing.models import Organisation
from billing.queries.commitments import KeptTerms, NoSuchSizing, kept_terms, sizing_record
from costgov.jsonout import dumps
from costgov.operations.commitments import save_terms
from costgov.pages import now, page, right_required, today
from costgov.queries.commitments import (
    commitment_figure,
    commitments_page,
    curve_table,
    sensitivity_figure,
    sensitivity_summary,
    sensitivity_table,
    sizing_page,
)
from costgov.sizing_jobs import SizingJob, sizing_job, start_sizing
from costgov.terms_form import TermsForm, empty_form, form_of, posted, read, with_another_row, without_row

MAX_DOCUMENT_BYTES = 200_000
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True)
class TermsFormPage:
    """The form; `problems` are those of an imported document."""

    form: TermsForm
    problems: tuple[str, ...] = ()
    file_name: str = ""


@dataclass(frozen=True)
class TermsPage:
    """One offer, and how sizing it goes."""

    kept: KeptTerms
    rules: tuple[tuple[str, str], ...]
    job: SizingJob


@require_safe
def commitments(request: HttpRequest) -> HttpResponse:
    return page(request, "costgov/commitments.html", commitments_page(as_of=now()), nav="commitments")


@require_safe
def sizing_detail(request: HttpRequest, sizing_id: int) -> HttpResponse:
    try:
        shown = sizing_page(sizing_id=sizing_id, as_of=now())
    except NoSuchSizing as error:
        raise Http404(str(error)) from error
    columns, rows = curve_table(shown.record)
    return page(
        request,
        "costgov/sizing.html",
        shown,
        nav="commitments",
        curve=commitment_figure(shown.record),
        curve_columns=columns,
        curve_rows=rows,
        tornado=sensitivity_figure(shown.record),
        tornado_summary=sensitivity_summary(shown.record),
        tornado_columns=("Input", "Low", "High"),
        tornado_rows=sensitivity_table(shown.record),
    )


@require_safe
def sizing_sheet(request: HttpRequest, sizing_id: int) -> HttpResponse:
    """The workbook as a download."""
    try:
        record = sizing_record(sizing_id=sizing_id)
    except NoSuchSizing as error:
        raise Http404(str(error)) from error
    organisation = Organisation.objects.filter(pk=1).values_list("name", flat=True).first() or ""
    return _attachment(commitment_xlsx(record, organisation=organisation), XLSX, sheet_name(record))


def sheet_name(record: SizingRecord) -> str:
    return f"commitment-{record.terms.start.isoformat()}-sizing-{record.id}.xlsx"


@right_required(Right.EDIT_TERMS)
def terms_new(request: HttpRequest) -> HttpResponse:
    """GET: an empty form, or kept terms to change (?from=3). POST: rows, an imported document, save, save and size."""
    if request.method != "POST":
        return _form_page(request, TermsFormPage(_initial(request)))
    form = posted(request.POST)
    action = request.POST.get("action", "size")
    if "remove" in request.POST:
        number = request.POST["remove"]
        return _form_page(request, TermsFormPage(without_row(form, int(number) if number.isdecimal() else -1)))
    if action == "add":
        return _form_page(request, TermsFormPage(with_another_row(form)))
    if action == "import":
        return _imported(request, form)
    terms, form = read(form)
    if terms is None:
        return _form_page(request, TermsFormPage(form), status=400)
    kept = save_terms(actor=request.user, terms=terms, name=form.name, as_of=now())  # type: ignore[arg-type]
    if action == "save":
        messages.success(request, f"{kept.name} is kept.")
        return redirect("terms", terms_id=kept.pk)
    start_sizing(actor=request.user, terms_id=kept.pk)  # type: ignore[arg-type]
    return redirect(f"{reverse('terms', args=[kept.pk])}?sized")


def _initial(request: HttpRequest) -> TermsForm:
    number = request.GET.get("from", "")
    if not number.isdecimal():
        return empty_form(today=today())
    try:
        kept = kept_terms(terms_id=int(number))
    except NoSuchSizing as error:
        raise Http404(str(error)) from error
    return form_of(kept.terms)


def _imported(request: HttpRequest, form: TermsForm) -> HttpResponse:
    """Fill the form from a document; it is kept only when the reader says so. What was typed stays on a refusal."""
    document = request.FILES.get("document")
    if document is None or document.size is None:
        return _form_page(request, TermsFormPage(form, ("Choose a JSON file first.",)), status=400)
    name = document.name or ""
    if document.size > MAX_DOCUMENT_BYTES:
        problem = f"{document.size:,} bytes is too large for terms; at most {MAX_DOCUMENT_BYTES:,}."
        return _form_page(request, TermsFormPage(form, (problem,), name), status=400)
    try:
        terms = read_terms(document.read())
    except TermsRefused as refused:
        problems = tuple(str(problem) for problem in refused.problems)
        return _form_page(request, TermsFormPage(form, problems, name), status=400)
    messages.success(request, f"{name} is read into the form. Nothing is kept yet: check it, then save or size it.")
    return _form_page(request, TermsFormPage(form_of(terms, name=form.name)))


def _form_page(request: HttpRequest, shown: TermsFormPage, status: int = 200) -> HttpResponse:
    return page(request, "costgov/terms_form.html", shown, nav="commitments", status=status)


@require_safe
def terms(request: HttpRequest, terms_id: int) -> HttpResponse:
    """One offer; when its sizing has just ended, that sizing."""
    shown = _terms_page(terms_id)
    if shown.job.state == "done" and "sized" in request.GET:
        return redirect("sizing", sizing_id=shown.job.sizing_id)
    return page(request, "costgov/terms.html", shown, nav="commitments")


@require_safe
def terms_progress(request: HttpRequest, terms_id: int) -> HttpResponse:
    """The fragment the page asks for while the job runs; at its end it leads to the sizing."""
    shown = _terms_page(terms_id)
    answer = page(request, "costgov/_sizing_job.html", shown, nav="")
    if shown.job.state == "done":
        answer["HX-Redirect"] = reverse("sizing", args=[shown.job.sizing_id])
    return answer


@require_POST
@right_required(Right.SIZE_COMMITMENT)
def terms_size(request: HttpRequest, terms_id: int) -> HttpResponse:
    _terms_page(terms_id)
    include = request.POST.get("include_very_short") == "on"
    start_sizing(actor=request.user, terms_id=terms_id, include_very_short=include)  # type: ignore[arg-type]
    return redirect(f"{reverse('terms', args=[terms_id])}?sized")


@require_safe
def terms_json(request: HttpRequest, terms_id: int) -> HttpResponse:
    """The offer as a document that the form and the command read."""
    kept = _terms_page(terms_id).kept
    content = dumps(terms_document(kept.terms), indent=True) + b"\n"
    return _attachment(content, "application/json", f"terms-{kept.terms.start.isoformat()}-{kept.id}.json")


def _terms_page(terms_id: int) -> TermsPage:
    try:
        kept = kept_terms(terms_id=terms_id)
    except NoSuchSizing as error:
        raise Http404(str(error)) from error
    return TermsPage(kept, rules(kept.terms), sizing_job(terms_id=terms_id))


def _attachment(content: bytes, content_type: str, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(content, content_type=content_type, headers=headers)


urlpatterns = [
    path("commitments/", commitments, name="commitments"),
    path("commitments/terms/new/", terms_new, name="terms-new"),
    path("commitments/terms/<int:terms_id>/", terms, name="terms"),
    path("commitments/terms/<int:terms_id>/size/", terms_size, name="terms-size"),
    path("commitments/terms/<int:terms_id>/progress/", terms_progress, name="terms-progress"),
    path("commitments/terms/<int:terms_id>/terms.json", terms_json, name="terms-json"),
    path("commitments/<int:sizing_id>/", sizing_detail, name="sizing"),
    path("commitments/<int:sizing_id>/sizing.xlsx", sizing_sheet, name="sizing-sheet"),
]
