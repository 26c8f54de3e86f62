"""Files that are imported together: the parts of one bill in a directory, and what does not belong there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from billing.importers.base import PROBLEMS_SHOWN, ImportRefused, Problem
from billing.importers.cost_base import CostFormat
from billing.importers.cost_formats import identify_costs
from billing.importers.formats import identify_any

_TAKE_OUT: Final = "A directory is one delivery of a bill: take the file out, and import it by itself if it is wanted"


def parts_of(path: Path) -> list[Path]:
    """A file, or the files of a directory that hold one delivery, by name."""
    if not path.is_dir():
        return [path]
    return sorted(item for item in path.rglob("*") if item.is_file() and not item.name.startswith("."))


def deliveries(path: Path) -> list[Path]:
    """What to import one by one: a directory with parts of a bill as a whole, one of reports file by file.

    What is neither is refused by its import, under its own name.
    """
    parts = parts_of(path)
    if not path.is_dir() or not parts:
        return [path]
    formats = [cost_format_of(part, part.name) for part in parts]
    return [path] if any(not isinstance(fmt, ImportRefused) and fmt.is_bill for fmt in formats) else parts


def cost_format_of(part: Path, name: str) -> CostFormat | ImportRefused:
    """The cost format of a part of a delivery, or why it has none."""
    try:
        return identify_costs(part, file_name=name)[0]
    except ImportRefused:
        pass
    try:
        found = identify_any(part, file_name=name)
    except ImportRefused as refusal:
        return refusal
    return ImportRefused.because(name, f"this holds usage, not costs: {found.title}", _TAKE_OUT)


def format_of_delivery(parts: Sequence[Path], name: str, format_name: str) -> CostFormat:
    """The one format of a file or of all parts of a delivery. Raises ImportRefused that names each part amiss."""
    if len(parts) == 1 or format_name:
        return identify_costs(parts[0], file_name=name, format_name=format_name)[0]
    found = [cost_format_of(part, f"{name}/{part.name}") for part in parts]
    formats = sorted((one for one in found if not isinstance(one, ImportRefused)), key=lambda one: not one.is_bill)
    fmt = formats[0] if formats else None
    problems = []
    for part, one in zip(parts, found, strict=True):
        if isinstance(one, ImportRefused):
            problems.append(Problem(None, part.name, "", one.problems[0].message, _TAKE_OUT))
        elif fmt is not None and one is not fmt:
            problems.append(Problem(None, part.name, "", f"{one.name}, not {fmt.name} like others here", _TAKE_OUT))
    if problems or fmt is None:
        raise ImportRefused(name, problems[:PROBLEMS_SHOWN], len(problems))
    return fmt
