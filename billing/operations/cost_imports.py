"""One attempt at one cost report or bill: its lines replace what the source said about the same days or months.

Nothing is ever added to what is held: a report states UTC days, a bill whole billing months of an account, and what it
states takes the place of what was there (docs/decisions/cost-imports.md). A bill's token rows become usage as well.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import ClassVar, Final

from django.db import transaction
from django.db.models import Q, QuerySet

from billing.core.models import canonical_model
from billing.core.money import ZERO, sum_usd
from billing.core.periods import day_start
from billing.core.usage import NOT_APPLICABLE, UNTOLD
from billing.importers.base import PROBLEMS_SHOWN, ImportRefused, Problem, implausible_time
from billing.importers.cost_base import CostFormat, CostLine, CostReport, Covers
from billing.models import BillingPeriod, CostReportLine, Import, ModelRelease, UsageSource
from billing.operations.bill_usage import save_bill_usage
from billing.operations.cost_deliveries import format_of_delivery, parts_of
from billing.operations.import_run import Attempt, ImportOptions, ImportOutcome
from billing.operations.stated_invoices import save_stated_invoices
from billing.queries.imports import model_aliases

SAME_USD: Final = Decimal("0.01")  # methods.md §1.7: two statements of one amount
SAME_SHARE: Final = Decimal("0.000001")
_AT_ONCE: Final = 2_000
_MODELS_NAMED: Final = 8


@dataclass
class CostAttempt(Attempt):
    """One attempt at one import of costs. `carry_out` raises ImportRefused, ImportStopped."""

    action: ClassVar[str] = "costs.imported"

    def carry_out(self) -> ImportOutcome:
        parts = parts_of(self.path)
        fmt = format_of_delivery(parts, self.row.file_name, self.options.format)
        self.row.format = fmt.name
        source = cost_source(fmt, self.options.source, self.row.file_name)
        aliases = model_aliases()
        self.lease.progress(0.1, "Reading the file")
        report = self.read_parts(fmt, parts, lambda raw: canonical_model(raw, aliases).model)
        if self.rejected and not self.options.good_rows:
            raise ImportRefused(self.row.file_name, self.problems, self.rejected)
        if not report.lines and self.problems:
            raise ImportRefused(self.row.file_name, self.problems, self.rejected)
        if not report.lines and report.skipped:
            raise ImportRefused.because(
                self.row.file_name,
                "its only row is not about Claude"
                if report.skipped == 1
                else f"none of its {report.skipped:,} rows is about Claude",
                "Check that it is the right bill; import with --all-rows to keep the rows of other services",
            )
        self.lock_merge(0.5)
        self.lease.progress(0.6, "Saving the lines")
        with transaction.atomic():
            self.take_row()
            return self.save_costs(fmt, source, report)

    def stands_for(self, held: Import) -> bool:
        return super().stands_for(held) and still_stands(held, self.options)

    def read_parts(self, fmt: CostFormat, parts: Sequence[Path], canonical: Callable[[str], str]) -> CostReport:
        """The parts of one delivery as one report; lines whose time cannot be are rejected."""
        lines: list[CostLine] = []
        days: set[date] = set()
        months: set[tuple[date, str]] = set()
        groups: set[str] = set()
        findings: list[str] = []
        skipped = 0
        if len(parts) > 1 and not fmt.is_bill:
            raise ImportRefused.because(
                self.row.file_name,
                "a directory of reports, not of the parts of one bill",
                "Import its files one by one: each replaces the days it states",
            )
        seen: set[tuple[object, ...]] = set()
        for part in parts:
            name = self.row.file_name if len(parts) == 1 else f"{self.row.file_name}/{part.name}"
            report = fmt.read(part, file_name=name, canonical=canonical, all_rows=self.options.all_rows)
            offset = lines[-1].position if lines else 0
            self.check_no_second_delivery(name, report.lines, seen)
            self.reject(report.problems, report.rejected)
            for line in report.lines:
                wrong = self.line_problem(line)
                if wrong is not None:
                    self.reject([wrong], 1)
                    continue
                lines.append(moved(line, offset))
            days |= set(report.covers.days)
            months |= set(report.covers.months)
            groups |= set(report.group_by)
            findings += [text for text in report.findings if text not in findings]
            skipped += report.skipped
        if skipped:
            findings.append(
                f"{skipped:,} row{'s are' if skipped != 1 else ' is'} not about Claude: left out. "
                "Import with --all-rows (or its tick in the form) to keep them."
            )
        covers = Covers(tuple(sorted(days)), tuple(sorted(months)))
        return CostReport(tuple(lines), covers, tuple(sorted(groups)), tuple(findings), (), 0, skipped)

    def check_no_second_delivery(self, name: str, lines: Sequence[CostLine], seen: set[tuple[object, ...]]) -> None:
        """Parts of one delivery have no rows in common. Raises ImportRefused for last week's file beside today's."""
        keys = {
            (one.period.start, one.token_kind, one.model, one.workspace, one.api_key, one.description, one.amount)
            for one in lines
        }
        again = len(keys & seen)
        if keys and 2 * again > len(keys):
            raise ImportRefused.because(
                name,
                f"{again:,} of its {len(keys):,} kinds of line stand in the parts before it",
                "A directory is one delivery: keep the latest one of each billing month in it",
            )
        seen |= keys

    def reject(self, problems: Sequence[Problem], count: int) -> None:
        self.rejected += count
        self.problems += problems[: max(0, PROBLEMS_SHOWN - len(self.problems))]

    def line_problem(self, line: CostLine) -> Problem | None:
        """A charge's time must be plausible; a commitment may be bought for months to come."""
        ahead = timedelta(0) if line.category == "usage" else timedelta(days=400)
        reason = implausible_time(line.period.start, as_of=self.as_of + ahead)
        if not reason:
            return None
        at = line.period.start.isoformat().replace("+00:00", "Z")
        return Problem(line.position, "period", at, reason, "Correct the time at its source")

    def save_costs(self, fmt: CostFormat, source: UsageSource, report: CostReport) -> ImportOutcome:
        if source.pk is None:
            source.save()
        lines, findings, known = list(report.lines), list(report.findings), 0
        held = held_lines(source, report.covers)
        if fmt.is_bill:
            self.check_redelivery(held, lines)
        else:
            kept, remarks = self.finer_days(held, report)
            known = sum(line.period.start.date() in kept for line in lines)
            lines = [line for line in lines if line.period.start.date() not in kept]
            findings += remarks
            held = held.exclude(_within_days(kept)) if kept else held
        of_tokens = held.filter(category=CostReportLine.Category.USAGE).exclude(token_kind="")
        touched = {at.astimezone(UTC).date() for at in of_tokens.values_list("period_start", flat=True).distinct()}
        replaced = held.count()
        held.delete()
        CostReportLine.objects.bulk_create((self.row_of(source, line) for line in lines), batch_size=_AT_ONCE)
        self.row.options = {**self.row.options, "group_by": list(report.group_by)}
        if replaced:
            findings.append(f"{replaced:,} line{'s' if replaced != 1 else ''} held before for this time: replaced.")
        days: set[date] = set()
        if fmt.is_bill:
            touched |= {line.period.start.date() for line in lines if line.category == "usage" and line.token_kind}
            days, remarks = save_bill_usage(source=source, days=touched, class_of_key=self.plan.class_of_key)
            findings += remarks
            findings += save_stated_invoices(source=source, row=self.row, lines=lines, as_of=self.as_of)
        findings += model_findings(lines)
        findings += closed_findings(lines)
        start, end = stated_period(report)
        return self.finish(
            source,
            days,
            findings,
            accepted=len(lines),
            duplicates=known,
            failed_requests=0,
            period_start=start,
            period_end=end,
        )

    def finer_days(self, held: QuerySet[CostReportLine], report: CostReport) -> tuple[set[date], list[str]]:
        """Days that keep their finer lines, because this coarser report states the same amount.

        Two grains of one report are the same money. Raises ImportRefused where they differ, unless this file wins.
        """
        now: dict[tuple[date, str], Decimal] = defaultdict(lambda: ZERO)
        for line in report.lines:
            now[line.period.start.date(), line.currency] += line.amount
        before: dict[tuple[date, str], Decimal] = defaultdict(lambda: ZERO)
        finer: set[date] = set()
        grouped = set(report.group_by)
        for start, currency, amount, options in held.values_list(
            "period_start", "currency", "amount", "latest_import__options"
        ):
            day = start.astimezone(UTC).date()
            before[day, currency] += amount
            if grouped < set((options or {}).get("group_by", [])):
                finer.add(day)
        if self.options.replace or not finer:
            return set(), []
        differing = sorted(
            key
            for key in {key for key in (*now, *before) if key[0] in finer}
            if not same_amount(now.get(key, ZERO), before.get(key, ZERO))
        )
        if differing:
            problems = [
                Problem(
                    None,
                    day.isoformat(),
                    f"{now.get((day, currency), ZERO):f}",
                    f"this report, of fewer groups, states {now.get((day, currency), ZERO):f} {currency}; "
                    f"the finer one held states {before.get((day, currency), ZERO):f}",
                    "Fetch the grouped report of that day again; or import with --replace, and the groups are lost",
                )
                for day, currency in differing
            ]
            raise ImportRefused(self.row.file_name, problems[:PROBLEMS_SHOWN], len(problems))
        count = len(finer)
        return finer, [
            f"{count} day{'s are' if count != 1 else ' is'} held in finer groups with the same total: these stay, "
            "as two grains of one report are never added."
        ]

    def check_redelivery(self, held: QuerySet[CostReportLine], lines: Sequence[CostLine]) -> None:
        """A bill's month is delivered anew as a whole. Raises ImportRefused where it looks like another part of one."""
        if self.options.replace:
            return
        before = {
            (start, kind, model, workspace, description)
            for start, kind, model, workspace, description in held.values_list(
                "period_start", "token_kind", "model", "workspace", "description"
            )
        }
        now = {(one.period.start, one.token_kind, one.model, one.workspace, one.description) for one in lines}
        again = len(before & now)
        if before and 2 * again < len(before):
            raise ImportRefused.because(
                self.row.file_name,
                f"of {len(before):,} kinds of line held for this billing month only {again:,} stand in this file: "
                "it looks like another part of the same bill",
                "Import all parts together, as a directory (manage.py import_costs DIR); "
                "or import with --replace if the bill was written anew",
            )

    def row_of(self, source: UsageSource, line: CostLine) -> CostReportLine:
        return CostReportLine(
            source=source,
            latest_import=self.row,
            position=line.position,
            part=line.part,
            period_start=line.period.start,
            period_end=line.period.end,
            billing_month=line.billing_month,
            category=line.category,
            is_correction=line.is_correction,
            cost_type=line.cost_type[:32],
            token_kind=line.token_kind[:32],
            channel=line.channel or source.channel,
            organisation=line.organisation[:255],
            workspace=line.workspace[:255],
            api_key=line.api_key[:255],
            model=line.model[:255],
            service_tier=line.service_tier[:255],
            prompt_length_band=line.prompt_length_band[:255],
            geo=line.geo[:255],
            speed=line.speed[:255],
            description=line.description,
            invoice_number=line.invoice_number[:255],
            amount=line.amount,
            basis=line.basis,
            list_amount=line.list_amount,
            contracted_amount=line.contracted_amount,
            effective_amount=line.effective_amount,
            currency=line.currency,
            quantity=line.quantity,
            unit=line.unit[:255],
            commitment=line.commitment[:255],
            commitment_status=line.commitment_status[:255],
            tags=dict(line.tags),
        )


def still_stands(held: Import, options: ImportOptions) -> bool:
    """Whether an import of the same bytes brought what is asked for now; one of usage always did.

    The same bill with the rows of other services is another thing; and `--replace` lets a file win again whose lines a
    later one has replaced.
    """
    if held.kind != "costs":
        return True
    if bool((held.options or {}).get("all_rows")) != options.all_rows:
        return False
    return not options.replace or CostReportLine.objects.filter(latest_import=held).exists()


def cost_source(fmt: CostFormat, name: str, file_name: str) -> UsageSource:
    """The source of that name, or a new one, not saved. Raises ImportRefused where it holds usage."""
    wanted = name or fmt.source
    source = UsageSource.objects.filter(name=wanted).first()
    if source is None:
        return UsageSource(name=wanted, grain=UsageSource.Grain.COST, channel=fmt.channel)
    if source.grain != UsageSource.Grain.COST:
        raise ImportRefused.because(
            file_name,
            f"source {wanted!r} holds usage, this file holds costs",
            "Give cost reports and bills sources of their own",
        )
    return source


def held_lines(source: UsageSource, covers: Covers) -> QuerySet[CostReportLine]:
    """Lines of the source about the days or billing months that a file states in full."""
    about = _within_days(covers.days)
    for month, organisation in covers.months:
        about |= Q(billing_month=month, organisation=organisation)
    return CostReportLine.objects.filter(about, source=source)


def stated_period(report: CostReport) -> tuple[datetime | None, datetime | None]:
    """The time a file speaks for: its days; of a bill that of its usage, as a commitment may run for a year."""
    if report.covers.days:
        return day_start(report.covers.days[0]), day_start(report.covers.days[-1]) + timedelta(days=1)
    about = [line for line in report.lines if line.category == "usage" and not line.is_correction] or report.lines
    return min((one.period.start for one in about), default=None), max((one.period.end for one in about), default=None)


def same_amount(one: Decimal, other: Decimal) -> bool:
    """Two statements of one amount: within a cent, or a millionth of it."""
    return abs(one - other) <= max(SAME_USD, abs(other) * SAME_SHARE)


def moved(line: CostLine, offset: int) -> CostLine:
    """The line with its position counted through all parts of a delivery."""
    if not offset:
        return line
    values = {name: getattr(line, name) for name in CostLine.__dataclass_fields__}
    return CostLine(**{**values, "position": line.position + offset})


def model_findings(lines: Sequence[CostLine]) -> list[str]:
    """Models nobody has placed, with what they cost: kept, and compared with usage under the name they have."""
    known = set(ModelRelease.objects.values_list("canonical_id", flat=True))
    amounts: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
    for line in lines:
        if line.model and line.model not in known and line.model not in UNTOLD | {NOT_APPLICABLE}:
            amounts[line.model, line.currency].append(line.amount)
    sums = sorted(((sum_usd(found), *key) for key, found in amounts.items()), key=lambda item: (-item[0], item[1]))
    found = [
        f"Unknown model {model} ({total:.2f} {currency}): add it, or an alias to a known model, on the Prices page."
        for total, model, currency in sums[:_MODELS_NAMED]
    ]
    if len(sums) > _MODELS_NAMED:
        found.append(f"… and {len(sums) - _MODELS_NAMED:,} more unknown models.")
    return found


def closed_findings(lines: Sequence[CostLine]) -> list[str]:
    """Months that are settled already: their figures stay, what differs now is booked as an adjustment."""
    months = {line.billing_month for line in lines}
    closed = BillingPeriod.objects.filter(month__in=months, state=BillingPeriod.State.CLOSED).order_by("month")
    return [
        f"{month:%B %Y} is closed and stays as it was settled; what differs now appears as an adjustment of it."
        for month in closed.values_list("month", flat=True)
    ]


def _within_days(days: Sequence[date] | set[date]) -> Q:
    """Lines that begin on some UTC days; neighbouring days are one range, so a year is one condition."""
    about, wanted, one = Q(pk__in=[]), set(days), timedelta(days=1)
    for day in sorted(day for day in wanted if day - one not in wanted):
        last = day
        while last + one in wanted:
            last += one
        about |= Q(period_start__gte=day_start(day), period_start__lt=day_start(last + one))
    return about
