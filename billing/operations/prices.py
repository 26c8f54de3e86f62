"""List prices: the shipped ones, and what an organisation adds. A price is never overwritten, only followed."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction

from audit import operations as audit
from billing.core.pricebook import Price as ListPrice
from billing.importers.model_releases import ReleaseRow, read_model_releases
from billing.importers.price_csv import PriceCsv
from billing.models import ModelAlias, ModelRelease, Price

DATA: Final = Path(__file__).resolve().parent.parent / "data"
PRICES_FILE: Final = DATA / "list_prices.csv"
RELEASES_FILE: Final = DATA / "model_releases.csv"
KEY: Final = ("model", "token_kind", "service_tier", "prompt_length_band", "geo", "speed", "valid_from")
_FILLABLE: Final = ("tokenizer_generation", "max_input_tok", "min_cacheable_tok", "released_on", "retires_on")

_Slot = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class SeedOutcome:
    """What seeding did. `kept` = shipped prices left out because the organisation has its own there."""

    prices_added: int
    prices_held: int
    prices_kept: int
    models_added: int
    models_filled: int
    aliases_added: int

    @property
    def changed(self) -> bool:
        return bool(self.prices_added or self.models_added or self.models_filled or self.aliases_added)


@transaction.atomic
def seed_list_prices(*, as_of: datetime) -> SeedOutcome:
    """Load the shipped models and approved list prices. Idempotent; what the organisation changed stays as it is.

    A shipped price is added where nothing of its key is held, and only before the organisation's own prices for the
    same thing begin, so that no upgrade changes a figure somebody entered. A known model keeps every fact it has;
    only empty ones are filled.
    """
    # Two starts at once (a supervisor and a command) must not both insert: the second waits and finds all of it held.
    lock_prices()
    releases = read_model_releases(RELEASES_FILE)
    shipped = shipped_prices()
    added_models, filled, aliases = _seed_models(releases)
    new, held, kept = _missing(shipped)
    Price.objects.bulk_create(
        (price_row(price, proposed_by=None, proposed_at=as_of, approved_at=as_of) for price in new), batch_size=500
    )
    outcome = SeedOutcome(len(new), held, kept, added_models, filled, aliases)
    if outcome.changed:
        audit.record(
            actor=None,
            action="prices.seeded",
            object_type="price",
            object_id="list_prices",
            object_label="Shipped list prices",
            as_of=as_of,
            after={
                "prices_added": outcome.prices_added,
                "prices_kept_as_changed_here": outcome.prices_kept,
                "models_added": outcome.models_added,
                "models_filled": outcome.models_filled,
                "aliases_added": outcome.aliases_added,
            },
        )
    return outcome


def shipped_prices() -> tuple[ListPrice, ...]:
    """The list prices of the shipped file. Raises ImportRefused when it was damaged."""
    return PriceCsv().read(PRICES_FILE, file_name=PRICES_FILE.name, canonical=lambda name: name, checked_on=date.min)


def lock_prices() -> None:
    """Serialise changes of prices and models until the transaction ends; readers do not wait."""
    with connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {Price._meta.db_table} IN SHARE ROW EXCLUSIVE MODE")


def price_row(price: ListPrice, **facts: Any) -> Price:
    """The row that keeps a price value."""
    return Price(
        model=price.model,
        token_kind=price.token_kind,
        service_tier=price.service_tier,
        prompt_length_band=price.prompt_length_band,
        geo=price.geo,
        speed=price.speed,
        usd_per_unit=price.usd_per_unit,
        valid_from=price.valid_from,
        valid_to=price.valid_to,
        source=price.source,
        checked_on=price.checked_on,
        note=price.note,
        **facts,
    )


def _missing(shipped: Iterable[ListPrice]) -> tuple[list[ListPrice], int, int]:
    """Shipped prices to add; how many are held already; how many give way to the organisation's own."""
    values = {_key(price): price.usd_per_unit for price in shipped}
    held: dict[tuple[Any, ...], Any] = {}
    own_from: dict[_Slot, date] = {}
    for row in Price.objects.all():
        key = _key(row)
        held[key] = row.usd_per_unit
        if values.get(key) != row.usd_per_unit:
            start = row.valid_from or date.min
            own_from[_slot(row)] = min(start, own_from.get(_slot(row), date.max))
    new, same, kept = [], 0, 0
    for price in shipped:
        if (known := held.get(_key(price))) is not None:
            same, kept = (same + 1, kept) if known == price.usd_per_unit else (same, kept + 1)
        elif _slot(price) in own_from and (price.valid_from or date.min) >= own_from[_slot(price)]:
            kept += 1
        else:
            new.append(price)
    return new, same, kept


def _key(price: Price | ListPrice) -> tuple[Any, ...]:
    return tuple(getattr(price, name) for name in KEY)


def _slot(price: Price | ListPrice) -> _Slot:
    return (price.model, price.token_kind, price.service_tier, price.geo, price.speed)


def _seed_models(rows: Iterable[ReleaseRow]) -> tuple[int, int, int]:
    known = {release.canonical_id: release for release in ModelRelease.objects.all()}
    taken = set(ModelAlias.objects.values_list("alias", flat=True)) | set(known)
    added = filled = aliases = 0
    for row in rows:
        facts = row.release
        release = known.get(facts.canonical_id)
        if release is None and facts.canonical_id not in taken:
            release = ModelRelease.objects.create(
                canonical_id=facts.canonical_id,
                display_name=facts.display_name,
                family=facts.family,
                tier=facts.tier,
                source=facts.source,
                checked_on=facts.checked_on,
                is_allowed=row.is_allowed,
                **{name: getattr(facts, name) for name in _FILLABLE},
            )
            added += 1
        elif release is not None:
            empty = [name for name in _FILLABLE if getattr(release, name) is None and getattr(facts, name) is not None]
            for name in empty:
                setattr(release, name, getattr(facts, name))
            if empty:
                release.save(update_fields=empty)
                filled += 1
        if release is None:  # the organisation uses this name as an alias of another model: it stays one
            continue
        new = [ModelAlias(alias=alias, release=release) for alias in facts.aliases if alias not in taken]
        ModelAlias.objects.bulk_create(new)
        taken |= {alias.alias for alias in new}
        aliases += len(new)
    return added, filled, aliases
