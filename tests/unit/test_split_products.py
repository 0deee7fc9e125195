"""Products of bfloat16 parts: the arithmetic of the AMX unit, emulated bit for bit, and its errors.

No matrix unit is needed: whatever is said here of bf16x6, bf16x3 and bf16 is said of the emulation.
"""

from fractions import Fraction
from math import ldexp

import numpy as np
import pytest

import fastnn_ext
from fastnn import ops
from fastnn.backends import split_products
from fastnn.backends.split_products import DEPTH, PRODUCTS, SMALLEST, fits, split, split_product

F4 = np.float32
TINY = Fraction(1, 2**126)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(F4)


def spread(rng, decades, *shape):
    """Powers of ten, as many decades up as down."""
    return 10.0 ** rng.uniform(-decades, decades, shape)


# --- parts -----------------------------------------------------------------------------------------------


def every_size(rng, n):
    """float32 numbers of all exponents from 2**-103 to 2**126 and random significands."""
    exponents = rng.integers(127 - 103, 127 + 126, n).astype(np.uint32) << 23
    bits = exponents | rng.integers(0, 2**23, n).astype(np.uint32) | rng.integers(0, 2, n).astype(np.uint32) << 31
    return bits.view(F4)


def test_three_parts_are_the_number(rng):
    x = np.concatenate([every_size(rng, 10_000), [0, SMALLEST, 1, np.float32(2**126)]]).astype(F4)
    hi, mid, lo = split(x, 3)
    for part in (hi, mid, lo):
        assert not (part.view(np.uint32) & 0xFFFF).any()
        assert (np.abs(part[part != 0]) >= 2.0**-126).all(), "a part that the unit would take for zero"
    np.testing.assert_array_equal(hi.astype(np.float64) + mid + lo, x)
    assert (np.abs(x - hi) <= np.abs(x) * 2.0**-8).all() and (np.abs(mid) <= np.abs(x) * 2.0**-8).all()
    assert (np.abs(lo) <= np.abs(x) * 2.0**-16).all()


def test_parts_are_rounded_to_nearest_even():
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, 1 - 2**-9], F4)
    np.testing.assert_array_equal(split(x, 1)[0], np.array([1, 1 + 2**-6, 1 + 2**-7, 1], F4))


# --- the instruction -------------------------------------------------------------------------------------


def nearest(x: Fraction) -> Fraction:
    """A rational number rounded to 24 bits, to even, and to zero where that is below the smallest normal number."""
    if not x:
        return Fraction(0)
    exponent = abs(x).numerator.bit_length() - abs(x).denominator.bit_length()
    unit = Fraction(2) ** (exponent - (abs(x) < Fraction(2) ** exponent) - 23)
    rounded = round(x / unit) * unit
    return rounded if abs(rounded) >= TINY else Fraction(0)


def instruction(c, a, b):
    """TDPBF16PS on one element, word by word as the manual has it, in rational numbers."""
    flush = lambda x: Fraction(float(x)) if abs(float(x)) >= 2.0**-126 else Fraction(0)  # noqa: E731
    sums = [Fraction(0), Fraction(0)]
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        sums[i % 2] = nearest(flush(x) * flush(y) + sums[i % 2])
    return float(nearest(flush(c) + nearest(sums[0] + sums[1])))


@pytest.mark.parametrize("scale", (0, -63, -70, -120), ids=lambda s: f"2**{s}")
def test_instruction(scale, rng):
    """Random bfloat16 numbers, at scales where sums, products and the numbers themselves are subnormal too."""
    for _ in range(40):
        a, b = (split(every_spread(rng, scale), 1)[0] for _ in range(2))
        c = F4(ldexp(rng.standard_normal(), max(2 * scale, -140)))
        found = split_products._dot_products(np.full((1, 1), c), a[None], b[:, None])
        assert found.item() == instruction(c, a, b)


def every_spread(rng, scale):
    """32 numbers of a few binary orders of magnitude around 2**scale."""
    return (rng.standard_normal(32) * 2.0 ** (scale + rng.integers(-12, 12, 32))).astype(F4)


# --- products --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PRODUCTS)
@pytest.mark.parametrize(("m", "k", "n"), ((1, 1, 1), (3, 33, 5), (4, DEPTH + 1, 3), (2, 0, 3)))
def test_integers_are_exact(kind, m, k, n, rng):
    """Numbers of at most eight bits are their own hi, and sums of their products have less than 24."""
    a, b, start = (rng.integers(-128, 129, shape).astype(F4) for shape in ((m, k), (k, n), (m, n)))
    np.testing.assert_array_equal(split_product(a, b, kind), a @ b)
    np.testing.assert_array_equal(split_product(a, b, kind, start), start + a @ b)


def test_identity_is_exact(rng):
    a = every_size(rng, 40 * 64).reshape(40, 64)
    np.testing.assert_array_equal(split_product(a, np.eye(64, dtype=F4), "bf16x6"), a)


def test_range():
    """What splitting would change, and the next number to it."""
    one = np.ones((2, 64), F4)

    def with_one(value, other=1.0, kind="bf16x3"):
        a = one.copy()
        a[1, 5] = value
        return fits(a, other * one.T, kind)

    assert with_one(1.0) and with_one(0.0)
    for value in (np.nan, np.inf, -np.inf, 1e-40, 2.0**127, -3.4e38):
        assert not with_one(value)
    assert with_one(SMALLEST, 2.0**3) and not with_one(np.nextafter(F4(SMALLEST), F4(0)), 2.0**10)
    assert with_one(2.0**-90, 2.0**-10) and not with_one(2.0**-90, 2.0**-11)
    assert with_one(2.0**100, 2.0**19) and not with_one(2.0**100, 2.0**20)
    assert fits(0 * one, one.T, "bf16x6") and fits(one, 0 * one.T, "bf16")


# --- errors ----------------------------------------------------------------------------------------------


def few(rng, terms, m, k):
    """Rows with so many ones."""
    a = np.zeros((m, k))
    for row in a:
        row[rng.choice(k, terms, replace=False)] = 1
    return a


def cancelling(rng):
    """Sums that all but vanish: every product has its opposite but for the last bits."""
    x, w = normal(rng, 40, 128), normal(rng, 128, 40)
    return np.hstack([x, x]), np.vstack([w, -w * (1 + 1e-6 * normal(rng, 128, 40))])


#: Operands (m,k) and (k,n): what products of a network look like, and what is hard.
OPERANDS = {
    "k=64": lambda r: (normal(r, 48, 64), normal(r, 64, 48)),
    "k=256": lambda r: (normal(r, 40, 256), normal(r, 256, 40)),
    "k=784": lambda r: (normal(r, 32, 784), normal(r, 784, 32)),
    "long sums, k=4096": lambda r: (normal(r, 16, 4096), normal(r, 4096, 16)),
    "long positive sums, k=4096": lambda r: (r.random((16, 4096)), r.random((4096, 16))),
    "rectified, a fifth of each": lambda r: (
        np.maximum(normal(r, 40, 256) - 0.8, 0), np.maximum(normal(r, 256, 40) - 0.8, 0),
    ),
    "cancellation": cancelling,
    "badly scaled rows and columns": lambda r: (
        normal(r, 40, 256) * spread(r, 12, 40, 1), normal(r, 256, 40) * spread(r, 3, 1, 40),
    ),
    "badly scaled inner dimension": lambda r: (
        normal(r, 40, 256) * spread(r, 2, 1, 256), normal(r, 256, 40) * spread(r, 2, 256, 1),
    ),
    "badly scaled elements": lambda r: (
        normal(r, 40, 256) * spread(r, 2, 40, 256), normal(r, 256, 40) * spread(r, 2, 256, 40),
    ),
    "elements over 24 decades": lambda r: (
        normal(r, 40, 64) * spread(r, 12, 40, 64), normal(r, 64, 40) * spread(r, 12, 64, 40),
    ),
    "products around 1e-29": lambda r: (1e-20 * (1 + r.random((40, 256))), 1e-9 * (1 + r.random((256, 40)))),
    "products around 1e-31": lambda r: (1e-20 * (1 + r.random((40, 256))), 1e-11 * (1 + r.random((256, 40)))),
    "numbers around 1e-38": lambda r: (1e-38 * normal(r, 40, 256), 1e30 * normal(r, 256, 40)),
    "numbers around 1e37": lambda r: (1e37 * normal(r, 40, 256), 1e-20 * normal(r, 256, 40)),
    "one term a sum": lambda r: (few(r, 1, 40, 256) * normal(r, 40, 256), normal(r, 256, 40)),
    "two terms a sum": lambda r: (few(r, 2, 40, 256), normal(r, 256, 40)),
    "six terms a sum": lambda r: (few(r, 6, 40, 256), normal(r, 256, 40)),
}  # fmt: skip


def operands(name, rng):
    a, b = OPERANDS[name](rng)
    return a.astype(F4), b.astype(F4)


def error(y, exact):
    """In the Frobenius norm."""
    scale = np.abs(exact).max()  # squares of 1e-30 would vanish
    return np.linalg.norm((y - exact) / scale) / np.linalg.norm(exact / scale)


@pytest.mark.skipif(fastnn_ext.ISA == "amx", reason="the compiled product may be one of bfloat16 parts itself")
@pytest.mark.parametrize("name", OPERANDS)
def test_default_is_no_worse_than_float32(name, rng):
    """Wherever bf16x6 stands for float32, its error is below that of the compiled float32 kernel."""
    a, b = operands(name, rng)
    exact = a.astype(np.float64) @ b
    if fits(a, b, "bf16x6"):
        assert error(split_product(a, b, "bf16x6"), exact) <= error(ops.matmul(a, b, backend="cython"), exact)


def test_where_the_default_is_float32():
    """The operands that bf16x6 is not used for; all others are."""
    left = {name for name in OPERANDS if not fits(*operands(name, np.random.default_rng(0)), "bf16x6")}
    assert left == {
        "elements over 24 decades", "products around 1e-31", "numbers around 1e-38", "one term a sum",
        "two terms a sum",
    }  # fmt: skip


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize(("kind", "bits"), (("bf16x3", 16), ("bf16", 8)))
def test_errors_of_what_must_be_asked_for(name, kind, bits, rng):
    """Each product is off by 2**(1 - bits) at most, and by little more in the sum of all sizes."""
    a, b = operands(name, rng)
    if fits(a, b, kind):
        exact, sizes = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
        assert (np.abs(split_product(a, b, kind) - exact) <= 2.0 ** (1 - bits) * 1.1 * sizes).all()
