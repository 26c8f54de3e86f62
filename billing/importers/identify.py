"""Which of several formats a file is: exactly one claims it, or the answer is an error that says what to do."""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from billing.importers.anthropic_pages import kind_of
from billing.importers.base import Head, ImportRefused
from billing.importers.unrecognised import likely_reason


class Claiming(Protocol):
    """What detection needs of a format."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def claims(self, head: Head) -> bool: ...


F = TypeVar("F", bound=Claiming)


def named_format(formats: Sequence[F], *, file_name: str, format_name: str) -> F | None:
    """The format asked for, None where none was. Raises ImportRefused for a name nobody has."""
    named = next((item for item in formats if item.name == format_name), None)
    if format_name and named is None:
        raise ImportRefused.because(
            file_name, f"there is no format {format_name!r}", f"Choose one of: {listing(formats)}"
        )
    return named


def claiming_format(formats: Sequence[F], head: Head, *, file_name: str) -> F:
    """The one format that claims the file. Raises ImportRefused when none or several do."""
    claiming = [item for item in formats if item.claims(head)]
    if len(claiming) > 1:
        names = " and ".join(item.name for item in claiming)
        raise ImportRefused.because(
            file_name, f"two formats claim the file: {names}", "Say which one with --format, or in the form"
        )
    if claiming:
        return claiming[0]
    known = known_but_not_imported(head)
    if known is not None:
        raise ImportRefused.because(file_name, *known)
    what, remedy = likely_reason(head)
    raise ImportRefused.because(file_name, f"none of the known formats recognises the file: {what}", remedy)


def refuse_parquet(head: Head, name: str, *, file_name: str) -> None:
    """Raises ImportRefused for a Parquet file that is to be read as another format than a request log."""
    if head.is_parquet and name != "messages_api_log":
        raise ImportRefused.because(
            file_name, f"a Parquet file cannot be read as {name}", "Import it without naming a format, or as text"
        )


def listing(formats: Sequence[Claiming]) -> str:
    return "; ".join(f"{item.name} ({item.title})" for item in formats)


def known_but_not_imported(head: Head) -> tuple[str, str] | None:
    """What a file is that brings neither usage nor cost, and what to export instead; None where we do not know it."""
    match kind_of(head):
        case "error":
            return (
                "this is an error the API answered with, not a report",
                "Fetch the report again with a valid admin key; the answer then begins with a list called data",
            )
        case "claude_code":
            return (
                "this is the Claude Code report: it explains spend by person and is never added to it",
                "Import usage_report/messages and cost_report for amounts, or Claude Code's telemetry for its requests",
            )
        case "api_keys" | "workspaces" as kind:
            what = "API keys" if kind == "api_keys" else "workspaces"
            return (
                f"this is the list of {what}: names, no usage and no cost",
                "Export usage_report/messages or cost_report for amounts",
            )
    first = head.text.lstrip("\ufeff \r\n").split("\n", 1)[0]
    if first[:1] not in "{[<" and first.count(";") >= 3 and "," not in first:
        return (
            "the columns are separated by semicolons",
            "Use the file as it was downloaded; a spreadsheet that saved it anew has changed it",
        )
    return None
