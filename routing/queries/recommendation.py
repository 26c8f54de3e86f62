"""The facts a recommendation rests on, read once, and the recommendation itself (methods.md §2, §4)."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

from billing.core.pricebook import PriceBook
from billing.queries.named_models import OTHERS
from billing.queries.prices import ModelPrices, model_prices, price_version, release_facts, routable_models
from billing.queries.profiles import ServedUsage, served_usage
from routing.core.case_sums import ClassCosts, PricedCases
from routing.core.coupling import Limits
from routing.core.escalations import passed_on, passed_text, passed_usd
from routing.core.evidence import CaseResult
from routing.core.levers import LEVERS, Lever, LeverCosts, ModelRates, Rates, cold_cache_usd, same_tokens_ratio
from routing.core.options import Candidate, ClassProblem
from routing.core.recommendation import Recommendation, Unsolved, recommend
from routing.core.traffic import (
    ClassTraffic,
    ModelFactors,
    class_traffic,
    model_costs,
    model_factors,
    tokenizer_factor,
)
from routing.models import ClassException, RequestClass
from routing.queries.case_costs import models_in_evals
from routing.queries.constraints import limits_in_force
from routing.queries.evidence import ClassVerdicts, case_results, names_held
from routing.queries.incumbents import ActivePolicy, active_policy, incumbents
from routing.queries.kept_evidence import asked_of, kept_costs, kept_verdicts

WINDOW_DAYS = 28
MODELS_IN_A_SENTENCE = 5  # of very many unknown names a sentence would be a list


@dataclass(frozen=True, slots=True)
class RecommendationReport:
    """A recommendation with the window, the versions and the evidence it rests on."""

    recommendation: Recommendation
    baseline_model: str
    start: date
    end: date
    price_version: str
    policy: ActivePolicy | None
    verdicts: Mapping[str, ClassVerdicts]
    facts: "_Facts" = field(repr=False)

    @property
    def days(self) -> int:
        return (self.end - self.start).days


@dataclass(frozen=True, slots=True)
class CurrentCost:
    """What a class's usage of the window costs at the list prices of the day, usd; None where a part has no price.

    Part of it no move changes: `premium` is what its tokens cost at their own inference geo and speed over global and
    standard ones (1 = nothing), `searches_usd` what its web searches cost. Both are added to every model's cost.
    `speed_premium` is the part of it that the speed makes: a class that must stay in one inference geo is costed at
    that geo's own prices.
    """

    cost_usd: Decimal | None
    premium: Decimal = Decimal(1)
    searches_usd: Decimal = Decimal(0)
    speed_premium: Decimal = Decimal(1)

    def added_to(
        self, costs: LeverCosts, units: Decimal, *, geo: str = "", passed_usd: Decimal = Decimal(0)
    ) -> LeverCosts:
        """`geo`: the inference geo whose prices the costs are at; '' = global ones.

        `passed_usd`: what requests of the window passed on to other models cost, at global prices.
        """
        return costs.surcharged(
            premium=self.speed_premium if geo else self.premium,
            extra_usd=(self.searches_usd + passed_usd * self.premium) / units if units else Decimal(0),
        )


_NOTHING = CurrentCost(None)
_LEAST = Decimal("0.000001")  # a class without volume still has to be chosen for


@dataclass(frozen=True, slots=True)
class PlanCosts:
    """Unit costs of one class at the prices of a day, usd per `unit_name`; `units` of them were in the window.

    `baseline` is on the uniform model without a lever that its client does not bring itself. A model is missing from
    `by_model`, and `baseline` is None, where a price is.
    """

    request_class: str
    units: Decimal
    unit_name: str
    incumbent: str
    reference_model: str
    baseline: Decimal | None
    by_model: Mapping[str, LeverCosts]


@dataclass(frozen=True, slots=True)
class _Estate:
    """Everything read for a recommendation. `costs`: what the cases took, of suites that count by the class's bar."""

    as_of: datetime
    prices: Mapping[str, ModelPrices]
    generations: Mapping[str, int | None]
    routable: frozenset[str]
    retirements: Mapping[str, date | None]
    costs: Mapping[str, ClassCosts]
    verdicts: Mapping[str, ClassVerdicts]
    exceptions: frozenset[tuple[str, str]]
    models: tuple[str, ...]
    max_input_tok: Mapping[str, int | None] = field(default_factory=dict)
    geo_prices: Mapping[str, Mapping[str, ModelPrices]] = field(default_factory=dict)
    # Asked for once per pair of models: built once per model and set of prices.
    known_rates: dict[tuple[str, str], ModelRates | str] = field(default_factory=dict)
    known_results: dict[str, Sequence[CaseResult]] = field(default_factory=dict)

    def results(self, slug: str) -> Sequence[CaseResult]:
        """Eval results of every suite of a class, read when asked for: hardly any class has a cascade."""
        if slug not in self.known_results:
            self.known_results[slug] = case_results(slugs=[slug], as_of=self.as_of).get(slug, [])
        return self.known_results[slug]

    def measured(self, slug: str, geo: str = "") -> PricedCases:
        """What the cases of a class measured, at the prices held (those of an inference geo)."""
        return self.costs.get(slug, ClassCosts()).priced(partial(self.rates, geo=geo))

    def rates(self, model: str, geo: str = "") -> ModelRates | str:
        """Rates of a model (in an inference geo), or in words why there are none."""
        if (model, geo) not in self.known_rates:
            self.known_rates[model, geo] = self._rates(model, geo)
        return self.known_rates[model, geo]

    def _rates(self, model: str, geo: str) -> ModelRates | str:
        found = (self.geo_prices[geo] if geo else self.prices).get(model)
        if found is None:
            return f"{model} has no price: add one on the Prices page"
        if found.standard is None:
            return f"no price for {model} in inference geo {geo}, where the class must stay" if geo else found.reason
        return ModelRates(
            model=model,
            standard=_rates(found.standard),
            batch=_rates(found.batch) if found.batch is not None else None,
            min_cacheable_tok=found.min_cacheable_tok,
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a report was computed from, kept so that its plan can be costed at other prices without reading again."""

    estate: _Estate
    classes: tuple[RequestClass, ...]
    by_class: Mapping[str, list[ServedUsage]]
    serving: Mapping[str, str]
    current: Mapping[str, CurrentCost]
    problems: tuple[ClassProblem, ...] = ()


def reference_models(report: RecommendationReport) -> dict[str, str]:
    """Per class with usage in the window, the model whose tokenizer its units are counted on."""
    facts = report.facts
    return {
        row.slug: _traffic(row, facts.by_class[row.slug], facts.serving[row.slug], facts.estate).reference_model
        for row in facts.classes
        if facts.by_class.get(row.slug) and row.slug in facts.serving
    }


def plan_costs(
    report: RecommendationReport, *, models: Mapping[str, Collection[str]], on: date, book: PriceBook | None = None
) -> dict[str, PlanCosts]:
    """Unit costs of every class with usage in the report's window at the list prices of a day, by the same steps.

    `models`: which models besides the incumbent to cost per class. `book`: other prices than the list's (what-if).
    """
    estate = replace(
        report.facts.estate,
        prices=model_prices(on=on, book=book),
        geo_prices=_geo_prices(report.facts.classes, on, book),
        known_rates={},
    )
    found = {}
    for row in report.facts.classes:
        served, incumbent = report.facts.by_class.get(row.slug), report.facts.serving.get(row.slug)
        if not served or incumbent is None:
            continue
        traffic = _traffic(row, served, incumbent, estate)
        measured = estate.measured(row.slug, row.required_geo)
        wanted = {incumbent, report.baseline_model, *models.get(row.slug, ())}
        geo = row.required_geo
        costs = {model: _costs(model, incumbent, traffic, measured, estate.generations)[0] for model in sorted(wanted)}
        extras = report.facts.current.get(row.slug, _NOTHING)
        passed = passed_on(served, incumbent=incumbent)
        costs = {
            model: cost
            if cost is None
            else extras.added_to(cost, traffic.units, geo=geo, passed_usd=passed_usd(passed, model, estate.rates))
            for model, cost in costs.items()
        }
        baseline = costs[report.baseline_model]
        found[row.slug] = PlanCosts(
            request_class=row.slug,
            units=traffic.units,
            unit_name=traffic.unit_name,
            incumbent=incumbent,
            reference_model=traffic.reference_model,
            baseline=baseline.unit_cost_usd(frozenset()) if baseline is not None else None,
            by_model={model: cost for model, cost in costs.items() if cost is not None},
        )
    return found


def recommendation_report(
    *,
    baseline_model: str,
    as_of: datetime,
    current_costs: Mapping[str, CurrentCost],
    levers: Sequence[Lever] = LEVERS,
    environment: str = "prod",
    limits: Limits | None = None,
) -> RecommendationReport:
    """Recommend for the 28 whole days before `as_of`.

    `current_costs`: what each class's usage in that window costs at the prices in force on the day of `as_of`, the same
    that every model is priced at: a price that changed in between is no saving.
    A class without counted usage, cost or price is listed as unsolved with the reason. `limits`: others than those the
    estate has in force.
    """
    end = as_of.date()
    start = end - timedelta(days=WINDOW_DAYS)
    usage = served_usage(start=start, end=end)
    policy = active_policy(environment=environment, as_of=as_of)
    classes = list(RequestClass.objects.all())
    serving = incumbents(policy=policy, usage=usage, slugs=[row.slug for row in classes])
    estate = _read_estate(as_of, classes, serving, usage)
    by_class: dict[str, list[ServedUsage]] = defaultdict(list)
    for served in usage:
        by_class[served.request_class].append(served)
    posed = [
        _problem(
            row,
            by_class.get(row.slug, []),
            serving.get(row.slug),
            baseline_model,
            current_costs.get(row.slug, _NOTHING),
            estate,
        )
        for row in classes
    ]
    problems = _in_one_unit([row for row in posed if isinstance(row, ClassProblem)], by_class, serving, estate)
    return RecommendationReport(
        recommendation=recommend(
            problems,
            levers=levers,
            unsolved=[row for row in posed if isinstance(row, Unsolved)],
            limits=limits_in_force(as_of=as_of) if limits is None else limits,
        ),
        baseline_model=baseline_model,
        start=start,
        end=end,
        price_version=price_version(),
        policy=policy,
        verdicts=estate.verdicts,
        facts=_Facts(estate, tuple(classes), by_class, serving, current_costs, tuple(problems)),
    )


def _in_one_unit(
    problems: Sequence[ClassProblem],
    by_class: Mapping[str, Sequence[ServedUsage]],
    serving: Mapping[str, str],
    estate: _Estate,
) -> list[ClassProblem]:
    """The classes weighed in one unit: requests where all count them, else input tokens.

    Tokens are on the tokenizer of what serves the class now, as its own units are. An empty class weighs nothing: it is
    given the least weight there is, as a choice needs one.
    """
    if all(problem.unit_name == "request" for problem in problems):
        return [replace(problem, volume=max(problem.units, _LEAST)) for problem in problems]
    weighed = []
    for problem in problems:
        own = serving[problem.request_class]
        tokens = sum(
            Decimal(row.input_tok) / tokenizer_factor(estate.generations, own, row.model)
            for row in by_class[problem.request_class]
        )
        weighed.append(replace(problem, volume=max(Decimal(tokens) / 1_000_000, _LEAST)))
    return weighed


def _geo_prices(
    classes: Iterable[RequestClass], on: date, book: PriceBook | None = None
) -> dict[str, dict[str, ModelPrices]]:
    """Prices in every inference geo that some class must stay in."""
    asked = sorted({row.required_geo for row in classes} - {""})
    return {geo: model_prices(on=on, book=book, geo=geo) for geo in asked}


def _read_estate(
    as_of: datetime, classes: Sequence[RequestClass], serving: Mapping[str, str], usage: Iterable[ServedUsage]
) -> _Estate:
    day = as_of.date()
    releases = release_facts()
    verdicts = kept_verdicts(incumbents=serving, as_of=as_of)
    in_evals = models_in_evals(as_of=as_of, named=names_held())
    planned = {model for row in classes for model in row.plan_candidates}
    exceptions = ClassException.objects.filter(valid_from__lte=day, valid_to__gt=day)
    return _Estate(
        as_of=as_of,
        prices=model_prices(on=day),
        generations={name: row.tokenizer_generation for name, row in releases.items()},
        max_input_tok={name: row.max_input_tok for name, row in releases.items()},
        geo_prices=_geo_prices(classes, day),
        routable=routable_models(on=day),
        retirements={name: row.retires_on for name, row in releases.items()},
        costs=kept_costs(asked={slug: asked_of(each.asked) for slug, each in verdicts.items()}, as_of=as_of),
        verdicts=verdicts,
        exceptions=frozenset(exceptions.values_list("request_class__slug", "model")),
        models=tuple(sorted(in_evals | planned | set(serving.values()) | ({row.model for row in usage} - {OTHERS}))),
    )


def _problem(
    row: RequestClass,
    served: Sequence[ServedUsage],
    incumbent: str | None,
    baseline_model: str,
    current: CurrentCost,
    estate: _Estate,
) -> ClassProblem | Unsolved:
    if not served or incumbent is None:
        return Unsolved(row.slug, _no_usage_text(estate.as_of.date()), None)
    current_cost_usd = current.cost_usd
    if current_cost_usd is None:
        return Unsolved(row.slug, _unpriced_text(served, estate), None)
    traffic = _traffic(row, served, incumbent, estate)
    measured = estate.measured(row.slug, row.required_geo)
    passed = passed_on(served, incumbent=incumbent)
    costs: dict[str, tuple[LeverCosts | None, ModelFactors]] = {}
    for model in sorted({*estate.models, incumbent, baseline_model, traffic.reference_model}):
        cost, factors = _costs(model, incumbent, traffic, measured, estate.generations)
        if cost is not None:
            usd = passed_usd(passed, model, estate.rates)
            cost = current.added_to(cost, traffic.units, geo=row.required_geo, passed_usd=usd)
            each = usd / traffic.units if traffic.units else usd
            factors = replace(factors, source=factors.source + passed_text(passed, model, each)) if passed else factors
        costs[model] = (cost, factors)
    baseline, incumbent_costs = costs[baseline_model][0], costs[incumbent][0]
    if baseline is None or incumbent_costs is None:
        missing = costs[baseline_model][1] if baseline is None else costs[incumbent][1]
        return Unsolved(row.slug, missing.source, current_cost_usd)
    verdicts = estate.verdicts[row.slug]
    names = sorted({*estate.models, incumbent})
    return ClassProblem(
        request_class=row.slug,
        units=traffic.units,
        unit_name=traffic.unit_name,
        incumbent=incumbent,
        baseline=baseline,
        current_cost_usd=current_cost_usd,
        candidates=tuple(
            _candidate(
                model,
                costs[model],
                verdicts,
                estate,
                refusal=_class_refusal(model, incumbent, row, traffic, estate),
                units_per_hour=traffic.units / (WINDOW_DAYS * 24),
                same_tokens=partial(
                    same_tokens_ratio, traffic.reference, measured.rates_of(model), measured.rates_of(incumbent)
                ),
            )
            for model in names
        ),
        is_protected=row.is_protected,
        failure_usd=row.failure_usd,
    )


def _no_usage_text(end: date) -> str:
    start, last = end - timedelta(days=WINDOW_DAYS), end - timedelta(days=1)
    window = f"from {start:%d %b} to {last:%d %b %Y}"
    return f"no counted usage {window}: import its usage, or map the API keys that are its own"


def _unpriced_text(served: Sequence[ServedUsage], estate: _Estate) -> str:
    """Which models have no price; a service tier, a region or searches without one are told on the Prices page."""
    unpriced = sorted({row.model for row in served if isinstance(estate.rates(row.model), str)})
    if not unpriced or OTHERS in unpriced or len(unpriced) > MODELS_IN_A_SENTENCE:
        return "part of its usage is unpriced: the Prices page says which, add what is missing there"
    have = "has" if len(unpriced) == 1 else "have"
    return f"part of its usage is unpriced: {', '.join(unpriced)} {have} no price. Add it on the Prices page"


def _traffic(row: RequestClass, served: Sequence[ServedUsage], incumbent: str, estate: _Estate) -> ClassTraffic:
    passed = passed_on(served, incumbent=incumbent)
    return class_traffic(
        [each for each in served if each not in passed] if passed else served,
        generations=estate.generations,
        incumbent=incumbent,
        keeps_own_caching=row.keeps_own_caching,
        reuse=row.reuse,
        batch_share=Decimal(str(row.planned_batch_share)),
    )


def _costs(
    model: str, incumbent: str, traffic: ClassTraffic, measured: PricedCases, generations: Mapping[str, int | None]
) -> tuple[LeverCosts | None, ModelFactors]:
    factors = model_factors(
        model,
        incumbent=incumbent,
        traffic=traffic,
        measured=measured.factors,
        generations=generations,
    )
    return model_costs(model, traffic=traffic, factors=factors, rates_of=measured.rates_of)


def _candidate(
    model: str,
    costs: tuple[LeverCosts | None, ModelFactors],
    verdicts: ClassVerdicts,
    estate: _Estate,
    *,
    refusal: str,
    units_per_hour: Decimal,
    same_tokens: Callable[[], Decimal | None],
) -> Candidate:
    verdict = verdicts.of(model)
    lever_costs, factors = costs
    return Candidate(
        model=model,
        costs=lever_costs,
        cost_source=factors.source,
        verdict=verdict.status,
        is_stale=verdict.stale,
        is_excepted=(verdicts.slug, model) in estate.exceptions,
        refusal=refusal,
        counts_as_cheaper=factors.counts_as_cheaper,
        cases_needed=verdict.cases_needed,
        verdict_text=verdict.text,
        # With fewer cases than an interval needs, a rate says too little to weigh the estate by.
        quality=verdict.pass_rate if verdict.lower is not None else None,
        switch_usd=Decimal(0) if lever_costs is None else cold_cache_usd(lever_costs, units_per_hour=units_per_hour),
        # Only of models that could be moved to: it explains why one of them is not.
        same_tokens=same_tokens() if verdict.status == "clears" and not refusal else None,
    )


def _refusal(model: str, incumbent: str, estate: _Estate) -> str:
    """Why the model may not serve any class now; '' = it may."""
    retires_on = estate.retirements.get(model)
    if retires_on is not None and retires_on <= estate.as_of.date():
        return f"retired on {retires_on:%d %b %Y}"
    if model in estate.routable or model == incumbent:
        return ""
    if model not in estate.retirements:
        return "nobody has placed this model: add it on the Prices page"
    return "not on the organisation's list of allowed models"


def _class_refusal(model: str, incumbent: str, row: RequestClass, traffic: ClassTraffic, estate: _Estate) -> str:
    """Why the model may not serve the class now; '' = it may."""
    if row.allowed_models and model not in row.allowed_models:
        return "not among the models this class allows"
    if row.required_geo:
        rates = estate.rates(model, row.required_geo)
        if isinstance(rates, str):
            return rates
    limit = estate.max_input_tok.get(model)
    if model != incumbent and limit is not None and traffic.unit_name == "request":
        factor = tokenizer_factor(estate.generations, traffic.reference_model, model)
        asked = (traffic.reference.input_tok + traffic.reference.prefix_tok) * factor
        if asked > limit:
            return f"takes {limit:,} input tokens at most; a request of this class has {asked:,.0f} on average"
    return _refusal(model, incumbent, estate)


def _rates(prices: object) -> Rates:
    names = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    return Rates(**{name: getattr(prices, name) for name in names})
