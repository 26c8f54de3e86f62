"""The request store in an object store: through fsspec in memory and in a folder, and over the S3 protocol itself."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from billing.operations.compaction import compact_store
from billing.operations.imports import ImportOptions, import_file
from billing.operations.relabelling import relabel_requests
from billing.operations.upkeep import delete_import
from billing.queries.imports import request_store, stored_imports
from billing.store import ClassifyPlan
from billing.store.places import Directory, ObjectStore, place_of
from costgov.env import BadSetting
from costgov.env import request_store as read_setting
from tests.billing.conftest import AS_OF
from tests.billing.worlds import state
from tests.importers.usage.envelopes import envelope, write_lines


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """A server that speaks S3, on a free port; nothing of it reaches out."""
    from moto.server import ThreadedMotoServer

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture(params=["memory", "file", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    match request.param:
        case "memory":
            import fsspec

            fsspec.filesystem("memory").store.clear()
            return "memory://bucket/requests[1]"
        case "file":
            return f"file://{tmp_path}/objects [1]"
        case _:
            import s3fs

            address = request.getfixturevalue("s3_server")
            for name, value in (
                ("AWS_ENDPOINT_URL", address), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
            ):  # fmt: skip
                monkeypatch.setenv(name, value)
            s3fs.S3FileSystem.clear_instance_cache()
            files = s3fs.S3FileSystem()
            if files.exists("bucket"):
                files.rm("bucket", recursive=True)
            files.mkdir("bucket")
            return "s3://bucket/requests[1]"


def test_an_object_store_gives_what_a_folder_gives(
    db: None, var: Path, tmp_path: Path, settings: Any, store_url: str, django_capture_on_commit_callbacks: Any
) -> None:
    """Import, a repeated request, a replaced one, compaction, deletion: the same figures and files."""
    rows = [envelope(n, f"2026-11-{8 + n % 3:02}T0{n}:00:00Z", tags={"request_class": "c"}) for n in range(6)]
    better = envelope(1, "2026-11-09T01:00:00Z", usage={"output_tokens": 99}, tags={"request_class": "c"})
    files = [write_lines(tmp_path / "a.jsonl", rows), write_lines(tmp_path / "b.jsonl", [rows[0], better])]
    seen: list[list[Any]] = []
    for where in ("", store_url):
        settings.COSTGOV_REQUEST_STORE = where
        settings.COSTGOV_VAR = tmp_path / f"var-{len(seen)}"
        ids: list[int] = []
        steps: list[Any] = []
        for number, path in enumerate(files):
            path.write_text(path.read_text() + "\n" * len(seen))  # other bytes, or the second would be a repetition
            with django_capture_on_commit_callbacks(execute=True):
                done = import_file(actor=None, path=path, as_of=AS_OF, options=ImportOptions(replace=number == 1))
            ids.append(done.import_id)
            steps.append((done.accepted, done.duplicates, state()))
        with django_capture_on_commit_callbacks(execute=True):
            steps.append((compact_store(as_of=AS_OF), state()))
        store = request_store()
        assert isinstance(store.place, ObjectStore if where else Directory)
        steps.append(sorted((day, item.generation) for day, _, item in store.items(stored_imports())))
        assert len(store.place.listed()) == len(store.files(stored_imports()))  # nothing is left of earlier generations
        for import_id in ids:
            with django_capture_on_commit_callbacks(execute=True):
                delete_import(actor=None, import_id=import_id, as_of=AS_OF, class_of_key=lambda *_: "")
        steps.append((state(), store.place.listed()))
        seen.append(steps)
    assert seen[1] == seen[0]
    assert seen[0][-1] == (([], []), [])
    assert seen[0][1][:2] == (1, 1)


def test_labels_are_written_anew_where_the_requests_are(
    db: None, var: Path, tmp_path: Path, settings: Any, store_url: str, django_capture_on_commit_callbacks: Any
) -> None:
    settings.COSTGOV_REQUEST_STORE = store_url
    rows = [envelope(n, f"2026-11-0{n}T01:00:00Z", tags={"request_class": f"c{n % 2}"}) for n in range(1, 5)]
    import_file(actor=None, path=write_lines(tmp_path / "a.jsonl", rows), as_of=AS_OF)
    period = (datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    with django_capture_on_commit_callbacks(execute=True):
        assert relabel_requests(plan=ClassifyPlan(frozenset({"c0"})), period=period) == 2
    with request_store().engine("test") as engine:
        listed = ", ".join(f"'{name}'" for name in request_store().files(stored_imports()))
        found = engine.query(f"SELECT request_id, request_class FROM read_parquet([{listed}]) ORDER BY 1")
    assert [name for _, name in found] == ["", "c0", "", "c0"]
    assert len(request_store().place.listed()) == 4


def test_a_half_written_object_is_never_read(
    db: None, var: Path, tmp_path: Path, settings: Any, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker dies between the uploads of two days: nothing of it counts, and the next attempt is whole."""
    settings.COSTGOV_REQUEST_STORE = store_url
    path = write_lines(tmp_path / "a.jsonl", [envelope(n, f"2026-11-0{n}T01:00:00Z") for n in range(1, 4)])

    class Killed(Exception):
        pass

    real = ObjectStore.put
    calls: list[Any] = []

    def put(self: ObjectStore, local: Path, day: str, name: str) -> None:
        if len(calls) == 1:
            raise Killed
        calls.append(day)
        real(self, local, day, name)

    # What removes the traces of a failed attempt does not run in a process that was killed.
    with monkeypatch.context() as patched:
        patched.setattr(ObjectStore, "put", put)
        patched.setattr("billing.store.engine.RequestStore.remove", lambda self, item: None)
        with pytest.raises(Killed):
            import_file(actor=None, path=path, as_of=AS_OF)
    assert len(request_store().place.listed()) == 1
    assert request_store().files(stored_imports()) == []
    assert import_file(actor=None, path=path, as_of=AS_OF).accepted == 3
    assert len(request_store().files(stored_imports())) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", ""), ("memory://x/y/", "memory://x/y"), ("/srv/requests", "/srv/requests")],
)
def test_setting(value: str, expected: str) -> None:
    assert read_setting({"COSTGOV_REQUEST_STORE": value}) == expected


def test_a_setting_nothing_can_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="COSTGOV_REQUEST_STORE=nowhere://x cannot be reached"):
        read_setting({"COSTGOV_REQUEST_STORE": "nowhere://x"})
    (tmp_path / "f").write_text(json.dumps({}))
    with pytest.raises(BadSetting, match="is a file"):
        read_setting({"COSTGOV_REQUEST_STORE": str(tmp_path / "f")})
    assert isinstance(place_of(tmp_path), Directory)


def test_two_readers_at_once_share_nothing(db: None, var: Path, tmp_path: Path, settings: Any, store_url: str) -> None:
    settings.COSTGOV_REQUEST_STORE = store_url
    import_file(actor=None, path=write_lines(tmp_path / "a.jsonl", [envelope(1)]), as_of=AS_OF)
    files = request_store().files(stored_imports())
    found: list[int] = []

    def read() -> None:
        with request_store().engine("test") as engine:
            listed = ", ".join(f"'{name}'" for name in files)
            found.append(engine.query(f"SELECT count(*) FROM read_parquet([{listed}])")[0][0])

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == [1, 1]
