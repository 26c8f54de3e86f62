"""Terms and sizings: an offer is kept once by its content, a sizing once per forecast and offer."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.scenarios import BASE, Scenario
from billing.core.sizing import BASELINE, OPTIMISED, Sizing, SpendPaths, size
from billing.core.sizing_record import Basis
from billing.core.terms import Terms, content_hash, parse_terms, terms_document
from billing.models import CommitmentSizing, CommitmentTerms, Forecast, ModelRelease
from billing.queries.forecasts import forecast_paths
from costgov.jsonout import plain
from costgov.operations.forecast import make_forecast
from costgov.queries.forecast_inputs import ForecastRefused
from costgov.queries.recommendation import NoBaseline

PATHS: Final = 10_000
TOO_SHORT: Final = "very short"  # the grade of methods.md §5.5 that may not carry a commitment
Progress = Callable[[str], None]
Named = tuple[tuple[str, str], ...]  # classes: name, title


class SizingRefused(ValueError):
    """A sizing that cannot be made; the message says why and what to do."""


@transaction.atomic
def save_terms(
    *, actor: AbstractBaseUser | None, terms: Terms, as_of: datetime, name: str = "", is_demo: bool = False
) -> CommitmentTerms:
    """Keep an offer. The same content again is the offer already kept, whatever its name: nothing changes.

    Raises Forbidden.
    """
    require(actor, Right.EDIT_TERMS)
    digest = content_hash(terms)
    row, is_new = CommitmentTerms.objects.get_or_create(
        content_hash=digest,
        defaults={
            "name": (name.strip() or terms.title)[:120],
            "document": terms_document(terms),
            "created_by_id": actor.pk if actor is not None else None,
            "created_at": as_of,
        },
    )
    if is_new:
        audit.record(
            actor=actor,
            action="terms.saved",
            object_type="commitment_terms",
            object_id=row.pk,
            object_label=row.name,
            after={"content_hash": digest, **row.document},
            as_of=as_of,
            is_demo=is_demo,
        )
    return row


@transaction.atomic
def size_offer(
    *,
    actor: AbstractBaseUser | None,
    as_of: datetime,
    terms: Terms,
    name: str = "",
    paths: int = PATHS,
    include_very_short: bool = False,
    is_demo: bool = False,
) -> CommitmentSizing:
    """Keep an offer and size it, or neither: what the command and the API do. Raises as save_terms, size_commitment."""
    kept = save_terms(actor=actor, terms=terms, as_of=as_of, name=name, is_demo=is_demo)
    return size_commitment(
        actor=actor,
        as_of=as_of,
        terms_id=kept.pk,
        paths=paths,
        include_very_short=include_very_short,
        is_demo=is_demo,
    )


def size_commitment(
    *,
    actor: AbstractBaseUser | None,
    as_of: datetime,
    terms_id: int,
    paths: int = PATHS,
    include_very_short: bool = False,
    progress: Progress | None = None,
    is_demo: bool = False,
) -> CommitmentSizing:
    """Size kept terms on a forecast of their year under the three policies; nothing is kept if any step fails.

    Classes with less than four weeks of history do not carry a commitment (methods.md §5.5) unless their owner stands
    for the volume: `include_very_short`. The same terms on unchanged inputs give the sizing already kept.

    Raises Forbidden, and SizingRefused where the year has begun or nothing can be forecast.
    """
    require(actor, Right.SIZE_COMMITMENT)
    terms = parse_terms(CommitmentTerms.objects.values_list("document", flat=True).get(pk=terms_id))
    if terms.start < as_of.date():
        raise SizingRefused(
            f"The offer's year began on {terms.start}, before today, {as_of.date()}: only a year that lies ahead can "
            "be sized. Correct the start."
        )
    told = progress or (lambda note: None)
    told("Forecasting volumes and spend")

    def forecast_of(scenario: Scenario) -> Forecast:
        try:
            return make_forecast(
                actor=actor,
                as_of=as_of,
                start=terms.start,
                months=terms.months,
                paths=paths,
                scenario=scenario,
                is_demo=is_demo,
            )
        except (ForecastRefused, NoBaseline) as error:
            raise SizingRefused(str(error)) from error

    forecast = forecast_of(BASE)
    short = _very_short(forecast)
    if short and not include_very_short:
        if len(short) == len(forecast.result["classes"]):
            raise SizingRefused(
                "Every class has less than four weeks of history: an indication, not a basis for a commitment. Import "
                "more history, or size with the very short classes included if their owners stand for the volumes."
            )
        told("Forecasting again without the classes whose history is too short")
        forecast = forecast_of(Scenario(switched_off=tuple(sorted(name for name, _ in short))))
    told("Measuring every offer on the simulated years")
    return _size_on_forecast(
        actor=actor,
        terms_id=terms_id,
        forecast=forecast,
        excluded=() if include_very_short else short,
        stood_for=short if include_very_short else (),
        as_of=as_of,
        is_demo=is_demo,
    )


def _very_short(forecast: Forecast) -> Named:
    """Name and title of the classes whose history is too short."""
    rows = forecast.result["classes"]
    return tuple((row["request_class"], row["title"]) for row in rows if row["grade"] == TOO_SHORT)


@transaction.atomic
def _size_on_forecast(
    *,
    actor: AbstractBaseUser | None,
    terms_id: int,
    forecast: Forecast,
    excluded: Named,
    stood_for: Named,
    as_of: datetime,
    is_demo: bool,
) -> CommitmentSizing:
    # The lock makes a second press of the button wait for the first and find its result.
    kept = CommitmentTerms.objects.select_for_update().get(pk=terms_id)
    known = CommitmentSizing.objects.filter(terms=kept, forecast=forecast).first()
    if known is not None:
        return known
    paths = forecast_paths(forecast.pk)
    sizing = size(SpendPaths(paths.months, paths.policies, paths.spend_usd), parse_terms(kept.document))
    basis = _basis(forecast, kept, excluded, stood_for)
    summary = _summary(sizing)
    row = CommitmentSizing.objects.create(
        forecast=forecast,
        terms=kept,
        policy_hash=basis.policy_hash,
        result=plain({"summary": summary, "basis": basis, "sizing": sizing}),
        created_by_id=actor.pk if actor is not None else None,
        created_at=as_of,
    )
    audit.record(
        actor=actor,
        action="commitment.sized",
        object_type="commitment_sizing",
        object_id=row.pk,
        object_label=kept.name,
        after=plain({**summary, "terms_id": kept.pk, "basis": basis}),
        as_of=as_of,
        is_demo=is_demo,
    )
    return row


def _basis(forecast: Forecast, terms: CommitmentTerms, excluded: Named, stood_for: Named) -> Basis:
    inputs, result = forecast.inputs, forecast.result
    model = inputs["baseline_model"]
    name = ModelRelease.objects.filter(canonical_id=model).values_list("display_name", flat=True).first()
    left_out = [f"{row['title']}: {row['reason']}" for row in result["left_out"]]
    left_out += [f"{title}: less than four weeks of history" for _, title in excluded]
    if result["unpriced_tok"]:
        left_out.append(f"{result['unpriced_tok']:,} tokens of the last 28 days without a price")
    return Basis(
        forecast_id=forecast.pk,
        cutoff_date=forecast.cutoff_date,
        seed=inputs["seed"],
        price_version=inputs["price_version"],
        policy=inputs["policy"],
        policy_hash=inputs["policy_hash"],
        terms_hash=terms.content_hash,
        baseline_model=model,
        baseline_name=name or model,
        inputs_hash=forecast.inputs_hash,
        scenario=forecast.scenario["text"],
        grade=result["grade"],
        left_out=tuple(left_out),
        very_short=tuple(title for _, title in stood_for),
    )


def _summary(sizing: Sizing) -> dict[str, Any]:
    """What lists show without reading the whole record."""
    routed, unrouted = sizing.policy(OPTIMISED), sizing.policy(BASELINE)
    best = routed.best
    money: dict[str, Decimal] = {
        "commitment_usd": best.commitment_usd,
        "expected_payable_usd": best.expected_payable_usd,
        "routing_value_usd": sizing.routing.value_usd,
    }
    return {
        "recommended": best.name,
        "recommended_unrouted": unrouted.best.name,
        "shortfall_probability": best.shortfall_probability,
        **money,
    }
