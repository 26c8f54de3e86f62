"""What goes to the logs: what happened and where in the code, never what was being worked on.

Logs are read by people who may not see prompts, prices or credentials, and are sent on to other systems. So a
traceback has no local variables (structlog prints them wherever `rich` happens to be installed), the message of an
exception loses what it quotes and everything after its first line (PostgreSQL repeats the row there), and secrets are
struck out wherever they stand.
"""

import logging
import logging.config
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO
from urllib.parse import unquote, urlsplit

import structlog

OURS: Final = ("audit", "billing", "costgov", "gateway", "routing")
MESSAGE_LENGTH: Final = 300
STRUCK: Final = "[secret]"
SHORTEST_SECRET: Final = 6  # shorter values would strike out ordinary words
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|ACCESS_?KEY|CREDENTIAL", re.IGNORECASE)
# Names of our code and tables may stay; any other thing in quotes may be a piece of somebody's file.
_NAMING: Final = (AttributeError, ImportError, NameError, TypeError)
_QUOTED = re.compile(r"""(?P<word>\w+ )?(?P<quote>["'`])(?:(?!(?P=quote)).)*(?P=quote)?""")
_NAMED: Final = frozenset({"column", "constraint", "function", "index", "relation", "table", "type"})
_SHAPES: Final = (
    (
        re.compile(r"(?i)\b(authorization|cookie|x-api-key)(\W{1,4})(?:(?:bearer|basic|token)\s+)?[^\s'\",]+"),
        rf"\1\2{STRUCK}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {STRUCK}"),
    (re.compile(r"\b(?:cg_|sk-|pk-|ghp_|xox[abp]-|AKIA)[A-Za-z0-9_-]{8,}"), STRUCK),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]*:[^/\s]*@"), rf"\1{STRUCK}@"),
    (
        re.compile(r"(?i)\b(password|passwd|secret|token|api_?key)(['\"]?\s*[=:]\s*)(['\"]?)[^\s'\",)&]+"),
        rf"\1\2\3{STRUCK}",
    ),
)


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """What of the environment must not be seen: variables named like secrets, and the passwords of addresses."""
    found = set()
    for name, value in environment.items():
        if _SECRET_NAME.search(name):
            found.add(value)
        elif "://" in value and "@" in value:
            found |= _password_of(value)
    return frozenset(value for value in found if len(value) >= SHORTEST_SECRET)


def _password_of(address: str) -> set[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return {address}
    return {password, unquote(password)}


def struck(text: str, secrets: frozenset[str]) -> str:
    """The text without secrets: those of this process, and whatever has the shape of one."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, STRUCK)
    for shape, instead in _SHAPES:
        text = shape.sub(instead, text)
    return text


def message_of(error: BaseException) -> str:
    """What an exception says, fit for a log: its first line; of others' exceptions without the values they quote."""
    first = next(iter(str(error).strip().splitlines()), "")
    if type(error).__module__.partition(".")[0] not in OURS and not isinstance(error, _NAMING):
        first = _QUOTED.sub(_without_value, first)
    return first if len(first) <= MESSAGE_LENGTH else f"{first[:MESSAGE_LENGTH]}…"


def _without_value(found: re.Match[str]) -> str:
    word, quote = found["word"] or "", found["quote"]
    return found[0] if word.strip() in _NAMED else f"{word}{quote}…{quote}"


def trace_of(error: BaseException) -> str:
    """Where it happened: files, lines and code, causes first. No values."""
    return "\n".join(_parts(error, set())).rstrip("\n")


def _parts(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    earlier, words = error.__cause__, "The above exception was the direct cause of the following exception:"
    if earlier is None and not error.__suppress_context__:
        earlier, words = error.__context__, "During handling of the above exception, another exception occurred:"
    if earlier is not None and id(earlier) not in seen:
        yield from _parts(earlier, seen)
        yield f"\n{words}\n"
    if error.__traceback__ is not None:
        yield "Traceback (most recent call last):"
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
    name = type(error).__qualname__
    module = type(error).__module__
    said = message_of(error)
    yield (name if module == "builtins" else f"{module}.{name}") + (f": {said}" if said else "")
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if id(inner) not in seen:
                yield from _parts(inner, seen)


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever is standard error at that moment, not to what was when logging was set up."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class PlainFormatter(logging.Formatter):
    """Every line of every log of ours goes through here."""

    secrets: frozenset[str] = frozenset()

    def format(self, record: logging.LogRecord) -> str:
        copy = logging.makeLogRecord(record.__dict__)
        copy.exc_text = None  # another formatter may have kept a trace of its own
        copy.msg, copy.args = _told(record), None
        return struck(super().format(copy), self.secrets)

    def formatException(
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        return trace_of(ei[1]) if ei[1] is not None else ""


def _told(record: logging.LogRecord) -> str:
    """The message; an exception it repeats (an argument or, Celery's way, its repr) says no more than in its trace."""
    errors = [record.exc_info[1]] if record.exc_info else []
    args = record.args.values() if isinstance(record.args, Mapping) else record.args or ()
    errors += [arg for arg in args if isinstance(arg, BaseException)]
    message = record.getMessage()
    for error in errors:
        for theirs in filter(None, (repr(error), str(error)) if error is not None else ()):
            message = message.replace(theirs, f"{type(error).__name__}: {message_of(error)}")  # type: ignore[arg-type]
    return message


def _exceptions_in_words(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog: `exc_info=error` or `exc_info=True` becomes our trace."""
    given = event.pop("exc_info", None)
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
    if given and error is None:
        error = sys.exc_info()[1]
    if error is not None:
        event["exception"] = trace_of(error)
    return event


_CONSOLE: Final = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)


def _line(logger: Any, name: str, event: MutableMapping[str, Any]) -> str:
    return struck(_CONSOLE(logger, name, dict(event)), PlainFormatter.secrets)


def configure(settings: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG: the standard library's loggers and structlog say the same, on standard error."""
    from django.conf import settings as django

    password = str(django.DATABASES["default"].get("PASSWORD") or "")
    own = {django.SECRET_KEY, password} - {""}
    PlainFormatter.secrets = secrets_of(os.environ) | {value for value in own if len(value) >= SHORTEST_SECRET}
    logging.config.dictConfig(settings)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("%Y-%m-%d %H:%M:%S", utc=True),
            _exceptions_in_words,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_stderr_logger,
        cache_logger_on_first_use=False,
    )


def _stderr_logger(*_: Any) -> Any:
    return structlog.PrintLogger(sys.stderr)  # asked each time: tests and commands put another one in its place
