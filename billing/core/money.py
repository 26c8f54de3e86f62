"""Exact money (methods.md §1). Facts are `Decimal`, unrounded; here are the one rounding and the one float crossing.

Every product and sum runs under a context of 50 digits that traps `Inexact`: a result that would lose a digit raises
instead of being rounded in silence. The widest real product (a 19-digit token count × an 18-digit price) has 37 digits.
"""

import decimal
import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Context, Decimal
from fractions import Fraction
from typing import Final

ZERO: Final = Decimal(0)
CENT: Final = Decimal("0.01")
MICRO_USD: Final = Decimal("0.000001")
ROUNDING_MODES: Final = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN, ROUND_UP)

EXACT: Final = Context(
    prec=50,
    rounding=ROUND_HALF_UP,
    Emin=-999,
    Emax=999,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
)
_ROUNDING_TRAPS: Final = [decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow]
_AMOUNT: Final = re.compile(r"[+-]?[0-9]{1,30}(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?", re.ASCII)
_MAX_MAGNITUDE: Final = 24  # numeric(28,15) holds 13 digits before the point; anything near this is a broken file
_MAX_PLACES: Final = 24


class MoneyError(ValueError):
    """An amount that cannot be money: not a number, not finite, out of range, or not exactly representable."""


class AmountOutOfRange(MoneyError):
    """A number, but of no amount of money: too large, or with too many places."""


def line_cost(quantity: int, usd_per_unit: Decimal, *, unit_exponent: int = 6) -> Decimal:
    """Cost in usd of `quantity` at a price per 10^unit_exponent of them, exact and unrounded (methods.md §1.2).

    With the default exponent: tokens × usd per million tokens. Web searches are priced per thousand (exponent 3).

    >>> line_cost(1_234_567, Decimal("0.30"))
    Decimal('0.37037010')

    Raises MoneyError for a negative or non-integer quantity, a negative or non-finite price, a product of > 50 digits.
    """
    if isinstance(quantity, bool) or not isinstance(quantity, int) or quantity < 0:
        raise MoneyError(f"quantity must be a whole number of at least 0, got {quantity!r}")
    _check_price(usd_per_unit)
    try:
        return EXACT.scaleb(EXACT.multiply(Decimal(quantity), usd_per_unit), -unit_exponent)
    except decimal.DecimalException as error:
        raise MoneyError(f"{quantity} × {usd_per_unit} does not fit in 50 digits") from error


def usd_per_each(usd_per_unit: Decimal, *, unit_exponent: int = 6) -> Decimal:
    """Price of one token (or search), exact: `quantity × usd_per_each == line_cost(quantity, …)`. For SQL sums."""
    _check_price(usd_per_unit)
    return EXACT.scaleb(usd_per_unit, -unit_exponent)


def sum_usd(amounts: Iterable[Decimal]) -> Decimal:
    """Exact sum in usd, unrounded; 0 for no amounts. Raises MoneyError rather than lose a digit."""
    total = ZERO
    try:
        for amount in amounts:
            total = EXACT.add(total, amount)
    except decimal.DecimalException as error:
        raise MoneyError("a sum of amounts does not fit in 50 digits, or one of them is not a number") from error
    return total


def round_usd(amount: Decimal, mode: str = ROUND_HALF_UP) -> Decimal:
    """Whole cents, the one rounding function (methods.md §1.5). `mode` is one of ROUNDING_MODES.

    >>> round_usd(Decimal("0.125")), round_usd(Decimal("0.135"))
    (Decimal('0.13'), Decimal('0.14'))
    """
    if mode not in ROUNDING_MODES:
        raise MoneyError(f"unknown rounding mode {mode!r}; use one of {', '.join(ROUNDING_MODES)}")
    return _quantize(amount, CENT, mode)


def split_cents(total_cents: int, weights: Sequence[int | Decimal | Fraction]) -> list[int]:
    """Split whole cents in proportion to `weights`; the parts sum to the total (methods.md §1.8).

    Largest remainder, ties to the earlier part. A negative total (a credit) is split like its absolute value.

    >>> split_cents(10_000, [1, 1, 1])
    [3334, 3333, 3333]

    Raises MoneyError without weights, for a negative or non-finite weight, or when all weights are 0.
    """
    if any(isinstance(weight, Decimal) and not weight.is_finite() for weight in weights):
        raise MoneyError("weights must be finite")
    exact = [Fraction(weight) for weight in weights]
    if any(weight < 0 for weight in exact):
        raise MoneyError("weights must not be negative")
    whole = sum(exact, Fraction(0))
    if whole == 0:
        raise MoneyError("nothing to split by: give at least one weight above 0")
    size = abs(total_cents)
    shares = [size * weight / whole for weight in exact]
    parts = [math.floor(share) for share in shares]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - shares[i], i))
    for i in by_remainder[: size - sum(parts)]:
        parts[i] += 1
    return parts if total_cents >= 0 else [-part for part in parts]


def estimate_usd(value: float) -> Decimal:
    """The one crossing from a float estimate to money: six decimals, half up on the float's exact binary value (§1.9).

    Raises MoneyError for NaN, an infinity, or anything that is not a real number.
    """
    number = float(value)
    if not math.isfinite(number):
        raise MoneyError(f"an estimate of {number} is not an amount; a failed estimate is absent, with its reason")
    return _quantize(Decimal(number), MICRO_USD, ROUND_HALF_UP)


def parse_usd(text: str) -> Decimal:
    """A plain decimal number of dollars from text, exactly as written.

    Accepts digits with an optional sign, fraction and small exponent (`1e-07`). Raises MoneyError for an empty string,
    NaN, an infinity, thousands separators, currency signs, and exponents that explode (`1e400`).
    """
    cleaned = text.strip(" \t\r\n")
    if not _AMOUNT.fullmatch(cleaned):
        raise MoneyError(f"{_shown(text)} is not an amount; write plain digits with a point, e.g. 1234.56")
    amount = Decimal(cleaned)
    exponent = amount.as_tuple().exponent
    if amount.adjusted() > _MAX_MAGNITUDE or (isinstance(exponent, int) and exponent < -_MAX_PLACES):
        raise AmountOutOfRange(f"{_shown(text)} is out of range for an amount of money")
    return amount


def parse_cents(text: str) -> Decimal:
    """Dollars from a provider's decimal string in cents, unrounded (methods.md §1.6): "123.45" is 1.2345 usd."""
    return EXACT.scaleb(parse_usd(text), -2)


def _check_price(usd_per_unit: Decimal) -> None:
    if not isinstance(usd_per_unit, Decimal) or not usd_per_unit.is_finite() or usd_per_unit < 0:
        raise MoneyError(f"a price must be a finite Decimal of at least 0, got {usd_per_unit!r}")


def _quantize(amount: Decimal, step: Decimal, mode: str) -> Decimal:
    try:
        return amount.quantize(step, context=Context(prec=50, rounding=mode, traps=_ROUNDING_TRAPS))
    except decimal.DecimalException as error:
        raise MoneyError(f"{amount} cannot be rounded to {step}: not finite or too large") from error


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
