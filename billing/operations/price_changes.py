"""What an organisation does with prices: add, approve or discard proposed ones, import files of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from audit import operations as audit
from audit.roles import Right, require
from billing.core.models import canonical_model
from billing.core.pricebook import Price as ListPrice
from billing.core.pricebook import PriceBook, PriceError, PriceKey, PriceNotFound
from billing.core.pricing import plain_price
from billing.core.usage import PRICED_KINDS, PricedKind
from billing.importers.base import ImportRefused, Problem
from billing.importers.price_formats import price_format
from billing.models import Price
from billing.operations.prices import KEY, lock_prices, price_row
from billing.queries.imports import model_aliases
from billing.queries.prices import list_price, price_book

SERVICE_TIERS: Final = ("standard", "batch", "priority")
SPEEDS: Final = ("standard", "fast")
GEOS: Final = ("global", "us")


class PriceRefused(ValueError):
    """Prices that cannot be added; `problems` maps each field to what is wrong and what to do."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("; ".join(f"{field}: {text}" for field, text in self.problems.items()))


@dataclass(frozen=True, slots=True)
class NewPrices:
    """Prices of one model from a day on: usd per million tokens per kind, per 1,000 for web searches."""

    model: str
    usd_per_unit: Mapping[PricedKind, Decimal]
    source: str
    checked_on: date
    valid_from: date | None = None
    valid_to: date | None = None
    service_tier: str = "standard"
    prompt_length_band: str = "all"
    geo: str = "global"
    speed: str = "standard"
    note: str = ""


def checked_prices(new: NewPrices, *, as_of: datetime, book: PriceBook | None = None) -> tuple[ListPrice, ...]:
    """The price values of an entry, checked against all that is held. Raises PriceRefused with every problem.

    Nothing is ever overwritten: a row of the same key and start is refused with both numbers, and one without a start
    is only taken where nothing is held yet.
    """
    held = book if book is not None else price_book()
    named = canonical_model(new.model, model_aliases())
    problems = _shape_problems(new, named.model, as_of)
    prices: list[ListPrice] = []
    for kind, usd in new.usd_per_unit.items():
        try:
            price = ListPrice(
                model=named.model,
                token_kind=kind,
                usd_per_unit=usd,
                source=new.source.strip(),
                checked_on=new.checked_on,
                service_tier=new.service_tier,
                prompt_length_band=new.prompt_length_band,
                geo=new.geo,
                speed=new.speed,
                valid_from=new.valid_from,
                valid_to=new.valid_to,
                note=new.note.strip(),
            )
        except PriceError as error:
            problems.setdefault("valid_to" if new.valid_to and "ends" in str(error) else kind, f"{error}.")
            continue
        if problem := _clash(price, held):
            problems.setdefault(*problem)
        prices.append(price)
    if problems:
        raise PriceRefused(problems)
    return tuple(prices)


def _shape_problems(new: NewPrices, model: str, as_of: datetime) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not model:
        problems["model"] = "Name the model, e.g. claude-opus-4-5."
    if not new.source.strip():
        problems["source"] = "Say where the price was seen: a page, a contract, a quote."
    if new.checked_on > as_of.date():
        problems["checked_on"] = f"{new.checked_on} lies ahead: give the day somebody looked at the source."
    if not new.usd_per_unit:
        problems["uncached_input"] = "Give the price of at least one kind of token."
    if new.speed == "fast" and new.service_tier == "batch":
        problems["speed"] = "Fast mode cannot be combined with batch: there is no such price."
    if "web_search" in new.usd_per_unit and (
        (new.service_tier, new.prompt_length_band, new.geo, new.speed) != ("standard", "all", "global", "standard")
    ):
        problems["web_search"] = (
            "Web searches have one price per model: add it with tier standard, every prompt length, global and "
            "standard speed."
        )
    return problems


def _clash(price: ListPrice, held: PriceBook) -> tuple[str, str] | None:
    same = [
        other
        for other in held.prices
        if (other.model, other.token_kind, other.service_tier, other.geo, other.speed)
        == (price.model, price.token_kind, price.service_tier, price.geo, price.speed)
    ]
    twin = next(
        (
            other
            for other in same
            if (other.prompt_length_band, other.valid_from) == (price.prompt_length_band, price.valid_from)
        ),
        None,
    )
    if twin is not None:
        start = price.valid_from or "the model's release"
        return "valid_from", (
            f"From {start} on, {price.token_kind} of {price.model} is {plain_price(twin.usd_per_unit)} already "
            f"({twin.source}); prices are never overwritten. Give the day from which {plain_price(price.usd_per_unit)} "
            "holds."
        )
    if price.valid_from is None and same:
        return "valid_from", f"{price.model} has such a price already: give the day from which the new one holds."
    return None


@transaction.atomic
def add_prices(
    *, actor: AbstractBaseUser | None, new: NewPrices, as_of: datetime, is_demo: bool = False
) -> tuple[Price, ...]:
    """Add approved prices of one model from a day on. Raises Forbidden, PriceRefused.

    From its day on a price replaces the earlier one of the same model, kind, tier, geo and speed.
    """
    require(actor, Right.EDIT_PRICES)
    lock_prices()
    prices = checked_prices(new, as_of=as_of)
    keys = [_key(price) for price in prices]
    proposed = [row for row in Price.objects.filter(model=prices[0].model, approved_at=None) if _key(row) in keys]
    if proposed:
        raise PriceRefused(
            {"valid_from": "The same price is proposed already: approve or discard the proposal on the Prices page."}
        )
    rows = Price.objects.bulk_create(
        price_row(price, proposed_by=actor, proposed_at=as_of, approved_by=actor, approved_at=as_of) for price in prices
    )
    audit.record(
        actor=actor,
        action="price.added",
        object_type="price",
        object_id=prices[0].model,
        object_label=prices[0].model,
        as_of=as_of,
        after=_as_json(new) | {"model": prices[0].model},
        is_demo=is_demo,
    )
    return tuple(rows)


@transaction.atomic
def approve_prices(*, actor: AbstractBaseUser | None, price_ids: list[int], as_of: datetime) -> int:
    """Let proposed prices count. Returns how many. Raises Forbidden, PriceRefused."""
    require(actor, Right.EDIT_PRICES)
    lock_prices()
    rows = _proposals(price_ids)
    try:
        PriceBook([*price_book().prices, *(list_price(row) for row in rows)])
    except PriceError as error:
        raise PriceRefused({"prices": f"{error}."}) from error
    Price.objects.filter(pk__in=[row.pk for row in rows]).update(approved_by=actor, approved_at=as_of)
    _record_proposals(actor, "price.approved", rows, as_of)
    return len(rows)


@transaction.atomic
def discard_prices(*, actor: AbstractBaseUser | None, price_ids: list[int], as_of: datetime) -> int:
    """Drop proposed prices that nobody wants. An approved price stays for ever. Raises Forbidden, PriceRefused."""
    require(actor, Right.EDIT_PRICES)
    lock_prices()
    rows = _proposals(price_ids)
    _record_proposals(actor, "price.discarded", rows, as_of)
    Price.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _proposals(price_ids: list[int]) -> list[Price]:
    rows = list(Price.objects.filter(pk__in=price_ids, approved_at=None))
    if not rows or len(rows) != len(set(price_ids)):
        raise PriceRefused({"prices": "Some of these are no longer proposed: reload the page and choose again."})
    return rows


def _record_proposals(actor: AbstractBaseUser | None, action: str, rows: list[Price], as_of: datetime) -> None:
    models = sorted({row.model for row in rows})
    audit.record(
        actor=actor,
        action=action,
        object_type="price",
        object_id=models[0] if len(models) == 1 else "prices",
        object_label=", ".join(models),
        as_of=as_of,
        after={"prices": [_row_json(row) for row in rows]},
    )


@dataclass(frozen=True, slots=True)
class PriceImport:
    """What a price file brought. `disagreements`: what it says beside what is held; never imported."""

    file_name: str
    format: str
    added: int
    held: int
    approved: bool
    disagreements: tuple[str, ...]


@transaction.atomic
def import_prices(
    *,
    actor: AbstractBaseUser | None,
    paths: list[Path],
    as_of: datetime,
    format_name: str = "",
    approve: bool = False,
) -> tuple[PriceImport, ...]:
    """Read price files: what is new becomes proposals, or approved prices. All files or none. Raises ImportRefused."""
    require(actor, Right.EDIT_PRICES)
    lock_prices()
    return tuple(_import_file(actor, path, as_of, format_name, approve) for path in paths)


def _import_file(
    actor: AbstractBaseUser | None, path: Path, as_of: datetime, format_name: str, approve: bool
) -> PriceImport:
    if not path.is_file():
        raise ImportRefused.because(path.name, "there is no such file", "Check the path")
    found = price_format(path, file_name=path.name, format_name=format_name)
    aliases = model_aliases()
    prices = found.read(
        path,
        file_name=path.name,
        canonical=lambda raw: canonical_model(raw, aliases).model,
        checked_on=as_of.date(),
    )
    everything = [list_price(row) for row in Price.objects.order_by("pk")]
    book = PriceBook(everything)
    by_key = {_key(price): price for price in everything}
    new: dict[tuple[Any, ...], ListPrice] = {}
    same, beside = 0, []
    for price in prices:
        twin = by_key.get(_key(price)) or new.get(_key(price))
        if twin is None and found.is_suggestion:
            twin = _in_force(book, price, as_of.date())
        if twin is None:
            new[_key(price)] = price
        elif twin.usd_per_unit == price.usd_per_unit:
            same += 1
        else:
            beside.append(_beside(price, twin))
    if beside and not found.is_suggestion:
        remedy = "Prices are never overwritten: give the new one the day from which it holds, or take the row out"
        raise ImportRefused(path.name, [Problem(None, "", "", text, remedy) for text in beside])
    approved = {"approved_by": actor, "approved_at": as_of} if approve else {}
    Price.objects.bulk_create(
        (price_row(price, proposed_by=actor, proposed_at=as_of, **approved) for price in new.values()), batch_size=500
    )
    outcome = PriceImport(path.name, found.name, len(new), same, approve, tuple(beside))
    if new:
        audit.record(
            actor=actor,
            action="prices.imported" if approve else "prices.proposed",
            object_type="price",
            object_id=path.name[:128],
            object_label=path.name,
            as_of=as_of,
            after={"file": path.name, "format": found.name, "added": len(new), "held": same},
        )
    return outcome


def _in_force(book: PriceBook, price: ListPrice, today: date) -> ListPrice | None:
    """What is held for the same thing on the day a suggestion begins (today where it names none)."""
    key = PriceKey(price.model, price.service_tier, price.prompt_length_band, price.geo, price.speed)
    try:
        return book.lookup(key, price.token_kind, price.valid_from or today).price
    except PriceNotFound:
        return None


def _beside(price: ListPrice, held: ListPrice) -> str:
    what = f"{price.token_kind} of {price.model} ({price.service_tier}, {price.prompt_length_band}, {price.geo}, "
    start = f"from {price.valid_from}" if price.valid_from else "from release"
    return (
        f"{what}{price.speed} speed) {start}: {plain_price(held.usd_per_unit)} is held ({held.source}), the file says "
        f"{plain_price(price.usd_per_unit)}"
    )


def _key(price: Price | ListPrice) -> tuple[Any, ...]:
    return tuple(getattr(price, name) for name in KEY)


def _row_json(row: Price) -> dict[str, str]:
    return {name: str(getattr(row, name) or "") for name in (*KEY, "usd_per_unit", "source")}


def _as_json(new: NewPrices) -> dict[str, Any]:
    values = asdict(new)
    values["usd_per_unit"] = {
        kind: format(new.usd_per_unit[kind], "f") for kind in PRICED_KINDS if kind in new.usd_per_unit
    }
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in values.items()}
