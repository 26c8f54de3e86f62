"""Every format of usage and of costs together: one file, one format, so one upload box is enough."""

from pathlib import Path
from typing import Final, Literal

from billing.importers.base import read_head
from billing.importers.cost_base import CostFormat
from billing.importers.cost_formats import COST_FORMATS
from billing.importers.identify import claiming_format, named_format
from billing.importers.usage_formats import FORMATS as USAGE_FORMATS
from billing.importers.usage_formats import UsageFormat

ImportKind = Literal["usage", "costs"]
AnyFormat = UsageFormat | CostFormat
ALL_FORMATS: Final[tuple[AnyFormat, ...]] = (*USAGE_FORMATS, *COST_FORMATS)


def identify_any(path: Path, *, file_name: str, format_name: str = "") -> AnyFormat:
    """The one format that claims a file, or the one asked for. Raises ImportRefused when none or several do."""
    named = named_format(ALL_FORMATS, file_name=file_name, format_name=format_name)
    return named or claiming_format(ALL_FORMATS, read_head(path, file_name), file_name=file_name)


def kind_of_format(fmt: AnyFormat) -> ImportKind:
    return "costs" if any(fmt is item for item in COST_FORMATS) else "usage"
