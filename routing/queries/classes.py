"""The register of classes as importers need it: slugs, and which bucketed usage belongs to which class."""

from dataclasses import dataclass
from datetime import date

from routing.models import ClassMapping, RequestClass


@dataclass(frozen=True, slots=True)
class MappedClass:
    """From a day on, usage of a channel, workspace and API key ('' = any) belongs to a class."""

    request_class: str
    channel: str
    workspace: str
    api_key: str
    valid_from: date | None
    valid_to: date | None

    def covers(self, channel: str, workspace: str, api_key: str, day: date) -> bool:
        return (
            self.channel in ("", channel)
            and self.workspace in ("", workspace)
            and self.api_key in ("", api_key)
            and (self.valid_from is None or self.valid_from <= day)
            and (self.valid_to is None or day < self.valid_to)
        )


def class_slugs() -> frozenset[str]:
    return frozenset(RequestClass.objects.values_list("slug", flat=True))


def class_mappings() -> list[MappedClass]:
    """Most specific first (API key, then workspace, then channel); of equal ones the later start first."""
    rows = [
        MappedClass(*values)
        for values in ClassMapping.objects.values_list(
            "request_class__slug", "channel", "workspace", "api_key", "valid_from", "valid_to"
        )
    ]
    return sorted(
        rows,
        key=lambda row: (row.api_key != "", row.workspace != "", row.channel != "", row.valid_from or date.min),
        reverse=True,
    )
