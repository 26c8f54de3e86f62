"""manage.py size_commitment: which band of an offer to commit to, on the spend before and after routing."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NoReturn

from django.core.management.base import BaseCommand

from billing.core.sizing import BASELINE, CURRENT, OPTIMISED
from billing.core.sizing_record import SizingRecord, above_limit, answer, routing_sentence, text_of
from billing.core.terms import Terms, TermsRefused, read_terms
from billing.core.words import percent, signed, usd
from billing.exports.commitment_xlsx import commitment_xlsx
from billing.models import Organisation
from billing.queries.commitments import sizing_record
from costgov.jsonout import dumps
from costgov.operations.commitments import PATHS, SizingRefused, size_offer
from costgov.pages import now

MAX_PATHS = 100_000


class Command(BaseCommand):
    help = "Size a commitment: every band on the same simulated years, uniform and optimised side by side."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--terms", required=True, help="a costgov.terms/1 document; - reads standard input")
        parser.add_argument("--out", help="write the sheet to this .xlsx file")
        parser.add_argument("--paths", type=int, default=PATHS, help=f"simulated years (default {PATHS:,})")
        parser.add_argument(
            "--include-very-short",
            action="store_true",
            help="count classes with less than four weeks of history; their owners stand for the volume",
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        terms = self.read(options["terms"])
        out = self.writable(options["out"]) if options["out"] else None
        if not 100 <= options["paths"] <= MAX_PATHS:
            self.refuse(f"--paths {options['paths']}: use 100 to {MAX_PATHS:,}")
        try:
            sizing = size_offer(
                actor=None,
                as_of=now(),
                terms=terms,
                paths=options["paths"],
                include_very_short=options["include_very_short"],
            )
        except SizingRefused as refused:
            self.refuse(str(refused))
        record = sizing_record(sizing_id=sizing.pk)
        if out is not None:
            self.write_sheet(out, record)
        if options["json"]:
            self.stdout.write(dumps(record, indent=True).decode())
        else:
            self.show(record, out)

    def read(self, name: str) -> Terms:
        try:
            text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            self.refuse(f"--terms {name}: cannot be read ({error.strerror}); give a costgov.terms/1 document")
        try:
            return read_terms(text)
        except TermsRefused as refused:
            self.refuse("\n".join(f"{name}: {problem}" for problem in refused.problems))

    def writable(self, name: str) -> Path:
        """Checked before anything is computed or kept."""
        path = Path(name)
        if path.suffix.lower() != ".xlsx":
            self.refuse(f"--out {name}: the sheet is a workbook; give a name that ends in .xlsx")
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            self.refuse(f"--out {name}: {path.parent} is not a folder that can be written to; create it first")
        if path.is_dir():
            self.refuse(f"--out {name}: is a folder; give a file name")
        return path

    def write_sheet(self, path: Path, record: SizingRecord) -> None:
        organisation = Organisation.objects.filter(pk=1).values_list("name", flat=True).first() or ""
        partial = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            partial.write_bytes(commitment_xlsx(record, organisation=organisation))
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            self.refuse(f"--out {path}: cannot be written ({error.strerror}). Sizing {record.id} is kept; see its page")

    def refuse(self, message: str) -> NoReturn:
        self.stderr.write(message)
        sys.exit(2)

    def show(self, record: SizingRecord, out: Path | None) -> None:
        sizing = record.sizing
        write = self.stdout.write
        write(text_of(answer(record)))
        write(routing_sentence(record))
        write(
            f"\n{record.terms.start} to {record.terms.end} (not included), {sizing.path_count:,} simulated years, "
            f"usage to {record.basis.cutoff_date}; estimates at list prices, usd a year"
        )
        for name in (OPTIMISED, BASELINE, CURRENT):
            policy = sizing.policy(name)
            write(f"\n{record.policy_title(name)}")
            write(
                f"  {'offer':<20} {'commitment':>14} {'expected':>14} {'± se':>10} {'P(short)':>9} {'unused':>12} "
                f"{'CVaR95':>14} {'mean regret':>13}"
            )
            for row in policy.offers:
                mark = "  <- recommended" if row.name == policy.choice.name else ""
                mark = "  above the limit" if above_limit(row, sizing) else mark
                write(
                    f"  {row.name:<20} {signed(row.commitment_usd, 2):>14} {signed(row.expected_payable_usd, 2):>14} "
                    f"{signed(row.expected_payable_se_usd, 2):>10} {percent(row.shortfall_probability):>9} "
                    f"{signed(row.expected_unused_usd, 2):>12} {signed(row.cvar95_usd, 2):>14} "
                    f"{signed(row.mean_regret_usd, 2):>13}{mark}"
                )
            write(f"  {policy.choice.reason}")
        for point in sizing.break_evens:
            start = "never" if point.spend_usd is None else f"from {usd(point.spend_usd)} of list spend"
            write(f"{point.higher} beats {point.lower} {start}")
        for what in record.basis.left_out:
            write(f"Not in the spend: {what}")
        write(f"Sizing {record.id}" + (f", sheet written to {out}" if out else ""))
