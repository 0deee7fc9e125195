"""The programs of a model: inference, evaluation, and the training step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastnn import autodiff, checks, layers, ops
from fastnn.ops.dispatch import apply
from fastnn.program import Program, Tensor
from fastnn.rules import zeros

if TYPE_CHECKING:
    from fastnn.model import Sequential


def parameters(model: Sequential, program: Program) -> list[Tensor]:
    """The model's parameters as tensors of a program."""
    return [program.state(name, view) for name, view in zip(model.parameter_names(), model._views, strict=True)]


def forward(model: Sequential, x: Tensor, parameters: list[Tensor], training: bool) -> list[Tensor]:
    """Record all layers; returns each one's output."""
    rest, outputs = list(parameters), []
    for number, (layer, own) in enumerate(zip(model.layers, model._parameters, strict=True)):
        context = layers.Context(training, model.seed, number, model._step)
        shape = (x.shape[0], *model.output_shapes[number])
        x = layer.call(x, [rest.pop(0) for _ in own], context)
        if not isinstance(x, Tensor):
            checks.fail(TypeError, model.layer_names[number], "output", "a tensor that ops have made", type(x).__name__)
        if x.shape != shape:
            checks.fail(checks.ShapeError, model.layer_names[number], "output", f"shape {shape}", x.shape)
        outputs.append(x)
    return outputs


def inference(model: Sequential, program: Program, rows: int) -> None:
    """Record the way from a batch of rows to the output."""
    x = program.input("x", (rows, *model._input()), model.dtype)
    program.output(forward(model, x, parameters(model, program), training=False)[-1])


def supervised(
    model: Sequential, program: Program, target_shape: tuple[int, ...], target_dtype: Any, weighted: bool, train: bool
) -> None:
    """Record the way from a batch and its targets to loss and metrics, and the step that learns from it."""
    _, loss = model._compiled()
    rows = target_shape[0]
    x = program.input("x", (rows, *model._input()), model.dtype)
    y = program.input("y", target_shape, target_dtype)
    weight = program.input("sample_weight", (rows,), model.dtype) if weighted else None
    own = parameters(model, program)
    prediction = forward(model, x, own, training=train)[-1]
    value = penalized = loss.record(prediction, y, weight)
    measured = [metric.record(prediction, y, loss.threshold) for metric in model.metrics]
    for described, p in zip(model._flat_parameters(), own, strict=True):
        if described.regularizer is not None:  # of the parameters before the step, as the loss
            penalized = penalized + described.regularizer.penalty(p)
    if train:
        measured += _step(model, program, value, own)
    for tensor in [penalized, *measured]:
        program.output(tensor)


def _step(model: Sequential, program: Program, loss: Tensor, own: list[Tensor]) -> list[Tensor]:
    """Record gradients, laid out like the parameters, and the update of all parameters in one pass.

    Returns the gradients' norm if it is to be reported.
    """
    optimizer, _ = model._compiled()
    model._allocate_moments()
    flat = program.state("gradients", model._grads)
    described = model._flat_parameters()
    learned = [i for i, p in enumerate(described) if p.trainable]
    found = autodiff.gradients(loss, [own[i] for i in learned])
    for i, gradient in zip(learned, found, strict=True):
        if gradient is None:
            gradient = zeros(own[i])
        program.place(gradient, flat, model._offsets[i])
    slopes = {i: program.state(f"gradient of {own[i].buffer.name}", model._slopes[i]) for i in learned}
    for i in learned:
        regularizer = described[i].regularizer
        if regularizer is not None:
            regularizer.add_gradient(own[i], slopes[i])
    norm = [ops.sqrt(apply("sum_of_squares", flat))] if model.gradient_norm else []
    if model.clip_value is not None:
        ops.clip_by_value(flat, model.clip_value)
    if model.clip_each_norm is not None:
        for slope in slopes.values():
            _clip_norm(slope, model.clip_each_norm)
    if model.clip_norm is not None:
        _clip_norm(flat, model.clip_norm)
    moments = iter(program.state("moment", m) for m in model._moments)
    states = [next(moments) if kept else None for kept in optimizer.states()]
    optimizer.record(program.state("parameters", model._flat[: model._trainable]), flat, states)
    for i in learned:
        for follower in (described[i].regularizer, described[i].constraint):
            if follower is not None:
                follower.after_update(own[i], optimizer._rate)
    return norm


def _clip_norm(g: Tensor, max_norm: float) -> None:
    """Record that a gradient is scaled so that its norm is at most `max_norm`."""
    g = g.reshape(-1)
    apply("clip_by_norm", g, apply("sum_of_squares", g), max_norm=max_norm)
