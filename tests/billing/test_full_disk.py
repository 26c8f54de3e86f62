"""No room, no permission: an import says which disk and what to do, and leaves nothing half-written."""

import html
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client

from billing.importers.base import ImportRefused
from billing.models import DailyUsage, Import, UsageSource
from billing.operations.compaction import sweep_store
from billing.operations.import_failures import refusal_of_machine
from billing.operations.imports import run_import, start_import
from billing.queries.imports import request_store
from tests.billing.conftest import AS_OF, ImportIt
from tests.importers.usage.envelopes import envelope, write_lines


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB. Only root may make one."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode != 0:
        pytest.skip("a small disk cannot be mounted here: needs root (CAP_SYS_ADMIN)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def large_log(path: Path) -> Path:
    """12,000 requests over six days, about 100 kB of Parquet each."""
    ids = (f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(12_000))
    rows = (
        envelope(n, f"2026-11-1{n % 6}T{n % 24:02}:00:00Z", request_id=f"req_{one}{one[::-1]}")
        for n, one in enumerate(ids)
    )
    return write_lines(path, rows)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("what", ["store", "var"])
def test_a_disk_too_small_for_an_import(
    import_it: ImportIt, settings: Any, tmp_path: Path, small: Path, what: str
) -> None:
    if what == "store":
        settings.COSTGOV_REQUEST_STORE = str(small / "requests")
    else:
        settings.COSTGOV_VAR = small
    path = large_log(tmp_path / "log.jsonl")
    with pytest.raises(ImportRefused, match="no room is left on the disk of") as refused:
        import_it(path)
    assert str(small / ("requests" if what == "store" else "tmp")) in str(refused.value)
    assert "Make room there. Nothing of the file was imported" in str(refused.value)
    assert Import.objects.get().state == "failed"
    assert Import.objects.get().error == str(refused.value)
    assert files_in(small) == []
    assert not DailyUsage.objects.exists() and not UsageSource.objects.exists()
    settings.COSTGOV_VAR = tmp_path / "roomy"
    settings.COSTGOV_REQUEST_STORE = ""
    assert import_it(path).accepted == 12_000


@pytest.mark.django_db
def test_a_disk_too_small_for_an_upload(settings: Any, tmp_path: Path, small: Path) -> None:
    settings.COSTGOV_VAR = small
    path = large_log(tmp_path / "log.jsonl")
    with path.open("rb") as file, pytest.raises(ImportRefused, match=r"could not be saved \(No space left"):
        start_import(actor=None, upload=file, file_name="log.jsonl", as_of=AS_OF, enqueue=lambda _: None)
    assert files_in(small) == [] and not Import.objects.exists()


@pytest.mark.django_db
def test_the_slow_path_on_a_full_disk(settings: Any, tmp_path: Path, small: Path) -> None:
    """A bad row makes it write the good ones anew, which takes room."""
    settings.COSTGOV_VAR = tmp_path / "var"
    path = large_log(tmp_path / "log.jsonl")
    path.write_text(path.read_text() + json.dumps(envelope(1, usage={"input_tokens": -1})) + "\n")
    with path.open("rb") as file:
        row = start_import(actor=None, upload=file, file_name="l.jsonl", as_of=AS_OF, enqueue=lambda _: None)
    (tmp_path / "var" / "tmp").symlink_to(small)
    with pytest.raises(ImportRefused, match=f"no room is left on the disk of {tmp_path / 'var' / 'tmp'}"):
        run_import(import_id=row.import_id, as_of=AS_OF)
    assert files_in(small) == [] and files_in(tmp_path / "var") == []


def full_file() -> BaseException:
    try:
        with Path("/dev/full").open("wb") as file:
            file.write(b"x")
    except OSError as error:
        return error
    raise AssertionError("/dev/full took it")


def full_copy() -> BaseException:
    try:
        duckdb.connect().execute("COPY (SELECT range AS n FROM range(100000)) TO '/dev/full' (FORMAT parquet)")
    except duckdb.Error as error:
        return error
    raise AssertionError("/dev/full took it")


def no_memory() -> BaseException:
    try:
        little = duckdb.connect(config={"memory_limit": "4MB", "temp_directory": ""})
        little.execute("CREATE TABLE t AS SELECT hash(range) AS h FROM range(10000000)")
    except duckdb.Error as error:
        return error
    raise AssertionError("four megabytes were enough")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("error", "told"),
    [
        (full_file, "no room is left on the disk of "),
        (full_copy, "no room is left on the disk of "),
        (no_memory, "more memory than there is"),
        (lambda: psycopg.errors.DiskFull("could not extend file"), "PostgreSQL has no room left"),
        (lambda: PermissionError(13, "Permission denied", "/srv/x/day=2026-11-01/a.parquet"), "/srv/x cannot be"),
        (lambda: OSError(30, "Read-only file system", "/srv/x/day=2026-11-01/a.parquet"), "Make the folder writable"),
        (lambda: OSError(5, "Input/output error"), ""),
        (lambda: ValueError("ours"), ""),
    ],
)
def test_what_is_the_machines_fault(var: Path, error: Any, told: str) -> None:
    refusal = refusal_of_machine(error(), "log.jsonl")
    assert (told in str(refusal)) if told else refusal is None


@pytest.mark.django_db
def test_half_copied_files_of_a_killed_process_go(import_it: ImportIt, var: Path, tmp_path: Path) -> None:
    import_it(write_lines(tmp_path / "log.jsonl", [envelope(1)]))
    (kept,) = var.glob("requests/*/*.parquet")
    half = kept.with_name(f"{kept.name}.part")
    half.write_bytes(b"half")
    assert sweep_store() == 1
    assert files_in(var / "requests") == [str(kept.relative_to(var / "requests"))]
    assert len(request_store().place.listed()) == 1


def test_a_store_nobody_answers_for(import_it: ImportIt, settings: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """An object store that is away, or has no such bucket: said with its address, nothing kept."""
    import s3fs

    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-east-1"),
                        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_MAX_ATTEMPTS", "1")):  # fmt: skip
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    settings.COSTGOV_REQUEST_STORE = "s3://away/requests"
    with pytest.raises(ImportRefused, match="does not answer as it should: s3://away/requests"):
        import_it(write_lines(tmp_path / "log.jsonl", [envelope(1)]))
    assert not DailyUsage.objects.exists() and files_in(tmp_path / "var") == []
    settings.COSTGOV_REQUEST_STORE = ""
    done = import_it(write_lines(tmp_path / "log.jsonl", [envelope(1)]))
    settings.COSTGOV_REQUEST_STORE = "s3://away/requests"
    user = get_user_model().objects.create_user(username="ada", password="a long password here")
    user.groups.add(Group.objects.get(name="admin"))
    client = Client()
    client.force_login(user)
    for answer in (
        client.get(f"/imports/{done.import_id}/"),
        client.post(f"/imports/{done.import_id}/delete/"),
        client.delete(f"/api/v1/imports/{done.import_id}"),
    ):
        assert answer.status_code == 503
        assert "Check COSTGOV_REQUEST_STORE, its credentials and the network" in answer.content.decode()
    s3fs.S3FileSystem.clear_instance_cache()
    assert (Import.objects.get(pk=done.import_id).state, DailyUsage.objects.count()) == ("done", 1)


@pytest.mark.django_db
def test_a_disk_too_small_for_what_a_browser_sends(settings: Any, tmp_path: Path, small: Path) -> None:
    """Django writes an upload down before any of our code sees it."""
    settings.COSTGOV_VAR = tmp_path
    settings.FILE_UPLOAD_TEMP_DIR = str(small)
    user = get_user_model().objects.create_user(username="eva", password="a long password here")
    user.groups.add(Group.objects.get(name="engineer"))
    large_log(tmp_path / "log.jsonl")
    for client, path, field in (
        (Client(), "/imports/upload/", "files"),
        (Client(), "/api/v1/imports", "file"),
        (Client(enforce_csrf_checks=True), "/imports/upload/", "files"),  # as in a browser: the check reads the form
    ):
        client.force_login(user)
        client.get("/imports/")
        with (tmp_path / "log.jsonl").open("rb") as file:
            form = {"csrfmiddlewaretoken": client.cookies[settings.CSRF_COOKIE_NAME].value, field: file}
            answer = client.post(path, form)
        assert answer.status_code == 507, (path, answer.status_code)
        assert "Make room on the server's disk" in html.unescape(answer.content.decode())
    assert not Import.objects.exists() and files_in(small) == []
