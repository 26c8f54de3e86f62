"""Lookup tables of the rules: which rules a value of one field leaves possible, as a bit mask.

Bit *i* stands for the *i*-th enabled rule. Each field's domain is cut into the atoms of policy-spec.md §6 (constants;
strings by their longest matching prefix; integer intervals; missing), and for each atom the mask of the rules whose
conditions *on this field* are all true is computed once. A request then costs one look-up per used field, whatever the
number of rules: the masks are combined with AND and the lowest bit left is the first matching rule. Why this is exact:
docs/algorithms/policy.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.facts import BOOLEAN, INTEGER, MAX_INTEGER, SET, STRING, field_type, normalise_string

#: One condition as compiled: operator and value (normalised).
Condition = tuple[str, Any]
#: Conditions of one field, by the bit of their rule.
FieldConditions = Mapping[int, Sequence[Condition]]

_MAX_REMEMBERED_SETS: Final = 4096
_NEGATIVE_TWIN: Final = {
    "not_in": "in",
    "not_starts_with": "starts_with",
    "absent": "present",
    "has_none": "has_any",
    "lacks_any": "has_all",
}


def _holds(positive: Callable[[str, Any, Any], bool], conditions: Iterable[Condition], fact: Any) -> bool:
    """True when every condition is. A negative operator is the complement of its positive twin (policy-spec.md §3)."""
    for op, value in conditions:
        twin = _NEGATIVE_TWIN.get(op)
        if positive(twin or op, value, fact) is (twin is not None):
            return False
    return True


def _string_holds(op: str, value: Any, fact: str | None) -> bool:
    if fact is None:
        return False
    if op == "in":
        return fact in value
    if op == "starts_with":
        return fact.startswith(value)
    return True  # present


def _set_holds(op: str, value: Any, fact: frozenset[str]) -> bool:
    if op == "has_any":
        return not fact.isdisjoint(value)
    return fact.issuperset(value)  # has_all


class _SetTable:
    """Masks of one set field. Each member is its own axis, so combinations are computed when met, and remembered."""

    __slots__ = ("conditions", "empty", "free", "remembered", "vocabulary")

    def __init__(self, conditions: FieldConditions, free: int) -> None:
        self.conditions = conditions
        self.free = free
        self.vocabulary = frozenset(name for group in conditions.values() for _, value in group for name in value)
        self.remembered: dict[frozenset[str], int] = {}
        self.empty = self._compute(frozenset())

    def mask(self, fact: Iterable[str]) -> int:
        relevant = self.vocabulary.intersection(fact)
        if not relevant:
            return self.empty
        mask = self.remembered.get(relevant)
        if mask is None:
            mask = self._compute(relevant)
            if len(self.remembered) < _MAX_REMEMBERED_SETS:
                self.remembered[relevant] = mask
        return mask

    def _compute(self, fact: frozenset[str]) -> int:
        return self.free | _brute(self.conditions, _set_holds, fact)


def _brute(conditions: FieldConditions, positive: Callable[[str, Any, Any], bool], fact: Any) -> int:
    mask = 0
    for bit, group in conditions.items():
        if _holds(positive, group, fact):
            mask |= bit
    return mask


#: One field: name, mask of the rules with a condition on it, masks of known values, mask of any other value.
_Lookup = tuple[str, int, Callable[[Any, "int | None"], "int | None"], "int | None", Callable[[Any], int]]


#: Masks of known values (None = missing); the mask of any other value where it is one and the same, else None and the
#: function that finds it; and masks that stand for usual requests.
_Built = tuple[dict[Any, int], "int | None", Callable[[Any], int], Sequence[int]]
_REMEMBERED_TEXTS = 1_024
#: Integers requests usually hold (counts, and limits people write): looked up like texts, which is twice as fast.
_USUAL_INTEGERS = (*range(64), *(1 << power for power in range(6, 21)), *range(1_000, 65_000, 1_000))


class RuleTables:
    """The compiled rules. ``first_match(facts)`` gives the position among the enabled rules, or -1.

    ``unreachable``: mask of the rules whose conditions on one field contradict each other (set fields not examined).
    """

    __slots__ = ("_all", "_lookups", "fields", "unreachable")

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        by_field: dict[str, dict[int, list[Condition]]] = {}
        for position, rule in enumerate(rules):
            for condition in rule["when"]:
                field, op = condition["field"], condition["op"]
                compiled = (op, _compiled_value(op, condition.get("value")))
                by_field.setdefault(field, {}).setdefault(1 << position, []).append(compiled)
        self._all = (1 << len(rules)) - 1
        self.fields: frozenset[str] = frozenset(by_field)
        self.unreachable = 0
        self._lookups: list[_Lookup] = []
        build = {STRING: self._string, INTEGER: self._integer, BOOLEAN: self._boolean, SET: self._set}
        left: dict[str, float] = {}
        for field, conditions in by_field.items():
            kind = field_type(field)
            if kind is None:
                raise ValueError(f"{field!r} is not a field of rules; validate the document before compiling it")
            constrained = sum(conditions)
            known, others, other, usual = build[kind](conditions, self._all & ~constrained)
            self._lookups.append((field, constrained, known.get, others, other))
            left[field] = sum(mask.bit_count() for mask in usual) / len(usual)
        # First the fields that usually leave the fewest rules possible; a field that none of these names is skipped.
        self._lookups.sort(key=lambda lookup: left[lookup[0]])

    def first_match(self, facts: Mapping[str, Any]) -> int:
        """Position of the first rule whose conditions are all true; -1 when there is none."""
        get = facts.get
        mask = self._all
        for field, constrained, known, others, other in self._lookups:
            if mask & constrained:
                value = get(field)
                found = known(value, others)
                mask &= other(value) if found is None else found
        return (mask & -mask).bit_length() - 1

    def _note_unreachable(self, masks: Iterable[int]) -> None:
        reachable = 0
        for mask in masks:
            reachable |= mask
        self.unreachable |= self._all & ~reachable

    def _string(self, conditions: FieldConditions, free: int) -> _Built:
        # A rule with one condition on the field, the common case, is entered by its values alone: `base` holds its bit
        # when the operator is negative, and the atoms its values match flip the bit. Evaluating such rules for every
        # constant of the policy instead would make compiling quadratic in the number of constants.
        equal: dict[str, int] = {}
        starting: dict[str, int] = {}
        constants: set[str] = set()
        rest: dict[int, Sequence[Condition]] = {}
        base = free
        for bit, group in conditions.items():
            for op, value in group:
                if op in ("in", "not_in"):
                    constants.update(value)
                elif op in ("starts_with", "not_starts_with"):
                    for start in value:
                        starting.setdefault(start, 0)
            op, value = group[0]
            if len(group) > 1 or op in ("present", "absent"):
                rest[bit] = group
                continue
            base |= bit if op in _NEGATIVE_TWIN else 0
            flips = equal if op in ("in", "not_in") else starting
            for text in value:
                flips[text] = flips.get(text, 0) | bit
        lengths = tuple(sorted({len(start) for start in starting}, reverse=True))

        def atom(text: str, flipped: int) -> int:
            for length in lengths:
                flipped |= starting.get(text[:length], 0) if length <= len(text) else 0
            return (base ^ flipped) | _brute(rest, _string_holds, text)

        known: dict[Any, int] = {text: atom(text, equal.get(text, 0)) for text in constants}
        # A character no constant uses: `prefix + unused` is a string whose longest matching prefix is that prefix.
        used = set().union(*constants, *starting)
        unused = next(char for char in map(chr, range(0xE000, 0x110000)) if char not in used)
        prefixes = {start: atom(start + unused, 0) for start in starting}
        unlisted = atom(unused, 0)
        known[None] = base | _brute(rest, _string_holds, None)
        self._note_unreachable((unlisted, *known.values(), *prefixes.values()))

        @lru_cache(maxsize=_REMEMBERED_TEXTS)  # features, agents, teams: the same few come again and again
        def other(text: Any) -> int:
            for length in lengths:
                found = prefixes.get(text[:length])
                if found is not None:
                    return found
            return unlisted

        return known, None if prefixes else unlisted, other, (unlisted,)

    def _integer(self, conditions: FieldConditions, free: int) -> _Built:
        # Every operator but `absent` is an interval, hence so is a conjunction of them.
        missing = free
        intervals: list[tuple[int, int, int]] = []
        for bit, group in conditions.items():
            if all(op == "absent" for op, _ in group):
                missing |= bit
            elif all(op != "absent" for op, _ in group):
                bounds = [_interval(op, value) for op, value in group]
                low, end = max(low for low, _ in bounds), min(end for _, end in bounds)
                if low < end:
                    intervals.append((bit, low, end))
        # Points split 0…2^53−1 into [0, p1), [p1, p2), …
        points = sorted({cut for _, low, end in intervals for cut in (low, end) if 0 < cut <= MAX_INTEGER})
        masks = [free] * (len(points) + 1)
        for bit, low, end in intervals:
            for index in range(bisect_right(points, low), bisect_right(points, end - 1) + 1):
                masks[index] |= bit
        self._note_unreachable((missing, *masks))

        def other(number: Any) -> int:
            return masks[bisect_right(points, number)]

        known: dict[Any, int] = {None: missing, **{number: other(number) for number in _USUAL_INTEGERS}}
        return known, None, other, masks

    def _boolean(self, conditions: FieldConditions, free: int) -> _Built:
        known: dict[Any, int] = {True: free, False: free, None: free}
        for bit, group in conditions.items():
            wanted = {value for _, value in group}
            if len(wanted) == 1:
                known[wanted.pop()] |= bit
        self._note_unreachable(known.values())
        return known, None, _not_boolean, (known[True], known[False])

    def _set(self, conditions: FieldConditions, free: int) -> _Built:
        table = _SetTable(conditions, free)
        return {None: table.empty}, None, table.mask, (table.empty,)


def _not_boolean(value: Any) -> int:
    raise TypeError(f"{value!r} is not a boolean; pass facts through normalise_facts")


def _interval(op: str, value: Any) -> tuple[int, int]:
    """[low, end) of the integers for which the operator is true."""
    if op == "lt":
        return 0, value
    if op == "lte":
        return 0, value + 1
    if op == "gt":
        return value + 1, MAX_INTEGER + 1
    if op == "gte":
        return value, MAX_INTEGER + 1
    if op == "between":
        return value[0], value[1] + 1
    return 0, MAX_INTEGER + 1  # present


def _compiled_value(op: str, value: Any) -> Any:
    if op in ("starts_with", "not_starts_with"):
        return tuple(normalise_string(text) for text in value)  # the form str.startswith takes
    if isinstance(value, (list, tuple)) and op != "between":
        return frozenset(normalise_string(text) for text in value)
    return value
