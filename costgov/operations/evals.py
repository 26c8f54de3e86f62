"""Eval files as people send them: read at once where they are small, by a worker where they are large."""

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Final

from celery import current_app
from django.contrib.auth.models import AbstractBaseUser
from django.core.files.uploadedfile import UploadedFile

from routing.importers import EvalImportError
from routing.operations.eval_queue import IMMEDIATE_BYTES, start_eval_import
from routing.operations.evals import EvalImportResult, Said, import_evals

MAX_UPLOAD_BYTES: Final = 2 * 1024**3


def bring_evals(
    *, actor: AbstractBaseUser | None, upload: UploadedFile, as_of: datetime, said: Said
) -> EvalImportResult:
    """Import an upload; a large one is queued, and its `state` says so. Raises EvalImportError, Forbidden.

    The file lies in a folder only we can read, for as long as it is read: it may hold prompts and answers.
    """
    name = upload.name or "upload"
    if (upload.size or 0) > MAX_UPLOAD_BYTES:
        raise EvalImportError(
            f"has {(upload.size or 0) / 2**20:,.0f} MB; an upload takes {MAX_UPLOAD_BYTES // 2**20:,} MB",
            remedy="Import it in a shell: manage.py import_evals",
            file=name,
        )
    if (upload.size or 0) > IMMEDIATE_BYTES:
        return start_eval_import(actor=actor, upload=upload, file_name=name, as_of=as_of, said=said, enqueue=_enqueue)
    with tempfile.TemporaryDirectory(prefix="evals-") as folder:
        path = Path(folder) / "upload"
        with path.open("wb") as file:
            file.writelines(upload.chunks())
        return import_evals(
            actor=actor,
            path=path,
            file_name=name,
            as_of=as_of,
            format_name=said.format_name,
            options=said.options,
            suite_classes=said.suite_classes,
            create_classes=said.create_classes,
            good_rows=said.good_rows,
        )


def _enqueue(import_id: int) -> None:
    # By name: tasks call operations, never the reverse.
    current_app.send_task("costgov.import_eval_file", kwargs={"import_id": import_id})
