"""Logs and error pages tell where something failed, and nothing of what was being worked on."""

import logging
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import psycopg
import pytest
import structlog
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from costgov.celery import app
from costgov.logs import STRUCK, message_of, secrets_of, struck, trace_of
from tests.costgov import policy_world
from tests.costgov.policy_world import logged_in, token

PROMPT = "My diagnosis is lupus and my name is Zora Neale"
PASSWORD = "hunter2-correct-horse"
FILE = f"feature,prompt\ntriage,{PROMPT}\n".encode()


class Log:
    """Everything that would be in the log of the web server, from both ways of logging."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def read(self) -> str:
        said = self.capsys.readouterr()
        assert said.out == ""  # a command's --json would not be JSON any more
        return said.err


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Log:
    return Log(capsys)


def somebody(name: str) -> Any:
    person = policy_world.people()[name]
    person.set_password(PASSWORD)
    person.save()
    return person


def broken(table: str) -> None:
    """From here on no row can be written to a table: a real fault of the database, in the middle of a request."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {table} ADD CONSTRAINT made_to_fail CHECK (false) NOT VALID")


@pytest.mark.django_db
def test_an_endpoint_that_fails_logs_no_value_it_had(log, settings):
    """The request carries a token, the file a prompt, the failing row both a name and a hash."""
    settings.COSTGOV_AS_OF = policy_world.AS_OF
    person = somebody("lena")
    _, headers = token(person, "usage:write")
    broken("billing_import")
    upload = SimpleUploadedFile(f"{PASSWORD}.csv", FILE)
    answer = Client(raise_request_exception=False).post("/api/v1/imports", {"file": upload}, headers=headers)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal"
    said = log.read()
    assert "API request failed" in said
    assert "/api/v1/imports" in said
    assert "IntegrityError" in said
    assert "made_to_fail" in said  # enough to find the fault
    assert 'File "' in said
    assert nothing_of(said + answer.content.decode(), headers["authorization"].removeprefix("Bearer "), person)


@pytest.mark.django_db
def test_a_page_that_fails_logs_no_value_it_had(log):
    person = somebody("priya")
    client = logged_in(person)
    client.raise_request_exception = False
    broken("billing_taxrate")
    rate = {"issuer": "Anthropic", "percent": "19", "valid_from": "2026-01-01", "note": f"{PROMPT} {PASSWORD}"}
    answer = client.post("/tax-rates/", rate)
    assert answer.status_code == 500
    said = log.read()
    assert "Internal Server Error: /tax-rates/" in said
    assert "made_to_fail" in said
    assert nothing_of(said + answer.content.decode(), client.cookies[settings.SESSION_COOKIE_NAME].value, person)


def nothing_of(text: str, credential: str, person: Any) -> bool:
    for secret in (
        credential,
        PROMPT,
        PASSWORD,
        person.password,
        settings.SECRET_KEY,
        "Failing row",
        "DETAIL",
        "locals",
    ):
        assert secret not in text, secret
    return True


@pytest.mark.django_db
def test_a_background_task_that_fails_logs_no_value_it_had(log):
    """Celery sets up logging of its own, and repeats the exception in its message."""

    def fail(name: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::integer", [name])

    task = app.task(fail, name="tests.fail")
    try:
        app.log.setup_logging_subsystem()
        assert task.apply(kwargs={"name": PROMPT}).state == "FAILURE"
    finally:
        app.tasks.unregister("tests.fail")
    said = log.read()
    assert "tests.fail" in said
    assert "DataError" in said
    assert "invalid input syntax" in said
    assert PROMPT not in said


def test_locals_stay_out_also_where_rich_is_installed(capsys):
    """structlog prints every local variable as soon as rich is there: as it is in this environment."""
    assert find_spec("rich") is not None  # of the test set
    inner = f"Bearer {PASSWORD}"
    try:
        raise RuntimeError("a fault") from KeyError(inner)
    except RuntimeError as error:
        structlog.get_logger("test").error("it failed", exc_info=error)
    said = capsys.readouterr().err
    assert "RuntimeError: a fault" in said
    assert "KeyError: '…'" in said
    assert PASSWORD not in said


class Refused(Exception):
    """As one of ours."""


Refused.__module__ = "billing.somewhere"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyError("my prompt"), "'…'"),
        (
            ValueError(f"invalid literal for int() with base 10: {PROMPT!r}"),
            "invalid literal for int() with base 10: '…'",
        ),
        (ValueError("begins a quote 'that never ends"), "begins a quote '…'"),
        (AttributeError("'NoneType' object has no attribute 'strip'"), "'NoneType' object has no attribute 'strip'"),
        (
            psycopg.errors.UniqueViolation(
                'duplicate key breaks constraint "user_name_key"\nDETAIL:  Key (name)=(zora).'
            ),
            'duplicate key breaks constraint "user_name_key"',
        ),
        (Refused("Import 'march.csv' again"), "Import 'march.csv' again"),
        (RuntimeError("x" * 1000), "x" * 300 + "…"),
        (RuntimeError(""), ""),
    ],
    ids=["key", "value", "open_quote", "attribute", "database", "ours", "long", "nothing"],
)
def test_what_an_exception_may_say(error: Exception, said: str):
    assert message_of(error) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Authorization: Bearer abc.def", f"Authorization: {STRUCK}"),
        ("{'authorization': 'Bearer cg_1'}", f"{{'authorization': '{STRUCK}'}}"),
        ("sent cg_0123456789abcdef", f"sent {STRUCK}"),
        ("key sk-ant-api03-Q9_x-y failed", f"key {STRUCK} failed"),
        ("postgresql://me:pass@db:5432/costgov is away", f"postgresql://{STRUCK}@db:5432/costgov is away"),
        ("redis://:p%40ss@cache:6379/1", f"redis://{STRUCK}@cache:6379/1"),
        ("connect(password='hunter2', port=1)", f"connect(password='{STRUCK}', port=1)"),
        ('{"api_key": "abc"}', f'{{"api_key": "{STRUCK}"}}'),
        ("12 tokens counted; the token is old", "12 tokens counted; the token is old"),
        ("https://costgov.example/spend/?by=class", "https://costgov.example/spend/?by=class"),
    ],
)
def test_secrets_are_struck_by_their_shape(text: str, said: str):
    assert struck(text, frozenset()) == said


def test_secrets_of_this_process_are_struck_wherever_they_stand():
    environment = {
        "DATABASE_URL": "postgresql://me:s%23cret-word@db/costgov",
        "REDIS_URL": "rediss://:other-word@cache:6379",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI",
        "COSTGOV_SECRET_KEY": "k" * 40,
        "PATH": "/usr/bin",
        "SHORT_TOKEN": "on",
    }
    secrets = secrets_of(environment)
    assert secrets == {"s%23cret-word", "s#cret-word", "other-word", "wJalrXUtnFEMI", "k" * 40}
    assert struck("we tried s#cret-word and wJalrXUtnFEMI, on", secrets) == f"we tried {STRUCK} and {STRUCK}, on"


def test_causes_come_first_and_loops_end():
    try:
        try:
            raise KeyError("a")
        except KeyError as inner:
            raise ValueError("b") from inner
    except ValueError as error:
        error.__cause__.__context__ = error  # type: ignore[union-attr]
        said = trace_of(error)
    assert said.index("KeyError") < said.index("direct cause") < said.index("ValueError: b")
    assert said.count("Traceback") == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda error: logging.getLogger("psycopg.pool").warning("cannot connect: %s", error),
        lambda error: logging.getLogger("x").error("raised: %(exc)r", {"exc": error}),
        lambda error: logging.getLogger("celery.app.trace").error("raised %s", repr(error), exc_info=error),
    ],
    ids=["argument", "named_argument", "repr_in_text"],
)
def test_an_exception_in_a_message_says_no_more_than_in_its_trace(write: Callable[[Exception], None], log):
    write(ValueError(f"could not convert {PROMPT!r}"))
    said = log.read()
    assert "could not convert '…'" in said
    assert "lupus" not in said


def test_nobody_writes_entries_into_the_log(log):
    """A line break in a path or name from outside begins no line of its own."""
    structlog.get_logger("test").error("failed", path="/x\n2026-01-01 CRITICAL forged")
    assert "\n2026-01-01" not in log.read()
