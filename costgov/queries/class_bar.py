"""The quality bar of a class: what is asked, since when and by whom, and what another bar would do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from costgov.queries.class_page import UnknownClass
from costgov.queries.class_preview import BarPreview, bar_preview
from routing.core.bars import Bar
from routing.models import RequestClass
from routing.operations.bars import changed_bar
from routing.queries.bars import BarVersion, bar_of, bar_versions


@dataclass(frozen=True, slots=True)
class ClassBar:
    """The bar in force and every version, the newest first. `asked`: it in words.

    `tried` and `effect`: a bar that is not set and what it would do; None where none was tried.
    """

    slug: str
    title: str
    quality_owner: str
    bar: Bar
    asked: str
    versions: tuple[BarVersion, ...]
    tried: Bar | None = None
    effect: BarPreview | None = None


def class_bar(*, slug: str, as_of: datetime, tried: Mapping[str, Any] | None = None) -> ClassBar:
    """The bar of a class; with `tried` what it would do with these facts changed. Raises UnknownClass, ClassRefused."""
    row = RequestClass.objects.filter(slug=slug).first()
    if row is None:
        known = ", ".join(RequestClass.objects.values_list("slug", flat=True)) or "none yet"
        raise UnknownClass(f"There is no class {slug!r}. Registered classes: {known}.")
    held = bar_of(row)
    bar = changed_bar(held, tried, slug=slug) if tried is not None else None
    effect = bar_preview(slug=slug, bar=bar, as_of=as_of) if bar is not None else None
    return ClassBar(slug, row.title, row.quality_owner, held, held.asked, bar_versions(row), bar, effect)
