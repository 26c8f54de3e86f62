"""What dimensions of spend and their values are called for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from billing.core.words import CHANNELS, UNCLASSIFIED
from billing.models import CostCentre
from billing.queries.series import ModelName, model_names
from costgov.price_forms import BAND_LABELS, KIND_LABELS
from routing.models import RequestClass

NAMES: Final[Mapping[str, str]] = {
    "class": "Class",
    "model": "Model",
    "tier": "Model tier",
    "workspace": "Workspace",
    "team": "Team",
    "cost_centre": "Cost centre",
    "api_key": "API key",
    "token_kind": "Token type",
    "service_tier": "Service tier",
    "channel": "Channel",
    "month": "Month",
    "week": "Week",
    "day": "Day",
    "geo": "Inference geo",
    "prompt_length_band": "Prompt length",
    "speed": "Speed",
    "source": "Source",
    "origin": "Counted from",
    "organisation": "Organisation",
    "policy_version": "Policy version",
    "arm": "Arm",
}
NOTHING: Final[Mapping[str, str]] = {
    "class": UNCLASSIFIED,
    "cost_centre": "Unallocated",
    "team": "No team",
    "workspace": "Workspace not named",
    "api_key": "Key not named",
    "model": "Model not named",
}
_ORIGINS: Final = {"log": "Request logs", "report": "Usage report", "remainder": "Report, not in the logs"}
_SAID: Final = {
    "(not grouped)": "Not told apart by the source",
    "(default)": "Default workspace",
    "(none)": "Not applicable",
    "not_available": "Not available",
}


@dataclass(frozen=True)
class Words:
    """The titles in use now: read once for a page."""

    classes: Mapping[str, str]
    models: Mapping[str, ModelName]
    centres: Mapping[str, str]

    def of(self, dimension: str, value: str) -> str:
        """A value in words: a class by its title, a model by its name, nothing by what is missing."""
        if value == "" or (dimension == "policy_version" and value == "0"):
            return NOTHING.get(dimension, "No policy" if dimension == "policy_version" else "Not named")
        if dimension == "class":
            return self.classes.get(value, value)
        if dimension == "model":
            return self.models[value].name if value in self.models else value
        if dimension == "cost_centre":
            name = self.centres.get(value, "")
            return f"{value} {name}" if name and name != value else value
        if dimension == "month":
            return f"{date.fromisoformat(f'{value}-01'):%b %Y}"
        if dimension == "day":
            day = date.fromisoformat(value)
            return f"{day.day} {day:%b %Y}"
        if dimension == "week":
            first = date.fromisocalendar(int(value[:4]), int(value[-2:]), 1)
            return f"Week of {first.day} {first:%b %Y}"
        labels: dict[str, Mapping[str, str]] = {
            "token_kind": {str(kind): label for kind, label in KIND_LABELS.items()},
            "prompt_length_band": BAND_LABELS,
            "origin": _ORIGINS,
            "channel": CHANNELS,
        }
        if dimension == "tier":
            return value.capitalize()
        return labels.get(dimension, {}).get(value) or _SAID.get(value, value)

    def tier(self, dimension: str, value: str) -> str:
        """The tier to mark a value with; '' = no mark."""
        if dimension == "tier":
            return value
        return self.models[value].tier if dimension == "model" and value in self.models else ""


def words() -> Words:
    return Words(
        dict(RequestClass.objects.values_list("slug", "title")),
        model_names(),
        dict(CostCentre.objects.values_list("code", "name")),
    )
