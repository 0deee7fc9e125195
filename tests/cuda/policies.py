"""What `simulate.py` tries of products by the tensor cores: kernels for each tile, with the instructions emulated."""

import traceback
from dataclasses import replace
from itertools import islice, product

import numpy as np
from cases import Case, make
from expected import assert_close, expected, magnitude
from running import run
from test_specials import injected

import fastnn as fn
from fastnn.backends import Backend
from fastnn.backends.split_products import PRODUCTS, split
from fastnn.kernels.numba_cuda.matmul import plan
from fastnn.table import PRECISIONS, TABLE, Tolerance

LESS = PRECISIONS[1:]
#: m, n and k for which all policies and transpositions are tried: split along k or not, with rows that begin at
#: multiples of 16 bytes or not.
SMALL = ((5, 7, 50), (33, 7, 3), (8, 12, 36), (3, 4, 0))
#: Larger tiles take the simulator long.
LARGE = {(40, 36, 20): LESS, (66, 35, 5): ("bf16",), (129, 65, 5): ("bf16x3",)}
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
    precision = case.params["precision"]
    a, b = case.inputs[:2]
    a = rounded(a, precision, 0, 0 if case.params.get("transpose_a") else 1)
    b = rounded(b, precision, 1, 1 if case.params.get("transpose_b") else 0)
    return expected(replace(case, inputs=(a, b, *case.inputs[2:])), "float32")


def products(backend: Backend) -> None:
    """Every policy, tile, transposition and epilogue."""
    seen = set()
    large = [(size, precision) for size, tried in LARGE.items() for precision in tried]
    for i, ((m, n, k), precision) in enumerate([*product(SMALL, LESS), *large]):
        (tile, _), _, length = plan(m, n, k, 4, precision)
        seen.add((tile, length < k))
        flags = list(product((False, True), repeat=2))
        for ta, tb in flags if (m, n, k) in SMALL else flags[i % 4 :][:1]:
            accumulate = ta and (m, n, k) in SMALL
            params = {"transpose_a": ta, "transpose_b": tb, "accumulate": accumulate, "precision": precision}
            case = make(TABLE["matmul"], {"m": m, "n": n, "k": k}, params, frozenset(), "float32")
            found = run(backend, case, "float32")["y"]
            assert_close(case, found, wanted(case)["y"], SUMMED, magnitude(case))
            if not accumulate and (m, n, k) in SMALL:
                # Into an array of its own, whose rows may begin at multiples of 16 bytes.
                a, b = map(fn.to_device, case.inputs)
                y = fn.ops.matmul(a, b, transpose_a=ta, transpose_b=tb, precision=precision)
                np.testing.assert_array_equal(fn.to_host(y), found, err_msg=str(case))
        if (m, n, k) not in SMALL:
            continue
        params = {"activation": "gelu", "alpha": 0.0, "precision": precision}
        case = make(TABLE["dense"], {"b": m, "i": k, "o": n}, params, frozenset({"b", "bias", "pre"}), "float32")
        for name, got in run(backend, case, "float32").items():
            assert_close(f"{case}: {name}", got, wanted(case)[name], TABLE["dense"].tolerance, magnitude(case))
    assert seen == set(product((32, 64), (False, True))) | {(128, False)}, seen


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
        products(backend)
        gradients()
        specials(backend)
    except Exception:
        return traceback.format_exc()
    return ""
