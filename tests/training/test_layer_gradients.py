"""Every layer's gradients, by its input and its parameters, against central differences in float64."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import layers
from fastnn.program import Slot
from fastnn.table import ACTIVATIONS

SHAPE = (3, 2, 4)
LAYERS = [
    *(fn.Dense(6, activation, bias_initializer="normal") for activation in (*ACTIVATIONS, "softmax", "log_softmax")),
    fn.Dense(6, "gelu", use_bias=False),
    *(fn.Activation(activation) for activation in (*ACTIVATIONS, "softmax", "log_softmax")),
    fn.Activation("elu", alpha=0.7),
    fn.PReLU(),
    fn.PReLU(shared_axes=(1,)),
    fn.Maxout(6, 3, bias_initializer="normal"),
    fn.LayerNormalization(),
    fn.LayerNormalization(center=False, scale=False),
    fn.BatchNormalization(),
    fn.BatchNormalization(center=False, scale=False),
    fn.Dropout(0.4),
    fn.AlphaDropout(0.4),
    fn.GaussianNoise(0.4),
    fn.GaussianDropout(0.4),
    fn.Flatten(),
]


def test_no_layer_is_missing():
    assert {type(layer) for layer in LAYERS} == set(layers.REGISTRY.classes.values())


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("layer", LAYERS, ids=repr)
def test_gradients(backend, layer, training):
    rng = np.random.default_rng(0)
    shape, described = layer.build(SHAPE[1:])
    learned = [p.initializer(p.shape, np.float64, rng) for p in described if p.trainable]
    kept = [rng.uniform(0.5, 1.5, p.shape) for p in described if not p.trainable]
    weights = rng.uniform(0.5, 1.5, (SHAPE[0], *shape))

    def f(x, *own):
        moving = [x.program.state("moving", x.program.backend.to_device(a.copy())) for a in kept]
        context = layers.Context(training, seed=1, stream=2, step=Slot("step", 3))
        y = layer.call(x, [*own, *moving], context)
        assert y.shape == weights.shape
        return fn.sum(y * weights)

    fn.check_gradients(f, [rng.normal(size=SHAPE), *learned], rtol=1e-7, backend=backend)
