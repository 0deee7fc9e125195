"""Sequential: layers in a row, trained and run as recorded programs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from copy import deepcopy
from itertools import count
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from fastnn import (
    autodiff,
    backends,
    batches,
    checks,
    initializers,
    inspection,
    layers,
    losses,
    optimizers,
    recording,
    registry,
    saving,
    training,
)
from fastnn.frozen import Frozen
from fastnn.metrics import REGISTRY as METRICS
from fastnn.metrics import Metric
from fastnn.precision import get_matmul_precision, matmul_precision
from fastnn.program import Program, Slot
from fastnn.table import PRECISIONS
from fastnn_ext.replay import CompiledReplay

#: Parameters begin at multiples of this many elements in the flat array that holds them all (64 bytes of float32).
ALIGNMENT = 16
#: Programs kept for different batch shapes; the least recently used is forgotten first.
MOST_PROGRAMS = 16
#: Rows that `predict` and `evaluate` run at a time.
CHUNK = 512
#: Attributes that copies of a model make anew.
_OF_THE_PROCESS = ("_programs", "_step", "_views", "_slopes", "_grads", "backend")


class Sequential:
    """A network of layers, each fed with the one before.

    Parameters
    ----------
    layers : sequence of Layer
    dtype : {"float32", "float64"}
        Of parameters, inputs and outputs.
    backend : str, optional
        Backend of all programs; by default chosen as for ops when the model is built.
    seed : int in [0, 2**53)
        Decides initial parameters, shuffling and dropout: the same seed gives the same bits on the same machine.
    input_shape : tuple of int, optional
        Shape of one row; else the first data decide.

    Attributes
    ----------
    layers : tuple of Layer
    layer_names : list of str
        Their kinds and numbers, such as ``dense_1``.
    extra : dict
        Whatever was given to `save` as `extra`.
    epochs_done : int
        Epochs that the latest `fit` has finished, those before its `initial_epoch` included.
    stop_training : bool
        Set by a callback, ends `fit` after the epoch.
    """

    def __init__(
        self,
        layers: Sequence[layers.Layer],
        dtype: str = "float32",
        backend: str | None = None,
        seed: int = 0,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        checks.option("Sequential", "dtype", dtype, ("float32", "float64"))
        checks.integer("Sequential", "seed", seed, 0)
        checks.interval("Sequential", "seed", seed, 0, 2**53, "left")
        if backend is not None:
            checks.option("Sequential", "backend", backend, tuple(backends.MODULES))
        self.layers = _checked(layers)
        self.layer_names = _names(self.layers)
        self.dtype = np.dtype(dtype)
        self.seed = int(seed)
        self.extra: dict[str, Any] = {}
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: list[Metric] = []
        self.clip_norm: float | None = None
        self.clip_each_norm: float | None = None
        self.clip_value: float | None = None
        self.gradient_norm = False
        self.precision: str | None = None
        self.input_shape: tuple[int, ...] | None = None
        self.epochs_done = 0
        self.stop_training = False
        self._callback_states: list[tuple[str, dict[str, Any]]] = []
        self._ownership: object = None
        self._backend_name = backend
        self._step = Slot("dropout_step", 0)
        self._programs: OrderedDict[tuple[Any, ...], Program] = OrderedDict()
        self._changes = -1
        self._versions: tuple[int, ...] = ()
        if input_shape is not None:
            self.build(input_shape)

    # --- building ----------------------------------------------------------------------------------------

    def build(self, input_shape: Sequence[int]) -> None:
        """Fix all shapes for rows of this shape, and draw the initial parameters.

        Built again with parameters of the same shapes, the model keeps them where they are, and frozen functions see
        the new ones.
        """
        if not isinstance(input_shape, Sequence):
            checks.fail(TypeError, "build", "input_shape", "a tuple of integers", repr(input_shape))
        for n in input_shape:
            checks.integer("build", "input_shape", n, 0)
        shape = rows = tuple(int(n) for n in input_shape)
        backend = backends.select(self._backend_name)
        output_shapes: list[tuple[int, ...]] = []
        parameters: list[list[layers.Parameter]] = []
        for layer in self.layers:
            shape, own = layer.build(shape)
            output_shapes.append(shape)
            parameters.append(own)
        flat = [p for own in parameters for p in own]
        offsets, trainable, size = _layout(flat)
        host = np.zeros(size, self.dtype)
        for i, (parameter, offset) in enumerate(zip(flat, offsets, strict=True)):
            values = parameter.initializer(parameter.shape, self.dtype, initializers.generator(self.seed, i))
            if np.shape(values) != parameter.shape:
                checks.fail(checks.ShapeError, "build", "initializer", f"shape {parameter.shape}", np.shape(values))
            host[offset : offset + prod(parameter.shape)] = np.ravel(values)
        # Nothing can fail from here on.
        shapes = [(p.shape, p.trainable) for p in flat]
        same = self.input_shape is not None and backend is self.backend
        same = same and shapes == [(p.shape, p.trainable) for p in self._flat_parameters()]
        self.input_shape, self.output_shape = rows, shape
        self.backend, self.output_shapes, self._parameters, self._offsets = backend, output_shapes, parameters, offsets
        self._trainable = trainable
        if same:
            backend.assign(self._flat, host)
        else:
            self._flat = backend.to_device(host)
            self._views = self._views_of(self._flat)
        self.epochs_done = 0
        self._start_anew()

    def _start_anew(self) -> None:
        """Forget what training has accumulated besides the parameters."""
        self._grads: Any = None
        self._moments: list[Any] = []
        self._programs.clear()
        if self.optimizer is not None:
            self.optimizer.iterations = 0
            self.optimizer.owner = self._ownership = object()

    def _flat_parameters(self) -> list[layers.Parameter]:
        return [p for row in self._parameters for p in row]

    def _views_of(self, flat: Any) -> list[Any]:
        """One array per parameter, all within `flat`; None for one that lies beyond its end."""
        return [
            flat[offset : offset + prod(p.shape)].reshape(p.shape) if offset + prod(p.shape) <= len(flat) else None
            for offset, p in zip(self._offsets, self._flat_parameters(), strict=True)
        ]

    def _built(self, x: Any = None) -> None:
        """Build for these data if that has not been done yet."""
        if self.input_shape is None:
            if x is None:
                raise RuntimeError("the model is not built: give input_shape, call build, or fit it first")
            self.build(np.shape(x)[1:])

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = "mean_squared_error",
        metrics: Sequence[Any] | None = (),
        clip_norm: float | None = None,
        clip_each_norm: float | None = None,
        clip_value: float | None = None,
        gradient_norm: bool = False,
        precision: str | None = None,
    ) -> None:
        """Choose how to train.

        Parameters
        ----------
        optimizer : str or Optimizer
            Counts this model's steps from now on: no other model can train with the same object meanwhile.
        loss : str, Loss or function
            A function of ops, ``f(y_pred, y_true)`` or ``f(y_pred, y_true, sample_weight)``, is wrapped in a
            `fastnn.losses.FunctionLoss`; a pair of functions is one with a gradient of its own, see
            `fastnn.custom_gradient`.
        metrics : sequence of str or Metric, optional
            Reported besides the loss: "accuracy", "top_k_accuracy", "precision", "recall", "f1", "r2", "mse", "mae", or
            objects of `fastnn.metrics`.
        clip_norm : float, optional
            Scale gradients so that their common norm is at most this (Pascanu, Mikolov and Bengio 2013).
        clip_each_norm : float, optional
            Scale each parameter's gradient so that its norm is at most this.
        clip_value : float, optional
            Bring each element of the gradients to between minus this and this. Values are clipped first, then each
            norm, then the common one.
        gradient_norm : bool
            Report the gradients' common norm before clipping, the mean over batches, in training.
        precision : {"float32", "bf16x3", "bf16", "tf32"}, optional
            How precise the model's float32 matrix products have to be, in training and in prediction; by default as
            `fastnn.set_matmul_precision` and `fastnn.matmul_precision` say at the time of each call.

        Raises
        ------
        TypeError, ValueError
            If something is not known; nothing is changed then.
        """
        clips = {"clip_norm": clip_norm, "clip_each_norm": clip_each_norm, "clip_value": clip_value}
        for name, clip in clips.items():
            if clip is not None:
                checks.interval("compile", name, clip, 0, float("inf"), "neither")
        if precision is not None:
            checks.option("compile", "precision", precision, PRECISIONS)
        optimizer = optimizers.REGISTRY.get(optimizer)
        loss = losses.REGISTRY.get(autodiff.custom_gradient(*loss) if isinstance(loss, tuple) else loss)
        given = [metrics] if isinstance(metrics, (str, Metric)) else metrics or ()
        metrics = [METRICS.get(m) for m in given]
        self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
        self.clip_norm, self.clip_each_norm, self.clip_value = clip_norm, clip_each_norm, clip_value
        self.gradient_norm, self.precision = bool(gradient_norm), precision
        self._start_anew()

    def _compiled(self) -> tuple[optimizers.Optimizer, losses.Loss]:
        if self.optimizer is None or self.loss is None:
            raise RuntimeError("the model is not compiled: call compile(optimizer=..., loss=...) first")
        return self.optimizer, self.loss

    # --- programs ----------------------------------------------------------------------------------------

    def _program(self, record: Callable[..., None], *details: Hashable) -> Program:
        """What `record(model, program, *details)` records under the precision of matrix products, at first use."""
        if registry.changes != self._changes and self._reconfigured():
            self._programs.clear()
        precision = self.precision or get_matmul_precision()
        key = (record, *details, precision)
        program = self._programs.get(key)
        if program is None:
            program = Program(self.backend.name)
            with matmul_precision(precision):
                record(self, program, *details)
            self._reconfigured()  # what recording itself sets does not count
            self._programs[key] = program
            if len(self._programs) > MOST_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return program

    def _reconfigured(self) -> bool:
        """Whether an argument of what programs are recorded from has been set since the last call."""
        parts = [part for part in (self.optimizer, self.loss) if part is not None]
        before = self._versions
        self._changes = registry.changes
        self._versions = tuple(version for part in (*parts, *self.metrics, *self.layers) for version in part.versions())
        return self._versions != before

    def _allocate_moments(self) -> None:
        """Memory for gradients, zero at first, and the optimizer's state."""
        optimizer, _ = self._compiled()
        if self._moments and len(self._moments) != sum(optimizer.states()):
            raise RuntimeError("the optimizer's settings need other moments than it has kept: compile the model again")
        zeros = np.zeros(self._trainable, self.dtype)
        if self._grads is None:
            self._grads = self.backend.to_device(zeros)
            self._slopes = self._views_of(self._grads)
        if not self._moments:
            start = np.full(self._trainable, optimizer.initial_state, self.dtype)
            self._moments = [self.backend.to_device(start) for kept in optimizer.states() if kept]

    def _snapshot(self) -> tuple[list[np.ndarray], int]:
        """Copies of all that a training step changes: parameters, moments, step count."""
        optimizer, _ = self._compiled()
        self._allocate_moments()
        arrays = [np.array(self.backend.to_host(a)) for a in (self._flat, *self._moments)]
        return arrays, optimizer.iterations

    def _restore(self, snapshot: tuple[list[np.ndarray], int]) -> None:
        """Go back to a snapshot."""
        optimizer, _ = self._compiled()
        arrays, optimizer.iterations = snapshot
        for array, kept in zip((self._flat, *self._moments), arrays, strict=True):
            self.backend.assign(array, kept)

    def _input(self) -> tuple[int, ...]:
        assert self.input_shape is not None
        return self.input_shape

    def _rows(self, x: Any, what: str) -> np.ndarray:
        """Input data as an array that can be converted to the model's dtype; a memory-mapped one stays one."""
        array = checks.numbers(what, "X", x, f"{self.dtype} numbers")
        if array.ndim == 0 and array.dtype == object:  # a sparse matrix, a dict, a set
            checks.fail(TypeError, what, "X", "an array", type(x).__name__)
        if array.ndim == 0:
            checks.fail(checks.ShapeError, what, "X", "at least one dimension", array.shape)
        if array.dtype != self.dtype:
            checks.host_array(what, "X", array[:0], self.dtype)
        self._built(array)
        if array.shape[1:] != self.input_shape:
            checks.fail(checks.ShapeError, what, "X", f"rows of shape {self._input()}", array.shape)
        return array

    def _ready_rows(self, x: Any, what: str) -> np.ndarray:
        """Input data as an array that kernels can read."""
        if self.input_shape is not None and checks.ready_rows(x, self.dtype, self.input_shape):
            return x
        return checks.host_array(what, "X", self._rows(x, what), self.dtype)

    # --- training ----------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None, **options: Any) -> training.History:
        """Train on rows X and targets y, or on a stream of batches X; see `fastnn.training.fit` for the options."""
        return training.fit(self, X, y, **options)

    def train_step(self, xb: Any, yb: Any, sample_weight: Any = None) -> float:
        """One step of the optimizer on one batch.

        Returns
        -------
        float
            The loss before the step.
        """
        _, loss = self._compiled()
        x = self._ready_rows(xb, "train_step")
        y = loss.targets(yb, self.output_shape, self.dtype)
        w = None if sample_weight is None else batches.weights("train_step", sample_weight, len(x), self.dtype)
        batches.same_length("train_step", x, y)
        return self._step_on(x, y, w)[0].item()

    def _step_on(self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> tuple[Any, ...]:
        """Replay the training program on checked arrays; returns loss and metrics as arrays of one element."""
        return self._read(self._queue_step(x, y, w))

    def _queue_step(self, x: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> tuple[Any, ...]:
        """The same, without waiting for a device: what is returned lies there."""
        optimizer, _ = self._compiled()
        if optimizer.owner is not self._ownership:
            raise RuntimeError("another model was compiled with the same optimizer: give each one of its own")
        program = self._program(recording.supervised, y.shape, y.dtype, w is not None, True)
        optimizer.advance()
        self._step.value = optimizer.iterations % 2**32
        return self._queue(program, x, y, w)

    def _replay(self, program: Program, *arrays: np.ndarray | None) -> tuple[Any, ...]:
        """Run a program on host arrays (None for an absent one); returns its outputs as host arrays."""
        return self._read(self._queue(program, *arrays))

    def _read(self, outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """Outputs of a program as host arrays; waits for a device."""
        return tuple([self.backend.to_host(o) for o in outputs]) if self.backend.device else outputs

    def _queue(self, program: Program, *arrays: np.ndarray | None) -> tuple[Any, ...]:
        """Run a program on host arrays, or have a device do so; its outputs are where the backend computes."""
        replay = program.compile()
        if isinstance(replay, CompiledReplay):
            return replay.results(arrays)
        given = [a for a in arrays if a is not None]
        out = [self.backend.empty(t.shape, t.dtype) for t in program.outputs]
        replay.run((*given, *out))
        return tuple(out)

    # --- inference ---------------------------------------------------------------------------------------

    def predict(self, X: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Outputs for rows X.

        Parameters
        ----------
        X : array_like of shape (rows, ...)
        out : array of shape (rows, ...), optional
            Where to write them, of the model's dtype.
        """
        x = self._rows(X, "predict")
        shape = (len(x), *self.output_shape)
        if out is None:
            out = np.empty(shape, self.dtype)
        else:
            checks.output("predict", checks.OUT, out, shape, self.dtype, [x])
        for start in range(0, len(x), CHUNK):
            piece = checks.host_array("predict", "X", x[start : start + CHUNK], self.dtype)
            program = self._program(recording.inference, len(piece))
            if self.backend.device:
                out[start : start + CHUNK] = self._replay(program, piece)[0]
            else:
                program.compile().run((piece, out[start : start + CHUNK]))
        return out

    def evaluate(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics on rows X and targets y, without training.

        Returns
        -------
        dict
            "loss" and the metrics' names.
        """
        _, loss = self._compiled()
        x, y = self._rows(X, "evaluate"), y if isinstance(y, np.ndarray) else np.asarray(y)
        batches.same_length("evaluate", x, y)
        w = batches.weights("evaluate", sample_weight, len(x), self.dtype)
        totals: list[Any] = [0.0] * (1 + len(self.metrics))
        for start in range(0, len(x), CHUNK):
            rows = slice(start, start + CHUNK)
            piece = checks.host_array("evaluate", "X", x[rows], self.dtype)
            targets = loss.targets(y[rows], self.output_shape, self.dtype)
            program = self._program(recording.supervised, targets.shape, targets.dtype, w is not None, False)
            values = self._replay(program, piece, targets, None if w is None else w[rows])
            totals = training.add(totals, values, len(piece))
        return self.results(totals, len(x))

    def results(self, totals: Sequence[Any], rows: int) -> dict[str, float]:
        """What is reported, from the sums over rows of what a training or evaluation program measures."""
        read = [float, *(metric.result for metric in self.metrics), float]  # the last is the gradients' norm
        names = self.metric_names(training=len(totals) > 1 + len(self.metrics))
        return {name: result(total / rows) for name, result, total in zip(names, read, totals, strict=False)}

    def metric_names(self, training: bool = False) -> list[str]:
        """What evaluation reports: "loss", then the metrics; and in training the gradients' norm if asked for.

        Metrics of one name are numbered as in Keras: ``top_k_accuracy``, ``top_k_accuracy_1``.
        """
        names = ["loss"]
        for metric in self.metrics:
            numbered = (f"{metric.name}_{n}" if n else metric.name for n in count())
            names.append(next(name for name in numbered if name not in (*names, "gradient_norm")))
        return [*names, *["gradient_norm"] * (training and self.gradient_norm)]

    def freeze(self, batch_size: int = 1) -> Frozen:
        """A function for one batch size, as fast as it gets: a replayed program, nothing validated twice.

        It sees later changes of the parameters. If the model is built again with parameters of other shapes, it stays
        what it was.
        """
        self._built()
        checks.integer("freeze", "batch_size", batch_size, 1)
        return Frozen(self, batch_size)

    def layer_outputs(self, X: Any) -> dict[str, np.ndarray]:
        """Each layer's output for rows X, by the layer's name; see `fastnn.inspection.layer_outputs`."""
        return inspection.layer_outputs(self, X)

    def gradients(self, X: Any, y: Any, of: str = "parameters") -> dict[str, np.ndarray]:
        """The loss's gradients by parameters or layers' outputs; see `fastnn.inspection.gradients`."""
        return inspection.gradients(self, X, y, of)

    # --- parameters --------------------------------------------------------------------------------------

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all parameters in the layers' order, w (in, out) then b."""
        self._built()
        return [np.array(v) for v in self._views_of(self.backend.to_host(self._flat))]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all parameters, in the order of `get_weights`.

        Raises
        ------
        ShapeError
            If number or shapes differ.
        DataError
            If finite values would become infinite.

        Nothing is changed then.
        """
        self._built()
        parameters = self._flat_parameters()
        if not isinstance(weights, Collection):
            checks.fail(TypeError, "set_weights", "weights", "a sequence of arrays", repr(weights))
        if len(weights) != len(parameters):
            checks.fail(checks.ShapeError, "set_weights", "weights", f"{len(parameters)} arrays", len(weights))
        host = np.zeros(self._flat.shape, self.dtype)
        for i, (view, w) in enumerate(zip(self._views_of(host), weights, strict=True)):
            if np.shape(w) != view.shape:
                checks.fail(checks.ShapeError, "set_weights", f"weights[{i}]", f"shape {view.shape}", np.shape(w))
            with np.errstate(over="ignore"):
                view[...] = checks.host_array("set_weights", f"weights[{i}]", w, self.dtype)
            if np.isinf(view).any() and not np.isinf(w)[np.isinf(view)].all():
                expected = f"values within the range of {self.dtype}"
                checks.fail(checks.DataError, "set_weights", f"weights[{i}]", expected, "larger ones")
        self.backend.assign(self._flat, host)

    def parameter_names(self) -> list[str]:
        """Names of all parameters in the layers' order, such as ``dense_1.kernel``."""
        self._built()
        return [f"{name}.{p.name}" for name, own in zip(self.layer_names, self._parameters, strict=True) for p in own]

    def count_params(self) -> int:
        """Number of parameters."""
        self._built()
        return sum(prod(p.shape) for p in self._flat_parameters())

    def summary(self, print_fn: Callable[[str], None] = print) -> None:
        """Print a table of layers, output shapes and parameter counts."""
        self._built()
        rows = [("Layer", "Output shape", "Parameters")]
        for name, layer, shape, own in zip(
            self.layer_names, self.layers, self.output_shapes, self._parameters, strict=True
        ):
            described = "(" + ", ".join(["batch", *map(str, shape)]) + ")"
            rows.append((f"{name} ({type(layer).__name__})", described, f"{sum(prod(p.shape) for p in own):,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
        rule = "-" * len(lines[0])
        memory = self.count_params() * self.dtype.itemsize
        fixed = sum(prod(p.shape) for p in self._flat_parameters() if not p.trainable)
        total = f"Parameters: {self.count_params():,} ({memory / 1024:,.1f} KiB of {self.dtype})"
        total += f", {fixed:,} of them not trained" * (fixed > 0)
        print_fn("\n".join([lines[0], rule, *lines[1:], rule, total]))

    # --- copies ------------------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Everything but programs and what belongs to a backend; arrays as host copies."""
        state = {k: v for k, v in self.__dict__.items() if k not in _OF_THE_PROCESS}
        if self.input_shape is not None:
            state["backend"] = self.backend.name
            state["_flat"] = np.array(self.backend.to_host(self._flat))
            state["_moments"] = [np.array(self.backend.to_host(m)) for m in self._moments]
        return state

    def __copy__(self) -> Sequential:
        return deepcopy(self)  # two that share layers and optimizer would disturb each other

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._step = Slot("dropout_step", 0)
        self._programs = OrderedDict()
        self._changes = -1
        if self.input_shape is not None:
            self.backend = backends.select(state["backend"])
            self._flat = self.backend.to_device(self._flat)
            self._views = self._views_of(self._flat)
            self._grads = None
            self._moments = [self.backend.to_device(m) for m in self._moments]

    # --- files -------------------------------------------------------------------------------------------

    def save(self, path: str | Path, *, include_optimizer: bool = False, extra: dict[str, Any] | None = None) -> None:
        """Write the model to a safetensors file; see `fastnn.saving.save`."""
        kept = self.extra if extra is None else extra
        saving.save(self, Path(path), include_optimizer, kept)
        self.extra = dict(kept)

    def _check_save(self, path: Path) -> None:
        """Fail now where `save` would; see `fastnn.saving.check`."""
        saving.check(self, path)


def _checked(given: Sequence[layers.Layer]) -> tuple[layers.Layer, ...]:
    """The layers of a model, which stay the same."""
    if not isinstance(given, Iterable):
        checks.fail(TypeError, "Sequential", "layers", "a sequence of layers", repr(given))
    result: list[layers.Layer] = []
    for layer in given:
        if not isinstance(layer, layers.Layer):
            checks.fail(TypeError, "Sequential", "layers", "layers", repr(layer))
        if any(layer is other for other in result):
            checks.fail(ValueError, "Sequential", "layers", "distinct layers", f"{type(layer).__name__} twice")
        result.append(layer)
    if not result:
        checks.fail(ValueError, "Sequential", "layers", "at least one layer", "none")
    return tuple(result)


def _names(given: Sequence[layers.Layer]) -> list[str]:
    """A name for each layer: its kind and number."""
    kinds = [type(layer).__name__.lower() for layer in given]
    return [f"{kind}_{kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]


def _layout(parameters: Sequence[layers.Parameter]) -> tuple[list[int], int, int]:
    """Where each parameter begins in the flat array, where the trainable ones end, which come first, and its size."""
    offsets = [0] * len(parameters)
    ends = []
    end = 0
    for trainable in (True, False):
        for i, parameter in enumerate(parameters):
            if parameter.trainable == trainable:
                offsets[i] = end
                end += -(-prod(parameter.shape) // ALIGNMENT) * ALIGNMENT
        ends.append(end)
    return offsets, *ends
