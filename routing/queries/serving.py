"""Which model serves each class, from the policy in force and the usage of the last 28 whole days."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from billing.queries.profiles import served_usage
from routing.queries.incumbents import active_policy, incumbents
from routing.queries.recommendation import WINDOW_DAYS

PROD = "prod"


def serving_models(*, slugs: Iterable[str], as_of: datetime) -> dict[str, str]:
    """Incumbent of every class that has one, as of an instant."""
    end = as_of.date()
    return incumbents(
        policy=active_policy(environment=PROD, as_of=as_of),
        usage=served_usage(start=end - timedelta(days=WINDOW_DAYS), end=end),
        slugs=slugs,
    )
