"""Importing eval files in the browser, and what each file brought."""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.roles import Right, may
from costgov.operations.evals import bring_evals
from costgov.pages import now, page, right_required
from costgov.queries.eval_changes import DeletionView, deletion_view
from costgov.queries.eval_imports import ImportDetail, ImportRow, eval_import, eval_imports, import_state
from costgov.timespan import only
from routing.core.eval_columns import ColumnsError, EvalColumns, parse_eval_columns
from routing.importers import IMPORTERS, EvalImportError, ReadOptions
from routing.importers.bad_rows import BadRowGroup, EvalRowsRefused, count_of, grouped, rows_of
from routing.models import EvalImport, RequestClass
from routing.operations.eval_deletion import EvalDeletionRefused, delete_eval_import
from routing.operations.eval_queue import cancel_eval_import
from routing.operations.evals import EvalImportResult, Said

_FIELDS = {
    "class": "request_class", "columns": "columns", "create-classes": "create_classes", "format": "format",
    "metric": "metric", "mode": "mode", "model": "model", "run-at": "run_at", "scorer": "scorer", "suite": "suite",
}  # fmt: skip
_OPTION = re.compile(rf"(?<![\w-])--({'|'.join(_FIELDS)})(?![\w-])")
_NO_MAP = re.compile(r", or --map(?=\))")  # the form has rules of suites only
_ALWAYS_ASKED = ("file", "format", "request_class")


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a file was refused. `count`: problems found; `listed` of them are in `bad`, equal ones together."""

    text: str
    count: int
    listed: int
    bad: tuple[BadRowGroup, ...]
    has_bad_rows: bool  # whether rows are wrong, which the import can leave out, and not the file as a whole

    @classmethod
    def of(cls, error: EvalImportError) -> "Refused":
        rows, count = rows_of(error), count_of(error)
        text = str(error) if count == 1 else f"{rows[0].file} has {count:,} bad rows. Nothing of it was saved."
        bad = tuple(replace(group, remedy=in_fields(group.remedy)) for group in grouped(rows))
        return cls(in_fields(text), count, len(rows), bad, isinstance(error, EvalRowsRefused))


def in_fields(text: str) -> str:
    """What readers say of options of the command, as fields of the form: '(--model)' is '(“Model”)'."""
    return _OPTION.sub(lambda found: f"“{EvalImportForm.base_fields[_FIELDS[found[1]]].label}”", _NO_MAP.sub("", text))


@dataclass(frozen=True, slots=True)
class ImportPage:
    form: "EvalImportForm"
    history: tuple[ImportRow, ...]
    problem: Refused | None
    formats: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ImportDonePage:
    view: ImportDetail


@dataclass(frozen=True, slots=True)
class DeletePage:
    """`problem`: why deleting was refused; `reason`: what was typed."""

    view: DeletionView
    problem: str
    reason: str


class EvalImportForm(forms.Form):
    """What the person importing knows and the file may not say; the file wins where it says it."""

    file = forms.FileField(
        label="File with results",
        help_text="Of promptfoo, Inspect, DeepEval, lm-evaluation-harness, OpenAI evals, JUnit; or a CSV.",
    )
    format = forms.ChoiceField(
        label="Format",
        required=False,
        choices=[("", "Found out from the file"), *((each.name, each.description) for each in IMPORTERS)],
    )
    request_class = forms.ChoiceField(
        label="Class of work", required=False, help_text="For results that name no class; the file wins where it does."
    )
    suite = forms.CharField(
        label="Suite", required=False, max_length=255, help_text="For files that name none, e.g. triage@2."
    )
    run_at = forms.CharField(
        label="Time of the run", required=False, help_text="UTC, for files that say none: 2026-11-09T10:00:00Z."
    )
    model = forms.CharField(
        label="Model", required=False, max_length=255, help_text="For files that name none (lm-eval samples, JUnit)."
    )
    mode = forms.CharField(
        label="Mode", required=False, max_length=64, help_text="Its settings where the file says none, e.g. thinking."
    )
    scorer = forms.CharField(
        label="Scorer", required=False, max_length=255, help_text="Which one judges, where a file has several."
    )
    metric = forms.CharField(
        label="Metric", required=False, max_length=255, help_text="Which one judges, where a file has several."
    )
    columns = forms.CharField(
        label="What the columns mean",
        required=False,
        max_length=50_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="Only for a table of your own: a mapping as in the guide on evals.",
    )
    create_classes = forms.BooleanField(label="Register unknown classes with the default bar", required=False)
    good_rows = forms.BooleanField(
        label="Import the good rows of a file with bad ones, and list the bad", required=False
    )

    def __init__(self, *args: object, may_edit_classes: bool, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        classes = [(row.slug, row.title) for row in RequestClass.objects.order_by("title")]
        self.fields["request_class"].choices = [("", "As each result says"), *classes]  # type: ignore[attr-defined]
        if not may_edit_classes:
            del self.fields["create_classes"]

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name in _ALWAYS_ASKED]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        return [field for field in self.visible_fields() if field.name not in _ALWAYS_ASKED]

    @property
    def is_more_open(self) -> bool:
        """Whether something was said, or is wrong, among the questions that are folded away."""
        return any(field.errors or (self.is_bound and field.data) for field in self.more_fields)

    def clean_columns(self) -> EvalColumns | None:
        said = self.cleaned_data["columns"].strip()
        if not said:
            return None
        try:
            return parse_eval_columns(json.loads(said))
        except json.JSONDecodeError as error:
            raise forms.ValidationError(f"This is not JSON: {error.msg} in line {error.lineno}.") from error
        except ColumnsError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_run_at(self) -> datetime | None:
        said = self.cleaned_data["run_at"].strip()
        if not said:
            return None
        try:
            found = datetime.fromisoformat(said)
        except ValueError as error:
            raise forms.ValidationError(f"{said} is not a time: write it as 2026-11-09T10:00:00Z.") from error
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


@right_required(Right.IMPORT_EVALS)
def import_page(request: HttpRequest) -> HttpResponse:
    may_edit = may(request.user, Right.EDIT_CLASSES)  # type: ignore[arg-type]
    form = EvalImportForm(request.POST or None, request.FILES or None, may_edit_classes=may_edit)
    problem: Refused | None = None
    if request.method == "POST" and form.is_valid():
        try:
            outcome = _import(request, form)
        except EvalImportError as error:
            problem = Refused.of(error)
        else:
            _say(request, outcome)
            return redirect("eval-import", outcome.import_id)
    value = ImportPage(form, eval_imports(), problem, [(each.name, each.description) for each in IMPORTERS])
    return page(request, "routing/eval_import.html", value, nav="evals", status=400 if problem or form.errors else 200)


def _import(request: HttpRequest, form: EvalImportForm) -> EvalImportResult:
    """A small file at once, a large one by a worker."""
    values = form.cleaned_data
    said = Said(
        format_name=values["format"] or None,
        options=ReadOptions(
            **{
                name: values[name]
                for name in ("run_at", "request_class", "suite", "model", "mode", "scorer", "metric", "columns")
            }
        ),
        create_classes=bool(values.get("create_classes")),
        good_rows=values["good_rows"],
    )
    return bring_evals(actor=request.user, upload=values["file"], as_of=now(), said=said)  # type: ignore[arg-type]


def _say(request: HttpRequest, outcome: EvalImportResult) -> None:
    if outcome.state != "done":
        again = (
            "is being imported already" if outcome.is_repeat else "waits for a worker: this page shows how far it is"
        )
        messages.info(request, f"{outcome.file_name} {again}.")
    elif outcome.is_repeat:
        at = f" on {outcome.earlier_at:%d %b %Y}" if outcome.earlier_at else ""
        messages.info(request, f"{outcome.file_name} was imported before{at}: nothing changed.")
    else:
        messages.success(
            request, f"{outcome.file_name}: {outcome.cases:,} result{'' if outcome.cases == 1 else 's'} imported."
        )
    for warning in outcome.warnings:
        messages.warning(request, warning)


@require_safe
def import_done_page(request: HttpRequest, import_id: int) -> HttpResponse:
    only(request, ())
    found = eval_import(import_id=import_id)
    if found is None:
        raise Http404(f"There is no import of eval results number {import_id}.")
    return page(request, "routing/eval_import_done.html", ImportDonePage(found), nav="evals")


@never_cache
@require_safe
def import_progress(request: HttpRequest, import_id: int) -> HttpResponse:
    """Where an import is, for the page that shows it; once it has ended, that page is loaded anew."""
    row = import_state(import_id=import_id)
    if row is None:
        raise Http404(f"There is no import of eval results number {import_id}.")
    if not row.is_running:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "routing/_eval_progress.html", {"row": row})


@require_POST
@right_required(Right.IMPORT_EVALS)
def cancel_import(request: HttpRequest, import_id: int) -> HttpResponse:
    """Stop an import that waits or runs."""
    if import_state(import_id=import_id) is None:
        raise Http404(f"There is no import of eval results number {import_id}.")
    if cancel_eval_import(actor=request.user, import_id=import_id, as_of=now()):  # type: ignore[arg-type]
        messages.success(request, "The import is cancelled; nothing of its file was kept.")
    else:
        messages.info(request, "The import had ended already: nothing was cancelled.")
    return redirect("eval-import", import_id)


@require_http_methods(["GET", "HEAD", "POST"])
@right_required(Right.DELETE_DATA)
def delete_step(request: HttpRequest, import_id: int) -> HttpResponse:
    """Say what goes; then delete what the file brought."""
    problem, reason = "", request.POST.get("reason", "")
    if request.method == "POST":
        try:
            gone = delete_eval_import(actor=request.user, import_id=import_id, reason=reason, as_of=now())  # type: ignore[arg-type]
        except EvalDeletionRefused as error:
            problem = str(error)
        except EvalImport.DoesNotExist as error:
            raise Http404(f"There is no import of eval results number {import_id}.") from error
        else:
            messages.success(
                request, f"{gone.results:,} result{'' if gone.results == 1 else 's'} of {gone.file_name} are deleted."
            )
            return redirect("eval-import", import_id)
    view = deletion_view(import_id=import_id)
    if view is None:
        raise Http404(f"There is no import of eval results number {import_id}.")
    value = DeletePage(view, problem, reason)
    return page(request, "routing/eval_delete.html", value, nav="evals", status=400 if problem else 200)


urlpatterns = [
    path("evals/import/", import_page, name="evals-import"),
    path("evals/imports/<int:import_id>/", import_done_page, name="eval-import"),
    path("evals/imports/<int:import_id>/progress/", import_progress, name="eval-import-progress"),
    path("evals/imports/<int:import_id>/delete/", delete_step, name="eval-import-delete"),
    path("evals/imports/<int:import_id>/cancel/", cancel_import, name="eval-import-cancel"),
]
