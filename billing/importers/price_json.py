"""What the two JSON price formats share: exact numbers, and a price or the problem with it."""

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from billing.core.money import EXACT
from billing.core.pricebook import Price, PriceError
from billing.importers.base import BROKEN_COMPRESSION, ImportRefused, Problem, broken_compression, open_bytes, shown


def load_exact(path: Path, file_name: str) -> Any:
    """JSON with every number a Decimal as written (0.1 and 1e-07 stay exact). Raises ImportRefused."""
    try:
        with open_bytes(path) as file:
            text = file.read().decode("utf-8-sig")
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise ImportRefused.because(
            file_name,
            f"not valid JSON ({error.msg})",
            "The file may be cut off; download it again",
            line=error.lineno,
        ) from error
    except (ValueError, RecursionError) as error:
        raise ImportRefused.because(file_name, f"not JSON text in UTF-8: {error}", "Download it again") from error
    except BROKEN_COMPRESSION as error:
        raise broken_compression(file_name) from error


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def exact_price(make: Callable[[Decimal], Price], value: object, field: str, *, exponent: int = 0) -> Price | Problem:
    """The price of a number times 10^exponent, or the problem with it."""
    if not isinstance(value, Decimal) or not value.is_finite():
        return Problem(None, field, shown(_plain(value)), "not a number", "Write prices as plain JSON numbers")
    try:
        return make(EXACT.scaleb(value, exponent))
    except PriceError as error:
        return Problem(None, field, shown(str(value)), str(error), "Correct the value")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value
