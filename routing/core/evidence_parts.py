"""Which parts of runs make up the latest epoch of a class: `evidence.results_of_epoch` on sums instead of results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from routing.core.evidence import natural_order
from routing.core.models import model_snapshot


@dataclass(frozen=True, slots=True)
class RunPart:
    """Results of one run on one model, in one mode and prompt version.

    `since`: only its results run then or later are meant, and `results`, `first_at` and the others are of these.
    """

    run_id: int
    batch: int
    suite: str
    suite_version: str
    candidate: str
    model: str
    candidate_raw: str
    prompt_version: str
    mode: str
    results: int
    first_at: datetime
    last_at: datetime
    last_scored_at: datetime | None
    since: datetime | None = None


Clip = Callable[[Sequence[RunPart], datetime], Sequence[RunPart]]
_PartAndValue = Callable[[RunPart], tuple[str, str]]


def parts_of_epoch(parts: Sequence[RunPart], clip: Clip) -> dict[str, Sequence[RunPart]]:
    """The parts that count, by candidate; a candidate with results of older epochs only has none.

    `clip(parts, start)` gives parts with the results run at `start` or later only; it is asked only for parts that
    hold results of before and after.
    """
    found: dict[str, list[RunPart]] = {candidate: [] for candidate in sorted({part.candidate for part in parts})}
    for part in _since_last_change(parts, lambda part: (part.suite, part.suite_version), clip):
        found[part.candidate].append(part)
    return {candidate: _of_candidate(own, clip) for candidate, own in found.items()}


def _of_candidate(own: Sequence[RunPart], clip: Clip) -> Sequence[RunPart]:
    own = _since_last_change(own, lambda part: (part.suite, part.prompt_version), clip)
    return _since_last_change(_of_newest_snapshot(own, clip), lambda part: ("", part.mode), clip)


def _since_last_change(parts: Sequence[RunPart], part_and_value: _PartAndValue, clip: Clip) -> Sequence[RunPart]:
    seen = set(map(part_and_value, parts))
    if len({what for what, _ in seen}) == len(seen):
        return parts
    first_seen: dict[tuple[str, str], datetime] = {}
    last_seen: dict[tuple[str, str], datetime] = {}
    for part in parts:
        key = part_and_value(part)
        first_seen[key] = min(first_seen.get(key, part.first_at), part.first_at)
        last_seen[key] = max(last_seen.get(key, part.last_at), part.last_at)
    newest: dict[str, str] = {}
    changed: set[str] = set()
    for what, value in sorted(seen, key=lambda key: (last_seen[key], natural_order(key[1]))):
        if what in newest:
            changed.add(what)
        newest[what] = value
    start = max(first_seen[what, newest[what]] for what in changed)
    current = set(newest.items())
    return _clipped([part for part in parts if part_and_value(part) in current], start, clip)


def _of_newest_snapshot(parts: Sequence[RunPart], clip: Clip) -> Sequence[RunPart]:
    snapshot = {raw: model_snapshot(raw) for raw in {part.candidate_raw for part in parts}}
    if len(set(snapshot.values()) - {""}) < 2:
        return parts
    dated = [part for part in parts if snapshot[part.candidate_raw]]
    newest = max((part.last_at, snapshot[part.candidate_raw]) for part in dated)[1]
    start = min(part.first_at for part in dated if snapshot[part.candidate_raw] == newest)
    return _clipped([part for part in parts if snapshot[part.candidate_raw] in {"", newest}], start, clip)


def _clipped(parts: Sequence[RunPart], start: datetime, clip: Clip) -> Sequence[RunPart]:
    whole = [part for part in parts if part.first_at >= start]
    across = [part for part in parts if part.first_at < start <= part.last_at]
    return [*whole, *clip(across, start)] if across else whole
