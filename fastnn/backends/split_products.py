"""Matrix products of float32 numbers split into bfloat16 parts, bit for bit as the AMX kernel computes them.

A float32 number is the sum of three bfloat16 numbers of 8 bits each, hi + mid + lo, each the rest rounded to nearest.
A product is the sum of products of parts, smallest first, in float32. The order of all additions is that of
`fastnn_ext/amx.h`; each step of 32 along the inner dimension is one TDPBF16PS, as the Intel 64 and IA-32 Architectures
Software Developer's Manual (volume 2, TDPBF16PS) defines it.
"""

from __future__ import annotations

import numpy as np

#: Which parts of a and b are multiplied, in order: 0 is hi, 1 is mid, 2 is lo. Left out are those below 2**-24.
PRODUCTS = {
    "bf16x6": ((2, 0), (0, 2), (1, 1), (1, 0), (0, 1), (0, 0)),
    "bf16x3": ((1, 0), (0, 1), (0, 0)),
    "bf16": ((0, 0),),
}
#: Terms of comparable size that sums must have, on average, for bf16x6: float32 arithmetic rounds a sum of one or two
#: products as few times, and drops nothing. From three on the error was at most 0.9 of that of float32 arithmetic
#: (docs/precision.md).
TERMS = 3
#: Elements along the inner dimension that are added up before the sum is added to the result, and in one instruction.
DEPTH, STEP = 256, 32
#: Smaller inputs are subnormal, and smaller results round to subnormals: the unit replaces both by zero.
SMALLEST_NORMAL, FLUSHED = 2.0**-126, 2.0**-126 - 2.0**-151
#: The unit has no subnormals: lo, whose last bit is 2**-23 of the number, must not need one, and what products of
#: parts lose by being replaced by zero (2**-126) must be below the last bit of the smallest product.
SMALLEST, SMALLEST_PRODUCT = 2.0**-103, 2.0**-100
#: A number that rounds to an infinite hi, and sums that could be infinite and whose parts' difference is then NaN.
LARGEST, LARGEST_SUM = 2.0**127, 2.0**126


def split(x: np.ndarray, parts: int) -> list[np.ndarray]:
    """The leading `parts` bfloat16 parts of a float32 array, as float32."""
    found = []
    for _ in range(parts):
        bits = np.ascontiguousarray(x).view(np.uint32)
        part = (bits + 0x7FFF + (bits >> 16 & 1) & 0xFFFF0000).view(np.float32)
        found.append(part)
        x = x - part
    return found


def fits(a: np.ndarray, b: np.ndarray, kind: str) -> bool:
    """Whether the product of these operands, (m,k) and (k,n), may be computed from their parts."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    lines = [np.abs(x).astype(np.float64) for x in (a, b.T)]
    smallest = [x[x > 0].min(initial=np.inf) for x in lines]
    largest = [x.max(initial=0.0) for x in lines]
    if kind == "bf16x6" and _filling(lines[0]) * _filling(lines[1]) * a.shape[1] < TERMS:
        return False
    return bool(
        min(smallest) >= SMALLEST
        and smallest[0] * smallest[1] >= SMALLEST_PRODUCT
        and max(largest) < LARGEST
        and largest[0] * largest[1] * a.shape[1] < LARGEST_SUM
    )


def _filling(lines: np.ndarray) -> float:
    """The share of the inner dimension that carries the lines' sums: (sum |x|)^2 / (k sum x^2), the mean over lines.

    It is one if all elements have the same size, 1/k if there is one beside zeros. Lines of zeros do not count.
    """
    lines = lines[lines.any(axis=1)]
    shares = lines.sum(axis=1) ** 2 / np.square(lines).sum(axis=1) / max(lines.shape[1], 1)
    return float(shares.mean()) if len(lines) else 1.0


def split_product(a: np.ndarray, b: np.ndarray, kind: str, start: np.ndarray | None = None) -> np.ndarray:
    """a (m,k) b (k,n), both float32 and within range, added to `start` (m,n) where it is given."""
    padding = -a.shape[1] % STEP
    parts = 1 + max(max(pair) for pair in PRODUCTS[kind])
    a_parts = split(np.pad(a, ((0, 0), (0, padding))), parts)
    b_parts = split(np.pad(b, ((0, padding), (0, 0))), parts)
    y = start
    for depth0 in range(0, max(a.shape[1], 1), DEPTH):
        total = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for i, j in PRODUCTS[kind]:
            for first in range(depth0, min(depth0 + DEPTH, a.shape[1] + padding), STEP):
                step = slice(first, first + STEP)
                total = _dot_products(total, a_parts[i][:, step], b_parts[j][step])
        y = total if y is None else y + total
    assert y is not None
    return y


def _dot_products(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """TDPBF16PS: even and odd elements are added up by themselves, then both sums, then c to that.

    Products of two 8-bit significands are exact in float64. So is the sum with a float32 number, unless that is so
    much larger or smaller that rounding twice gives the same.
    """
    a, b, c = (np.where(np.abs(x) < SMALLEST_NORMAL, np.copysign(0, x), x) for x in (a, b, c))
    sums = np.zeros((2, *c.shape), np.float32)
    for pair in range(0, a.shape[1], 2):
        for odd in (0, 1):
            product = np.multiply.outer(a[:, pair + odd].astype(np.float64), b[pair + odd].astype(np.float64))
            sums[odd] = _rounded(product + sums[odd])
    return _rounded(c.astype(np.float64) + _rounded(sums[0].astype(np.float64) + sums[1]))


def _rounded(x: np.ndarray) -> np.ndarray:
    """float64 as float32, subnormals as zeros."""
    return np.where(np.abs(x) < FLUSHED, np.copysign(0, x), x).astype(np.float32)
