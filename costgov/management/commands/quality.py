"""manage.py quality: what the evals show, per class and model."""

import sys
from argparse import ArgumentParser
from datetime import UTC, date, datetime
from typing import Any

from django.core.management.base import BaseCommand

from billing.core.words import percent, percent_as_set
from costgov.jsonout import dumps
from costgov.pages import looked_back_to, now
from costgov.queries.class_page import UnknownClass
from costgov.queries.evals import Judged, JudgedClass, Quality, Together, quality
from routing.core.bars import METRIC_WORDS
from routing.core.monitor import passed_text


class Command(BaseCommand):
    help = "Verdict of every model against the quality bar of every class."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--class", dest="slug", help="one class only")
        parser.add_argument(
            "--as-of", type=date.fromisoformat, help="as it stood at the start of this UTC day (default: now)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON document on standard output")

    def handle(self, *args: Any, **options: Any) -> None:
        day = options["as_of"]
        try:
            as_of = looked_back_to(datetime(day.year, day.month, day.day, tzinfo=UTC)) if day else now()
        except ValueError as error:
            self.stderr.write(str(error))
            sys.exit(2)
        try:
            found = quality(as_of=as_of, slug=options["slug"])
        except UnknownClass as error:
            self.stderr.write(str(error))
            sys.exit(2)
        self.stdout.write(dumps(found, indent=True).decode() if options["json"] else _table(found))


def _table(found: Quality) -> str:
    if not found.classes:
        return "No class is registered: register one on the Classes page, or import evals with --create-classes."
    methods = sorted({judged.method for row in found.classes for judged in row.models})
    lines = [
        f"As of {found.as_of:%d %b %Y, %H:%M} UTC, by the bar in force then. * serves the class then.",
        f"Method: {'; '.join(methods) or 'none used, as no model has a case'}. Interval valid at every look.",
        f"{'class':<22} {'model':<22} {'rate':>7} {'interval':>15} {'n':>6} {'left out':>8} {'repeats':>7}  verdict",
    ]
    for row in found.classes:
        lines += ["", _head(row), *(line for judged in row.models for line in _lines(row.slug, judged))]
        lines += _live(row)
        if not row.models:
            lines.append(f"{row.slug:<22} no model has a case")
    if found.together is not None:
        lines += ["", *_together(found.together)]
    return "\n".join(lines)


def _together(found: Together) -> list[str]:
    """All verdicts at once: '12 of the 13 clears shown hold together at 5% false'."""
    if not found.clears:
        return ["Together: no verdict clears."]
    lines = [
        f"Together: of the {found.clears:,} clears shown, {found.holding:,} hold together at "
        f"{percent_as_set(found.alpha)} false (e-BH over {found.verdicts:,} verdicts)."
    ]
    lines += [f"  each for itself only: {pair.slug} on {pair.model}" for pair in found.apart]
    if found.references:
        lines.append(f"  not counted: {found.references:,} clear as what the others of their class are compared with")
    return lines


def _head(row: JudgedClass) -> str:
    """What the class asks: '== triage: 93% (bar 95%, tolerance 2 points), pass rate, bar version 3'."""
    said = [row.line_text, METRIC_WORDS[row.metric]]  # type: ignore[index]  # one of METRICS
    said.append(f"at least {row.min_cases:,} cases not older than {row.max_age_days:,} days")
    said.append(f"{percent_as_set(row.alpha)} chance of a wrong verdict")
    if row.suites:
        said.append(f"suites {', '.join(row.suites)}")
    return f"== {row.slug}: {'; '.join(said)}; bar version {row.bar_version}"


def _lines(slug: str, judged: Judged) -> list[str]:
    rate = percent(judged.pass_rate) if judged.pass_rate is not None else "–"
    low = percent(judged.lower).removesuffix("%") if judged.lower is not None else "–"
    interval = f"{low} … {percent(judged.upper)}" if judged.cases else "–"
    model = judged.model + (" *" if judged.serves else "")
    lines = [
        f"{slug:<22} {model:<22} {rate:>7} {interval:>15} {judged.cases:>6,} {judged.left_out:>8,} "
        f"{judged.repeated_cases:>7,}  {judged.text}"
    ]
    if judged.alarm is not None:
        lines.append(f"{'':<45} below the bar by its live samples: {judged.alarm.text}")
    if judged.paired is not None:
        lines.append(f"{'':<45} {judged.paired.text}")
    lines += [f"{'':<45} {'stale' if reason.blocks else 'note'}: {reason.text}" for reason in judged.stale_reasons]
    return lines


def _live(row: JudgedClass) -> list[str]:
    """Live samples of the class, the newest month: 'live 2026-11 claude-haiku-4-5 61 of 80 passed (76.3%), …'."""
    if row.monitor is None:
        return []
    if row.monitor.no_line:
        return [f"{row.slug:<22} live samples: {row.monitor.no_line}"]
    if not row.monitor.months:
        return [f"{row.slug:<22} live samples: none in the last six months"]
    month = row.monitor.months[-1]
    lines = []
    for each in month.stretches:
        said = f"alarm on {each.alarm.at:%d %b %Y}" if each.alarm is not None else "no alarm"
        lines.append(
            f"{row.slug:<22} live {month.key} {each.model}: {passed_text(each.passes, each.samples)}, "
            f"line {percent_as_set(each.line)}; {said} (at most {max(each.highest, 0.0):.2f} of {each.needed:.2f})"
        )
    others = month.left_out + month.repeats + month.others + month.without_line
    return lines + ([f"{row.slug:<22} live {month.key}: {others:,} not held against the line"] if others else [])
