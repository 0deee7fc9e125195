"""Layers: shapes, parameters, what they compute, and what they refuse."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import layers, ops
from fastnn.table import ACTIVATIONS


def model_of(*given, backend="reference", dtype="float64", input_shape=None, **options):
    return fn.Sequential(given, dtype=dtype, backend=backend, input_shape=input_shape, **options)


def assert_matches(found, expected):
    """To a few units in the last place of the largest element."""
    scale = np.abs(expected).max(initial=1e-300)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= 64 * np.finfo(found.dtype).eps * scale


# --- Dense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS, "softmax", "log_softmax"])
def test_dense(backend, dtype, activation, rng):
    x = rng.normal(size=(9, 7)).astype(dtype)
    model = model_of(fn.Dense(5, activation, bias_initializer="normal"), backend=backend, dtype=dtype)
    y = model.predict(x)
    w, b = model.get_weights()
    assert (w.shape, b.shape, y.dtype) == ((7, 5), (5,), dtype)
    z = x.astype(np.float64) @ w + b
    with fn.use_backend("reference"):
        assert_matches(y, z if activation is None else getattr(fn.ops, activation)(z))


def test_dense_without_bias(backend, rng):
    x = rng.normal(size=(3, 4))
    model = model_of(fn.Dense(6, "relu", use_bias=False), backend=backend)
    y = model.predict(x)
    (w,) = model.get_weights()
    assert_matches(y, np.maximum(x @ w, 0))
    assert model.count_params() == 24


def test_dense_works_on_the_last_axis(backend, rng):
    """Rows of shape (time, features): every position goes through the same units."""
    x = rng.normal(size=(5, 3, 4))
    model = model_of(fn.Dense(6, "tanh"), fn.Dense(2), backend=backend)
    y = model.predict(x)
    w1, b1, w2, b2 = model.get_weights()
    assert model.output_shapes == [(3, 6), (3, 2)]
    assert_matches(y, np.tanh(x @ w1 + b1) @ w2 + b2)


def test_dense_trains_on_the_last_axis(backend, rng):
    """The same gradients as on the positions in one long list."""
    x, labels = rng.normal(size=(5, 3, 4)), rng.integers(0, 2, (5, 3))
    trained = []
    for rows, targets in ((x, labels), (x.reshape(15, 4), labels.reshape(15))):
        model = model_of(fn.Dense(6, "gelu"), fn.Dense(2), backend=backend)
        model.compile(fn.SGD(0.5), "cross_entropy", ["accuracy"])
        losses = [model.train_step(rows, targets) for _ in range(5)]
        trained.append((losses, model.evaluate(rows, targets), model.get_weights()))
    (losses_a, scores_a, weights_a), (losses_b, scores_b, weights_b) = trained
    assert losses_a == losses_b and scores_a == scores_b
    assert all(np.array_equal(a, b) for a, b in zip(weights_a, weights_b, strict=True))


def test_dense_refuses():
    with pytest.raises(ValueError, match=r"^Dense: units: expected an integer of at least 1, got 0$"):
        fn.Dense(0)
    for units in (2.5, "10", None, True):
        with pytest.raises(TypeError, match=r"^Dense: units: expected an integer, got "):
            fn.Dense(units)
    with pytest.raises(ValueError, match=r"^Dense: activation: expected one of 'linear', .*, got 'swish'$"):
        fn.Dense(3, "swish")
    for activation in (0, ["relu"], np.ones(3), fn.PReLU, fn.PReLU(), ("relu", "relu")):
        with pytest.raises(TypeError, match=r"^Dense: activation: expected a name, a function of ops or a pair of "):
            fn.Dense(3, activation)
    with pytest.raises(fn.ShapeError, match=r"^Dense: input: expected shape \(batch, ..., inputs\), got \(batch,\)$"):
        model_of(fn.Dense(3)).build(())


def test_units_may_be_any_integer():
    assert fn.Dense(np.int64(3)).units == 3


# --- Activation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "softmax", "log_softmax"])
def test_activation_layer(backend, activation, rng):
    """The same as `Dense` with the activation fused, in value and gradient."""
    x, y = rng.normal(size=(8, 5)), rng.normal(size=(8, 4))
    fused = model_of(fn.Dense(4, activation), backend=backend)
    apart = model_of(fn.Dense(4), fn.Activation(activation), backend=backend)
    for model in (fused, apart):
        model.compile(fn.SGD(0.1), "mse")
    losses = [[model.train_step(x, y) for _ in range(5)] for model in (fused, apart)]
    assert np.allclose(*losses, rtol=1e-12)
    assert_matches(fused.predict(x), apart.predict(x))
    assert apart.output_shapes == [(4,), (4,)] and apart.count_params() == 24


@pytest.mark.parametrize(("activation", "alpha"), [("leaky_relu", 0.2), ("elu", 0.7), ("leaky_relu", 0.0)])
def test_activation_with_alpha(backend, activation, alpha, rng):
    x = rng.normal(size=(6, 5))
    found = model_of(fn.Activation(activation, alpha), backend=backend).predict(x)
    negative = alpha * (x if activation == "leaky_relu" else np.expm1(x))
    assert_matches(found, np.where(x > 0, x, negative))


def test_activation_on_images(backend, rng):
    x = rng.normal(size=(2, 3, 4, 5))
    assert_matches(model_of(fn.Activation("softmax"), backend=backend).predict(x).sum(axis=-1), np.ones((2, 3, 4)))


def test_activation_refuses():
    with pytest.raises(ValueError, match=r"^Activation: activation: expected one of 'linear', .*, got 'swish'$"):
        fn.Activation("swish")
    with pytest.raises(ValueError, match=r"^Activation: activation \(alpha is for these only\): .* got 'relu'$"):
        fn.Activation("relu", alpha=0.1)
    with pytest.raises(ValueError, match=r"^Activation: alpha: expected a number in \[0, inf\), got -1.0$"):
        fn.Activation("elu", alpha=-1.0)


# --- Dropout ---------------------------------------------------------------------------------------------


def test_dropout_is_the_identity_outside_training(backend, rng):
    x = rng.normal(size=(6, 5))
    model = model_of(fn.Dropout(0.5), backend=backend)
    assert np.array_equal(model.predict(x), x)
    model.compile("sgd", "mse")
    assert model.evaluate(x, x)["loss"] == 0.0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_rate_and_scale(backend, rate):
    """After dropout the mean of ones stays one: seen through a linear unit that only learns its bias."""
    model = model_of(fn.Dropout(rate), fn.Dense(1, kernel_initializer="zeros"), backend=backend, seed=3)
    model.compile(fn.SGD(1.0), "mean_squared_error")
    x = np.ones((1, 20000))
    model.train_step(x, [[-0.5]])  # the gradient of the kernel is the input after dropout
    gradient = -model.get_weights()[0].ravel()
    values, counts = np.unique(gradient, return_counts=True)
    assert np.allclose(values, [0, 1 / (1 - rate)]) and abs(counts[0] / 20000 - rate) < 0.015


def test_dropout_draws_anew_in_each_step_and_layer(backend):
    masks = []
    for before in ([], [fn.Activation("linear")]):
        given = *before, fn.Dropout(0.5), fn.Dense(1, kernel_initializer="zeros")
        model = model_of(*given, backend=backend, seed=3, input_shape=(200,))
        model.compile(fn.SGD(1.0), "mean_squared_error")
        for _ in range(2):
            model.set_weights([np.zeros((200, 1)), np.zeros(1)])
            model.train_step(np.ones((1, 200)), [[-0.5]])
            masks.append(model.get_weights()[0].ravel() != 0)
    assert len({m.tobytes() for m in masks}) == 4
    assert all(60 < m.sum() < 140 for m in masks)


def test_dropout_of_all_and_nothing(backend, rng):
    x, y = rng.normal(size=(6, 5)), rng.normal(size=(6, 2))
    for rate, same in ((0.0, True), (1.0, False)):
        model = model_of(fn.Dropout(rate), fn.Dense(2), backend=backend)
        model.compile(fn.SGD(0.1), "mse")
        plain = model_of(fn.Activation("linear"), fn.Dense(2), backend=backend)
        plain.compile(fn.SGD(0.1), "mse")
        assert (model.train_step(x, y) == plain.train_step(x, y)) is same
    assert np.isfinite(model.get_weights()[0]).all()


def test_dropout_refuses():
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"^Dropout: rate: expected a number in \[0, 1\], got "):
            fn.Dropout(rate)


# --- GaussianNoise, GaussianDropout, AlphaDropout ----------------------------------------------------------

NOISY = [fn.GaussianNoise(0.5), fn.GaussianDropout(0.2), fn.AlphaDropout(0.2)]


def inputs_seen(layer, x, backend, **options):
    """What a layer makes of one row in training: the gradient of a linear unit's kernel, which starts at zero."""
    model = model_of(layer, fn.Dense(1, kernel_initializer="zeros"), backend=backend, input_shape=x.shape, **options)
    model.compile(fn.SGD(1.0), "mean_squared_error")
    found = []
    for _ in range(2):
        model.set_weights([np.zeros((x.size, 1)), np.zeros(1)])
        model.train_step(x[None], [[-0.5]])
        found.append(-model.get_weights()[0].ravel())
    return found


@pytest.mark.parametrize("layer", NOISY, ids=repr)
def test_noise_is_the_identity_outside_training(backend, layer, rng):
    x = rng.normal(size=(6, 5))
    model = model_of(layer, backend=backend)
    assert np.array_equal(model.predict(x), x)
    model.compile("sgd", "mse")
    assert model.evaluate(x, x)["loss"] == 0.0


def test_noise_in_training(backend, rng):
    """Each has the moments that it should have, and draws anew in each step."""
    x = rng.normal(size=20_000)
    noise, dropout, alpha = (inputs_seen(layer, x, backend) for layer in NOISY)
    for y in noise:
        assert abs((y - x).mean()) < 0.02 and abs((y - x).std() - 0.5) < 0.02
    for y in dropout:
        assert abs((y / x).mean() - 1) < 0.02 and abs((y / x).std() - 0.5) < 0.02
    for y in alpha:
        _, counts = np.unique(y, return_counts=True)
        assert abs(counts.max() / x.size - 0.2) < 0.02
        assert abs(y.mean()) < 0.05 and abs(y.var() - 1) < 0.05
    for first, second in (noise, dropout, alpha):
        assert (first != second).mean() > 0.3


@pytest.mark.parametrize("layer", NOISY, ids=repr)
def test_noise_follows_from_the_seed(backend, layer):
    x = np.ones(100)
    one, again, other = (inputs_seen(layer, x, backend, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


@pytest.mark.parametrize("layer", [fn.GaussianNoise(0), fn.GaussianDropout(0), fn.AlphaDropout(0)], ids=repr)
def test_no_noise(backend, layer, rng):
    x = rng.normal(size=50)
    assert np.array_equal(inputs_seen(layer, x, backend)[0], inputs_seen(fn.Activation("linear"), x, backend)[0])


def test_noise_refuses():
    with pytest.raises(ValueError, match=r"^GaussianNoise: stddev: expected a number in \[0, inf\), got -1"):
        fn.GaussianNoise(-1)
    for layer in (fn.GaussianDropout, fn.AlphaDropout):
        for rate in (-0.1, 1.0, float("nan")):
            with pytest.raises(ValueError, match=rf"^{layer.__name__}: rate: expected a number in \[0, 1\), got "):
                layer(rate)


# --- PReLU -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "shape"), [(None, (4, 3, 5)), ((1, 2), (1, 1, 5)), ((3,), (4, 3, 1)), ((), (4, 3, 5))]
)
def test_prelu(backend, axes, shape, rng):
    x = rng.normal(size=(6, 4, 3, 5))
    model = model_of(fn.PReLU(shared_axes=axes), backend=backend)
    assert_matches(model.predict(x), np.where(x > 0, x, 0.25 * x))
    (alpha,) = model.get_weights()
    assert alpha.shape == shape and model.output_shape == (4, 3, 5)
    alpha = rng.normal(size=shape)
    model.set_weights([alpha])
    assert_matches(model.predict(x), np.where(x > 0, x, alpha * x))


def test_prelu_learns_its_slopes(backend, rng):
    x, slopes = rng.normal(size=(64, 3)), np.array([0.5, -1.0, 2.0])
    model = model_of(fn.PReLU("zeros"), backend=backend)
    model.compile(fn.Adam(0.1), "mse")
    model.fit(x, np.where(x > 0, x, slopes * x), epochs=200, batch_size=64, verbose=0)
    assert np.allclose(model.get_weights()[0], slopes, atol=1e-3)
    assert model.parameter_names() == ["prelu_1.alpha"]


def test_prelu_refuses():
    with pytest.raises(ValueError, match=r"^PReLU: shared_axes: expected an integer of at least 1, got 0$"):
        fn.PReLU(shared_axes=(0,))
    with pytest.raises(TypeError, match=r"^PReLU: shared_axes: expected a sequence of integers, got 1$"):
        fn.PReLU(shared_axes=1)
    with pytest.raises(fn.ShapeError, match=r"^PReLU: shared_axes: expected axes of rows of shape \(5,\), got \(2,\)$"):
        model_of(fn.PReLU(shared_axes=(2,))).build((5,))


# --- Maxout ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pieces", "bias"), [(1, True), (2, True), (3, False), (5, True)])
def test_maxout(backend, pieces, bias, rng):
    x = rng.normal(size=(7, 3, 4))
    model = model_of(fn.Maxout(6, pieces, bias, bias_initializer="normal"), backend=backend)
    y = model.predict(x)
    weights = model.get_weights()
    kernels, biases = (weights[::2], weights[1::2]) if bias else (weights, [0] * pieces)
    assert len(kernels) == pieces and all(w.shape == (4, 6) for w in kernels)
    assert_matches(y, np.max([x @ w + b for w, b in zip(kernels, biases, strict=True)], axis=0))


def test_maxout_learns_the_absolute_value(backend, rng):
    """|x| is the larger of x and -x: a function that two pieces hold exactly."""
    x = rng.normal(size=(64, 1))
    model = model_of(fn.Maxout(1), backend=backend, seed=1)
    model.compile(fn.Adam(0.05), "mse")
    model.fit(x, np.abs(x), epochs=500, batch_size=64, verbose=0)
    assert model.evaluate(x, np.abs(x))["loss"] < 1e-4
    assert model.parameter_names() == [f"maxout_1.{kind}_{j}" for j in (0, 1) for kind in ("kernel", "bias")]


def test_maxout_refuses():
    for arguments, name in (((0,), "units"), ((3, 0), "pieces")):
        with pytest.raises(ValueError, match=rf"^Maxout: {name}: expected an integer of at least 1, got 0$"):
            fn.Maxout(*arguments)
    with pytest.raises(fn.ShapeError, match=r"^Maxout: input: expected shape \(batch, ..., inputs\), got \(batch,\)$"):
        model_of(fn.Maxout(3)).build(())


# --- Flatten ---------------------------------------------------------------------------------------------


def test_flatten(backend, rng):
    x = rng.normal(size=(4, 2, 3, 5))
    model = model_of(fn.Flatten(), backend=backend)
    assert np.array_equal(model.predict(x), x.reshape(4, 30))
    assert model.output_shape == (30,) and model.count_params() == 0


def test_flatten_images_and_train(backend, rng):
    """As on rows that are flat already."""
    x, labels = rng.normal(size=(16, 6, 7)), rng.integers(0, 3, 16)
    flat = model_of(fn.Dense(8, "relu"), fn.Dense(3), backend=backend)
    images = model_of(fn.Flatten(), fn.Dense(8, "relu"), fn.Dense(3), backend=backend)
    losses = []
    for model, rows in ((flat, x.reshape(16, 42)), (images, x)):
        model.compile("adam", "cross_entropy")
        losses.append(model.fit(rows, labels, epochs=3, batch_size=5, verbose=0).history["loss"])
    assert losses[0] == losses[1]


def test_flatten_of_numbers():
    """Rows that are single numbers become one feature."""
    model = model_of(fn.Flatten(), fn.Dense(2))
    assert model.predict(np.ones(7)).shape == (7, 2)
    assert model.get_weights()[0].shape == (1, 2)


# --- own layers, names, configurations -------------------------------------------------------------------


class Scale(layers.Layer):
    """y = x scale, with one factor per feature."""

    def build(self, input_shape):
        return input_shape, [layers.Parameter("scale", input_shape, fn.initializers.Constant(1.0))]

    def call(self, x, parameters, context):
        (scale,) = parameters
        return x * fn.broadcast_to(scale.reshape(1, *scale.shape), x.shape)


def test_own_layer(backend, rng):
    x = rng.normal(size=(32, 3))
    model = model_of(Scale(), backend=backend)
    model.compile(fn.Adam(0.1), "mse")
    model.fit(x, x * [2.0, -1.0, 0.5], epochs=200, batch_size=32, verbose=0)
    assert np.allclose(model.get_weights()[0], [2.0, -1.0, 0.5], atol=1e-3)
    assert model.parameter_names() == ["scale_1.scale"]


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda x: 1.0, TypeError, r"^dense_1: output: expected a tensor that ops have made, got float$"),
        (lambda x: None, TypeError, r"^dense_1: output: expected a tensor that ops have made, got NoneType$"),
        (lambda x: fn.sum(x, 1), fn.ShapeError, r"^dense_1: output: expected shape \(5, 3\), got \(5,\)$"),
        (fn.transpose, fn.ShapeError, r"^dense_1: output: expected shape \(5, 3\), got \(3, 5\)$"),
    ],
)
def test_outputs_that_are_not_as_built(function, error, message, rng):
    model = model_of(fn.Dense(3, function))
    with pytest.raises(error, match=message):
        model.predict(rng.normal(size=(5, 4)))


@pytest.mark.parametrize(
    "layer",
    [
        fn.Dense(3, "gelu", use_bias=False, kernel_initializer={"name": "normal", "stddev": 0.5, "seed": 4}),
        fn.Activation("elu", 0.3),
        fn.Activation("softmax"),
        fn.Dropout(0.25),
        fn.Flatten(),
        fn.GaussianNoise(0.1),
        fn.GaussianDropout(0.25),
        fn.AlphaDropout(0.25),
        fn.PReLU(fn.initializers.Constant(0.1), (1, 2)),
        fn.Maxout(4, 3, False, "he_normal"),
    ],
    ids=repr,
)
def test_configuration_makes_an_equal_layer(layer):
    again = layers.REGISTRY.get(layers.REGISTRY.describe(layer))
    assert type(again) is type(layer) and again.config() == layer.config()
    assert repr(again) == repr(layer)


def softsquare(x):
    return ops.tanh(x) * x


@pytest.mark.parametrize(
    "layer", (fn.Dense(5, activation=softsquare), fn.Activation(softsquare)), ids=("dense", "activation")
)
def test_an_activation_of_ones_own(layer, backend):
    """Recorded, differentiated and trained like our own."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 5)), rng.normal(size=(12, 5))
    model = fn.Sequential([layer, fn.Dense(5)], dtype="float64", backend=backend)
    model.compile(fn.SGD(0.1), "mse")
    model.build((5,))
    weights = model.get_weights()

    def loss(*weights):
        h = softsquare(ops.dense(x, *weights[:-2])) if len(weights) == 4 else softsquare(x)
        return fn.mean((ops.dense(h, *weights[-2:]) - y) ** 2)

    model.train_step(x, y)
    slopes = fn.grad(loss, list(range(len(weights))), backend="reference")(*weights)
    for new, old, slope in zip(model.get_weights(), weights, slopes, strict=True):
        np.testing.assert_allclose(new, old - 0.1 * slope, rtol=1e-12, atol=1e-14)
    with pytest.raises(TypeError, match="its activation is a function"):
        model.save("never.safetensors")


def test_an_activation_with_its_gradient():
    pair = (lambda x: ops.maximum(x, 0.0), lambda dy, x, y: dy)
    model = fn.Sequential([fn.Dense(3, activation=pair, use_bias=False)], dtype="float64")
    model.compile(fn.SGD(1.0), "mse")
    model.build((2,))
    x, y = np.ones((1, 2)), np.full((1, 3), 5.0)
    (w,) = model.get_weights()
    slope = 2 * (np.maximum(w.sum(0), 0) - 5) / 3
    model.train_step(x, y)
    np.testing.assert_allclose(model.get_weights()[0], w - np.tile(slope, (2, 1)), rtol=1e-12)
