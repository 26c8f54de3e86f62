"""Amounts as people copy them from documents, as plain numbers: what cannot be read in one way only stays as it is."""

import re
from typing import Final

# Thousands by commas or by spaces, throughout: 1,234.56 and 1 234.56. A comma or space anywhere else separates none.
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?:\.\d*)?")
_SPACES: Final = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "−": "-"})


def plain_amount(text: str) -> str:
    """$1,234.56, −$50.00 and (50.00) as plain numbers; anything else as it was typed, to be refused with its value.

    >>> plain_amount("$1,234.56"), plain_amount("(1 234.50)"), plain_amount("1234,56"), plain_amount("12 34")
    ('1234.56', '-1234.50', '1234,56', '12 34')
    """
    plain = text.strip().translate(_SPACES)
    if plain.startswith("(") and plain.endswith(")"):
        plain = f"-{plain[1:-1].strip()}"
    plain = re.sub(r"^([+-]?)\s*\$\s*|^([+-])\s+", lambda found: found[1] or found[2] or "", plain)
    return plain.replace(",", "").replace(" ", "") if _THOUSANDS.fullmatch(plain) else plain
