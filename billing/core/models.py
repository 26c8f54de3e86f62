"""Canonical model names (policy-spec.md §2, formats/price-data.md trap 4) and what is known about a model release.

A name is matched whole, never by the start of a family: `claude-opus-5-5` is not a kind of `claude-opus-5`. Explicit
aliases win, the longest form of the name first; what remains unknown stays unknown, and is priced by nobody.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal

ModelTier = Literal["frontier", "balanced", "fast", "other"]
MODEL_TIERS: Final[tuple[ModelTier, ...]] = ("frontier", "balanced", "fast", "other")
TIER_OF_FAMILY: Final[Mapping[str, ModelTier]] = {
    "opus": "frontier",
    "fable": "frontier",
    "mythos": "frontier",
    "sonnet": "balanced",
    "haiku": "fast",
}

_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_BLANKS: Final = " \t\r\n\v\f"
_MAX_NAME: Final = 256
_VENDOR_PREFIX: Final = re.compile(r"(?:(?:us|eu|global)\.)?anthropic\.")
_EVAL_PREFIX: Final = re.compile(r"anthropic:(?:messages:)?")
_BEDROCK_SUFFIX: Final = re.compile(r"-v[0-9]+:[0-9]+$")
_DATE_SUFFIX: Final = re.compile(r"[-@](?:19|20)[0-9]{6}$")


class ModelNameError(ValueError):
    """Two releases claim one name."""


@dataclass(frozen=True, slots=True)
class CanonicalModel:
    """`model` is a registered canonical id when `is_known`, else the raw name in normal form (no prefix, no date)."""

    model: str
    is_known: bool


def name_forms(raw: str) -> tuple[str, ...]:
    """The name in its forms, longest first: lower-cased, without provider prefix, without version suffix, without date.

    >>> name_forms("us.anthropic.Claude-Opus-4-5-20251101-v1:0")[-1]
    'claude-opus-4-5'

    An empty or blank name has no forms.
    """
    # ASCII only and cut to 256 characters, exactly as the gateway normalises the fact `model` (policy-spec.md §2).
    name = raw.strip(_BLANKS).translate(_ASCII_LOWER)[:_MAX_NAME]
    if not name:
        return ()
    forms = [name]
    name = name.rsplit("/", 1)[-1]
    forms.append(name)
    name = _VENDOR_PREFIX.sub("", name, count=1) if _VENDOR_PREFIX.match(name) else name
    name = name[match.end() :] if (match := _EVAL_PREFIX.match(name)) else name
    forms.append(name)
    name = _BEDROCK_SUFFIX.sub("", name)
    forms.append(name)
    name = _DATE_SUFFIX.sub("", name)
    forms.append(name)
    return tuple(dict.fromkeys(form for form in forms if form))


def canonical_model(raw: str, aliases: Mapping[str, str]) -> CanonicalModel:
    """The registered model a name means, or the name in normal form flagged unknown. Never a guess by family.

    `aliases` maps lower-case names, canonical ids included, to canonical ids. The longest form that is an alias wins,
    so an explicit alias of a dated id beats what the undated name means.
    """
    forms = name_forms(raw)
    for form in forms:
        if (model := aliases.get(form)) is not None:
            return CanonicalModel(model, True)
    return CanonicalModel(forms[-1] if forms else "", False)


@dataclass(frozen=True, slots=True)
class ModelRelease:
    """What a source says about one model. None = no source says it."""

    canonical_id: str
    display_name: str
    family: str
    aliases: tuple[str, ...]
    tier: ModelTier
    tokenizer_generation: int | None
    max_input_tok: int | None
    min_cacheable_tok: int | None
    released_on: date | None
    retires_on: date | None
    source: str
    checked_on: date


def alias_table(releases: Iterable[ModelRelease]) -> dict[str, str]:
    """Every name of every release → canonical id. Raises ModelNameError when two releases claim one name."""
    table: dict[str, str] = {}
    for release in releases:
        for name in (release.canonical_id, *release.aliases):
            key = name.strip(_BLANKS).translate(_ASCII_LOWER)
            owner = table.setdefault(key, release.canonical_id)
            if owner != release.canonical_id:
                raise ModelNameError(
                    f"{name!r} is claimed by both {owner} and {release.canonical_id}; remove one alias"
                )
    return table


def model_tier(model: str, tiers: Mapping[str, ModelTier]) -> ModelTier:
    """Tier of a canonical model: as registered, else `other` until someone says (architecture.md §4)."""
    return tiers.get(model, "other")


def tier_of_family(family: str) -> ModelTier:
    """Default tier proposed for a family name (opus, sonnet, …); `other` for a family nobody has placed."""
    return TIER_OF_FAMILY.get(family.strip(_BLANKS).translate(_ASCII_LOWER), "other")


def model_family(model: str) -> str:
    """Family word of a canonical Claude id (`claude-opus-4-6` → `opus`); else empty. A label, never a price key."""
    parts = model.split("-")
    return next((part for part in parts[1:] if part in TIER_OF_FAMILY), "") if parts[0] == "claude" else ""
