"""Our prices against genai-prices and LiteLLM, through their own calculators: equal, or a listed difference.

docs/algorithms/price-differences.md holds the list (between the marks) and says of each kind of difference who is
right. A difference that is new, gone or changed fails the test, which prints the rows that are new or gone.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from genai_prices import Usage, calc_price

from billing.core.pricebook import PriceBook, PriceKey
from billing.core.pricing import Pricer
from billing.core.usage import TokenCounts, prompt_length_band
from billing.importers.price_csv import PriceCsv
from tests.core import price_oracle as oracle
from tests.core.litellm_costs import litellm_costs
from tests.core.price_collections import (
    DAYS,
    USES,
    Cell,
    cells,
    genai,
    genai_cost,
    litellm_question,
    litellm_unit,
    ours,
    provider_usage,
)

pytestmark = pytest.mark.xdist_group("litellm")  # one process asks LiteLLM once
DOC = Path(__file__).resolve().parents[2] / "docs" / "algorithms" / "price-differences.md"
FIVE_EIGHTHS = Fraction(5, 8)  # of 2 (a 1-hour write) is 1.25 (a 5-minute write)
FLOAT = 1e-9  # LiteLLM calculates in binary floats
WHOLE = {tuple(oracle.KINDS): "every kind", tuple(oracle.KINDS[:-1]): "every token kind"}

USE_NAMES = {use: name for name, use in USES.items()}
# From this model generation on a request may ask for inference in the US (vendor's page, formats/price-data.md).
HAS_US = {row_model for (row_model, _), rows in oracle.ROWS.items() if any(row.geo == "us" for row in rows)}
HAS_FAST = {row_model for (row_model, _), rows in oracle.ROWS.items() if any(row.speed == "fast" for row in rows)}


def use_of(cell: Cell) -> str:
    return USE_NAMES[cell.tier, cell.speed, cell.geo]


def genai_reason(cell: Cell, us: Fraction | None, them: Fraction | None) -> str:
    """Code of why genai-prices differs. Raises LookupError for a reason nobody has looked into."""
    if them is None:
        return "G1"
    if us is None:
        if cell.tier == "batch" and cell.speed == "fast":
            return "G6"
        if cell.model == "claude-haiku-5-5" and cell.day < date(2026, 10, 7):
            return "G8"
        if cell.speed == "fast":
            return "G5"
        if cell.kind != "web_search" and cell.geo == "us" and cell.model not in HAS_US:
            return "G4"
        if cell.model in ("claude-sonnet-4-5", "claude-sonnet-4") and cell.prompt_tok > 200_000:
            return "G7"
        if not oracle.ROWS.get((cell.model, cell.kind)):
            return "G9"
        if cell.tier == "batch":
            return "G10"
    elif cell.model == "claude-sonnet-4" and cell.prompt_tok > 200_000:
        return "G7"
    elif cell.geo == "us" and them / us == Fraction(10, 11):
        return "G2"
    elif cell.tier == "batch" and them / us in (Fraction(2), Fraction(20, 11)):
        return "G3"
    elif them == 0:
        return "G9"
    raise LookupError(f"nobody has looked into this: {cell}, ours {us}, genai-prices {them}")


def litellm_reason(cell: Cell, us: Fraction | None, them: float | None) -> str:
    """Code of why LiteLLM differs. Raises LookupError for a reason nobody has looked into."""
    if them is None:
        return "L1"
    if cell.kind == "web_search":
        if them == 0 and cell.tier == "batch":
            return "L4"
        if them == 0 and cell.model == "claude-haiku-4-5":
            return "L5"
    if us is None:
        if cell.tier == "batch" and cell.speed == "fast":
            return "L7"
        if cell.model == "claude-haiku-5-5" and cell.day < date(2026, 10, 7):
            return "L9"
        if cell.speed == "fast":
            return "L6"
        if cell.geo == "us" and cell.model not in HAS_US:
            return "L8"
        if cell.model == "claude-sonnet-4-5" and cell.prompt_tok > 200_000:
            return "L10"
        if cell.model == "claude-mythos-preview" and cell.tier == "batch":
            return "L11"
    elif cell.prompt_tok > 200_000 and us != ours(cell._replace(prompt_tok=200_000)):
        return "L9"
    elif use_of(cell) == "batch" and cell.kind == "cache_write_1h" and is_close(them, us * FIVE_EIGHTHS):
        return "L2"
    elif cell.tier == "batch" and cell.geo == "us" and any(is_close(them, us * f * 10 / 11) for f in (1, FIVE_EIGHTHS)):
        return "L3"
    raise LookupError(f"nobody has looked into this: {cell}, ours {us}, LiteLLM {them}")


def is_close(value: float, exact: Fraction) -> bool:
    return abs(Fraction(value) - exact) <= abs(exact) * Fraction(FLOAT)


def said(us: Fraction | None, them: Fraction | float | None) -> str:
    """What they say beside what we say, in figures."""
    if them is None:
        return "nothing; ours holds"
    if us is None:
        return "0; ours unpriced" if them == 0 else "a price; ours unpriced"
    return "0" if them == 0 else f"× {float(them / us):.4g} of ours"


def listed(differences: Iterable[tuple[Cell, str, str]]) -> list[str]:
    """Table rows: models that differ in the same cells together."""
    by_model: dict[tuple[str, str, str, str], set[tuple[str, int, date]]] = defaultdict(set)
    for cell, code, what in differences:
        by_model[code, use_of(cell), what, cell.model].add((cell.kind, cell.prompt_tok, cell.day))
    alike: dict[tuple[str, str, str, frozenset[tuple[str, int, date]]], list[str]] = defaultdict(list)
    for (code, use, what, model), found in by_model.items():
        alike[code, use, what, frozenset(found)].append(model)
    rows = []
    for (code, use, what, where), models in alike.items():
        kinds = [kind for kind in oracle.KINDS if any(item[0] == kind for item in where)]
        lengths = sorted({item[1] for item in where})
        days = sorted({item[2] for item in where})
        told = (
            code,
            use,
            what,
            WHOLE.get(tuple(kinds), ", ".join(kinds).replace("_", " ")),
            "any" if len(lengths) == 5 else ", ".join(f"{length:,}" for length in lengths),
            "all" if len(days) == len(DAYS) else f"{days[0]} … {days[-1]}",
            ", ".join(model.removeprefix("claude-") for model in sorted(models)),
            f"{len(where) * len(models):,}",
        )
        rows.append("| " + " | ".join(told) + " |")
    return sorted(rows, key=lambda row: (row[2], int(re.findall(r"\d+", row)[0]), row))


def in_document(mark: str) -> list[str]:
    """The rows of the list between `<!-- mark -->` and `<!-- end -->`."""
    text = DOC.read_text(encoding="utf-8")
    inside = text.split(f"<!-- {mark} -->")[1].split("<!-- end -->")[0]
    return [line for line in inside.splitlines() if line.startswith("| ")][1:]


def check_listed(mark: str, found: list[str]) -> None:
    held = in_document(mark)
    new, gone = [row for row in found if row not in held], [row for row in held if row not in found]
    assert not new and not gone, "\n".join(["differences not listed:", *new, "listed, but there is none:", *gone])


def check_reasons(prefix: str, found: list[str]) -> None:
    """Each reason is explained once, and each explained reason occurs."""
    explained = re.findall(rf"^\| \*\*({prefix}\d+)\*\* \|", DOC.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(explained) == sorted({row.split(" | ")[0].removeprefix("| ") for row in found})


def test_genai_prices_agrees_or_the_difference_is_listed():
    differences, same = [], 0
    for cell in cells():
        us, them = ours(cell), genai(cell)
        if us == them:
            same += us is not None
        else:
            differences.append((cell, genai_reason(cell, us, them), said(us, them)))
    found = listed(differences)
    check_listed("genai-prices", found)
    check_reasons("G", found)
    assert same > 15_000


@pytest.fixture(scope="module")
def litellm_units():
    """LiteLLM's dollars per unit. It knows no dates: one answer serves every day."""
    asked = {cell._replace(day=DAYS[0]): None for cell in cells()}
    answers = dict(zip(asked, litellm_costs([litellm_question(cell) for cell in asked]), strict=True))
    return lambda cell: litellm_unit(cell, answers[cell._replace(day=DAYS[0])])


def test_litellm_agrees_or_the_difference_is_listed(litellm_units: Callable[[Cell], float | None]):
    differences, same = [], 0
    for cell in cells():
        us, them = ours(cell), litellm_units(cell)
        if us is not None and them is not None and is_close(them, us):
            same += 1
        elif us is not None or them is not None:
            differences.append((cell, litellm_reason(cell, us, them), said(us, them)))
    found = listed(differences)
    check_listed("litellm", found)
    check_reasons("L", found)
    assert same > 10_000


def test_the_document_names_the_releases_compared():
    text = DOC.read_text(encoding="utf-8")
    assert f"genai-prices {version('genai-prices')}" in text and f"LiteLLM {version('litellm')}" in text


def agreeing(them: Callable[[Cell], Fraction | float | None], uses: Iterable[str]) -> list[tuple[Cell, list[str]]]:
    """Places (a cell without its kind) with the kinds on which both sides have one price."""
    found = []
    for model in oracle.MODELS:
        for use in uses:
            for length in (1_000, 100_001, 200_001):
                for day in (DAYS[0], DAYS[1], DAYS[-3]):
                    kinds = []
                    for kind in oracle.KINDS:
                        cell = Cell(model, kind, *USES[use], length, day)
                        us, other = ours(cell), them(cell)
                        if us is not None and other is not None and is_close(float(other), us):
                            kinds.append(kind)
                    if len(kinds) > 2:
                        found.append((Cell(model, "", *USES[use], length, day), kinds))
    return found


def mixed_usages(places: list[tuple[Cell, list[str]]], each: int) -> list[tuple[Cell, dict[str, int]]]:
    """Usages of several kinds at once whose whole prompt has the place's length or a little more."""
    rng = np.random.default_rng(20261125)
    found = []
    for place, kinds in places:
        inputs = [kind for kind in kinds if kind not in ("output", "web_search")]
        for _ in range(each):
            more = int(rng.integers(0, 90_000))
            shares = rng.dirichlet(np.ones(len(inputs)))
            parts = [int(share * (place.prompt_tok + more)) for share in shares]
            parts[0] += place.prompt_tok + more - sum(parts)
            counts = dict(zip(inputs, parts, strict=True))
            for kind, most in (("output", 64_000), ("web_search", 9)):
                if kind in kinds:
                    counts[kind] = int(rng.integers(0, most))
            found.append((place, counts))
    return found


@pytest.fixture(scope="module")
def pricer():
    rows = PriceCsv().read(oracle.LIST, file_name=oracle.LIST.name, canonical=lambda name: name, checked_on=date.min)
    return Pricer(PriceBook(rows))


def our_cost(pricer: Pricer, place: Cell, counts: dict[str, int]) -> Decimal:
    tokens = TokenCounts.of(**counts)
    key = PriceKey(place.model, place.tier, prompt_length_band(tokens.total_input_tok), place.geo, place.speed)
    row = pricer.row(key, tokens, place.day)
    assert not row.unpriced, (place, counts)
    return row.cost_usd


def test_mixed_usages_cost_the_same_at_genai_prices(pricer):
    """To the last digit: both calculate in decimals."""
    places = agreeing(genai, ("standard", "batch", "fast"))
    usages = mixed_usages(places, 20)
    for place, counts in usages:
        found = genai_cost(place, counts)
        assert found is not None
        assert found[2] == our_cost(pricer, place, counts), (place, counts)
    assert len({place.model for place, _ in usages}) >= 25 and len(usages) > 4_000


def test_mixed_usages_cost_the_same_at_litellm(pricer, litellm_units):
    """To a billionth: LiteLLM calculates in floats."""
    usages = mixed_usages(agreeing(litellm_units, USES), 6)
    asked = [(place.model, place.tier == "batch", provider_usage(place, counts)) for place, counts in usages]
    for (place, counts), found in zip(usages, litellm_costs(asked), strict=True):
        assert found is not None
        assert is_close(found[2], Fraction(our_cost(pricer, place, counts))), (place, counts, found)
    assert len({place.model for place, _ in usages}) >= 17 and len(usages) > 2_000


def test_a_day_summed_up_is_not_a_request(pricer, litellm_units):
    """Both collections price a total as one request: two of 100,000 tokens cost five times as much when added first.

    Ours prices each request in its own band, and a total without a band not at all: price-differences.md, "Totals".
    """
    one = Cell("claude-haiku-5-5", "uncached_input", *USES["standard"], 100_000, DAYS[-3])
    both = one._replace(prompt_tok=200_000)
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    single, total = (
        calc_price(Usage(input_tokens=n), one.model, provider_id="anthropic", genai_request_timestamp=at).total_price
        for n in (100_000, 200_000)
    )
    assert (2 * single, total) == (Decimal("0.02"), Decimal("0.1"))
    assert is_close(2 * 100_000 * litellm_units(one), Fraction(2, 100))
    assert is_close(200_000 * litellm_units(both), Fraction(10, 100))
    counts = TokenCounts(uncached_input_tok=200_000)
    banded = pricer.row(PriceKey(one.model, "standard", "0-100k", "global", "standard"), counts, one.day)
    assert (banded.cost_usd, banded.unpriced) == (Decimal("0.02"), ())
    untold = pricer.row(PriceKey(one.model), counts, one.day)
    (line,) = untold.unpriced
    assert (untold.cost_usd, line.lowest_usd, line.highest_usd) == (0, Decimal("0.02"), Decimal("0.1"))
