"""Layers. They contain no loops over numbers and name no backend: they only call ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod, sqrt
from typing import Any

from fastnn import checks, constraints, initializers, ops, registry, regularizers
from fastnn.autodiff import custom_gradient
from fastnn.program import Slot, Tensor
from fastnn.table import ACTIVATIONS, ALPHA

Shape = tuple[int, ...]
Activate = Callable[[Any], Any]


@dataclass(frozen=True)
class Parameter:
    """What a layer says of one of its parameters."""

    name: str
    shape: Shape
    initializer: initializers.Initializer
    regularizer: regularizers.L1L2 | None = None
    constraint: constraints.Constraint | None = None
    #: Whether it is learned; what is not, such as moving averages, the layer updates itself.
    trainable: bool = True


@dataclass(frozen=True)
class Context:
    """What a layer may need besides its input: whether the model trains, and random numbers' coordinates."""

    training: bool
    seed: int
    stream: int
    step: Slot


class Layer(registry.Configured):
    """Base class: ``build`` fixes shapes and parameters, ``call`` records the forward pass."""

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        """Output shape and parameters for an input shape, both without the batch dimension."""
        return input_shape, []

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        """Record the layer's ops on a batch."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        config = super().config()
        for key, value in config.items():
            kind = _KINDS.get(key.rpartition("_")[2])
            if kind is not None and value is not None:
                config[key] = kind.describe(value)
        return config


#: What the ends of arguments' names say they are.
_KINDS: dict[str, registry.Registry] = {
    "initializer": initializers.REGISTRY,
    "regularizer": regularizers.REGISTRY,
    "constraint": constraints.REGISTRY,
}


def _optional(kind: registry.Registry, given: Any) -> Any:
    """An object of a registry, or None."""
    return None if given is None else kind.get(given)


def activate(x: Any, activation: str | Activate, **params: float) -> Any:
    """Apply an activation by name, or a function of ops."""
    return activation(x) if callable(activation) else getattr(ops, activation)(x, **params)


def _activation(layer: str, given: Any) -> str | Activate:
    """An activation as layers keep it, checked; a pair of functions is a function with a gradient of its own."""
    if isinstance(given, tuple) and len(given) == 2 and all(map(callable, given)):
        return custom_gradient(*given)
    if not callable(given):
        checks.option(layer, "activation", given, (*ACTIVATIONS, "softmax", "log_softmax"))
    return given


class Dense(Layer):
    """y = activation(x w + b): every output unit sees every input.

    Parameters
    ----------
    units : int
        Number of outputs.
    activation : str or callable, optional
        Name of an activation, linear by default; a function of ops; or a pair of functions of ops
        ``(forward, backward)`` as for `fastnn.custom_gradient`.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
        For w of shape (inputs, units), by default Glorot uniform, and b of shape (units,), by default zeros.
    kernel_regularizer, bias_regularizer : str or regularizer, optional
        Penalties on w and b, see `fastnn.regularizers`.
    kernel_constraint, bias_constraint : str or Constraint, optional
        What w and b are brought back to after each step, see `fastnn.constraints`.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
    ) -> None:
        checks.integer("Dense", "units", units, 1)
        self.units = int(units)
        self.activation = _activation("Dense", activation or "linear")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.REGISTRY.get(kernel_initializer)
        self.bias_initializer = initializers.REGISTRY.get(bias_initializer)
        self.kernel_regularizer = _optional(regularizers.REGISTRY, kernel_regularizer)
        self.bias_regularizer = _optional(regularizers.REGISTRY, bias_regularizer)
        self.kernel_constraint = _optional(constraints.REGISTRY, kernel_constraint)
        self.bias_constraint = _optional(constraints.REGISTRY, bias_constraint)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        if not input_shape:
            checks.fail(checks.ShapeError, "Dense", "input", "shape (batch, ..., inputs)", "(batch,)")
        kernel, bias = (input_shape[-1], self.units), (self.units,)
        own = [Parameter("kernel", kernel, self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint)]
        if self.use_bias:
            own.append(Parameter("bias", bias, self.bias_initializer, self.bias_regularizer, self.bias_constraint))
        return (*input_shape[:-1], self.units), own

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        fused = self.activation if self.activation in ACTIVATIONS else "linear"
        y = ops.dense(x, *parameters, activation=fused)
        return y if fused == self.activation else activate(y, self.activation)


class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    activation : str or callable
        As for `Dense`.
    alpha : float, optional
        For leaky_relu and elu.
    """

    def __init__(self, activation: Any, alpha: float | None = None) -> None:
        activation = _activation("Activation", activation)
        if alpha is not None:
            checks.option("Activation", "activation (alpha is for these only)", activation, tuple(ALPHA))
            checks.interval("Activation", "alpha", alpha, 0, float("inf"), "left")
        self.activation = activation
        self.alpha = alpha

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return activate(x, self.activation, **({} if self.alpha is None else {"alpha": self.alpha}))


class Dropout(Layer):
    """In training, sets a share `rate` of its inputs to zero and scales the others by 1 / (1 - rate).

    Srivastava et al. 2014. The masks follow from the model's seed, the layer's place and the training step alone.

    Parameters
    ----------
    rate : float in [0, 1]
    """

    def __init__(self, rate: float) -> None:
        checks.interval("Dropout", "rate", rate, 0, 1)
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        return ops.dropout(x, self.rate, seed=context.seed, stream=context.stream, step=context.step)


class AlphaDropout(Layer):
    """In training, dropout for networks of selu, which keeps mean 0 and variance 1 (Klambauer et al. 2017).

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float) -> None:
        checks.interval("AlphaDropout", "rate", rate, 0, 1, "left")
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        return ops.alpha_dropout(x, self.rate, seed=context.seed, stream=context.stream, step=context.step)


class GaussianNoise(Layer):
    """In training, adds normal noise with mean 0.

    Parameters
    ----------
    stddev : float in [0, inf)
        Standard deviation.
    """

    def __init__(self, stddev: float) -> None:
        checks.interval("GaussianNoise", "stddev", stddev, 0, float("inf"), "left")
        self.stddev = float(stddev)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.stddev == 0:
            return x
        return ops.gaussian_noise(x, self.stddev, seed=context.seed, stream=context.stream, step=context.step)


class GaussianDropout(Layer):
    """In training, multiplies by normal noise with mean 1 and dropout's variance rate / (1 - rate).

    Srivastava et al. 2014, section 10.

    Parameters
    ----------
    rate : float in [0, 1)
    """

    def __init__(self, rate: float) -> None:
        checks.interval("GaussianDropout", "rate", rate, 0, 1, "left")
        self.rate = float(rate)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        if not context.training or self.rate == 0:
            return x
        stddev = sqrt(self.rate / (1 - self.rate))
        return ops.gaussian_dropout(x, stddev, seed=context.seed, stream=context.stream, step=context.step)


class LayerNormalization(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gamma + beta, over each row's features (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is a beta, at first 0, and a gamma, at first 1, for each feature (last axis).
    """

    def __init__(self, epsilon: float = 1e-3, center: bool = True, scale: bool = True) -> None:
        checks.interval("LayerNormalization", "epsilon", epsilon, 0, float("inf"), "neither")
        self.epsilon, self.center, self.scale = epsilon, bool(center), bool(scale)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        return input_shape, _scale_and_shift(self, input_shape)

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        gamma, beta, _ = _present(self, parameters)
        return ops.layer_norm(x, gamma, beta, epsilon=self.epsilon)


class BatchNormalization(Layer):
    """y = (x - mean) / sqrt(variance + epsilon) gamma + beta, feature by feature (Ioffe and Szegedy 2015).

    In training with mean and variance of the batch, else with their moving averages:
    ``moving = momentum moving + (1 - momentum) batch's``, of the biased variance as in Keras.

    Parameters
    ----------
    momentum : float in [0, 1]
        Share of the moving averages that a batch leaves.
    epsilon : float
        Added to the variance.
    center, scale : bool
        Whether there is a beta, at first 0, and a gamma, at first 1, for each feature (last axis).
    """

    def __init__(
        self, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True
    ) -> None:
        checks.interval("BatchNormalization", "momentum", momentum, 0, 1)
        checks.interval("BatchNormalization", "epsilon", epsilon, 0, float("inf"), "neither")
        self.momentum, self.epsilon, self.center, self.scale = momentum, epsilon, bool(center), bool(scale)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        own = _scale_and_shift(self, input_shape)
        features = input_shape[-1:]
        own.append(Parameter("moving_mean", features, initializers.Zeros(), trainable=False))
        own.append(Parameter("moving_variance", features, initializers.Constant(1.0), trainable=False))
        return input_shape, own

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        gamma, beta, moving = _present(self, parameters)
        if not context.training:
            return ops.batch_norm_inference(x, gamma, beta, *moving, epsilon=self.epsilon)
        return ops.batch_norm(x, gamma, beta, *moving, momentum=self.momentum, epsilon=self.epsilon)


Normalization = LayerNormalization | BatchNormalization


def _scale_and_shift(layer: Normalization, input_shape: Shape) -> list[Parameter]:
    """The parameters gamma and beta, as far as a layer has them."""
    if not input_shape:
        checks.fail(checks.ShapeError, type(layer).__name__, "input", "shape (batch, ..., features)", "(batch,)")
    features = input_shape[-1:]
    gamma = [Parameter("gamma", features, initializers.Constant(1.0))] * layer.scale
    return gamma + [Parameter("beta", features, initializers.Zeros())] * layer.center


def _present(layer: Normalization, parameters: Sequence[Tensor]) -> tuple[Tensor | None, Tensor | None, list[Tensor]]:
    """Gamma and beta, None where a layer has none, and the other parameters."""
    rest = list(parameters)
    gamma = rest.pop(0) if layer.scale else None
    beta = rest.pop(0) if layer.center else None
    return gamma, beta, rest


class Flatten(Layer):
    """All dimensions but the batch's in one."""

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        return (prod(input_shape),), []

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return ops.reshape(x, (x.shape[0], prod(x.shape[1:])))


class PReLU(Layer):
    """y = x where it is positive, else alpha x, with slopes alpha that are learned (He et al. 2015).

    Parameters
    ----------
    alpha_initializer : str or Initializer, optional
        For alpha; by default constant 0.25, as in the paper and in PyTorch (Keras begins with 0).
    shared_axes : sequence of int, optional
        Axes along which all elements have one slope, counted from 1, the first after the batch's. By default every
        element of a row has its own; (1, 2) gives rows of shape (height, width, channels) one for each channel.
    """

    def __init__(self, alpha_initializer: Any = None, shared_axes: Sequence[int] | None = None) -> None:
        self.alpha_initializer = initializers.REGISTRY.get(alpha_initializer or initializers.Constant(0.25))
        for axis in shared_axes or ():
            checks.integer("PReLU", "shared_axes", axis, 1)
        self.shared_axes = None if shared_axes is None else tuple(int(a) for a in shared_axes)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        shared = self.shared_axes or ()
        if max(shared, default=0) > len(input_shape):
            checks.fail(checks.ShapeError, "PReLU", "shared_axes", f"axes of rows of shape {input_shape}", shared)
        shape = tuple(1 if axis in shared else n for axis, n in enumerate(input_shape, 1))
        return input_shape, [Parameter("alpha", shape, self.alpha_initializer)]

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        return ops.prelu(x, parameters[0])


class Maxout(Layer):
    """y = max over the pieces j of x w_j + b_j (Goodfellow et al. 2013).

    Parameters
    ----------
    units : int
        Number of outputs.
    pieces : int
        Linear functions of which each output is the largest.
    use_bias : bool
    kernel_initializer, bias_initializer : str or Initializer
        For each w_j of shape (inputs, units), by default Glorot uniform, and b_j of shape (units,), by default zeros.
        A kernel initializer with a seed of its own would make all pieces equal.
    """

    def __init__(
        self,
        units: int,
        pieces: int = 2,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
    ) -> None:
        checks.integer("Maxout", "pieces", pieces, 1)
        checks.integer("Maxout", "units", units, 1)
        self.units, self.pieces, self.use_bias = int(units), int(pieces), bool(use_bias)
        self.kernel_initializer = initializers.REGISTRY.get(kernel_initializer)
        self.bias_initializer = initializers.REGISTRY.get(bias_initializer)

    def build(self, input_shape: Shape) -> tuple[Shape, list[Parameter]]:
        if not input_shape:
            checks.fail(checks.ShapeError, "Maxout", "input", "shape (batch, ..., inputs)", "(batch,)")
        parameters = []
        for j in range(self.pieces):
            parameters.append(Parameter(f"kernel_{j}", (input_shape[-1], self.units), self.kernel_initializer))
            if self.use_bias:
                parameters.append(Parameter(f"bias_{j}", (self.units,), self.bias_initializer))
        return (*input_shape[:-1], self.units), parameters

    def call(self, x: Tensor, parameters: Sequence[Tensor], context: Context) -> Tensor:
        width = 1 + self.use_bias
        pieces = (ops.dense(x, *parameters[i : i + width]) for i in range(0, len(parameters), width))
        return reduce(ops.maximum, pieces)


REGISTRY = registry.Registry(
    "layer",
    Layer,
    {
        "dense": Dense,
        "activation": Activation,
        "dropout": Dropout,
        "alpha_dropout": AlphaDropout,
        "gaussian_noise": GaussianNoise,
        "gaussian_dropout": GaussianDropout,
        "layer_normalization": LayerNormalization,
        "batch_normalization": BatchNormalization,
        "flatten": Flatten,
        "prelu": PReLU,
        "maxout": Maxout,
    },
)
