"""What `simulate.py` tries of products by the tensor cores: kernels for each tile, with the instructions emulated.

Of float32 arrays under a policy for less precision, and of arrays of two bytes an element.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from unittest import mock

import numpy as np
from cases import Case, make
from expected import assert_close, expected, magnitude
from running import run
from test_specials import injected

import fastnn as fn
from fastnn.backends import Backend
from fastnn.backends.split_products import PRODUCTS, split
from fastnn.kernels.numba_cuda import shim
from fastnn.kernels.numba_cuda.matmul import multiplied, plan
from fastnn.table import HALVES, PRECISIONS, TABLE, Tolerance

LESS = PRECISIONS[1:]
#: m, n and k for which all ways are tried: split along k or not, with rows that begin at multiples of 16 bytes or not;
#: and those for which all transpositions are, of the others one in turn.
SMALL = ((5, 7, 50), (33, 7, 3), (8, 16, 40), (3, 4, 0))
TURNED = (5, 7, 50), (8, 16, 40)
#: Larger tiles take the simulator long.
LARGE = {(40, 36, 20): (*LESS, *HALVES), (66, 35, 5): ("bf16", "float16"), (129, 65, 5): ("bf16x3", "bfloat16")}
#: What comes of these sizes: tiles, and whether the product is split.
ALL = {*product((32, 64), (False, True)), (128, False)}
#: Error of a product of rounded numbers, in epsilon of the largest element, and of one of numbers not rounded.
SUMMED = TABLE["matmul"].tolerance
LOOSE = Tolerance(2.0**16, "array")


def rounded(x: np.ndarray, precision: str, operand: int, axis: int) -> np.ndarray:
    """An operand whose product with the other, in exact arithmetic, is that of the policy; `axis` is the inner one."""
    if precision == "tf32":
        significand, exponent = np.frexp(x)
        away = np.floor(np.abs(significand) * 2**11 + 0.5) / 2**11
        return np.ldexp(np.copysign(away, x), exponent).astype(np.float32)
    parts = split(x, 2)
    return np.concatenate([parts[pair[operand]] for pair in PRODUCTS[precision]], axis)


def wanted(case: Case) -> dict[str, np.ndarray]:
    """What a product of the rounded operands is."""
    precision, dtype = case.params["precision"], case.inputs[0].dtype.name
    if dtype in HALVES:
        return expected(case, dtype)
    a, b = case.inputs[:2]
    a = rounded(a, precision, 0, 0 if case.params.get("transpose_a") else 1)
    b = rounded(b, precision, 1, 1 if case.params.get("transpose_b") else 0)
    return expected(replace(case, inputs=(a, b, *case.inputs[2:])), "float32")


def products(backend: Backend, ways: Sequence[str], larger: Mapping = LARGE) -> set[tuple[int, bool]]:
    """Every policy or dtype, transposition and epilogue; returns the tiles, and whether products were split."""
    seen = set()
    large = [(size, way) for size, tried in larger.items() for way in tried if way in ways]
    for i, ((m, n, k), way) in enumerate([*product(SMALL, ways), *large]):
        dtype, precision = (way, "float32") if way in HALVES else ("float32", way)
        (tile, _), _, length = plan(m, n, k, 4, multiplied(dtype, precision))
        seen.add((tile, length < k))
        flags = list(product((False, True), repeat=2))
        for ta, tb in flags if (m, n, k) in TURNED else flags[i % 4 :][:1]:
            accumulate = ta and (m, n, k) in SMALL
            params = {"transpose_a": ta, "transpose_b": tb, "accumulate": accumulate, "precision": precision}
            case = make(TABLE["matmul"], {"m": m, "n": n, "k": k}, params, frozenset(), dtype)
            found = run(backend, case, dtype)["y"]
            assert_close(case, found, wanted(case)["y"], SUMMED, magnitude(case))
            if not accumulate and n % 8 == k % 8 == 0:
                # Into an array of its own, whose rows begin at multiples of 16 bytes.
                a, b = map(fn.to_device, case.inputs)
                y = fn.ops.matmul(a, b, transpose_a=ta, transpose_b=tb, precision=precision)
                np.testing.assert_array_equal(fn.to_host(y), found, err_msg=str(case))
        if (m, n, k) not in SMALL:
            continue
        params = {"activation": "gelu", "alpha": 0.0, "precision": precision}
        case = make(TABLE["dense"], {"b": m, "i": k, "o": n}, params, frozenset({"b", "bias", "pre"}), dtype)
        for name, got in run(backend, case, dtype).items():
            assert_close(f"{case}: {name}", got, wanted(case)[name], TABLE["dense"].tolerance, magnitude(case))
    return seen


def gradients() -> None:
    """The gradient of a layer is made of products under its policy."""
    rng = np.random.default_rng(0)
    for precision in LESS:
        dy, x, w, y = (
            fn.to_device(rng.standard_normal(s).astype(np.float32)) for s in ((6, 9), (6, 40), (40, 9), (6, 9))
        )
        dz = fn.ops.relu_backward(dy, y)
        dx, dw, _ = fn.ops.dense_backward(dy, x, w, saved=y, activation="relu", precision=precision)
        want = {
            "dx": (dx, fn.ops.matmul(dz, w, transpose_b=True, precision=precision)),
            "dw": (dw, fn.ops.matmul(x, dz, transpose_a=True, precision=precision)),
        }
        for name, pair in want.items():
            np.testing.assert_array_equal(*map(fn.to_host, pair), err_msg=f"{name}, {precision}")


def specials(backend: Backend) -> None:
    """Infinities and NaN appear where they do in float32, and no finite number becomes infinite."""
    for precision in LESS:
        dense = dict(TABLE["dense"].params) | {"precision": precision}
        matmul = {"transpose_a": True, "transpose_b": True, "accumulate": True, "precision": precision}
        special = [
            *injected(TABLE["dense"], {"b": 5, "i": 7, "o": 4}, dense, "float32"),
            *islice(injected(TABLE["matmul"], {"m": 5, "n": 4, "k": 19}, matmul, "float32"), 3),
        ]
        for case in special:
            plain = replace(case, params=case.params | {"precision": "float32"})
            for name, got in run(backend, case, "float32").items():
                assert_close(f"{case}: {name}", got, expected(plain, "float32")[name], LOOSE, magnitude(case))
        largest = fn.to_device(np.full((2, 3), np.finfo(np.float32).max))
        halves = fn.to_device(np.diag(np.float32([0.5, 0.25, 1])))
        found = fn.to_host(fn.ops.matmul(largest, halves, precision=precision))
        np.testing.assert_array_equal(found, fn.to_host(largest) @ fn.to_host(halves), err_msg=precision)


def policies(backend: Backend) -> str:
    """What is wrong with products under the policies for less precision, or ""."""
    try:
        assert products(backend, LESS) == ALL
        gradients()
        specials(backend)
    except Exception:
        return traceback.format_exc()
    return ""


def overflows() -> None:
    """Sums beyond float16's largest number are infinite, and terms beyond it are not."""
    for way, limit in (("float16", 65504.0), ("bfloat16", 3.0e38)):
        large = np.full((2, 8), limit, way)
        b = np.zeros((8, 8), way)
        b[:2, 0], b[:2, 1], b[:2, 2], b[0, 3] = 1, -1, (1, -1), 1
        found = fn.to_host(fn.ops.matmul(fn.to_device(large), fn.to_device(b))).astype(np.float32)
        row = [np.inf, -np.inf, 0, large[0, 0].astype(np.float32), 0, 0, 0, 0]
        np.testing.assert_array_equal(found, [row, row], err_msg=way)


def halves(backend: Backend) -> str:
    """What is wrong with products of numbers of two bytes, with and without their instructions, or ""."""
    try:
        for capability in ((9, 0), (7, 5)):
            with mock.patch.object(shim, "capability", lambda capability=capability: capability):
                cores = capability >= (8, 0)
                seen = products(backend, HALVES, LARGE if cores else {})
                assert seen == ALL or not cores
                overflows()
    except Exception:
        return traceback.format_exc()
    return ""
