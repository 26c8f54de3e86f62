"""Numbers as people read them: one rounding (half up on the number as written) and one spelling (78%, $1,235).

Pages, charts, sheets, commands and the sentences built in `core` all write through here, so a figure never reads 7.2%
in a sentence and 7.3% in the table below it.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

Number = int | float | Decimal

MINUS: Final = "−"
UNCLASSIFIED: Final = "Unclassified"  # usage of no class
# What usage is bought through: the value in data, and what pages and documents call it.
CHANNELS: Final[Mapping[str, str]] = {
    "anthropic": "Claude API",
    "bedrock": "Amazon Bedrock",
    "vertex": "Google Vertex AI",
    "platform_aws": "Claude Platform on AWS",
    "foundry": "Microsoft Foundry",
}


def channel_name(channel: str) -> str:
    """bedrock → Amazon Bedrock; what nobody named stays as it is written."""
    return CHANNELS.get(channel, channel)


def channel_values() -> str:
    """anthropic (Claude API), bedrock (Amazon Bedrock), …: what may be written where a channel is asked for."""
    return ", ".join(f"{value} ({name})" for value, name in CHANNELS.items())


def exactly(value: Number) -> Decimal:
    """The number as it is written: a float by its shortest digits, so 0.0725 is not a little less."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def signed(value: Number, places: int, prefix: str = "", suffix: str = "", *, plus: bool = False) -> str:
    """Rounded half up, grouped, the sign before the prefix; a figure that rounds to 0 has none.

    >>> signed(-1234.565, 2, "$"), signed(Decimal("-0.004"), 2, "$")
    ('−$1,234.57', '$0.00')
    """
    number = exactly(value)
    text = f"{abs(number).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"
    is_zero = not text.strip("0.,")
    sign = "" if is_zero else MINUS if number < 0 else "+" if plus else ""
    return f"{sign}{prefix}{text}{suffix}"


def percent(share: Number, places: int = 1) -> str:
    """A share as per cent.

    >>> percent(0.0725), percent(Decimal("0.2"), 0), percent(-0.118)
    ('7.3%', '20%', '−11.8%')
    """
    return signed(exactly(share) * 100, places, suffix="%")


def percent_as_set(share: Number) -> str:
    """A share somebody chose, with the places it was given: 0.93 → 93%, 0.925 → 92.5%."""
    text = f"{exactly(share) * 100:.6f}".rstrip("0").rstrip(".")
    return f"{text}%"


def usd(value: Number, places: int = 0) -> str:
    """$1,235; with `places=2` to the cent. Estimates are read without cents, which would claim too much."""
    return signed(value, places, "$")


def joined(words: Iterable[str]) -> str:
    """Words as one key; a bar or backslash of their own is escaped: `parted` gives the same words back.

    >>> joined(["usage", "a|b", ""]), parted("usage|a\\|b|")
    ('usage|a\\|b|', ('usage', 'a|b', ''))
    """
    return "|".join(word.replace("\\", "\\\\").replace("|", "\\|") for word in words)


def parted(key: str) -> tuple[str, ...]:
    """The words of `joined`."""
    words = re.findall(r"(?:^|\|)((?:\\.|[^|\\])*)", key, re.DOTALL)
    return tuple(re.sub(r"\\(.)", r"\1", word, flags=re.DOTALL) for word in words)
