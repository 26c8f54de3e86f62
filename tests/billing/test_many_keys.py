"""Names without end cost no more than their number: work per key, never per pair of keys."""

import time

import numpy as np

from billing.core.usage import COUNTERS
from billing.core.usage_table import UsageTable, codes_of_name
from billing.queries.usage_table import NAMES, _together

KEYS = 20_000


def table(first: int) -> UsageTable:
    keys = tuple((f"name-{n:06}", *("x" for _ in NAMES[1:])) for n in range(first, first + KEYS))
    days = np.full(KEYS, 740_000, np.int32)
    ones = np.ones((len(COUNTERS), KEYS), np.int64)
    return UsageTable(NAMES, keys, days, np.arange(KEYS, dtype=np.int32), ones, np.zeros(KEYS, np.int64))


def test_two_months_of_many_names_are_joined_in_a_moment():
    """It took half a minute: the numbers of all keys were made anew for each of them."""
    begun = time.process_time()
    both = _together(table(0), table(KEYS // 2))
    assert time.process_time() - begun < 3
    assert len(both.keys) == KEYS + KEYS // 2
    assert [both.keys[n][0] for n in both.key[[0, KEYS - 1, KEYS, 2 * KEYS - 1]].tolist()] == [
        "name-000000", "name-019999", "name-010000", "name-029999",
    ]  # fmt: skip


def test_parts_share_the_codes_of_their_names():
    whole = table(0)
    codes = codes_of_name(whole, NAMES[0])
    part = whole.part(slice(5, 7))
    assert part.codings is whole.codings
    assert [codes.labels[n] for n in codes_of_name(part, NAMES[0]).code] == ["name-000005", "name-000006"]
