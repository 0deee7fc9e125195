"""Optimizers alone, on lists of arrays."""

import copy
import pickle

import numpy as np
import pytest
from peers import OPTIMIZERS, float64_scalars, ours, peers
from small import bits, data, fit, make

import fastnn as fn
from fastnn import optimizers, schedules

SHAPES = ((7,), (3, 5), (), (2, 1, 4), (0,))


def quadratics(rng, dtype="float64"):
    """Parameters, and a function of them that returns the gradients of sum(scale (p - goal)^2) / 2.

    The goals are too far for 200 small steps. At a goal, rules that divide by the gradient's size jump to and fro, and
    rounding errors decide the direction.
    """
    params = [np.array(rng.normal(size=shape), dtype) for shape in SHAPES]
    goals = [p + np.array(rng.choice((-1, 1), p.shape) * rng.uniform(2.0, 4.0, p.shape), dtype) for p in params]
    scales = [np.array(rng.uniform(0.1, 3.0, shape), dtype) for shape in SHAPES]

    def gradients(at):
        return [s * (p - g) for p, g, s in zip(at, goals, scales, strict=True)]

    return params, gradients


def largest_error(found, expected):
    """Relative to the largest element."""
    errors = max(np.abs(f - e).max(initial=0) for f, e in zip(found, expected, strict=True))
    return errors / max(np.abs(e).max(initial=0) for e in expected)


@pytest.mark.parametrize("description", OPTIMIZERS)
def test_quadratics_as_in_pytorch(backend, description, dtype, rng):
    """Or as in the paper, where PyTorch has no such optimizer or option."""
    torch = pytest.importorskip("torch")
    params, gradients = quadratics(rng, dtype)
    theirs = [torch.tensor(p) for p in params]
    optimizer, peer = ours(description), peers(description, theirs)
    with fn.use_backend(backend), float64_scalars():
        for _ in range(200):
            for t, g in zip(theirs, gradients([t.numpy() for t in theirs]), strict=True):
                t.grad = torch.tensor(g)
            peer.step()
            optimizer.update(params, gradients(params))
            assert largest_error(params, [t.numpy() for t in theirs]) <= {"float32": 1e-5, "float64": 1e-10}[dtype]
    assert optimizer.iterations == 200


@pytest.mark.parametrize("description", OPTIMIZERS)
def test_every_rule_descends(backend, description, rng):
    params, gradients = quadratics(rng)
    before = sum(np.sum(np.square(g)) for g in gradients(params))
    optimizer = ours(description)
    optimizer.learning_rate *= 10
    with fn.use_backend(backend):
        for _ in range(400):
            optimizer.update(params, gradients(params))
    assert sum(np.sum(np.square(g)) for g in gradients(params)) < 0.5 * before


def test_adam_without_bias_correction():
    p, g = np.zeros(3), np.array([1.0, -2.0, 0.5])
    fn.Adam(0.1, bias_correction=False).update([p], [g])
    assert np.allclose(p, -0.1 * 0.1 * g / (np.sqrt(0.001 * g * g) + 1e-8), rtol=1e-14)


def test_weight_decay_of_adamw_is_decoupled():
    """Without a gradient AdamW shrinks the parameters by a constant factor; Adam steps by the learning rate."""
    p, q = np.full(2, 3.0), np.full(2, 3.0)
    fn.AdamW(0.1, weight_decay=0.2).update([p], [np.zeros(2)])
    fn.Adam(0.1, weight_decay=0.2).update([q], [np.zeros(2)])
    assert np.allclose(p, 3.0 * (1 - 0.1 * 0.2), rtol=1e-15)
    assert np.allclose(q, 3.0 - 0.1, rtol=1e-7)


def test_accepts_lists_and_every_layout_of_gradients():
    p = np.zeros((2, 3), np.float32)
    fn.SGD(1.0).update([p], [[[1, 2, 3], [4, 5, 6]]])
    assert np.array_equal(p, [[-1, -2, -3], [-4, -5, -6]])
    g = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    g.setflags(write=False)
    fn.SGD(1.0).update([p], [g])
    assert np.array_equal(p, -np.arange(1, 7).reshape(2, 3) - np.arange(6).reshape(2, 3))


def test_nothing_to_update():
    optimizer = fn.Adam()
    optimizer.update([], [])
    assert optimizer.iterations == 1


# --- learning rate and schedules -------------------------------------------------------------------------


def test_schedule_gets_the_number_of_steps_done():
    asked = []

    def schedule(step):
        asked.append(step)
        return 1.0 / (step + 1)

    optimizer = fn.SGD(schedule)
    assert optimizer.learning_rate is schedule
    asked.clear()
    p = np.zeros(1)
    for _ in range(4):
        optimizer.update([p], [np.ones(1)])
    assert asked == [0, 1, 2, 3]
    assert np.isclose(p[0], -(1 + 1 / 2 + 1 / 3 + 1 / 4), rtol=1e-15)


@pytest.mark.parametrize(
    "description", [name for name in OPTIMIZERS if name.endswith(("weight decay", "decays", "decoupled", "adamw"))]
)
def test_schedule_as_in_pytorch(description, rng):
    torch = pytest.importorskip("torch")
    params, gradients = quadratics(rng)
    theirs = [torch.tensor(p) for p in params]
    optimizer, peer = ours(description), peers(description, theirs)
    if not isinstance(peer, torch.optim.Optimizer):
        pytest.skip("PyTorch has no such optimizer")
    rate = optimizer.learning_rate
    optimizer.learning_rate = lambda step: rate * 0.97**step
    schedule = torch.optim.lr_scheduler.LambdaLR(peer, lambda step: 0.97**step)
    with float64_scalars():
        for _ in range(50):
            for t, g in zip(theirs, gradients([t.numpy() for t in theirs]), strict=True):
                t.grad = torch.tensor(g)
            peer.step()
            schedule.step()
            optimizer.update(params, gradients(params))
    assert largest_error(params, [t.numpy() for t in theirs]) <= 1e-10


@pytest.mark.parametrize("rate", [-1e-3, float("nan"), float("inf")])
def test_schedule_must_return_a_learning_rate(rate):
    optimizer = fn.SGD(lambda step: 0.1 if step < 2 else rate)
    p = np.zeros(1)
    optimizer.update([p], [np.ones(1)])
    optimizer.update([p], [np.ones(1)])
    with pytest.raises(ValueError, match=r"SGD: learning_rate: expected a number in \[0.* got "):
        optimizer.update([p], [np.ones(1)])
    assert optimizer.iterations == 2 and np.isclose(p[0], -0.2)


def test_learning_rate_can_be_set():
    optimizer, p = fn.SGD(0.5), np.zeros(1)
    optimizer.update([p], [np.ones(1)])
    optimizer.learning_rate = 0.25
    assert optimizer.learning_rate == 0.25
    optimizer.update([p], [np.ones(1)])
    assert p[0] == -0.75
    optimizer.learning_rate = lambda step: 0.125 * step
    optimizer.update([p], [np.ones(1)])
    assert p[0] == -1.0
    optimizer.learning_rate = 0
    optimizer.update([p], [np.ones(1)])
    assert p[0] == -1.0


def test_learning_rate_reaches_recorded_programs(backend, rng):
    """Setting it changes the next step of a program that has been recorded and compiled already."""
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 2))
    model = fn.Sequential([fn.Dense(2)], dtype="float64", backend=backend)
    model.compile(fn.SGD(0.1), "mse")
    model.train_step(x, y)
    (program,) = model._programs.values()
    replay = program.compile()
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.train_step(x, y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.optimizer.learning_rate = lambda step: 0.1 * step
    model.train_step(x, y)
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert list(model._programs.values()) == [program] and program.compile() is replay


# --- copies, and counters that are set -------------------------------------------------------------------


def steps(optimizer, params, gradients, count):
    for _ in range(count):
        optimizer.update(params, gradients(params))


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": lambda o: pickle.loads(pickle.dumps(o))}


@pytest.mark.parametrize("description", OPTIMIZERS)
@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_copies_go_on_with_the_same_bits(description, copied, rng):
    params, gradients = quadratics(rng)
    optimizer = ours(description)
    optimizer.learning_rate = schedules.ExponentialDecay(optimizer.learning_rate, 10, 0.9)
    steps(optimizer, params, gradients, 7)
    again, others = copied(optimizer), copy.deepcopy(params)
    assert again.iterations == 7 and again.config() == optimizer.config()
    steps(optimizer, params, gradients, 8)
    assert not all(np.array_equal(p, q) for p, q in zip(params, others, strict=True))
    assert again.iterations == 7, "the copy shares the counter"
    steps(again, others, gradients, 8)
    assert all(p.tobytes() == q.tobytes() for p, q in zip(params, others, strict=True))


def test_copies_do_not_reach_recorded_programs(rng):
    """A model's optimizer is copied without the programs that read it."""
    x, y = data(rng)
    model, straight = make(optimizer=fn.NAdam()), make(optimizer=fn.NAdam())
    fit(model, x, y)
    other = pickle.loads(pickle.dumps(model.optimizer))
    other.learning_rate = 0.0
    fit(model, x, y)
    fit(straight, x, y, epochs=2)
    assert other.iterations == 4 and bits(model) == bits(straight)


@pytest.mark.parametrize("description", OPTIMIZERS)
def test_iterations_may_be_set(description, rng):
    """What depends on the step follows, to the last bit: a checkpoint needs the arrays and the number alone."""
    params, gradients = quadratics(rng)
    optimizer = ours(description)
    steps(optimizer, params, gradients, 20)
    again, others = ours(description), copy.deepcopy(params)
    again.iterations, again._alone = optimizer.iterations, copy.deepcopy(optimizer._alone)
    steps(optimizer, params, gradients, 3)
    steps(again, others, gradients, 3)
    assert all(p.tobytes() == q.tobytes() for p, q in zip(params, others, strict=True))


def test_momenta_of_many_steps():
    """NAdam's product of momenta may be taken anew from any step, at once from a late one."""
    p, optimizer = np.zeros(1), fn.NAdam()
    optimizer.iterations = 10**15
    optimizer.update([p], [np.ones(1)])
    assert 1 - optimizer._product.value == 1 and np.isfinite(p).all()
    optimizer.iterations = 2
    optimizer.update([p], [np.ones(1)])
    momenta = 0.9 * (1 - 0.5 * 0.96 ** (4e-3 * np.arange(1, 4)))
    assert np.isclose(optimizer._product.value, momenta.prod(), rtol=1e-15)


# --- what is refused -------------------------------------------------------------------------------------


def update(params, grads, optimizer=None):
    """An update that must fail, and must leave everything as it was."""
    optimizer = optimizer or fn.SGD(0.1)
    before = [np.array(p) for p in params]
    steps = optimizer.iterations
    try:
        optimizer.update(params, grads)
    finally:
        assert optimizer.iterations == steps
        assert all(np.array_equal(p, b) for p, b in zip(params, before, strict=True))


def test_lists_of_different_length():
    with pytest.raises(fn.ShapeError, match=r"^SGD: grads: expected 2 arrays, got 1$"):
        update([np.ones(2), np.ones(3)], [np.ones(2)])


def test_gradient_of_another_shape():
    """The second one: the first parameter must not have been updated."""
    with pytest.raises(fn.ShapeError, match=r"^SGD: grads: expected shape \(3,\), got \(3, 1\)$"):
        update([np.ones(2), np.ones(3)], [np.ones(2), np.ones((3, 1))])


def test_gradient_of_another_dtype():
    with pytest.raises(fn.DtypeError, match=r"^SGD: grads: expected float64 like the arrays before it, got float32$"):
        update([np.ones(2), np.ones(3)], [np.ones(2), np.ones(3, np.float32)])


@pytest.mark.parametrize("dtype", ["int64", "float16", "complex128", "object"])
def test_parameters_of_another_dtype(dtype):
    with pytest.raises(fn.DtypeError, match=r"^SGD: params: expected float32 or float64, got "):
        update([np.ones(2), np.ones(3).astype(dtype)], [np.ones(2), np.ones(3)])


def test_parameters_of_foreign_byte_order():
    p = np.ones(3).astype(np.dtype(np.float64).newbyteorder())
    with pytest.raises(fn.DtypeError, match=r"^SGD: params: expected native float64"):
        update([p], [np.ones(3)])


def test_parameters_that_are_lists():
    with pytest.raises(fn.DtypeError, match=r"^SGD: params: expected an array to update in place, got list$"):
        update([[1.0, 2.0]], [np.ones(2)])


def test_read_only_parameters():
    p = np.ones(3)
    p.setflags(write=False)
    with pytest.raises(fn.LayoutError, match=r"^SGD: params: expected an array that can be written, got a read-only"):
        update([np.ones(2), p], [np.ones(2), np.ones(3)])


def test_parameters_that_are_not_contiguous():
    with pytest.raises(fn.LayoutError, match=r"^SGD: params: expected a C-contiguous array to write into"):
        update([np.ones((4, 4))[:, :2]], [np.ones((4, 2))])


def test_misaligned_parameters():
    p = np.zeros(4 * 8 + 1, np.uint8)[1:].view(np.float64)
    with pytest.raises(fn.LayoutError, match=r"^SGD: params: expected an aligned array"):
        update([p], [np.ones(4)])


def test_gradient_that_is_the_parameter():
    p = np.ones(3)
    with pytest.raises(fn.LayoutError, match=r"^SGD: grads: expected memory of its own"):
        update([p], [p])


def test_other_arrays_than_in_earlier_steps():
    optimizer = fn.Adam()
    optimizer.update([np.ones(3), np.ones(2)], [np.ones(3), np.ones(2)])
    with pytest.raises(fn.ShapeError, match=r"^Adam: params: expected 2 arrays, got 1$"):
        update([np.ones(3)], [np.ones(3)], optimizer)
    with pytest.raises(fn.ShapeError, match=r"^Adam: params: expected 2 elements of float64 as in earlier steps"):
        update([np.ones(3), np.ones(4)], [np.ones(3), np.ones(4)], optimizer)
    with pytest.raises(fn.ShapeError, match=r"^Adam: params: expected 3 elements of float64 .* got 3 of float32$"):
        p = [np.ones(3, np.float32), np.ones(2, np.float32)]
        update(p, [np.ones_like(q) for q in p], optimizer)


NUMBERS = {
    "SGD": ("learning_rate", "momentum", "weight_decay", "dampening"),
    "RMSprop": ("learning_rate", "rho", "epsilon", "momentum", "weight_decay"),
    "Adagrad": ("learning_rate", "lr_decay", "epsilon", "weight_decay", "initial_accumulator_value"),
    "Adadelta": ("learning_rate", "rho", "epsilon", "weight_decay"),
    "NAdam": ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay", "momentum_decay"),
    "Lion": ("learning_rate", "beta_1", "beta_2", "weight_decay"),
    **dict.fromkeys(
        ("Adam", "AdamW", "Adamax", "RAdam"), ("learning_rate", "beta_1", "beta_2", "epsilon", "weight_decay")
    ),
}


@pytest.mark.parametrize("value", [float("nan"), -0.1, float("inf")])
@pytest.mark.parametrize(("name", "argument"), [(n, a) for n, arguments in NUMBERS.items() for a in arguments])
def test_hyper_parameters_out_of_range(name, argument, value):
    with pytest.raises(ValueError, match=rf"^{name}: {argument}: expected a number in .*, got {value!r}$"):
        getattr(fn, name)(**{argument: value})


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("SGD", "momentum"), ("SGD", "dampening"), ("Adam", "beta_1"), ("AdamW", "beta_2"), ("Adamax", "beta_1"),
        ("NAdam", "beta_1"), ("RAdam", "beta_2"), ("Lion", "beta_2"), ("RMSprop", "momentum"),
    ],
)  # fmt: skip
def test_one_is_no_decay(name, argument):
    with pytest.raises(ValueError, match=rf"^{name}: {argument}: expected a number in \[0, 1\), got 1.0$"):
        getattr(fn, name)(**{argument: 1.0})


@pytest.mark.parametrize("value", ["0.1", None, [0.1]])
def test_hyper_parameters_that_are_no_numbers(value):
    with pytest.raises(TypeError, match=r"^SGD: learning_rate: expected a number, got "):
        fn.SGD(value)
    with pytest.raises(TypeError, match=r"^Adam: learning_rate: expected a number, got "):
        fn.Adam().learning_rate = value


def test_setter_refuses_what_the_constructor_refuses():
    optimizer = fn.SGD(0.1)
    with pytest.raises(ValueError, match=r"^SGD: learning_rate: expected a number in \[0, inf\), got -1$"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.1


@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_nesterov_needs_momentum(name):
    with pytest.raises(ValueError, match=rf"^{name}: nesterov: expected a momentum above 0 with it, got 0.0$"):
        getattr(fn, name)(nesterov=True)


def test_nesterov_excludes_dampening():
    with pytest.raises(ValueError, match=r"^SGD: nesterov: expected no dampening with it, got 0.5$"):
        fn.SGD(momentum=0.9, nesterov=True, dampening=0.5)


@pytest.mark.parametrize("op", ["sgd_update", "rmsprop_update"])
def test_momentum_needs_a_velocity(op):
    arrays = [np.ones(2), np.ones(2), *([np.ones(2)] if op == "rmsprop_update" else [])]
    with pytest.raises(fn.ShapeError, match=rf"^{op}: velocity: expected an array, since there is momentum, got None$"):
        getattr(fn.ops, op)(*arrays, momentum=0.9)


def test_refused_schedule_changes_nothing():
    optimizer = fn.SGD(0.1)
    with pytest.raises(ValueError, match=r"^SGD: learning_rate: expected a number in \[0, inf\), got -1$"):
        optimizer.learning_rate = lambda step: -1
    assert optimizer.learning_rate == 0.1


# --- names and configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize("description", OPTIMIZERS)
def test_configuration_makes_an_equal_optimizer(description):
    optimizer = ours(description)
    again = optimizers.REGISTRY.get(optimizers.REGISTRY.describe(optimizer))
    assert type(again) is type(optimizer) and again.config() == optimizer.config()
    assert eval(repr(optimizer), vars(fn.optimizers)).config() == optimizer.config()


def test_names():
    assert type(optimizers.REGISTRY.get("adamw")) is fn.AdamW
    assert optimizers.REGISTRY.get({"name": "sgd", "momentum": 0.5}).momentum == 0.5
    assert type(optimizers.REGISTRY.get("nadam")) is fn.NAdam
    with pytest.raises(ValueError, match=r"^optimizer: expected one of sgd, rmsprop, .*, lion, got 'adamx'$"):
        optimizers.REGISTRY.get("adamx")
    for wrong in (fn.Adam, 3, None, lambda p, g: None):
        with pytest.raises(TypeError, match=r"^optimizer: expected a name or an object of class Optimizer, got "):
            optimizers.REGISTRY.get(wrong)


def test_initial_accumulator_of_models(rng):
    """A model's state starts there too: the first step of one unit without bias."""
    x, y = rng.normal(size=(4, 3)), rng.normal(size=4)
    model = fn.Sequential([fn.Dense(1, use_bias=False)], dtype="float64", input_shape=(3,))
    model.compile(fn.Adagrad(0.1, initial_accumulator_value=0.5), "mse")
    (w,) = model.get_weights()
    g = 2 * x.T @ (x @ w - y[:, None]) / 4
    model.train_step(x, y)
    assert np.allclose(model.get_weights()[0], w - 0.1 * g / (np.sqrt(0.5 + g * g) + 1e-10), rtol=1e-13)


def test_own_optimizer():
    """A user's subclass of the base class trains a model."""

    class Halved(fn.SGD):
        def numbers(self):
            return {**super().numbers(), "momentum": 0.0}

    class Plain(optimizers.Optimizer):
        op = "sgd_update"

        def states(self):
            return (False,)

        def numbers(self):
            return {}

    for optimizer in (Halved(0.1), Plain(0.1, 0.0)):
        model = fn.Sequential([fn.Dense(1)], input_shape=(2,))
        model.compile(optimizer, "mse")
        before = model.train_step(np.eye(2), np.ones(2))
        assert model.train_step(np.eye(2), np.ones(2)) < before


# --- the program behind update ------------------------------------------------------------------------------


def moved(optimizer, p, g, steps=1):
    """A copy of p after some steps of a new optimizer."""
    p = p.copy()
    for _ in range(steps):
        optimizer.update([p], [g])
    return p


def test_checks_are_not_forgotten_with_known_arrays():
    """What was right at the first step may be wrong at the second."""
    p, g = np.ones((3, 4)), np.full((3, 4), 0.5)
    optimizer = fn.Adam()
    optimizer.update([p], [g])
    before = p.copy()
    with pytest.raises(fn.LayoutError, match="memory of its own"):
        optimizer.update([p], [p])
    with pytest.raises(fn.ShapeError, match=r"grads: expected shape \(3, 4\), got \(4, 3\)"):
        optimizer.update([p], [np.ones((4, 3))])
    with pytest.raises(fn.DtypeError):
        optimizer.update([p], [g.astype(np.float32)])
    p.flags.writeable = False
    with pytest.raises(fn.LayoutError, match="read-only"):
        optimizer.update([p], [g])
    assert (p == before).all() and optimizer.iterations == 1
    p.flags.writeable = True
    optimizer.update([p], [g[::-1, ::-1]])
    assert (p != before).all() and optimizer.iterations == 2


def test_other_arrays_of_the_same_sizes_go_on_with_the_moments():
    p, q, g = np.zeros(5), np.zeros(5), np.arange(5.0)
    optimizer = fn.SGD(0.1, momentum=0.9)
    optimizer.update([p], [g])
    optimizer.update([q], [g])
    np.testing.assert_allclose(p, -0.1 * g, rtol=1e-15)
    np.testing.assert_allclose(q, -0.1 * 1.9 * g, rtol=1e-15)


def test_settings_may_change_between_steps():
    p, g = np.zeros(5), np.arange(5.0)
    optimizer = fn.SGD(0.1, momentum=0.9)
    optimizer.update([p], [g])
    optimizer.momentum, optimizer.learning_rate = 0.5, 0.2
    optimizer.update([p], [g])
    np.testing.assert_allclose(p, -(0.1 + 0.2 * 1.5) * g, rtol=1e-15)


def test_backends_may_change_between_steps():
    g = np.linspace(-1, 1, 7)
    optimizer, p = fn.Adam(0.1), np.zeros(7)
    for backend in ("cython", "reference", "cython"):
        with fn.use_backend(backend):
            optimizer.update([p], [g])
    np.testing.assert_allclose(p, moved(fn.Adam(0.1), np.zeros(7), g, 3), rtol=1e-13)


@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), (None, TypeError), (True, TypeError)])
def test_iterations_count(value, error):
    optimizer = fn.Adam()
    optimizer.iterations = 7
    with pytest.raises(error, match=r"^Adam: iterations: expected an integer( of at least 0)?, got "):
        optimizer.iterations = value
    assert optimizer.iterations == 7


def test_arrays_that_overlap():
    block, apart = np.ones(12), [np.full(3, float(i)) for i in range(6)]
    known = fn.SGD(0.5)
    known.update(apart[:3], apart[3:])
    for optimizer in (fn.SGD(0.5), known):
        for params, grads in (
            (apart[:3], [apart[1], apart[3], apart[4]]),
            (apart[:3], [apart[3], apart[4], apart[0][:3]]),
            ([block[:4], block[6:10]], [np.ones(4), block[2:6]]),
            ([block[6:10], block[:4]], [np.ones(4), block[7:11]]),
        ):
            before = [p.copy() for p in params]
            with pytest.raises(fn.LayoutError, match=r"^SGD: grads: expected memory of its own, got an array"):
                optimizer.update(params, grads)
            assert all(np.array_equal(p, q) for p, q in zip(params, before, strict=True))
    for params in ([apart[0], apart[0]], [block[:4], block[3:7]]):
        with pytest.raises(fn.LayoutError, match=r"^SGD: params: expected memory of its own, got an array"):
            fn.SGD(0.5).update(params, [np.ones(p.shape) for p in params])


def test_gradients_between_parameters_and_shared_ones():
    block = np.ones(12)
    params, shared = [block[8:12], block[:4], block[4:4]], block[4:8]
    optimizer = fn.SGD(0.5)
    for _ in range(2):
        optimizer.update(params, [shared, shared, block[2:2]])
    assert block.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 4
