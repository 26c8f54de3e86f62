"""Price files: the difference to what is held, and proposing what somebody chose of it. Nothing is overwritten."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.models import canonical_model
from billing.core.price_difference import PriceDifference, from_day, price_difference, price_key
from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook, PriceError
from billing.core.pricing import plain_price
from billing.importers.base import ImportRefused
from billing.importers.price_formats import price_format
from billing.models import ModelRelease, Price
from billing.operations.price_changes import PriceRefused
from billing.operations.prices import lock_prices, price_row
from billing.queries.imports import model_aliases
from billing.queries.prices import list_price


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A price file as read: its prices, by canonical model names."""

    file_name: str
    format: str
    title: str
    is_suggestion: bool
    prices: tuple[ListPrice, ...]


def read_price_file(*, path: Path, file_name: str, as_of: datetime, format_name: str = "") -> PriceFile:
    """Every price of a file of a known format. Raises ImportRefused."""
    if not path.is_file():
        raise ImportRefused.because(file_name, "there is no such file", "Check the path")
    found = price_format(path, file_name=file_name, format_name=format_name)
    aliases = model_aliases()
    prices = found.read(
        path,
        file_name=file_name,
        canonical=lambda raw: canonical_model(raw, aliases).model,
        checked_on=as_of.date(),
    )
    return PriceFile(file_name, found.name, found.title, found.is_suggestion, prices)


def difference_of(file: PriceFile, *, today: date) -> PriceDifference:
    """The file beside what is held today."""
    rows = [(list_price(row), row.approved_at is not None) for row in Price.objects.order_by("pk")]
    return price_difference(
        file.prices,
        held=[price for price, approved in rows if approved],
        proposed=[price for price, approved in rows if not approved],
        known_models=ModelRelease.objects.values_list("canonical_id", flat=True),
        today=today,
        by_look_up=file.is_suggestion,
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """A price of a file somebody wants proposed; `day`: from when it holds, where the file's own day cannot be it."""

    price: ListPrice
    day: date | None = None


@transaction.atomic
def propose_prices(
    *, actor: AbstractBaseUser | None, chosen: Sequence[Chosen], file_name: str, as_of: datetime, is_demo: bool = False
) -> tuple[Price, ...]:
    """Keep chosen prices as proposals: they count once approved. Raises Forbidden, PriceRefused with every problem."""
    require(actor, Right.EDIT_PRICES)
    lock_prices()
    if not chosen:
        raise PriceRefused({"prices": "Choose at least one price."})
    rows = {price_key(price): price for price in (list_price(row) for row in Price.objects.order_by("pk"))}
    wanted: dict[object, ListPrice] = {}
    problems = []
    for one in chosen:
        price = from_day(one.price, one.day)
        twin = rows.get(price_key(price)) or wanted.get(price_key(price))
        if twin is None:
            wanted[price_key(price)] = price
        elif twin.usd_per_unit != price.usd_per_unit:
            start = f"from {price.valid_from}" if price.valid_from else "from release"
            problems.append(
                f"{price.token_kind} of {price.model} {start} is {plain_price(twin.usd_per_unit)} already "
                f"({twin.source}): give the day from which {plain_price(price.usd_per_unit)} holds."
            )
    if not problems and not wanted:
        problems.append("All of these are held or proposed already.")
    if not problems:
        problems += _contradictions([*rows.values(), *wanted.values()])
    if problems:
        raise PriceRefused({"prices": " ".join(problems)})
    created = Price.objects.bulk_create(
        (price_row(replace(price), proposed_by=actor, proposed_at=as_of) for price in wanted.values()), batch_size=500
    )
    audit.record(
        actor=actor,
        action="prices.proposed",
        object_type="price",
        object_id=file_name[:128],
        object_label=file_name,
        as_of=as_of,
        after={"file": file_name, "added": len(created), "models": sorted({row.model for row in created})},
        is_demo=is_demo,
    )
    return tuple(created)


def _contradictions(prices: Sequence[ListPrice]) -> list[str]:
    try:
        PriceBook(prices)
    except PriceError as error:
        return [f"{error}."]
    return []
