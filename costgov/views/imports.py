"""Imports of usage and costs: upload, progress, what each file brought, sources, what is odd about the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from audit.roles import Right
from billing.importers.base import ImportRefused
from billing.importers.formats import ALL_FORMATS
from billing.importers.records import INPUT_INCLUDES_CACHE, REQUEST_TIME, SWITCHES
from billing.models import Import
from billing.operations.imports import ImportOptions, ImportOutcome, cancel_import
from billing.operations.source_settings import BadAnswer, read_answers
from billing.operations.upkeep import DeletionRefused
from billing.queries.import_pages import TITLES, ImportDetail, import_detail, import_row
from billing.queries.uploads import UploadProgress, upload_progress
from costgov.health import current_health
from costgov.operations.usage import delete_import, start_usage_import
from costgov.pages import now, page, right_required
from costgov.queries.import_pages import ImportsPage, imports_page

_LATEST = 8
_NAMED = 3
_LONGEST_NUMBER = 18  # digits; what is longer is no number of ours
_CHOICES = [("", "Found out by itself"), *((item.name, TITLES.get(item.name, item.title)) for item in ALL_FORMATS)]


class _FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """One file or several; each must hold something."""

    widget = _FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        chosen = data if isinstance(data, list | tuple) else [data]
        return [super(_FilesField, self).clean(item, initial) for item in chosen or [None]]


class UploadForm(forms.Form):
    files = _FilesField(  # type: ignore[assignment]  # the metaclass takes fields away: BaseForm.files is another thing
        label="Files",
        help_text="Request logs, batches, traces, LiteLLM's logs, usage reports, cost reports or bills; also .gz or "
        ".zst. Several at once.",
        error_messages={"empty": "The file is empty (0 bytes): export it again and upload the result."},
    )
    format = forms.ChoiceField(choices=_CHOICES, required=False, label="Format")
    source = forms.CharField(
        max_length=120,
        required=False,
        label="Source",
        help_text="A name for where the file comes from; empty = the format's usual one.",
    )
    input_includes_cache = forms.ChoiceField(
        choices=[("", "As its source says"), ("yes", "Yes: input contains them"), ("no", "No: they stand apart")],
        required=False,
        label=INPUT_INCLUDES_CACHE.title,
        help_text="Asked of Langfuse, Helicone and OpenTelemetry where the file does not prove it. "
        f"{INPUT_INCLUDES_CACHE.how}. The answer is remembered for the source.",
    )
    at = forms.CharField(
        required=False,
        max_length=40,
        label=REQUEST_TIME.title,
        help_text="Asked of batch results and bare answers, which hold no times. " + REQUEST_TIME.how + ".",
    )
    replace = forms.BooleanField(required=False, label="Replace: where this file disagrees with what is known, it wins")
    good_rows = forms.BooleanField(
        required=False, label="Import the good rows: list the bad ones instead of refusing the file"
    )

    all_rows = forms.BooleanField(required=False, label="Of a bill, keep the rows of other services than Claude too")

    def clean_at(self) -> str:
        try:
            return read_answers({"at": self.cleaned_data["at"]}).get("at", "")
        except BadAnswer as error:
            raise forms.ValidationError(f"{error}.") from error

    def options(self) -> ImportOptions:
        values = self.cleaned_data
        return ImportOptions(
            values["format"],
            values["source"].strip(),
            values["replace"],
            values["good_rows"],
            values["all_rows"],
            answers={switch.name: values[switch.name] for switch in SWITCHES if values[switch.name]},
        )


@dataclass(frozen=True)
class ImportsView:
    """The page with its form; `form` is shown to those who may import."""

    data: ImportsPage
    form: UploadForm
    uploaded: UploadProgress | None = None
    """The upload that just began, of several files."""


@dataclass(frozen=True)
class DetailView:
    """One import and the addresses of a second try."""

    item: ImportDetail
    again_url: str
    replace_url: str
    good_rows_url: str
    answers: tuple[tuple[str, str], ...] = ()
    """Ways to answer what the file could not tell: words and address of each."""


@require_safe
def imports(request: HttpRequest) -> HttpResponse:
    first, _, last = request.GET.get("upload", "").partition("-")
    asked = _upload(request, int(first), int(last)) if _is_number(first) and _is_number(last) else None
    return _imports(request, UploadForm(initial=_wanted(request)), asked)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < _LONGEST_NUMBER


def _upload(request: HttpRequest, first: int, last: int) -> UploadProgress | None:
    return upload_progress(user_id=request.user.pk, first=first, last=last)


def _wanted(request: HttpRequest) -> dict[str, Any]:
    """What the address asks the form to say: "upload again" keeps the choices of the first try."""
    asked = request.GET
    return {
        "format": asked.get("format", ""),
        "source": asked.get("source", ""),
        "replace": asked.get("replace") == "1",
        "good_rows": asked.get("good_rows") == "1",
        "all_rows": asked.get("all_rows") == "1",
        **{switch.name: asked.get(switch.name, "") for switch in SWITCHES},
    }


def _imports(request: HttpRequest, form: UploadForm, uploaded: UploadProgress | None = None) -> HttpResponse:
    view = ImportsView(imports_page(health=current_health()), form, uploaded)
    rows = view.data.imports
    return page(
        request,
        "billing/imports.html",
        view,
        nav="imports",
        status=400 if form.errors else 200,
        boxes=(form["replace"], form["good_rows"], form["all_rows"]),
        questions=tuple(form[switch.name] for switch in SWITCHES),
        is_asked="ask" in request.GET
        or any(form[switch.name].value() or form[switch.name].errors for switch in SWITCHES),
        latest=rows[:_LATEST],
        earlier=rows[_LATEST:],
        uploaded=uploaded,
    )


@require_POST
@right_required(Right.IMPORT_USAGE)
def upload(request: HttpRequest) -> HttpResponse:
    """Save the files and queue their imports; a worker carries them out."""
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _imports(request, form)
    started: list[int] = []
    unknown: list[int] = []
    repeats: list[ImportOutcome] = []
    for file in form.cleaned_data["files"]:
        try:
            outcome = start_usage_import(
                actor=request.user,  # type: ignore[arg-type]
                upload=file,
                file_name=file.name,
                as_of=now(),
                options=form.options(),
            )
        except ImportRefused as refusal:
            messages.error(request, str(refusal))
            continue
        if outcome.needs_mapping:
            unknown.append(outcome.import_id)
            continue
        if outcome.is_repeat:
            repeats.append(outcome)
        else:
            started.append(outcome.import_id)
    if repeats:
        messages.info(request, _repeated(repeats))
    if len(unknown) == 1 and not started:
        return redirect("describe-table", unknown[0])
    if len(form.cleaned_data["files"]) == 1 and (found := started or [one.import_id for one in repeats]):
        return redirect("import-detail", found[0])
    if started:
        return redirect(f"{reverse('imports')}?upload={min(started)}-{max(started)}")
    return redirect("imports")


def _repeated(repeats: Sequence[ImportOutcome]) -> str:
    """Files whose bytes are in, in one sentence however many they are."""
    if len(repeats) == 1:
        return repeats[0].message
    names = ", ".join(one.file_name for one in repeats[:_NAMED])
    more = f" and {len(repeats) - _NAMED:,} more" if len(repeats) > _NAMED else ""
    return f"{len(repeats):,} of the files came before, byte for byte, and change nothing: {names}{more}."


@require_safe
def detail(request: HttpRequest, import_id: int) -> HttpResponse:
    found = import_detail(import_id=import_id)
    if found is None:
        raise Http404(f"There is no import {import_id}.")
    base = f"{reverse('imports')}?"
    view = DetailView(
        item=found,
        again_url=base + urlencode(found.again) + "#upload",
        replace_url=base + urlencode({**found.again, "replace": "1"}) + "#upload",
        good_rows_url=base + urlencode({**found.again, "good_rows": "1"}) + "#upload",
        answers=_ways_to_answer(found, base),
    )
    return page(request, "billing/import_detail.html", view, nav="imports", rows=(found.row,))


def _ways_to_answer(found: ImportDetail, base: str) -> tuple[tuple[str, str], ...]:
    switch = next((item for item in SWITCHES if item.name == found.question), None)
    if switch is None:
        return ()
    if not switch.choices:
        words = f"Upload it again with the {switch.title[:1].lower()}{switch.title[1:]}"
        return ((words, base + urlencode({**found.again, "ask": switch.name}) + "#upload"),)
    return tuple(
        (f"{switch.title}: {choice}", base + urlencode({**found.again, switch.name: choice}) + "#upload")
        for choice in switch.choices
    )


@never_cache
@require_safe
def upload_state(request: HttpRequest, first: int, last: int) -> HttpResponse:
    """A fragment: how far the files of one's own upload are; it asks again until all have ended."""
    uploaded = _upload(request, first, last) if max(first, last) < 10**_LONGEST_NUMBER else None
    if uploaded is None:
        raise Http404("You made no such upload.")
    return render(request, "billing/_upload_progress.html", {"uploaded": uploaded})


@never_cache
@require_safe
def progress(request: HttpRequest, import_id: int) -> HttpResponse:
    """A fragment of the running import; when it has ended the list gets its last row, its own page a reload."""
    row = import_row(import_id=import_id)
    if row is None:
        raise Http404(f"There is no import {import_id}.")
    if request.GET.get("as") == "row":
        return render(request, "billing/_import_row.html", {"row": row, "polls": True})
    if not row.is_running:
        return HttpResponse(headers={"HX-Refresh": "true"})
    return render(request, "billing/_progress.html", {"row": row})


@require_POST
@right_required(Right.IMPORT_USAGE)
def cancel(request: HttpRequest, import_id: int) -> HttpResponse:
    try:
        cancelled = cancel_import(actor=request.user, import_id=import_id, as_of=now())  # type: ignore[arg-type]
    except Import.DoesNotExist as error:
        raise Http404(f"There is no import {import_id}.") from error
    if cancelled:
        messages.success(request, "The import is cancelled; nothing of its file was kept.")
    else:
        messages.info(request, "The import had ended already, or is just saving its result: nothing was cancelled.")
    return redirect("import-detail", import_id)


@require_POST
@right_required(Right.DELETE_DATA)
def delete(request: HttpRequest, import_id: int) -> HttpResponse:
    """Remove what the import brought; a refusal says why."""
    try:
        gone = delete_import(actor=request.user, import_id=import_id, as_of=now())  # type: ignore[arg-type]
    except Import.DoesNotExist as error:
        raise Http404(f"There is no import {import_id}.") from error
    except DeletionRefused as refused:
        messages.error(request, str(refused))
    else:
        messages.success(
            request,
            f"What {gone.file_name} brought is deleted; {gone.days:,} day{'' if gone.days == 1 else 's'} counted anew.",
        )
    return redirect("import-detail", import_id)


urlpatterns = [
    path("imports/", imports, name="imports"),
    path("imports/upload/", upload, name="import-upload"),
    path("imports/uploads/<int:first>-<int:last>/", upload_state, name="upload-progress"),
    path("imports/<int:import_id>/", detail, name="import-detail"),
    path("imports/<int:import_id>/progress/", progress, name="import-progress"),
    path("imports/<int:import_id>/cancel/", cancel, name="import-cancel"),
    path("imports/<int:import_id>/delete/", delete, name="import-delete"),
]
