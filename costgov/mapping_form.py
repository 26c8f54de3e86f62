"""The form that says what the columns of a table are: a select per column, and what holds for all rows."""

from collections.abc import Sequence
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms

from billing.core.column_mapping import (
    CHANNELS,
    FIELDS,
    GRAINS,
    MAX_NAME,
    SCHEMA,
    SERVICE_TIERS,
    ColumnMapping,
    parse_mapping,
)
from billing.core.column_times import TIME_FORMATS
from billing.core.words import channel_name

OWN_ZONE = "own"
_GROUPS = (
    ("When and what", ("time", "request_id", "model", "workspace", "api_key", "class")),
    (
        "Tokens",
        (
            "input_uncached",
            "input_with_cache",
            "cache_read",
            "cache_write_5m",
            "cache_write_1h",
            "cache_write",
            "output",
        ),
    ),
    (
        "Also",
        ("requests", "web_searches", "service_tier", "geo", "speed", "latency_ms", "latency_s", "cost_stated"),
    ),
)


@cache
def _zones() -> list[tuple[str, str]]:
    named = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("Etc/", "posix/")))
    return [(OWN_ZONE, "Every time names its own"), ("UTC", "UTC"), *((name, name.replace("_", " ")) for name in named)]


def _begun(words: str) -> str:
    return words[:1].upper() + words[1:]


def _field_choices() -> list[Any]:
    groups = [(title, [(name, _begun(FIELDS[name])) for name in names]) for title, names in _GROUPS]
    return [("", "Ignore"), *groups]


class MappingForm(forms.Form):
    """One select per column (`c0`, `c1`, …), in the header's order; columns that may hold prompts have none."""

    name = forms.CharField(max_length=MAX_NAME, label="Name of this kind of table")
    source = forms.CharField(
        max_length=MAX_NAME, required=False, label="Source", help_text="Where its rows come from; the next file's too."
    )
    grain = forms.ChoiceField(choices=[(name, _begun(words)) for name, words in GRAINS.items()], label="One row is")
    time_format = forms.ChoiceField(choices=list(TIME_FORMATS.items()), label="Times look like")
    zone = forms.ChoiceField(choices=_zones, label="Time zone", help_text="Of times that do not name their own.")
    channel = forms.ChoiceField(choices=[(name, channel_name(name)) for name in CHANNELS], label="Bought through")
    model = forms.CharField(
        max_length=255, required=False, label="Model of all rows", help_text="Only where no column names it."
    )
    service_tier = forms.ChoiceField(
        choices=[("", "As the column says, or unknown"), *((name, name.capitalize()) for name in SERVICE_TIERS)],
        required=False,
        label="Service tier of all rows",
    )
    names_provider_keys = forms.BooleanField(
        required=False, label="Workspace and API key are named as the provider names them"
    )
    empty_is_zero = forms.BooleanField(required=False, label="An empty count of input or output tokens means 0")
    seen = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)
    """Version of the mapping kept for these columns when the page was made: it may have been changed since."""

    def __init__(
        self,
        data: Any = None,
        *,
        header: Sequence[str],
        masked: frozenset[str] = frozenset(),
        mapping: ColumnMapping,
        version: str = "",
    ) -> None:
        self.header, self.masked, self.delimiter = tuple(header), masked, mapping.delimiter
        initial: dict[str, Any] = {
            "name": mapping.name,
            "source": mapping.source,
            "grain": mapping.grain,
            "time_format": mapping.time_format,
            "zone": mapping.zone or OWN_ZONE,
            "channel": mapping.channel,
            "model": mapping.constants.get("model", ""),
            "service_tier": mapping.constants.get("service_tier", ""),
            "names_provider_keys": mapping.names_provider_keys,
            "empty_is_zero": mapping.empty_is_zero,
            "seen": version,
        }
        initial |= {f"c{i}": mapping.columns.get(column, "") for i, column in enumerate(self.header)}
        super().__init__(data, initial=initial, auto_id="map_%s")
        for i, column in enumerate(self.header):
            if column not in masked:
                self.fields[f"c{i}"] = forms.ChoiceField(
                    choices=_field_choices(),
                    required=False,
                    label=column,
                    widget=forms.Select(attrs={"aria-label": f"What {column} holds"}),
                )

    @property
    def settings(self) -> list[forms.BoundField]:
        """The questions about the whole table, without the two ticks."""
        names = ("grain", "time_format", "zone", "channel", "model", "service_tier", "name", "source")
        return [self[name] for name in names]

    @property
    def ticks(self) -> list[forms.BoundField]:
        return [self["empty_is_zero"], self["names_provider_keys"]]

    def control_of(self, index: int) -> forms.BoundField | None:
        """The select of a column, None for a masked one."""
        return self[f"c{index}"] if f"c{index}" in self.fields else None

    def mapping(self) -> ColumnMapping:
        """What was said, checked. Raises MappingError."""
        said = self.cleaned_data
        columns = {column: said.get(f"c{i}", "") for i, column in enumerate(self.header)}
        return parse_mapping(
            {
                "schema": SCHEMA,
                "name": said["name"],
                "source": said["source"],
                "header": list(self.header),
                "delimiter": self.delimiter,
                "grain": said["grain"],
                "columns": {column: field for column, field in columns.items() if field},
                "time_format": said["time_format"],
                "zone": "" if said["zone"] == OWN_ZONE else said["zone"],
                "constants": {
                    key: said[key].strip() for key in ("channel", "model", "service_tier") if said[key].strip()
                },
                "empty_is_zero": said["empty_is_zero"],
                "names_provider_keys": said["names_provider_keys"],
            }
        )
