"""A second opinion on every price: slow, plain, and without a line of costgov.

It reads the shipped list as text and asks, for one prompt length at a time: which rows have begun and hold this length,
which of them began last, which of those is the narrowest, and has it ended? Prices are fractions; a cost is a whole
number of femto-dollars (10^-15 usd), because every price has at most nine places per million tokens.
"""

import csv
from fractions import Fraction
from pathlib import Path

LIST = Path(__file__).resolve().parents[2] / "billing" / "data" / "list_prices.csv"
KINDS = ("uncached_input", "cache_read", "cache_write_5m", "cache_write_1h", "output", "web_search")
PER = {kind: 1_000 if kind == "web_search" else 1_000_000 for kind in KINDS}
FEMTO = 10**15
# First and last prompt length of each band, in tokens. Nobody sells more than 1M; "longer" is only "above".
LONGEST = 10**30
BANDS = {
    "all": (0, LONGEST),
    "0-100k": (0, 100_000),
    "100k-200k": (100_001, 200_000),
    "0-200k": (0, 200_000),
    "100k-1M": (100_001, LONGEST),
    "200k-1M": (200_001, LONGEST),
}
PROBES = (0, 100_000, 100_001, 200_000, 200_001, LONGEST)


class Row:
    """One row of the list for one kind. Days are ISO text, which sorts like the days themselves."""

    def __init__(self, fields, kind):
        self.tier, self.geo, self.speed = fields["service_tier"], fields["geo"], fields["speed"]
        self.shortest, self.longest = BANDS[fields["prompt_length_band"]]
        self.begins, self.ends = fields["valid_from"] or "0000-00-00", fields["valid_to"] or "9999-99-99"
        each = Fraction(fields[kind]) * FEMTO / PER[kind]
        assert each.denominator == 1, (fields, kind)
        self.femto_each = each.numerator


def read_list():
    """Rows by model and kind."""
    rows: dict[tuple[str, str], list[Row]] = {}
    with LIST.open(encoding="utf-8", newline="") as file:
        for fields in csv.DictReader(file):
            for kind in KINDS:
                if fields[kind]:
                    rows.setdefault((fields["model"], kind), []).append(Row(fields, kind))
    return rows


ROWS = read_list()
MODELS = tuple(sorted({model for model, _ in ROWS}))
_DAYS = {day for rows in ROWS.values() for row in rows for day in (row.begins, row.ends)}
CHANGE_DAYS = tuple(sorted(_DAYS - {"0000-00-00", "9999-99-99"}))


def at_length(rows, tier, geo, speed, length, day):
    """Femto-dollars of one unit for a prompt of `length` tokens, or None."""
    best = None
    for row in rows:
        if (row.tier, row.geo, row.speed) != (tier, geo, speed):
            continue
        if row.begins > day or not row.shortest <= length <= row.longest:
            continue
        if best is None or (row.begins, row.shortest - row.longest) > (best.begins, best.shortest - best.longest):
            best = row
    return best.femto_each if best is not None and best.ends > day else None


def unit_prices(model, kind, tier, band, geo, speed, day, length=None):
    """Every price one unit may have, lowest first; () = there is none. `length` None = only the band is known."""
    rows = ROWS.get((model, kind), [])
    if kind == "web_search":
        tier, band, geo, speed, length = "standard", "all", "global", "standard", None
    tier = tier if tier not in ("", "(not grouped)") else "standard"
    geo = geo if geo not in ("", "(not grouped)", "not_available", "(none)") else "global"
    speed = speed if speed not in ("", "(not grouped)") else "standard"
    if length is not None:
        found = [at_length(rows, tier, geo, speed, length, day)]
    elif band in ("", "(not grouped)"):
        # Nothing is known of the prompt: all lengths that can be bought are possible.
        found = [at_length(rows, tier, geo, speed, probe, day) for probe in PROBES]
        found = [price for price in found if price is not None]
    else:
        shortest, longest = BANDS[band]
        found = [at_length(rows, tier, geo, speed, probe, day) for probe in PROBES if shortest <= probe <= longest]
    return () if None in found else tuple(sorted(set(found)))
