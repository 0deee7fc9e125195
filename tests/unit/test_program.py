"""Programs: recording, pruning, replay."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import ops
from fastnn.backends.compiled import CompiledReplay
from fastnn.ops.dispatch import apply
from fastnn.program import Program, Slot

X = np.linspace(-1, 2, 12).reshape(3, 4)


def state(program: Program, name: str, value) -> tuple:
    """A state tensor and the array behind it."""
    array = program.backend.to_device(np.array(value, dtype=float))
    return program.state(name, array), array


def test_replay(backend):
    program = fn.trace(lambda x: fn.sum(fn.exp(x) * x, 1), X, backend=backend)
    (first,) = program(X)
    (again,) = program(X)
    (other,) = program(X + 1)
    np.testing.assert_allclose(first, (np.exp(X) * X).sum(1), rtol=1e-14)
    assert first.tobytes() == again.tobytes()
    assert first is not again, "results of one replay must outlive the next"
    np.testing.assert_allclose(other, (np.exp(X + 1) * (X + 1)).sum(1), rtol=1e-14)


def test_replay_is_eager(backend):
    """Bitwise: replay runs the same kernels."""
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(4, 70)), rng.normal(size=70)

    def f(x):
        h = ops.gelu(ops.dense(x, w, b, activation="tanh"))
        return ops.log_softmax(ops.matmul(ops.transpose(h), ops.dropout(x, 0.25, seed=3))), fn.mean(h, 0)

    with fn.use_backend(backend):
        eager = f(X)
        replayed = fn.trace(f, X)(X)
    for e, r in zip(eager, replayed, strict=True):
        assert np.asarray(e).tobytes() == np.asarray(r).tobytes()


def test_out(backend):
    program = fn.trace(lambda x: (x + 1, fn.sum(x)), X, backend=backend)
    out = [np.empty((3, 4)), np.empty(())]
    assert program(X, out=out) == tuple(out)
    np.testing.assert_array_equal(out[0], X + 1)
    assert out[1] == pytest.approx(X.sum())


def test_inputs_of_any_layout():
    program = fn.trace(lambda x: x * 2, X)
    for x in (X.tolist(), np.asfortranarray(X), X.astype(">f8"), X.astype("f4").astype("f8")[:, ::-1][:, ::-1]):
        np.testing.assert_allclose(program(x)[0], 2 * X, rtol=1e-6)


BAD = {
    "too few": (lambda p: p(), fn.ShapeError, "program: inputs: expected 1 arrays, got 0"),
    "too many": (lambda p: p(X, X), fn.ShapeError, "program: inputs: expected 1 arrays, got 2"),
    "shape": (lambda p: p(X.T), fn.ShapeError, "program: x: expected shape (3, 4), got (4, 3)"),
    "dtype": (lambda p: p(X + 0j), fn.DtypeError, "program: x: expected float64 numbers, got complex128"),
    "out count": (lambda p: p(X, out=[]), fn.ShapeError, "program: out: expected 2 arrays, got 0"),
    "out no sequence": (
        lambda p: p(X, out=np.array(0.0)), TypeError, "program: out: expected a list or tuple of arrays, got ndarray",
    ),
    "out shape": (
        lambda p: p(X, out=[np.empty(3), X + 0]), fn.ShapeError, "program: out: expected shape (3, 4), got (3,)",
    ),
    "out overlaps": (
        lambda p: p(X, out=[X, X + 0]), fn.LayoutError,
        "program: out: expected memory that no input uses, got an array that overlaps an input",
    ),
    "out twice": (
        lambda p: p(X, out=[np.empty((3, 4))] * 2), fn.LayoutError,
        "program: out: expected memory of its own, got an array that overlaps another argument",
    ),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", BAD.values(), ids=list(BAD))
def test_bad_arrays(backend, call, error, message):
    program = fn.trace(lambda x: (x + 1, x * 2), X, backend=backend)
    with pytest.raises(error) as caught:
        call(program)
    assert str(caught.value) == message
    program(X)


def test_executor_refuses_what_does_not_fit(backend):
    """Below the checks too: wrong arrays are an error, not a crash."""
    program = fn.trace(lambda x: x + 1, X, backend=backend)
    replay = program.compile()
    if not isinstance(replay, CompiledReplay):
        pytest.skip("no executor")
    y = np.empty((3, 4))
    replay.run((X, y))
    np.testing.assert_array_equal(y, X + 1)
    block = np.zeros(97, np.uint8)
    for arrays in (
        (), (X,), (X, y, y), (X, None), ([1.0], y), (X.astype("f4"), y), (X.astype(">f8"), y), (X[:2], y),
        (X, np.empty((4, 4))), (np.asfortranarray(X), y), (block[1:].view(float).reshape(3, 4), y), (X > 0, y),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="run: the arrays do not fit the program's inputs and outputs"):
            replay.run(arrays)
    (made,) = replay.results((None, X))
    np.testing.assert_array_equal(made, X + 1)
    for inputs in ((), (X, X), (None,), (X[:2],), (X.astype("f4"),)):
        with pytest.raises(ValueError, match="run: the arrays do not fit the program's inputs and outputs"):
            replay.results(inputs)


def test_slots(backend):
    """A slot's value is read at every replay."""
    program = Program(backend)
    rate = Slot("rate", 0.5)
    p, array = state(program, "p", [1.0, 2.0, 3.0])
    g = program.input("g", (3,), float)
    apply("sgd_update", p, g, None, learning_rate=rate)
    program(np.ones(3))
    np.testing.assert_allclose(array, [0.5, 1.5, 2.5])
    rate.value = 0.25
    program(np.ones(3))
    np.testing.assert_allclose(array, [0.25, 1.25, 2.25])
    assert repr(rate) == "Slot(rate=0.25)"


def test_slot_of_two_programs(backend):
    step = Slot("step", 1)
    programs = [fn.trace(lambda x: ops.dropout(x, 0.5, step=step), np.ones(n), backend=backend) for n in (40, 50)]
    before = [p(np.ones(n))[0] for p, n in zip(programs, (40, 50), strict=True)]
    step.value = 2
    after = [p(np.ones(n))[0] for p, n in zip(programs, (40, 50), strict=True)]
    for b, a, n in zip(before, after, (40, 50), strict=True):
        assert not np.array_equal(b, a)
        with fn.use_backend(backend):
            np.testing.assert_array_equal(a, ops.dropout(np.ones(n), 0.5, step=2))


def test_state_persists(backend):
    """Moments carry over from replay to replay, and are the caller's array."""
    program = Program(backend)
    p, param = state(program, "p", [0.0, 0.0])
    v, velocity = state(program, "v", [0.0, 0.0])
    g = program.input("g", (2,), float)
    apply("sgd_update", p, g, v, learning_rate=1.0, momentum=0.5)
    for _ in range(3):
        program(np.ones(2))
    np.testing.assert_allclose(velocity, 1.75)
    np.testing.assert_allclose(param, -(1 + 1.5 + 1.75))


def test_prune_drops_what_nothing_reads():
    program = Program("reference")
    x = program.input("x", (3, 4), float)
    fn.exp(fn.log(x))  # read by nothing
    y = fn.sin(x)
    p, _ = state(program, "p", np.zeros(12))
    apply("sgd_update", p, fn.cos(x).reshape(-1), None)  # updates something
    program.output(y)
    assert [c.op.name for c in program.calls] == ["log", "exp", "sin", "cos", "sgd_update"]
    program.prune()
    assert [c.op.name for c in program.calls] == ["sin", "cos", "sgd_update"]
    program.prune()
    assert len(program) == 3


def test_prune_drops_optional_outputs():
    """The gradient that a loss computes along is not computed where only the value is wanted."""
    program = fn.trace(lambda x: ops.mean_squared_error(x, X * 0), X)
    assert program.calls[0].outputs[1] is not None
    program.prune()
    assert program.calls[0].outputs[1] is None
    assert program(X)[0] == pytest.approx((X**2).mean())


def test_place(backend):
    """Temporaries laid into a state: gradients side by side in one flat array."""
    program = Program(backend)
    x = program.input("x", (2, 3), float)
    flat, array = state(program, "flat", np.full(10, 7.0))
    program.place(fn.exp(x), flat, 1)
    program.place(fn.sum(x, 0), flat, 7)
    values = np.arange(6.0).reshape(2, 3)
    program(values)
    np.testing.assert_allclose(array, [7, *np.exp(values.ravel()), *values.sum(0)])


def test_place_copies_what_is_not_a_temporary(backend):
    program = Program(backend)
    x = program.input("x", (3,), float)
    flat, array = state(program, "flat", np.zeros(6))
    y = fn.exp(x)
    for tensor, offset in ((x, 0), (y, 3)):
        program.place(tensor, flat, offset)
    program.output(y)
    (out,) = program(np.ones(3))
    np.testing.assert_allclose(array, [1] * 3 + [np.e] * 3)
    np.testing.assert_allclose(out, np.e)


@pytest.mark.parametrize("offset", [-1, 1, 10])
def test_place_outside(offset):
    program = Program("reference")
    x = program.input("x", (3,), float)
    flat, _ = state(program, "flat", np.zeros(3))
    with pytest.raises(fn.ShapeError, match="program: offset: expected a place within"):
        program.place(fn.exp(x), flat, offset)


def test_outputs_that_are_inputs_constants_or_states(backend):
    program = Program(backend)
    x = program.input("x", (2,), float)
    s, array = state(program, "s", [5.0, 6.0])
    y = fn.exp(x)
    for t in (x, program.constant(np.array([3.0, 4.0])), s, y, y, x.reshape(2, 1)):
        program.output(t)
    values = np.array([0.0, 1.0])
    out = program(values)
    want = [values, [3, 4], [5, 6], np.exp(values), np.exp(values), values[:, None]]
    for o, w in zip(out, want, strict=True):
        np.testing.assert_allclose(o, w)
    array[...] = 9.0
    assert (program(values)[2] == 9).all()


def test_constants_are_copied(backend):
    c = np.ones(3)
    program = fn.trace(lambda x: x + c, np.zeros(3), backend=backend)
    c[...] = 5
    np.testing.assert_array_equal(program(np.zeros(3))[0], 1)


def test_nothing_is_recorded_after_a_replay():
    program = Program("reference")
    x = program.input("x", (3,), float)
    y = fn.exp(x)
    program.output(y)
    program(np.ones(3))
    for record in (lambda: fn.log(x), lambda: program.output(y), lambda: program.place(y, x, 0)):
        with pytest.raises(RuntimeError, match="has been replayed already and cannot be recorded further"):
            record()


def test_inputs_and_constants_are_never_updated():
    program = Program("reference")
    x = program.input("x", (3,), float)
    for p in (x, program.constant(np.ones(3))):
        with pytest.raises(fn.LayoutError, match="p: expected a tensor that may be updated, got one of kind"):
            apply("sgd_update", p, fn.exp(x), None)
    s, _ = state(program, "s", np.ones(3))
    with pytest.raises(fn.LayoutError, match="sgd_update: p: expected memory of its own, got a tensor given twice"):
        apply("sgd_update", s, s, None)


def test_state_must_be_writable_in_place():
    program = Program("reference")
    for array in (np.ones((3, 4)).T, np.broadcast_to(1.0, 3)):
        with pytest.raises(fn.LayoutError, match="program: s: expected"):
            program.state("s", array)


def test_sizes_of_zero(backend):
    def f(x, w):
        h = ops.dense(x, w, activation="relu")
        return h, fn.sum(h), ops.softmax(h), ops.transpose(h), fn.sum(h, 0)

    program = fn.trace(f, np.ones((0, 3)), np.ones((3, 4)), backend=backend)
    h, total, soft, flipped, columns = program(np.ones((0, 3)), np.ones((3, 4)))
    assert [a.shape for a in (h, soft, flipped)] == [(0, 4), (0, 4), (4, 0)]
    assert total == 0 and (columns == 0).all() and columns.shape == (4,)
    program = fn.trace(lambda x, w: x @ w, np.ones((2, 0)), np.ones((0, 4)), backend=backend)
    np.testing.assert_array_equal(program(np.ones((2, 0)), np.ones((0, 4)))[0], np.zeros((2, 4)))


def test_no_calls(backend):
    assert Program(backend)() == ()


def test_labels_out_of_range_make_the_loss_nan(backend):
    """A program does not look at its inputs' values; its kernels stay within the arrays."""
    program = Program(backend)
    x, labels = program.input("x", (3, 4), float), program.input("labels", (3,), np.int64)
    program.output(ops.sparse_softmax_cross_entropy(x, labels))
    assert np.isfinite(program(X, [0, 1, 3])[0])
    for wrong in ([0, 1, 4], [-1, 1, 2], [0, 2**40, -(2**40)]):
        assert np.isnan(program(X, wrong)[0])


def test_names_are_unique_and_shown():
    program = fn.trace(lambda x: fn.exp(fn.exp(x)), X, backend="reference")
    assert repr(program).splitlines() == [
        "Program on reference: 2 calls",
        "  exp (3, 4) = exp(x)",
        "  exp_2 (3, 4) = exp(exp)",
    ]
    assert repr(program.inputs[0]) == "Tensor(x, shape=(3, 4), dtype=float64)"


def test_tensor_reshape():
    x = Program("reference").input("x", (2, 6), float)
    assert x.reshape(3, -1).shape == (3, 4) and x.reshape((-1,)).shape == (12,) and x.ndim == 2 and x.size == 12
    for shape in ((5, -1), (13,), (-1, -1), (-2, -6)):
        with pytest.raises(fn.ShapeError, match="reshape: shape: expected 12 elements"):
            x.reshape(shape)
    empty = Program("reference").input("x", (0, 3), float)
    assert empty.reshape(-1, 3).shape == (0, 3) and empty.reshape(0, -1).shape == (0, 0)
