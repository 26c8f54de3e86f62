"""The form of a class: its facts and its bar as people write them, per cent and points for shares."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms

from billing.queries.prices import routable_models
from billing.queries.series import model_names
from routing.core.bars import Bar, bar_changes
from routing.core.evalues import MIN_CASES
from routing.models import SLUG, RequestClass
from routing.operations.bars import ClassRefused, changed_bar
from routing.queries.bars import bar_of

HUNDRED = Decimal(100)
_REUSE_SHARES = ("prefix_share", "hit_share_5m", "hit_share_1h")
_STANDARDS = (
    ("absolute", "At or above the line"),
    ("not_worse", "Not worse than the model that serves"),
    ("both", "Both: above the line, and not worse"),
)
_BAR_SHARES = ("bar", "tolerance", "alpha", "margin")


def _share_field(label: str, help_text: str = "", *, required: bool = False, most: str = "100") -> forms.DecimalField:
    """Per cent on the page, a share behind it."""
    return forms.DecimalField(
        label=label, help_text=help_text, required=required, min_value=Decimal(0), max_value=Decimal(most),
        max_digits=7, decimal_places=4,
    )  # fmt: skip


def _usd_field(label: str, help_text: str = "") -> forms.DecimalField:
    return forms.DecimalField(
        label=label, help_text=help_text, required=False, min_value=Decimal(0), max_digits=18, decimal_places=9
    )


@dataclass(frozen=True, slots=True)
class Group:
    """Fields people think of together. `folded`: what a closed group says, '' = it is open."""

    head: str
    sub: str
    fields: tuple[forms.BoundField, ...]
    folded: str = ""
    is_open: bool = True


class ClassForm(forms.Form):
    """Facts of a class as people write them."""

    slug = forms.CharField(
        label="Id", max_length=64, validators=[SLUG],
        help_text="Used in policies, logs and eval files. It stays: lower-case letters, digits, '_', '.', '-'.",
    )  # fmt: skip
    title = forms.CharField(
        label="Title", max_length=120, help_text="Shown on every page, e.g. Support reply drafting."
    )
    quality_owner = forms.CharField(label="Quality owner", max_length=120, required=False)
    spend_owner = forms.CharField(label="Spend owner", max_length=120, required=False)
    metric = forms.ChoiceField(
        label="Measured by", choices=RequestClass.Metric.choices,
        help_text="Mean score takes the grade of a case where its file has one, else its pass or fail.",
    )  # fmt: skip
    bar = _share_field(
        "Quality bar, % of cases", "How many of a hundred cases should pass. Below 100: no sample can show that.",
        required=True, most="99.9999",
    )  # fmt: skip
    tolerance = _share_field(
        "Tolerance, points", "Line = bar − tolerance: what a model must be shown to reach.", required=True
    )
    alpha = _share_field(
        "Chance of a wrong verdict, %", "Shared by the models that compete. 5 is usual.", required=True, most="50"
    )
    standard = forms.ChoiceField(
        label="What a model must be shown to be", choices=_STANDARDS,
        help_text="A comparison is made case by case, so both models must have run the same cases.",
    )  # fmt: skip
    margin = _share_field(
        "May be worse by, points", "For a comparison: smaller than this is not worse. 3 is usual.", most="99.9999"
    )
    min_cases = forms.IntegerField(
        label="Least cases before it clears", min_value=MIN_CASES, max_value=1_000_000,
        help_text=f"At least {MIN_CASES}: before that no rate says much.",
    )  # fmt: skip
    max_age_days = forms.IntegerField(
        label="Evidence is stale after, days", min_value=1, max_value=3650, help_text="No new move may start on it."
    )
    suites = forms.CharField(
        label="Suites that count", required=False, max_length=4_000, widget=forms.Textarea(attrs={"rows": 2}),
        help_text="One a line; * stands for any text, name@2 for one version. Empty = every suite of the class.",
    )  # fmt: skip
    plan_candidates = forms.MultipleChoiceField(
        label="Models in the evaluation plan", required=False, widget=forms.CheckboxSelectMultiple,
        help_text="None chosen = every model that ever had a case. Fewer models need fewer cases each.",
    )  # fmt: skip
    reason = forms.CharField(
        label="Why the bar changes (optional unless it does)", required=False, max_length=500,
        widget=forms.Textarea(attrs={"rows": 2}), help_text="Needed when the bar changes; kept with its version.",
    )  # fmt: skip
    bar_version = forms.IntegerField(required=False, widget=forms.HiddenInput)
    latency = forms.ChoiceField(label="Latency", choices=RequestClass.Latency.choices)
    batchable_share = _share_field("Share that can wait for batch, %", "Empty = all if it can wait, else none.")
    keeps_own_caching = forms.BooleanField(
        label="The client caches by itself, also when nothing is routed", required=False
    )
    prefix_share = _share_field("Repeated start of the prompt, % of input", "Where caching is not measured yet.")
    prefix_tok = forms.DecimalField(
        label="… or in tokens per request", required=False, min_value=Decimal(0), max_digits=12, decimal_places=2
    )
    hit_share_5m = _share_field("Found again within 5 minutes, %")
    hit_share_1h = _share_field("Found again within 1 hour, %")
    reuse_source = forms.CharField(
        label="Where these reuse figures come from", max_length=200, required=False,
        help_text="They are shown as assumed, with this source.",
    )  # fmt: skip
    is_protected = forms.BooleanField(label="Protected: no move is recommended", required=False)
    required_geo = forms.CharField(
        label="Requests must stay in", max_length=32, required=False,
        help_text="An inference geo as prices name it, e.g. us. Empty = anywhere.",
    )  # fmt: skip
    failure_usd = _usd_field("What a failed answer costs, USD", "Added to a model's cost for the cases it fails.")
    allowed_models = forms.MultipleChoiceField(
        label="Models that may serve it", required=False, widget=forms.CheckboxSelectMultiple,
        help_text="None chosen = every model the organisation allows.",
    )  # fmt: skip
    note = forms.CharField(
        label="Note", required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="Shown wherever the class is."
    )

    def __init__(self, *args: Any, on: date, registered: RequestClass | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.registered = registered
        held = {name: getattr(registered, name) if registered else [] for name in ("plan_candidates", "allowed_models")}
        names = {model: named.name for model, named in model_names().items()}
        for field, own in held.items():
            known = sorted({*routable_models(on=on), *own}, key=lambda model: names.get(model, model))
            self.fields[field].choices = [(model, names.get(model, model)) for model in known]  # type: ignore[attr-defined]
        if registered is not None:
            del self.fields["slug"]
        else:
            del self.fields["reason"]

    def clean_slug(self) -> str:
        slug: str = self.cleaned_data["slug"]
        if slug == "new":
            raise forms.ValidationError("new is the address of this page: choose another id.")
        if RequestClass.objects.filter(slug=slug).exists():
            raise forms.ValidationError(f"{slug} is registered already: edit it, or choose another id.")
        return slug

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        bar, tolerance = values.get("bar"), values.get("tolerance")
        if bar is not None and bar <= 0:
            self.add_error("bar", "A bar of 0 asks nothing: give the share of cases that should pass.")
        elif bar is not None and tolerance is not None and tolerance >= bar:
            self.add_error(
                "tolerance", f"{tolerance.normalize():f} points leave no line above 0: keep it below the bar."
            )
        if values.get("alpha") == 0:
            self.add_error("alpha", "No number of cases can show anything at 0: give a chance above it.")
        if values.get("margin") == 0:
            self.add_error("margin", "Nothing can be shown to be no worse at all: give points above 0.")
        elif values.get("standard") not in (None, "absolute") and values.get("margin") is None:
            self.add_error("margin", "A comparison needs a margin: by how many points a model may be worse.")
        if values.get("prefix_share") is not None and values.get("prefix_tok") is not None:
            self.add_error("prefix_tok", "Give the repeated start as a share or in tokens, not both.")
        self._need_reason(values)
        return values

    def _need_reason(self, values: dict[str, Any]) -> None:
        if self.registered is None or values.get("reason") or self.errors:
            return
        held = bar_of(self.registered)
        try:
            changed = bar_changes(held, self.asked_bar(held))
        except ClassRefused as error:
            self.add_error(None, str(error))
            return
        if changed:
            words = "; ".join(change.text for change in changed)
            self.add_error("reason", f"Say why the bar changes ({words}).")

    def asked_bar(self, held: Bar | None = None) -> Bar:
        """The bar in the fields, given or still as shown. Raises ClassRefused for one that cannot be set."""
        values = self.cleaned_data if self.is_bound else self.initial
        facts: dict[str, Any] = {name: _share(values.get(name)) for name in _BAR_SHARES}
        facts |= {name: values.get(name) for name in ("min_cases", "max_age_days", "metric", "standard")}
        facts["plan"] = list(values.get("plan_candidates") or [])
        facts["suites"] = self._suites(values)
        slug = self.registered.slug if self.registered is not None else "new"
        return changed_bar(held or Bar(plan=tuple(facts["plan"])), facts, slug=slug)

    def facts(self) -> dict[str, Any]:
        """What save_class takes: shares in 0..1, and the reuse facts merged into those already there."""
        values = dict(self.cleaned_data)
        for name in ("slug", "reason", "bar_version"):
            values.pop(name, None)
        for name in (*_BAR_SHARES, "batchable_share"):
            values[name] = _share(values[name])
        values["suites"] = self._suites(values)
        reuse = dict(self.registered.reuse) if self.registered is not None else {}
        given = {name: _plain_share(values.pop(name)) for name in _REUSE_SHARES}
        given |= {"prefix_tok": _plain(values.pop("prefix_tok")), "source": values.pop("reuse_source") or None}
        reuse = {**reuse, **given}
        values["reuse"] = {name: value for name, value in reuse.items() if value is not None}
        return values

    @staticmethod
    def _suites(values: Mapping[str, Any]) -> list[str]:
        return [line.strip() for line in (values.get("suites") or "").splitlines() if line.strip()]

    @property
    def groups(self) -> list[Group]:
        """Fields in the order people think of them."""
        quality = ("bar", "tolerance", "metric", "alpha", "standard", "margin", "min_cases", "max_age_days", "suites")
        return [
            self._group("The class", "", ("slug", "title", "quality_owner", "spend_owner")),
            self._group("Quality", "What a model must be shown to reach", (*quality, "reason")),
            self._group("Evaluation plan", "Which models compete", ("plan_candidates",),
                        folded=self._counted("plan_candidates", "every model that ever had a case")),
            self._group("Caching and batch", "What may be cached, and what can wait",
                        ("latency", "batchable_share", "keeps_own_caching", "prefix_share", "prefix_tok",
                         "hit_share_5m", "hit_share_1h", "reuse_source")),
            self._group("What may serve it", "",
                        ("is_protected", "required_geo", "failure_usd", "allowed_models"),
                        folded=self._limits_said()),
            self._group("Note", "", ("note",)),
        ]  # fmt: skip

    def _group(self, head: str, sub: str, names: tuple[str, ...], *, folded: str = "") -> Group:
        fields = tuple(self[name] for name in names if name in self.fields)
        return Group(head, sub, fields, folded, not folded or any(field.errors for field in fields))

    def _counted(self, name: str, none: str) -> str:
        chosen = self[name].value() or []
        return f"{len(chosen)} model{'' if len(chosen) == 1 else 's'} chosen" if chosen else none

    def _limits_said(self) -> str:
        said = ["protected"] if self["is_protected"].value() else []
        said += [f"in {geo}"] if (geo := self["required_geo"].value()) else []
        return ", ".join([*said, self._counted("allowed_models", "every model the organisation allows")])


def initial_of(row: RequestClass | None) -> dict[str, Any]:
    """What the fields hold before anybody types: the class as saved, or the usual bar."""
    if row is None:
        return {"bar": 95, "tolerance": 2, "alpha": 5, "max_age_days": 90, "min_cases": MIN_CASES,
                "metric": "pass_rate", "standard": "absolute"}  # fmt: skip
    names = (
        *("title", "quality_owner", "spend_owner", "max_age_days", "latency", "keeps_own_caching", "note"),
        *("metric", "standard", "min_cases", "bar_version", "is_protected", "required_geo", "plan_candidates"),
        *("allowed_models",),
    )
    return {
        **{name: getattr(row, name) for name in names},
        **{name: _percent(getattr(row, name)) for name in (*_BAR_SHARES, "batchable_share")},
        **{name: _percent(row.reuse.get(name)) for name in _REUSE_SHARES},
        "suites": "\n".join(row.suites),
        "prefix_tok": None if row.reuse.get("prefix_tok") is None else _trimmed(Decimal(str(row.reuse["prefix_tok"]))),
        "reuse_source": row.reuse.get("source", ""),
        "failure_usd": None if row.failure_usd is None else Decimal(f"{row.failure_usd.normalize():f}"),
    }


def _share(percent: Any) -> Decimal | None:
    return None if percent is None else Decimal(percent) / HUNDRED


def _plain_share(percent: Decimal | None) -> float | None:
    return None if percent is None else float(percent / HUNDRED)


def _plain(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _percent(share: Any) -> Decimal | None:
    return None if share is None else _trimmed(Decimal(str(share)) * HUNDRED)


def _trimmed(value: Decimal) -> Decimal:
    """Without trailing zeros and never as 1E+2: what people would type."""
    return Decimal(f"{value.quantize(Decimal('0.0001')).normalize():f}")
