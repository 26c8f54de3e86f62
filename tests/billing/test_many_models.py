"""A log with a new model name on every line: bounded work, exact sums, and nothing dropped."""

from datetime import UTC, date, datetime

import pytest

from billing.core.pricing import Pricer
from billing.core.usage_table import UNKNOWN_SHOWN
from billing.models import DailyUsage
from billing.operations.prices import seed_list_prices
from billing.queries.usage import cost_lines, priced_usage
from costgov.queries.health.usage import usage_findings
from tests.billing.usage_rows import count_usage

pytestmark = pytest.mark.django_db
AS_OF = datetime(2026, 11, 24, 12, tzinfo=UTC)
START, END = date(2026, 11, 1), date(2026, 11, 3)
NAMES = 400


@pytest.fixture
def many_models():
    """Model n has n + 1 output tokens, so the last names are the largest; and one model with a price."""
    seed_list_prices(as_of=AS_OF)
    template = count_usage("made-up-0000", START, output_tok=1)
    rows = [
        DailyUsage(
            **{
                field.attname: getattr(template, field.attname)
                for field in DailyUsage._meta.concrete_fields
                if not field.primary_key
            }
            | {"model": f"made-up-{n:04}", "output_tok": n + 1}
        )
        for n in range(1, NAMES)
    ]
    DailyUsage.objects.bulk_create(rows)
    count_usage("claude-opus-4-6", START, output_tok=1_000_000)


@pytest.fixture
def look_ups(monkeypatch):
    """Names of the models a price was asked for."""
    asked = []
    line = Pricer.line

    def counted(self, key, *args):
        asked.append(key.model)
        return line(self, key, *args)

    monkeypatch.setattr(Pricer, "line", counted)
    return asked


def test_the_largest_are_named_and_the_others_summed_exactly(many_models, look_ups):
    found = priced_usage(start=START, end=END)
    named = {line.model: line.quantity for line in found.unpriced}
    assert named == {f"made-up-{n:04}": n + 1 for n in range(NAMES - UNKNOWN_SHOWN, NAMES)}
    rest = found.unpriced_rest
    assert rest is not None
    assert rest.models == NAMES - UNKNOWN_SHOWN
    assert rest.tokens + sum(named.values()) == NAMES * (NAMES + 1) // 2
    assert (rest.first_day, rest.last_day, rest.searches) == (START, START, 0)
    assert len(set(look_ups)) <= UNKNOWN_SHOWN + 1, "one look-up per name would hold a page for minutes"


def test_cost_lines_say_the_same(many_models, look_ups):
    found = cost_lines(start=START, end=END)
    assert found.unpriced_tok == NAMES * (NAMES + 1) // 2
    assert found.unpriced_rest == priced_usage(start=START, end=END).unpriced_rest
    assert len(found.unpriced) == UNKNOWN_SHOWN
    assert len(set(look_ups)) <= UNKNOWN_SHOWN + 1


def test_data_health_counts_them_all_in_few_findings(many_models):
    findings, _ = usage_findings(start=START, end=END, as_of=AS_OF)
    unpriced = [one for one in findings if "models without a price" in one.title]
    assert len(findings) < 40
    (rest,) = unpriced
    named = [one for one in findings if one is not rest and "made-up-" in f"{one.title} {one.text}"]
    assert rest.title == f"{NAMES - len(named):,} more models without a price"
    assert (rest.tokens or 0) + sum(one.tokens or 0 for one in named) == NAMES * (NAMES + 1) // 2
