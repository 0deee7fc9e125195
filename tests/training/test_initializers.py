"""Initial values: their distributions, and where their random numbers come from."""

from math import sqrt

import numpy as np
import pytest

import fastnn as fn
from fastnn import initializers
from fastnn.initializers import REGISTRY, fans, generator

#: Large enough for a standard deviation to be known to 0.2% and a mean to 0.4% of it.
SHAPE = (400, 600)
#: Standard deviation for `SHAPE`, and whether the distribution is uniform.
SCALED = {
    "glorot_uniform": (sqrt(2 / 1000), True),
    "glorot_normal": (sqrt(2 / 1000), False),
    "he_uniform": (sqrt(2 / 400), True),
    "he_normal": (sqrt(2 / 400), False),
    "lecun_uniform": (sqrt(1 / 400), True),
    "lecun_normal": (sqrt(1 / 400), False),
}
#: All that draw random numbers.
RANDOM = [*SCALED, "normal", "uniform", "truncated_normal", "orthogonal", "variance_scaling"]


def draw(spec, shape=SHAPE, dtype="float64", seed=0):
    return REGISTRY.get(spec)(shape, dtype, generator(seed))


def assert_uniform(x, low, high):
    """Within [low, high), and each tenth of it holds a tenth of the values."""
    assert low <= x.min() < low + 1e-3 * (high - low) and high - 1e-3 * (high - low) < x.max() < high
    shares = np.histogram(x, 10, (low, high))[0] / x.size
    assert np.allclose(shares, 0.1, atol=0.004)


def assert_normal(x, mean, stddev):
    """The shares within one, two and three standard deviations."""
    z = np.abs((x - mean) / stddev)
    assert np.allclose([np.mean(z < k) for k in (1, 2, 3)], [0.6827, 0.9545, 0.9973], atol=0.005)
    assert abs(np.mean(x) - mean) < 0.01 * stddev


@pytest.mark.parametrize("name", SCALED)
def test_variance_scaling(name):
    stddev, uniform = SCALED[name]
    x = draw(name)
    assert x.shape == SHAPE and abs(x.std() / stddev - 1) < 0.01 and abs(x.mean()) < 0.01 * stddev
    if uniform:
        assert_uniform(x, -sqrt(3) * stddev, sqrt(3) * stddev)
    else:
        assert_normal(x, 0, stddev)


def test_normal_and_uniform():
    assert_normal(draw("normal"), 0.0, 0.05)
    assert_uniform(draw("uniform"), -0.05, 0.05)
    assert_normal(draw({"name": "normal", "mean": 3.0, "stddev": 2.0}), 3.0, 2.0)
    assert_uniform(draw({"name": "uniform", "low": 1.0, "high": 4.0}), 1.0, 4.0)
    assert np.all(draw({"name": "normal", "mean": 3.0, "stddev": 0.0}) == 3.0)


def assert_truncated(x, mean, stddev):
    """Within two standard deviations of the normal, and the share within one."""
    z = np.abs((x - mean) / stddev)
    assert 1.99 < z.max() <= 2 and abs(np.mean(z < 1) - 0.6827 / 0.9545) < 0.005
    assert abs(x.std() / stddev - initializers.TRUNCATED_STDDEV) < 0.005 and abs(x.mean() - mean) < 0.01 * stddev


def test_truncated_normal():
    assert_truncated(draw("truncated_normal"), 0.0, 0.05)
    assert_truncated(draw({"name": "truncated_normal", "mean": 3.0, "stddev": 2.0}), 3.0, 2.0)
    scipy = pytest.importorskip("scipy.stats")
    assert np.isclose(initializers.TRUNCATED_STDDEV, scipy.truncnorm(-2, 2).std(), rtol=1e-14)
    x = draw("truncated_normal", (200, 200))[::2].ravel() / 0.05
    assert scipy.kstest(x, scipy.truncnorm(-2, 2).cdf).pvalue > 0.01


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling_of_any_kind(mode, distribution):
    """The variance is the same for all distributions."""
    x = draw({"name": "variance_scaling", "scale": 3.0, "mode": mode, "distribution": distribution})
    stddev = sqrt(3 / {"fan_in": 400, "fan_out": 600, "fan_avg": 500}[mode])
    assert abs(x.std() / stddev - 1) < 0.01
    if distribution == "uniform":
        assert_uniform(x, -sqrt(3) * stddev, sqrt(3) * stddev)
    elif distribution == "untruncated_normal":
        assert_normal(x, 0, stddev)
    else:
        assert_truncated(x, 0, stddev / initializers.TRUNCATED_STDDEV)


@pytest.mark.parametrize(
    ("name", "scale", "mode"), [("glorot", 1.0, "fan_avg"), ("he", 2.0, "fan_in"), ("lecun", 1.0, "fan_in")]
)
def test_named_cases_of_variance_scaling(name, scale, mode):
    for kind, distribution in (("uniform", "uniform"), ("normal", "untruncated_normal")):
        same = {"name": "variance_scaling", "scale": scale, "mode": mode, "distribution": distribution}
        assert np.array_equal(draw(f"{name}_{kind}", (7, 5)), draw(same, (7, 5)))


def test_named_cases_keep_their_values():
    """First values for seed 0, drawn before the general initializer had a name."""
    first = {
        "glorot_uniform": [-0.8997730110456034, -0.4485279056479927, -0.05265068357083802],
        "glorot_normal": [-0.11009774938630322, -0.06887052320186791, -0.15489920403469626],
        "he_uniform": [-1.1902878118172198, -0.5933466472086159, -0.06965030754299573],
        "he_normal": [-0.14564563239203623, -0.09110713852752317, -0.20491238607882958],
        "lecun_uniform": [-0.8416605832996533, -0.41955943783551436, -0.04925020477538089],
        "lecun_normal": [-0.1029870143146119, -0.06442247546731379, -0.14489493774545628],
    }
    for name, expected in first.items():
        assert draw(name, (4, 3))[0].tolist() == expected


@pytest.mark.parametrize("shape", [(5, 5), (7, 4), (4, 7), (2, 3, 4), (1, 6), (0, 3)])
def test_orthogonal(shape):
    x = draw({"name": "orthogonal", "gain": 2.0}, shape)
    assert x.shape == shape
    matrix = x.reshape(-1, shape[-1])
    product = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
    assert np.allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_is_uniform():
    """Over all rotations and reflections: the mean of each element is 0, that of its square 1 / n."""
    draws = np.array([draw("orthogonal", (3, 3), seed=seed) for seed in range(3000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.04 and np.abs((draws**2).mean(axis=0) - 1 / 3).max() < 0.02


def test_constants(dtype):
    assert np.array_equal(draw("zeros", (3, 2), dtype), np.zeros((3, 2)))
    assert np.array_equal(draw("ones", (3, 2), dtype), np.ones((3, 2)))
    x = draw({"name": "constant", "value": 0.1}, (3,), dtype)
    assert x.dtype == dtype and np.all(x == np.dtype(dtype).type(0.1))


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 5), (3, 5)), ((2, 4, 3, 5), (24, 40)), ((0, 4), (0, 4))],
)
def test_fans(shape, expected):
    """Inputs and outputs of a unit; a leading receptive field multiplies both, as in Keras."""
    assert fans(shape) == expected


@pytest.mark.parametrize("name", SCALED)
def test_no_inputs(name):
    assert draw(name, (0, 3)).shape == (0, 3)


@pytest.mark.parametrize(
    ("name", "theirs", "arguments"),
    [
        ("glorot_uniform", "xavier_uniform_", {}),
        ("glorot_normal", "xavier_normal_", {}),
        ("he_uniform", "kaiming_uniform_", {"nonlinearity": "relu"}),
        ("he_normal", "kaiming_normal_", {"nonlinearity": "relu"}),
        ("lecun_uniform", "kaiming_uniform_", {"nonlinearity": "linear"}),
        ("lecun_normal", "kaiming_normal_", {"nonlinearity": "linear"}),
    ],
)
def test_as_in_pytorch(name, theirs, arguments):
    """Their weights are stored as (outputs, inputs)."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    peer = getattr(torch.nn.init, theirs)(torch.empty(SHAPE[::-1]), **arguments).numpy()
    x = draw(name)
    assert abs(x.std() / peer.std() - 1) < 0.01
    if SCALED[name][1]:
        assert abs(x.max() / peer.max() - 1) < 1e-3


# --- random numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides(name):
    assert np.array_equal(draw(name, seed=3), draw(name, seed=3))
    assert not np.array_equal(draw(name, seed=3), draw(name, seed=4))
    single = draw(name, dtype="float32", seed=3)
    assert single.dtype == np.float32 and np.array_equal(single, draw(name, seed=3).astype(np.float32))


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_of_its_own(name):
    spec = {"name": name, "seed": 11}
    assert np.array_equal(draw(spec, seed=1), draw(spec, seed=2))
    assert not np.array_equal(draw(spec), draw({"name": name, "seed": 12}))


def test_generators_of_different_numbers_differ():
    numbers = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (2**40,), (0, 2**32, 1)]
    first = [generator(*n).random(4).tobytes() for n in numbers]
    assert len(set(first)) == len(numbers)


def test_models_draw_each_parameter_anew():
    def weights(seed, **options):
        model = fn.Sequential([fn.Dense(6, **options), fn.Dense(6, **options)], seed=seed, input_shape=(6,))
        return model.get_weights()

    a, b, c = weights(0), weights(0), weights(1)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(a[0], c[0])
    assert not np.array_equal(a[0], a[2])
    assert not a[1].any()
    d = weights(0, bias_initializer={"name": "constant", "value": 2.0}, kernel_initializer="he_normal")
    assert np.all(d[1] == 2.0) and not np.array_equal(d[0], a[0])


def test_model_draws_do_not_depend_on_the_backend(backend):
    model = fn.Sequential([fn.Dense(5)], seed=9, backend=backend, input_shape=(4,))
    other = fn.Sequential([fn.Dense(5)], seed=9, backend="reference", input_shape=(4,))
    assert np.array_equal(model.get_weights()[0], other.get_weights()[0])


# --- names, functions, errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTRY.classes)
def test_configuration_makes_an_equal_initializer(name):
    initializer = REGISTRY.get(name)
    again = REGISTRY.get(REGISTRY.describe(initializer))
    assert type(again) is type(initializer) and again.config() == initializer.config()
    assert np.array_equal(draw(again, (3, 4)), draw(initializer, (3, 4)))


def test_a_function_serves_as_well():
    def identity(shape, dtype, rng):
        return np.eye(*shape, dtype=dtype)

    model = fn.Sequential([fn.Dense(3, kernel_initializer=identity)], input_shape=(3,))
    assert np.array_equal(model.get_weights()[0], np.eye(3))
    assert "identity" in repr(model.layers[0])


def test_a_function_that_returns_another_shape():
    layer = fn.Dense(3, kernel_initializer=lambda shape, dtype, rng: np.zeros(3, dtype))
    model = fn.Sequential([layer])
    with pytest.raises(fn.ShapeError, match=r"^build: initializer: expected shape \(4, 3\), got \(3,\)$"):
        model.build((4,))
    with pytest.raises(RuntimeError, match="not built"):
        model.get_weights()


def test_errors():
    with pytest.raises(ValueError, match=r"^initializer: expected one of zeros, ones, .*, got 'xavier'$"):
        REGISTRY.get("xavier")
    with pytest.raises(TypeError, match=r"^initializer: expected a name or an object of class Callable, got "):
        fn.Dense(3, kernel_initializer=initializers.HeNormal)
    with pytest.raises(ValueError, match=r"^Normal: stddev: expected a number in \[0, inf\), got -1$"):
        initializers.Normal(stddev=-1)
    with pytest.raises(ValueError, match=r"^Uniform: high: expected a number in \[2.0, inf\), got 1.0$"):
        initializers.Uniform(2.0, 1.0)
    with pytest.raises(ValueError, match=r"^Normal: mean: expected a number in \(-inf, inf\), got nan$"):
        initializers.Normal(mean=float("nan"))
    with pytest.raises(ValueError, match=r"^TruncatedNormal: stddev: expected a number in \[0, inf\), got -1$"):
        initializers.TruncatedNormal(stddev=-1)
    with pytest.raises(ValueError, match=r"^VarianceScaling: scale: expected a number in \(0, inf\), got 0$"):
        initializers.VarianceScaling(0)
    with pytest.raises(ValueError, match=r"^VarianceScaling: mode: expected one of 'fan_in', .*, got 'fan'$"):
        initializers.VarianceScaling(mode="fan")
    with pytest.raises(ValueError, match=r"^VarianceScaling: distribution: expected one of .*, got 'normal'$"):
        initializers.VarianceScaling(distribution="normal")
    with pytest.raises(fn.ShapeError, match=r"^Orthogonal: shape: expected at least two dimensions, got \(3,\)$"):
        draw("orthogonal", (3,))
    for seed, error in ((-1, ValueError), (1.5, TypeError), ("a", TypeError)):
        with pytest.raises(error, match=r"^HeNormal: seed: expected an integer"):
            initializers.HeNormal(seed)
    with pytest.raises(ValueError, match=r"^Constant: value: expected a number in \(-inf, inf\), got nan$"):
        initializers.Constant(float("nan"))
