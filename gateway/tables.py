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


def _integer_holds(op: str, value: Any, fact: int | None) -> bool:
    if fact is None:
        return False
    if op == "lt":
        return bool(fact < value)
    if op == "lte":
        return bool(fact <= value)
    if op == "gt":
        return bool(fact > value)
    if op == "gte":
        return bool(fact >= value)
    if op == "between":
        return bool(value[0] <= fact <= value[1])
    return True  # present


def _boolean_holds(op: str, value: Any, fact: bool | None) -> bool:
    return fact is value


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


class RuleTables:
    """The compiled rules. ``first_match(facts)`` gives the position among the enabled rules, or -1.

    ``unreachable``: mask of the rules whose conditions on one field contradict each other (set fields not examined).
    """

    __slots__ = ("_all", "_booleans", "_integers", "_sets", "_strings", "fields", "unreachable")

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
        self._strings: list[tuple[str, int, dict[str, int], tuple[int, ...], dict[str, int], int]] = []
        self._integers: list[tuple[str, int, list[int], list[int]]] = []
        self._booleans: list[tuple[str, dict[bool | None, int]]] = []
        self._sets: list[tuple[str, _SetTable]] = []
        add = {STRING: self._add_string, INTEGER: self._add_integer, BOOLEAN: self._add_boolean, SET: self._add_set}
        for field, conditions in by_field.items():
            kind = field_type(field)
            if kind is None:
                raise ValueError(f"{field!r} is not a field of rules; validate the document before compiling it")
            add[kind](field, conditions, self._all & ~sum(conditions))

    def first_match(self, facts: Mapping[str, Any]) -> int:
        """Position of the first rule whose conditions are all true; -1 when there is none."""
        get = facts.get
        mask = self._all
        for field, missing, exact, lengths, prefixes, other in self._strings:
            text = get(field)
            if text is None:
                mask &= missing
                continue
            found = exact.get(text)
            if found is None:
                found = other
                for length in lengths:
                    of_prefix = prefixes.get(text[:length])
                    if of_prefix is not None:
                        found = of_prefix
                        break
            mask &= found
        for field, missing, points, masks in self._integers:
            number = get(field)
            mask &= missing if number is None else masks[bisect_right(points, number)]
        if not mask:
            return -1
        for field, by_value in self._booleans:
            mask &= by_value[get(field)]
        for field, table in self._sets:
            members = get(field)
            mask &= table.mask(members) if members else table.empty
        return (mask & -mask).bit_length() - 1

    def _note_unreachable(self, masks: Iterable[int]) -> None:
        reachable = 0
        for mask in masks:
            reachable |= mask
        self.unreachable |= self._all & ~reachable

    def _add_string(self, field: str, conditions: FieldConditions, free: int) -> None:
        # A rule with one `in` or `not_in` on the field, the common case, is entered by its values alone. Evaluating it
        # for every constant of the policy instead would make compiling quadratic in the number of constants.
        listed: list[tuple[int, frozenset[str]]] = []
        rest: dict[int, Sequence[Condition]] = {}
        base = free
        for bit, group in conditions.items():
            op, value = group[0]
            if len(group) == 1 and op in ("in", "not_in"):
                listed.append((bit, value))
                base |= bit if op == "not_in" else 0
            else:
                rest[bit] = group
        groups = conditions.values()
        constants = {text for group in groups for op, value in group if op in ("in", "not_in") for text in value}
        starts = {text for group in groups for op, value in group if op.endswith("starts_with") for text in value}
        exact = {text: base | _brute(rest, _string_holds, text) for text in constants}
        for bit, values in listed:
            for text in values:
                exact[text] ^= bit
        # A character no constant uses: `prefix + unused` is a string whose longest matching prefix is that prefix.
        used = set().union(*constants, *starts)
        unused = next(char for char in map(chr, range(0xE000, 0x110000)) if char not in used)
        prefixes = {start: base | _brute(rest, _string_holds, start + unused) for start in starts}
        other = base | _brute(rest, _string_holds, unused)
        missing = base | _brute(rest, _string_holds, None)
        lengths = tuple(sorted({len(start) for start in starts}, reverse=True))
        self._strings.append((field, missing, exact, lengths, prefixes, other))
        self._note_unreachable((missing, other, *exact.values(), *prefixes.values()))

    def _add_integer(self, field: str, conditions: FieldConditions, free: int) -> None:
        cuts: set[int] = set()
        for group in conditions.values():
            for op, value in group:
                if op in ("lt", "gte"):
                    cuts.add(value)
                elif op in ("lte", "gt"):
                    cuts.add(value + 1)
                elif op == "between":
                    cuts.update((value[0], value[1] + 1))
        # Points split 0…2^53−1 into [0, p1), [p1, p2), …; a cut outside the domain splits nothing.
        points = sorted(cut for cut in cuts if 0 < cut <= MAX_INTEGER)
        masks = [free | _brute(conditions, _integer_holds, start) for start in (0, *points)]
        missing = free | _brute(conditions, _integer_holds, None)
        self._integers.append((field, missing, points, masks))
        self._note_unreachable((missing, *masks))

    def _add_boolean(self, field: str, conditions: FieldConditions, free: int) -> None:
        masks: dict[bool | None, int] = {
            fact: free | _brute(conditions, _boolean_holds, fact) for fact in (True, False, None)
        }
        self._booleans.append((field, masks))
        self._note_unreachable(masks.values())

    def _add_set(self, field: str, conditions: FieldConditions, free: int) -> None:
        self._sets.append((field, _SetTable(conditions, free)))


def _compiled_value(op: str, value: Any) -> Any:
    if op in ("starts_with", "not_starts_with"):
        return tuple(normalise_string(text) for text in value)  # the form str.startswith takes
    if isinstance(value, (list, tuple)) and op != "between":
        return frozenset(normalise_string(text) for text in value)
    return value
