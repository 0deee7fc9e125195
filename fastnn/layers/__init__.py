"""Layers. They contain no loops over numbers and name no backend: they only call ops."""

from fastnn import registry
from fastnn.layers.activation import Activation, PReLU
from fastnn.layers.base import Context, Layer, Parameter
from fastnn.layers.dense import Dense, Maxout
from fastnn.layers.noise import AlphaDropout, Dropout, GaussianDropout, GaussianNoise
from fastnn.layers.normalization import BatchNormalization, LayerNormalization
from fastnn.layers.shape import Flatten

__all__ = [
    "REGISTRY", "Activation", "AlphaDropout", "BatchNormalization", "Context", "Dense", "Dropout", "Flatten",
    "GaussianDropout", "GaussianNoise", "Layer", "LayerNormalization", "Maxout", "PReLU", "Parameter",
]  # fmt: skip

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
