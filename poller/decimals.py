"""Arithmetic that keeps the decimals of its inputs: 2506 x 0.01 is 25.06, not 25.060000000000002.

A register holds a decimal number of a few digits. Binary floats cannot, but
the shortest decimal of each is what the device meant, so sums and products
are made of those.
"""

import struct
from decimal import Decimal


def multiply(number: int | float, factor: int | float) -> int | float:
    """A product with the decimals of its factors; whole numbers stay whole.

    >>> multiply(2506, 0.01), multiply(7, 1), multiply(7, 10)
    (25.06, 7, 70)
    """
    if isinstance(number, int) and isinstance(factor, int):
        return number * factor
    return number if factor == 1 else float(_exact(number) * _exact(factor))


def add(one: int | float, other: int | float) -> int | float:
    """A sum with the decimals of its terms.

    >>> add(0.1, 0.2), add(12345.67, -45.6), add(3, 4)
    (0.3, 12300.07, 7)
    """
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return float(_exact(one) + _exact(other))


def subtract(one: int | float, other: int | float) -> int | float:
    """A difference with the decimals of its terms.

    >>> subtract(35.3, 30.1)
    5.2
    """
    return add(one, -other)


def shorten_float32(number: float) -> float:
    """The float with the fewest digits that is the same 32-bit float; the argument is finite.

    >>> shorten_float32(1.2339999675750732)
    1.234
    """
    same = struct.pack(">f", number)
    for digits in (6, 7, 8):
        short = float(f"{number:.{digits}g}")
        if struct.pack(">f", short) == same:
            return short
    return float(f"{number:.9g}")  # nine digits always name one 32-bit float


def float32_steps(one: float, other: float) -> int:
    """How many 32-bit floats lie from one number to another of the same sign; 0 for the same one.

    >>> float32_steps(8388608.0, 8388610.0)
    2
    """
    first, second = (int.from_bytes(struct.pack(">f", number), "big") for number in (one, other))
    return abs(first - second)


def _exact(number: int | float) -> Decimal:
    return Decimal(repr(number))
