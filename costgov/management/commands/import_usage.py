"""manage.py import_usage: request logs and usage reports, files and directories, each file whole or not at all."""

import sys
import time
from argparse import ArgumentParser
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand

from billing.core.column_mapping import MappingError
from billing.importers.base import ImportRefused
from billing.importers.records import SWITCHES
from billing.importers.usage_formats import format_names
from billing.operations.column_mappings import named_mapping
from billing.operations.import_lease import progress_watched_by
from billing.operations.imports import ImportOptions, ImportOutcome
from billing.operations.source_settings import BadAnswer, read_answers
from costgov.jsonout import dumps
from costgov.operations.usage import import_usage_files
from costgov.pages import now

_SECONDS_UNTIL_SAID: Final = 1.0  # what is quicker needs no progress
_NOTE: Final = 60
_STOPPED: Final = 130  # what a shell calls a command ended by Ctrl-C
_IMPORTED, _KNOWN, _REFUSED, _SKIPPED = "imported", "known before", "REFUSED", "skipped"


@dataclass(frozen=True)
class _Result:
    """What became of one file, as the table at the end shows it."""

    name: str
    state: str
    outcome: ImportOutcome | None = None
    note: str = ""


class Command(BaseCommand):
    help = (
        "Import usage: request logs, batches, traces and usage reports (manage.py usage_formats lists the formats). "
        "A directory is walked in the order of its names. A bad row refuses its file; the others are imported."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "files", nargs="+", type=Path, metavar="FILE", help="a file (also .gz, .zst) or a directory"
        )
        parser.add_argument(
            "--format", default="", help=f"found out by itself when left out: {', '.join(format_names())}"
        )
        parser.add_argument("--source", default="", help="name of the source (organisation, channel, scope)")
        parser.add_argument(
            "--replace", action="store_true", help="where a request is known with other counts, this file wins"
        )
        parser.add_argument("--good-rows", action="store_true", help="import the good rows and list the others")
        for switch in SWITCHES:
            values = f"{{{','.join(switch.choices)}}}" if switch.choices else "TIME"
            kept = "for these files" if switch.is_of_file else "remembered for the source"
            parser.add_argument(
                switch.flag, default="", metavar=values, help=f"where a file does not tell: {switch.question} ({kept})"
            )
        parser.add_argument(
            "--mapping",
            default="",
            metavar="MAPPING.json|NAME",
            help="what the columns of a table of your own are: a document (it is kept), or a kept one's name; "
            "manage.py column_mapping FILE writes one to edit",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            answers = read_answers({switch.name: options[switch.name] for switch in SWITCHES})
            mapping = named_mapping(options["mapping"], as_of=now())
        except (BadAnswer, MappingError) as error:
            self.stderr.write(f"{str(error).rstrip('.')}.")
            sys.exit(2)
        chosen = ImportOptions(
            options["format"],
            options["source"],
            options["replace"],
            options["good_rows"],
            answers=answers,
            mapping=mapping.as_document() if mapping is not None else None,
        )
        files = list(_files(options["files"]))
        told = self._imported([(item, name) for item, name in files if item is not None], chosen, options["json"])
        results: list[_Result] = []
        with closing(told):
            try:
                for item, name in files:
                    results.append(_skipped(name) if item is None else next(told))
            except KeyboardInterrupt:
                self.stderr.write(_stopped(results, len(files)))
                sys.exit(_STOPPED)
        if options["json"]:
            self.stdout.write(
                dumps([item.outcome for item in results if item.outcome is not None], indent=True).decode()
            )
        elif len(results) > 1:
            self.stdout.write("\n" + "\n".join(_table(results)))
        if any(item.state == _REFUSED for item in results):
            sys.exit(2)

    def _imported(
        self, files: Sequence[tuple[Path, str]], chosen: ImportOptions, is_quiet: bool
    ) -> Generator[_Result, None, None]:
        """What became of each file, in order."""
        begun = said = time.monotonic()
        done = 0

        def tell(share: float, note: str) -> None:
            nonlocal said
            at = time.monotonic()
            if at - begun >= _SECONDS_UNTIL_SAID and at - said >= _SECONDS_UNTIL_SAID and done < len(files):
                said = at
                self.stderr.write(f"{files[done][1]}: {share:.0%} {note}")

        with progress_watched_by(tell):
            for name, told in import_usage_files(actor=None, files=files, as_of=now(), options=chosen):
                if isinstance(told, ImportRefused):
                    self.stderr.write(str(told))
                    result = _Result(name, _REFUSED, note=told.problems[0].message if told.problems else "")
                else:
                    if not is_quiet:
                        self._say(told)
                    result = _Result(name, _KNOWN if told.is_repeat else _IMPORTED, told)
                yield result
                done += 1
                begun = time.monotonic()

    def _say(self, outcome: ImportOutcome) -> None:
        if outcome.is_repeat:
            self.stdout.write(outcome.message)
            return
        self.stdout.write(
            f"{outcome.file_name}: {outcome.accepted:,} accepted, {outcome.duplicates:,} duplicates, "
            f"{outcome.rejected:,} rejected, {outcome.failed_requests:,} failed requests "
            f"({outcome.format}, source {outcome.source})"
        )
        for finding in outcome.findings:
            self.stdout.write(f"  {finding}")


def _files(named: Sequence[Path]) -> Iterator[tuple[Path | None, str]]:
    """Files with the name to show, in the order given, those of a directory by name; None for what is left out."""
    for path in named:
        if not path.is_dir():
            yield path, path.name
            continue
        found = [item for item in sorted(path.rglob("*")) if item.is_file()]
        if not found:
            yield path, path.name  # refused: no such file
        for item in found:
            inside = item.relative_to(path)
            is_hidden = any(part.startswith(".") for part in inside.parts)
            yield (None if is_hidden else item), inside.as_posix()


def _stopped(results: Sequence[_Result], count: int) -> str:
    """What is in when Ctrl-C ends the command."""
    taken = sum(item.state in (_IMPORTED, _KNOWN) for item in results)
    return (
        f"Stopped by Ctrl-C with {taken:,} of {count:,} files imported; none is half in. "
        "Run the command again: what is in is known and counts once."
    )


def _skipped(name: str) -> _Result:
    return _Result(name, _SKIPPED, note="a hidden file")


def _table(results: Sequence[_Result]) -> Iterator[str]:
    """One line per file: name, state, counts or why not."""
    width = min(60, max(4, *(len(item.name) for item in results)))
    counts = f"{'accepted':>10}  {'duplicates':>10}  {'rejected':>8}  {'failed':>7}"
    yield f"{'file':<{width}}  {'state':<12}  {counts}  format"
    for item in results:
        shown = item.name if len(item.name) <= width else "…" + item.name[-width + 1 :]
        told = item.outcome
        if told is None or item.state == _KNOWN:
            note = item.note if len(item.note) <= _NOTE else item.note[:_NOTE] + "…"
            note = note or (told.format if told is not None else "")
            yield f"{shown:<{width}}  {item.state:<12}  {'–':>10}  {'–':>10}  {'–':>8}  {'–':>7}  {note}"
            continue
        yield (
            f"{shown:<{width}}  {item.state:<12}  {told.accepted:>10,}  {told.duplicates:>10,}  {told.rejected:>8,}  "
            f"{told.failed_requests:>7,}  {told.format}"
        )
    refused = sum(item.state == _REFUSED for item in results)
    skipped = sum(item.state == _SKIPPED for item in results)
    taken = len(results) - refused - skipped
    yield f"{taken:,} of {len(results):,} files are in; {refused:,} refused, {skipped:,} skipped."
