"""grad, value_and_grad, check_gradients and trace. Each op's own gradient is checked in tests/conformance."""

import operator
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastnn as fn
from fastnn import ops
from fastnn.autodiff import gradients
from fastnn.program import Program

X = np.linspace(-1.5, 2, 12).reshape(3, 4)


def test_value_and_grad(backend):
    value, slope = fn.value_and_grad(lambda x: fn.sum(x * x), backend=backend)(X)
    assert value.shape == () and value == pytest.approx((X * X).sum())
    np.testing.assert_allclose(slope, 2 * X, rtol=1e-15)


def test_grad_follows_the_selection():
    seen = []

    def f(x):
        seen.append(x.program.backend.name)
        return fn.sum(x)

    fn.grad(f)(X)
    with fn.use_backend("reference"):
        fn.grad(f)(X)
    fn.grad(f, backend="reference")(X)
    assert seen == ["cython", "reference", "reference"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_kept(dtype):
    value, slope = fn.value_and_grad(lambda x: fn.mean(fn.exp(x)))(X.astype(dtype))
    assert value.dtype == slope.dtype == dtype


def test_numbers_are_float64():
    assert fn.grad(lambda x: x * x)(3) == 6
    assert fn.grad(lambda x: fn.sin(x) / x)(2.0) == pytest.approx(np.cos(2) / 2 - np.sin(2) / 4)
    np.testing.assert_array_equal(fn.grad(lambda x: fn.sum(x * x))(np.array([1, 2])), [2, 4])
    assert fn.grad(lambda pair: pair[0] * pair[1])([2, 5]) == [5, 2]


def test_argnums():
    def f(a, b, c):
        return fn.sum(a * b) + c

    a, b = np.arange(3.0), np.array([2.0, -1.0, 0.5])
    np.testing.assert_array_equal(fn.grad(f)(a, b, 1.0), b)
    np.testing.assert_array_equal(fn.grad(f, 1)(a, b, 1.0), a)
    np.testing.assert_array_equal(fn.grad(f, -2)(a, b, 1.0), a)
    found = fn.grad(f, (2, 0))(a, b, 1.0)
    assert isinstance(found, tuple) and found[0] == 1
    np.testing.assert_array_equal(found[1], b)


def test_argnums_of_numpy_and_given_twice():
    def f(x, y):
        return x * y

    assert fn.grad(f, np.int64(1))(2.0, 3.0) == 2
    assert fn.grad(f, np.array([0, 1]))(2.0, 3.0) == (3, 2)
    assert fn.grad(f, (0, 0))(2.0, 3.0) == (3, 3)
    assert fn.grad(f, (0, 1, -2))(2.0, 3.0) == (3, 2, 3)


@pytest.mark.parametrize("argnums", [1, -2, (0, 1), "x", None, 0.0, ("x",)])
def test_argnums_out_of_range(argnums):
    with pytest.raises(ValueError, match="grad: argnums: expected numbers of the 1 arguments of f, got"):

        def f(x):
            return fn.sum(x)

        fn.grad(f, argnums)(X)


def test_nested_arguments():
    """Gradients come in the nesting of the argument."""

    def f(params, x):
        h = x
        for layer in params["layers"]:
            h = fn.ops.tanh(h @ layer["w"] + layer["b"])
        return fn.sum(h * params["scale"])

    rng = np.random.default_rng(0)
    params = {
        "layers": [
            {"w": rng.normal(size=(4, 5)), "b": rng.normal(size=5)},
            {"w": rng.normal(size=(5, 2)), "b": np.zeros(2)},
        ],
        "scale": 2.0,
    }
    found = fn.grad(f)(params, X)
    assert found.keys() == params.keys()
    assert [set(layer) for layer in found["layers"]] == [{"w", "b"}, {"w", "b"}]
    h1 = np.tanh(X @ params["layers"][0]["w"] + params["layers"][0]["b"])
    h2 = np.tanh(h1 @ params["layers"][1]["w"])
    dz2 = 2 * (1 - h2**2)
    np.testing.assert_allclose(found["layers"][1]["w"], h1.T @ dz2, rtol=1e-12)
    np.testing.assert_allclose(found["layers"][1]["b"], dz2.sum(0), rtol=1e-12)
    dz1 = dz2 @ params["layers"][1]["w"].T * (1 - h1**2)
    np.testing.assert_allclose(found["layers"][0]["w"], X.T @ dz1, rtol=1e-12)
    np.testing.assert_allclose(found["scale"], h2.sum(), rtol=1e-12)


def test_namedtuples():
    class Layer(NamedTuple):
        w: Any
        b: Any

    layer = Layer(np.ones(3), [np.ones(3)])
    found = fn.grad(lambda p: fn.sum(p.w * 2 + p.b[0]))(layer)
    assert type(found) is Layer and (found.w == 2).all() and (found.b[0] == 1).all()
    assert fn.trace(lambda p: p.w + p.b[0], layer)(*layer[:1], *layer.b)[0].tolist() == [2, 2, 2]


def test_operators(backend):
    """Every operator of a tensor, also with numbers and arrays on the left."""
    a = np.array([0.5, 1.5, 2.0])

    def f(x):
        y = 1 - x + 2 * x - x / 4 + 3 / x + x**2 + 2.0**x + (-x) + (a + x) * (a - x) / (a * 2)
        return (y @ a + (x.reshape(1, 3).T @ x.reshape(1, 3)).mean()) * 0.5 + x.sum() + (a @ x.reshape(3, 1)).sum()

    fn.check_gradients(f, [np.array([0.7, 1.1, 1.9])], backend=backend)
    x = np.array([0.7, 1.1, 1.9])
    y = 1 - x + 2 * x - x / 4 + 3 / x + x**2 + 2.0**x + (-x) + (a + x) * (a - x) / (a * 2)
    want = (y @ a + np.outer(x, x).mean()) * 0.5 + x.sum() + a @ x
    assert fn.value_and_grad(f, backend=backend)(x)[0] == pytest.approx(want, rel=1e-14)


def test_value_used_twice():
    """Gradients of all uses add up."""
    np.testing.assert_allclose(fn.grad(lambda x: fn.sum(x * x * x + x))(X), 3 * X**2 + 1, rtol=1e-14)


def test_input_is_the_value():
    assert fn.value_and_grad(lambda x: x)(3.0) == (3.0, 1.0)


def test_independent_argument():
    """What f does not depend on has gradient zero."""
    found = fn.grad(lambda a, b: fn.sum(a), (0, 1))(X, np.ones(2))
    assert (found[0] == 1).all() and (found[1] == 0).all() and found[1].shape == (2,)


def test_broadcasting():
    row, column, number = np.arange(4.0), np.arange(3.0)[:, None], np.array(2.0)
    found = fn.grad(lambda *a: fn.sum(a[0] * a[1] * a[2] * a[3]), range(4))(X, row, column, number)
    assert [g.shape for g in found] == [(3, 4), (4,), (3, 1), ()]
    np.testing.assert_allclose(found[1], (2 * X * column).sum(0))
    np.testing.assert_allclose(found[2], (2 * X * row).sum(1, keepdims=True))
    np.testing.assert_allclose(found[3], (X * row * column).sum())


def test_broadcast_to_nothing():
    assert fn.grad(lambda x: fn.sum(ops.broadcast_to(x, (0,))))(np.ones(1)) == [0.0]
    assert fn.grad(lambda x: fn.sum(x * np.ones((0, 3))))(np.ones(3)).tolist() == [0, 0, 0]


def test_empty_argument():
    value, slope = fn.value_and_grad(lambda x: fn.sum(fn.exp(x)))(np.ones((0, 3)))
    assert value == 0 and slope.shape == (0, 3)


def test_stacked_shapes():
    c = np.arange(12.0).reshape(2, 2, 3)
    fn.check_gradients(lambda x: fn.sum(ops.transpose(x.reshape(2, 3, 2), (2, 0, 1)) * c), [X])
    fn.check_gradients(lambda x: fn.sum(fn.sum(x, 0) ** 2.0) + fn.sum(fn.mean(x, 1, keepdims=True) * x), [X + 3])
    fn.check_gradients(lambda x: fn.sum(ops.softmax(x, axis=0) * np.arange(12.0).reshape(3, 4)), [X])
    fn.check_gradients(lambda v, m: v @ m @ v, [np.arange(3.0), np.arange(9.0).reshape(3, 3)])


def test_gradient_of_gradient():
    second = fn.grad(lambda x: fn.sum(fn.grad(lambda z: fn.sum(fn.sin(z) * z))(x)))(X)
    np.testing.assert_allclose(second, 2 * np.cos(X) - X * np.sin(X), rtol=1e-13, atol=1e-14)
    third = fn.grad(lambda x: fn.grad(lambda y: fn.grad(lambda z: z**4.0)(y))(x))(1.5)
    assert third == pytest.approx(24 * 1.5)


def test_power_of_zero(backend):
    """Where a factor is zero and another infinite, zero as in PyTorch; elsewhere as the formulas have it."""
    nan, inf = np.nan, np.inf
    a = np.array([0.0, -2.0, 0.0, 0.0, 2.0, 0.0, nan, 2.0, nan, 0.0])
    b = np.array([0.0, 0.0, 1.0, 2.0, 3.0, -1.0, 2.0, nan, 0.0, nan])
    by_a, by_b = fn.grad(lambda a, b: fn.sum(a**b), (0, 1), backend=backend)(a, b)
    np.testing.assert_allclose(by_a, [0, 0, 1, 0, 12, -inf, nan, nan, 0, nan], rtol=1e-15)
    np.testing.assert_allclose(by_b, [0, nan, 0, 0, 8 * np.log(2), -inf, nan, nan, nan, nan], rtol=1e-15)
    assert fn.grad(lambda x: fn.sum(x**0 + x**1), backend=backend)(np.array([0.0, 1.0])).tolist() == [1, 1]


def test_further_gradients_of_powers():
    def twice(f):
        return fn.grad(lambda x: fn.sum(fn.grad(lambda z: fn.sum(f(z)))(x)))

    x = np.array([0.0, -2.0, 3.0])
    np.testing.assert_array_equal(twice(lambda z: z**2)(x), [2, 2, 2])
    np.testing.assert_array_equal(twice(lambda z: z**1 + z**0)(x), [0, 0, 0])
    np.testing.assert_allclose(twice(lambda z: 3**z)(x), np.log(3) ** 2 * 3**x, rtol=1e-14)
    np.testing.assert_allclose(twice(lambda z: z**z)(x[2:]), 27 * ((1 + np.log(3)) ** 2 + 1 / 3), rtol=1e-14)
    third = fn.grad(lambda x: fn.sum(twice(lambda z: z**z)(x)))(x[2:])
    one = 1 + np.log(3)
    np.testing.assert_allclose(third, 27 * (one**3 + one - 1 / 9), rtol=1e-14)


def test_gradient_of_gradient_holds_the_others_fixed():
    """The inner gradient is by its own argument alone, whatever else is the same tensor or a number."""
    assert fn.grad(lambda z: fn.grad(lambda x, y: x * y)(z, z))(2.0) == 1
    assert fn.grad(lambda z: fn.grad(lambda x: x * z)(z))(2.0) == 1
    assert fn.grad(lambda z: fn.grad(lambda x, y: x * y, (0, 0))(z, z)[1])(2.0) == 1
    assert fn.grad(lambda z: fn.grad(lambda x, y: x * x * y, (0, 1))(z, 3.0)[0])(2.0) == 6


def test_hessian_times_vector():
    a = np.array([[2.0, 1.0], [1.0, 3.0]])
    v = np.array([1.0, -2.0])
    found = fn.grad(lambda x: fn.sum(fn.grad(lambda z: z @ a @ z * 0.5)(x) * v))(np.array([0.3, 0.7]))
    np.testing.assert_allclose(found, a @ v)


def test_python_control_flow():
    """f is recorded anew at each call."""

    def f(x, n):
        y = x
        for _ in range(n):
            y = y * x
        return fn.sum(y)

    for n in (0, 1, 4):
        np.testing.assert_allclose(fn.grad(f)(X, n), (n + 1) * X**n, rtol=1e-13)


def test_no_rule():
    with pytest.raises(NotImplementedError, match="grad: op 'count_equal' has no gradient rule"):
        fn.grad(lambda x: fn.sum(ops.apply("count_equal", ops.argmax(x), np.zeros(3, int))))(X)
    with pytest.raises(NotImplementedError, match="op 'relu_backward' has no gradient rule"):
        fn.grad(lambda x: fn.sum(fn.grad(lambda z: fn.sum(ops.relu(z) * z))(x)))(X)
    with pytest.raises(NotImplementedError, match="'softmax_cross_entropy' has no gradient by its input number 2"):
        fn.grad(lambda t: ops.softmax_cross_entropy(X, t))(np.full((3, 4), 0.25))


def test_value_must_be_one_number():
    with pytest.raises(fn.ShapeError, match=r"grad: the function's value: expected one element, got \(3, 4\)"):
        fn.grad(lambda x: x * 2)(X)


@pytest.mark.parametrize(
    ("f", "got"),
    [
        (lambda x: [fn.sum(x * x)], "list"),
        (lambda x: None, "NoneType"),
        (lambda x: (fn.sum(x * x), {"aux": 1}), "tuple"),
        (lambda x: "sum", "str"),
    ],
)
def test_value_must_be_a_tensor(f, got):
    """Gradients of zero would hide the mistake; also within another recording."""
    for wrong in (fn.grad(f), fn.value_and_grad(f), fn.grad(lambda x: fn.sum(fn.grad(f)(x)))):
        with pytest.raises(TypeError, match=f"^grad: the function's value: expected a tensor, got {got}$"):
            wrong(X)


def test_value_may_be_a_number():
    for number in (5, 5.0, np.float32(5), np.array(5.0), fn.sum(np.full(2, 2.5))):
        value, slope = fn.value_and_grad(lambda x, number=number: number)(X)
        assert value == 5.0 and value.shape == () and (slope == 0).all() and slope.shape == X.shape
    assert (fn.grad(lambda x: fn.sum(x + fn.grad(lambda z: 5.0)(x)))(X) == 1).all()
    with pytest.raises(fn.ShapeError, match=r"grad: the function's value: expected one element, got \(3, 4\)"):
        fn.grad(lambda x: X)(X)


def test_tensor_has_no_value():
    with pytest.raises(TypeError, match="cannot decide an if"):
        fn.grad(lambda x: fn.sum(x) if fn.sum(x) else x)(X)
    for number in (float, int):
        with pytest.raises(TypeError, match="has no value while a program is recorded: return it"):
            fn.grad(lambda x, number=number: number(fn.sum(x)))(X)


@pytest.mark.parametrize("compare", [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge])
def test_tensor_cannot_be_compared(compare):
    """Neither branch would be right for all values."""
    message = "a Tensor has no value while a program is recorded: it cannot be compared"
    for pair in (lambda x: (x, 1.0), lambda x: (1.0, x), lambda x: (x, -x), lambda x: (x, X), lambda x: (X, x)):
        with pytest.raises(TypeError, match=message):
            fn.grad(lambda x, pair=pair: x if compare(*pair(x)) else -x)(X)
    with pytest.raises(TypeError, match=message):
        fn.grad(lambda x: x if x in [1.0] else -x)(1.0)


def test_tensor_is_a_key():
    a, b = (Program("reference").input("x", (3,), "float64") for _ in range(2))
    assert {a: 1, b: 2}[b] == 2 and len({a, b, a}) == 2


def test_tensor_has_no_parts():
    for part in (lambda x: x[0], lambda x: x[:, 1], list, lambda x: 1.0 in x):
        with pytest.raises(TypeError, match="a Tensor has no parts: it cannot be indexed, iterated or unpacked"):
            fn.grad(part)(X)
    assert fn.grad(lambda x: fn.sum(x) * len(x))(X)[0, 0] == 3
    with pytest.raises(TypeError, match=r"a Tensor of shape \(\) has no length"):
        fn.grad(len)(1.0)


def test_abs(backend):
    x = np.array([-1.5, 0.0, 2.0])
    value, slope = fn.value_and_grad(lambda x: fn.sum(abs(x)), backend=backend)(x)
    assert value == 3.5
    np.testing.assert_array_equal(slope, [-1, 0, 1])


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (np.tanh, "operand 'Tensor' does not support ufuncs"),
        (np.mean, "numpy.mean takes no Tensor: use fastnn's ops"),
        (lambda x: np.where(x, x, 0), "numpy.where takes no Tensor"),
        (np.asarray, "a Tensor has no value while a program is recorded: use fastnn's ops"),
        (lambda x: fn.sum([x]), "a Tensor has no value while a program is recorded: use fastnn's ops"),
    ],
)
def test_numpy_takes_no_tensor(f, message):
    with pytest.raises(TypeError, match=message):
        fn.grad(f)(X)


def test_out_makes_no_sense_while_recording():
    with pytest.raises(ValueError, match="exp: out: expected None while a program is recorded"):
        fn.trace(lambda x: fn.exp(x, out=np.empty(3)), np.ones(3))


def test_tensors_of_two_programs():
    a, b = (Program("reference").input("x", (3,), "float64") for _ in range(2))
    with pytest.raises(ValueError, match="add: b: expected a tensor of the same program, got one of another"):
        a + b


def test_mixed_dtypes():
    with pytest.raises(fn.DtypeError, match="add: b: expected float32"):
        fn.grad(lambda x: fn.sum(x + np.ones(4)))(X.astype("float32"))


def test_check_gradients_finds_a_wrong_rule(monkeypatch):
    from fastnn import autodiff

    monkeypatch.setitem(autodiff.RULES, "sin", lambda call, needs, dy: (dy * ops.cos(call.inputs[0]) * 1.001,))
    assert fn.check_gradients(lambda x: fn.sum(fn.cos(x)), [X]) < 1e-7
    message = r"argument 0, element \(0, 0\): gradient .*, central difference .*, relative error .*e-04 > "
    with pytest.raises(AssertionError, match=message):
        fn.check_gradients(lambda x: fn.sum(fn.sin(x)), [X[:1, :1] + 1.5])


def test_check_gradients_takes_a_list():
    with pytest.raises(TypeError, match="check_gradients: args: expected a list or tuple of arguments, got float"):
        fn.check_gradients(fn.sin, 2.0)


def test_gradient_by_a_result():
    """`gradients` also differentiates by results of earlier calls."""
    program = Program("reference")
    x = program.input("x", (3,), "float64")
    h = fn.exp(x)
    by_h, by_x = gradients(fn.sum(h * h), [h, x])
    for t in (by_h, by_x):
        program.output(t)
    values = np.array([0.0, 1.0, -1.0])
    got = program(values)
    np.testing.assert_allclose(got[0], 2 * np.exp(values), rtol=1e-14)
    np.testing.assert_allclose(got[1], 2 * np.exp(2 * values), rtol=1e-14)


def test_trace():
    program = fn.trace(lambda x, w: (fn.ops.relu(x @ w), fn.sum(x)), X, np.ones((4, 2)))
    assert [t.shape for t in program.inputs] == [(3, 4), (4, 2)]
    assert [t.shape for t in program.outputs] == [(3, 2), ()]
    assert [call.op.name for call in program.calls] == ["matmul", "relu", "sum"]
    y, s = program(X, np.ones((4, 2)))
    np.testing.assert_allclose(y, np.maximum(X @ np.ones((4, 2)), 0))
    assert s == pytest.approx(X.sum())


def test_trace_wants_tensors():
    with pytest.raises(TypeError, match="trace: the function's value: expected tensors, got float"):
        fn.trace(lambda x: 1.0, X)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_random_polynomials(data):
    """Sums and products of powers, differentiated by rule and by hand."""
    x = np.array(data.draw(st.lists(st.floats(-2, 2), min_size=1, max_size=5)))
    coefficients = data.draw(st.lists(st.integers(-3, 3), min_size=1, max_size=5))

    def f(v):
        y = v * 0.0
        for c in coefficients:
            y = y * v + float(c)
        return fn.sum(y)

    want = np.polyval(np.polyder(coefficients), x) if len(coefficients) > 1 else np.zeros_like(x)
    np.testing.assert_allclose(fn.grad(f, backend="reference")(x), want, rtol=1e-12, atol=1e-10)
