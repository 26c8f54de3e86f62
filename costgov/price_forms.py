"""Forms of the Prices page: they read and explain input; operations decide."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django import forms

from billing.core.pricebook import BANDS_TOK
from billing.core.usage import PRICED_KINDS, UNTOLD, PricedKind
from billing.models import ModelRelease
from billing.operations.price_changes import GEOS, SERVICE_TIERS, SPEEDS, NewPrices

KIND_LABELS: Final[Mapping[PricedKind, str]] = {
    "uncached_input": "Input",
    "cache_read": "Cache read",
    "cache_write_5m": "Cache write, 5 minutes",
    "cache_write_1h": "Cache write, 1 hour",
    "output": "Output",
    "web_search": "Web search",
}
BAND_LABELS: Final = {
    "all": "every length",
    "0-100k": "up to 100,000 tokens",
    "0-200k": "up to 200,000 tokens",
    "100k-200k": "100,001 to 200,000 tokens",
    "100k-1M": "above 100,000 tokens",
    "200k-1M": "above 200,000 tokens",
}
_DIMENSIONS: Final = {
    "service_tier": {name: name for name in SERVICE_TIERS},
    "prompt_length_band": {band: BAND_LABELS.get(band, band) for band in BANDS_TOK},
    "geo": {geo: {"global": "global", "us": "US inference"}.get(geo, geo) for geo in GEOS},
    "speed": {name: name for name in SPEEDS},
}
_NOT_SAID: Final = UNTOLD | {"not_available", "(none)"}
_DATE: Final = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class PriceForm(forms.Form):
    """Prices of one model from a day on. Addresses prefill it: ?model=&service_tier=&valid_from=…"""

    model = forms.CharField(max_length=128, label="Model", help_text="As the usage names it, e.g. claude-opus-4-5.")
    service_tier = forms.ChoiceField(label="Service tier")
    prompt_length_band = forms.ChoiceField(label="Prompt length", help_text="The whole prompt, cached or not.")
    geo = forms.ChoiceField(label="Inference geo")
    speed = forms.ChoiceField(label="Speed")
    valid_from = forms.DateField(
        required=False, label="Holds from", widget=_DATE,
        help_text="A UTC day. Empty only where nothing is held yet: from the model's release.",
    )  # fmt: skip
    valid_to = forms.DateField(
        required=False, label="Ends before", widget=_DATE, help_text="The first day it no longer holds; mostly empty."
    )
    source = forms.CharField(max_length=300, label="Source", help_text="Where it was seen: page, contract, quote.")
    checked_on = forms.DateField(label="Checked on", widget=_DATE, help_text="The day somebody looked at the source.")
    note = forms.CharField(required=False, max_length=500, label="Note", widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for kind, label in KIND_LABELS.items():
            self.fields[kind] = forms.DecimalField(
                required=False,
                min_value=Decimal(0),
                max_digits=18,
                decimal_places=9,
                label=label,
                localize=False,
                widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "class": "num"}),
            )
        for name, known in _DIMENSIONS.items():
            stated = str(self.data.get(name) or self.initial.get(name) or "")
            # What usage states and no list knows yet (a new geo, say) must be possible to price.
            extra = {stated: stated} if stated and stated not in known and len(stated) <= 32 else {}
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = list({**known, **extra}.items())

    @property
    def kind_fields(self) -> list[Any]:
        return [self[kind] for kind in KIND_LABELS]

    def new_prices(self) -> NewPrices:
        """The entry as a value; only for a valid form."""
        data = self.cleaned_data
        names = ("model", *_DIMENSIONS, "valid_from", "valid_to", "source", "checked_on", "note")
        return NewPrices(
            usd_per_unit={kind: data[kind] for kind in PRICED_KINDS if data[kind] is not None},
            **{name: data[name] for name in names},
        )

    def add_problems(self, problems: Mapping[str, str]) -> None:
        """Refusals of the operation at the field they belong to."""
        for name, text in problems.items():
            self.add_error(name if name in self.fields else None, text)


def prefilled(query: Mapping[str, str], *, checked_on: date) -> dict[str, Any]:
    """Initial values from an address. What usage leaves open is what the look-up takes it for."""
    usual = {"service_tier": "standard", "prompt_length_band": "all", "geo": "global", "speed": "standard"}
    found: dict[str, Any] = {
        name: query[name] for name in ("model", "valid_from", "valid_to", "source", "note") if query.get(name)
    }
    for name, value in usual.items():
        stated = query.get(name, "")
        found[name] = value if stated in _NOT_SAID else stated
    return {**found, "checked_on": checked_on}


class AliasForm(forms.Form):
    alias = forms.CharField(max_length=255, label="Name", help_text="As the usage spells it.")
    model = forms.ChoiceField(label="Means the model")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        rows = ModelRelease.objects.order_by("tier", "-canonical_id").values_list("canonical_id", "display_name")
        field = self.fields["model"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "Choose a model"), *((name, f"{title} ({name})") for name, title in rows)]


class PlaceForm(forms.Form):
    model = forms.CharField(max_length=128, widget=forms.HiddenInput)
    tier = forms.ChoiceField(choices=ModelRelease.Tier.choices, label="Model tier")
