"""Reading cost files in tests, and their lines as plain values."""

from dataclasses import MISSING, fields
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from billing.core.models import canonical_model
from billing.core.periods import Period
from billing.importers.cost_base import CostLine, CostReport
from billing.importers.cost_formats import identify_costs

SAMPLES = Path(__file__).parent / "samples"


def canonical(raw: str) -> str:
    return canonical_model(raw, {}).model


def read(path: Path, **options: Any) -> CostReport:
    fmt, _ = identify_costs(path, file_name=path.name)
    return fmt.read(path, file_name=path.name, canonical=canonical, **options)


def sample(name: str, **options: Any) -> CostReport:
    return read(SAMPLES / name, **options)


def plain(value: Any) -> Any:
    """As JSON holds it; amounts exactly, without meaningless zeros."""
    match value:
        case Decimal():
            return f"{value.normalize():f}" if value else "0"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case Period():
            return [plain(value.start), plain(value.end)]
        case tuple() | list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(item) for key, item in value.items()}
    return value


def plain_line(line: CostLine) -> dict[str, Any]:
    """What a line says beyond the defaults."""
    told = {}
    for each in fields(CostLine):
        value = getattr(line, each.name)
        default = each.default if each.default is not MISSING else ({} if each.name == "tags" else MISSING)
        if value != default:
            told[each.name] = plain(value)
    return told


def plain_report(report: CostReport) -> dict[str, Any]:
    return {
        "lines": [plain_line(line) for line in report.lines],
        "days": plain(report.covers.days),
        "months": plain(report.covers.months),
        "group_by": list(report.group_by),
        "findings": list(report.findings),
        "problems": [str(problem) for problem in report.problems],
        "skipped": report.skipped,
    }
