"""The kernel for the AMX unit, on an emulated one: bit for bit the reference's products of parts, and within bounds.

The sources that run here are those of the package, with the tiles' instructions computed in C: the unit is not tested.
"""

from itertools import product

import emulated
import numpy as np
import pytest
from cases import cases
from expected import assert_close, cases_with_expected, magnitude, tolerance
from running import Watched, run, team
from test_sharing import TEAMS, assert_same_bits
from test_specials import injected

from fastnn import backends, ops
from fastnn.backends.split_products import DEPTH, fits, split_product
from fastnn.table import PRECISIONS, TABLE

F4 = np.float32
#: What the policy's names mean to the unit.
KINDS = {"float32": "bf16x6", "bf16x3": "bf16x3", "bf16": "bf16", "tf32": "bf16x6"}
#: One element, one unit of 32, around units, blocks of 256 rows and stretches of 256, and long and thin.
SIZES = (
    (1, 1, 1), (32, 32, 32), (31, 33, 63), (33, 65, 31), (16, 17, 48), (2, 700, 130), (300, 5, 37), (65, DEPTH, 33),
    (40, DEPTH + 1, 34), (3, 2 * DEPTH + 33, 95), (257, 20, 70), (5, 0, 7),
)  # fmt: skip


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(F4)


def call(name, arrays, dims, params, out_shape, start=None, parts=1, order=(0,)):
    """A kernel on inputs that must stay, an output within guard values, and a workspace within guard values."""
    kernels, op, dtype = emulated.backend(), TABLE[name], arrays[0].dtype
    y = Watched(kernels, out_shape, dtype, start)
    team(kernels, dtype.name, parts, order)(op, [*arrays, y.array], dims, op.params | params)
    return y.read(name)


def multiply(a, b, precision, flips=(False, False), **options):
    """a (m,k) b (k,n), each stored transposed on request."""
    (m, k), n = a.shape, b.shape[1]
    stored = [np.array(x.T if flip else x, order="C") for x, flip in zip((a, b), flips, strict=True)]
    params = {"transpose_a": flips[0], "transpose_b": flips[1], "precision": precision}
    params["accumulate"] = options.get("start") is not None
    return call("matmul", stored, {"m": m, "k": k, "n": n}, params, (m, n), **options)


# --- bit for bit -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_bits_of_the_reference(precision, size, rng):
    """All transposes, added to what was there and not."""
    m, k, n = size
    for flips, add in product(product((False, True), repeat=2), (False, True)):
        a, b = 1 + rng.random((m, k)).astype(F4), normal(rng, k, n)
        start = normal(rng, m, n) if add else None
        found = multiply(a, b, precision, flips, start=start)
        if fits(a, b, KINDS[precision]):
            assert found.tobytes() == split_product(a, b, KINDS[precision], start).tobytes(), (flips, add)
        else:  # sums of a few terms
            expected = a.astype(np.float64) @ b + (0 if start is None else start)
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)


def test_sizes_take_the_unit(rng):
    """Else the test above would compare nothing."""
    taken = [size for size in SIZES if fits(1 + rng.random(size[:2]).astype(F4), normal(rng, *size[1:]), "bf16x6")]
    assert len(taken) >= len(SIZES) - 2


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("size", ((70, 40, 300), (300, 40, 70), (97, 300, 97)), ids=str)
def test_bits_for_every_team(precision, size, rng):
    m, k, n = size
    a, b = normal(rng, m, k), normal(rng, k, n)
    for tiny in (1.0, 1e-40):  # the unit, and operands that are left to FMA
        a[1, 2] = tiny
        one = multiply(a, b, precision)
        for parts in (2, 3, 7, 20):
            for order in (range(parts), range(parts)[::-1]):
                assert multiply(a, b, precision, parts=parts, order=order).tobytes() == one.tobytes()


# --- what is left to FMA ---------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("value", (np.nan, np.inf, 1e-40, 2.0**-104, 2.0**127, 3.4e38), ids=str)
@pytest.mark.parametrize("operand", (0, 1))
def test_what_parts_cannot_hold(precision, value, operand, rng):
    """The same bits as the kernel for FMA, wherever the number stands, in whichever layout."""
    a, b = normal(rng, 70, 90), normal(rng, 90, 100)
    changed = (a, b)[operand]
    for place in ((0, 0), (69, 89), (37, 31)):
        before = changed[place]
        changed[place] = value
        with np.errstate(all="ignore"):
            for flips in product((False, True), repeat=2):
                expected = a.astype(np.float64) @ b
                found = multiply(a, b, precision, flips)
                exact = multiply(a.astype(F4), b.astype(F4), "float32", flips)
                assert found.tobytes() == exact.tobytes()
                special = ~np.isfinite(expected.astype(F4))
                np.testing.assert_array_equal(found[special], expected.astype(F4)[special])
        changed[place] = before


def test_range_is_the_reference_range(rng):
    """At each limit, and one number beyond it, the kernel decides as the reference does."""
    a, b = 1 + rng.random((40, 64)).astype(F4), 1 + rng.random((64, 40)).astype(F4)
    limits = (2.0**-103, 2.0**-100, 2.0**-60, 2.0**119, 2.0**120, 2.0**126, 2.0**127)
    decided = set()
    for limit, scale, direction in product(limits, (1.0, 2.0**-40, 2.0**7), (0, np.inf)):
        for value in (F4(limit), np.nextafter(F4(limit), F4(direction))):
            a[7, 9] = value
            inside = fits(a, F4(scale) * b, "bf16")
            with np.errstate(over="ignore"):
                split = split_product(a, F4(scale) * b, "bf16")
            assert (multiply(a, F4(scale) * b, "bf16") == split).all() == inside, (value, scale)
            decided.add(inside)
    assert decided == {True, False}


@pytest.mark.parametrize("terms", (1, 2, 3, 64))
def test_sums_of_few_terms(terms, rng):
    """The default policy leaves them to FMA, in whichever layout they come."""
    a, b = np.zeros((40, 64), F4), normal(rng, 64, 50)
    for row in a:
        row[rng.choice(64, terms, replace=False)] = rng.standard_normal(terms)
    for flips in product((False, True), repeat=2):
        same = (multiply(a, b, "float32", flips) == split_product(a, b, "bf16x6")).all()
        assert same == fits(a, b, "bf16x6") == (terms == 64)


# --- conformance, as all kernels' ------------------------------------------------------------------------


@pytest.mark.parametrize("op", emulated.OPS)
def test_values(op, dtype):
    """Fused bias and activation, optional arguments, guard values, inputs that must stay; float64 by FMA."""
    kernels, allowed = emulated.backend(), tolerance(TABLE[op], "cython", dtype)
    for case, wanted in cases_with_expected(op, dtype):
        for name, found in run(kernels, case, dtype).items():
            assert_close(f"{case}: {name}", found, wanted[name], allowed, magnitude(case))


@pytest.mark.parametrize("op", emulated.OPS)
def test_shares(op, dtype):
    kernels = emulated.backend()
    for case in cases(op, dtype)[-12:]:
        one = run(kernels, case, dtype, team(kernels, dtype, 1, [0]))
        for parts in TEAMS:
            many = run(kernels, case, dtype, team(kernels, dtype, parts, range(parts)[::-1]))
            assert_same_bits(case, parts, one, many)


@pytest.mark.parametrize("op", emulated.OPS)
def test_specials(op):
    """NaN and infinities in the gradients' operands too: they come out as from the kernel for FMA."""
    kernels = emulated.backend()
    row = TABLE[op]
    dims = dict(zip(row.dims, (37, 41, 45), strict=True))
    for case in injected(row, dims, row.params, "float32"):
        found, wanted = run(kernels, case, "float32"), expected_of(case)
        for name, want in wanted.items():
            np.testing.assert_array_equal(np.isfinite(found[name]), np.isfinite(want), err_msg=f"{case}: {name}")
            np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(want), err_msg=f"{case}: {name}")


def expected_of(case):
    """What the package's own kernel makes of a case."""
    return run(backends.load("cython"), case, "float32")


@pytest.mark.parametrize("precision", ("bf16x3", "bf16"))
def test_dense_follows_the_policy(precision, rng):
    x, w, bias = normal(rng, 50, 70), normal(rng, 70, 45), normal(rng, 45)
    params = {"activation": "relu", "alpha": 0.0, "precision": precision}
    kernels = emulated.backend()
    y = Watched(kernels, (50, 45), F4)
    run_team = team(kernels, "float32", 3, range(3))
    run_team(TABLE["dense"], [x, w, bias, y.array, None], {"b": 50, "i": 70, "o": 45}, params)
    want = ops.dense(x, w, bias, activation="relu", precision=precision, backend="reference")
    np.testing.assert_array_equal(y.read("dense"), want)
    dy = normal(rng, 50, 45)
    out = [Watched(kernels, shape, F4) for shape in ((50, 70), (70, 45), (45,))]
    arrays = [dy, x, w, want, *(o.array for o in out)]
    run_team(TABLE["dense_backward"], arrays, {"b": 50, "o": 45, "i": 70}, params)
    wanted = ops.dense_backward(dy, x, w, want, activation="relu", precision=precision, backend="reference")
    for got, expected in zip(out[:2], wanted, strict=False):
        np.testing.assert_array_equal(got.read("dense_backward"), expected)
    np.testing.assert_allclose(out[2].read("dbias"), wanted[2], rtol=1e-5, atol=1e-6)
