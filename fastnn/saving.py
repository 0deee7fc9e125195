"""Models as files: parameters in safetensors, configuration as JSON in its metadata. No pickle.

A save is atomic: the file is written beside the old one, synchronised, and renamed over it.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import checks

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: Version of the file's layout.
FORMAT = 1


class FileError(ValueError):
    """A model file is missing parts, corrupt, or not one of fastnn's."""


def save(model: Sequential, path: Path, include_optimizer: bool) -> None:
    """Write a model.

    Parameters
    ----------
    model : Sequential
        Built.
    path : Path
    include_optimizer : bool
        Also the optimizer's moments and the counters behind all random numbers, so that training goes on bit for bit.
    """
    from safetensors.numpy import save as to_bytes

    from fastnn import layers, losses, metrics, optimizers

    model._built()
    config: dict[str, Any] = {
        "format": FORMAT,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "input_shape": list(model._input()),
        "layers": [layers.REGISTRY.describe(layer) for layer in model.layers],
        "epochs_done": model.epochs_done,
        "extra": model.extra,
    }
    tensors = dict(zip(model.parameter_names(), model.get_weights(), strict=True))
    if model.optimizer is not None and model.loss is not None:
        config["compile"] = {
            "optimizer": optimizers.REGISTRY.describe(model.optimizer),
            "loss": losses.REGISTRY.describe(model.loss),
            "metrics": [metrics.REGISTRY.describe(m) for m in model.metrics],
            "clip_norm": model.clip_norm,
        }
        if include_optimizer:
            config["iterations"] = model.optimizer.iterations
            model._allocate_moments()
            for i, moment in enumerate(model._moments):
                tensors[f"optimizer.{i}"] = np.array(model.backend.to_host(moment))
    try:
        metadata = {"fastnn": json.dumps(config)}
    except TypeError as error:
        raise TypeError(f"save: extra: expected JSON-able values, got {error}") from error
    _write(path, to_bytes(tensors, metadata))


def _write(path: Path, data: bytes) -> None:
    """Replace a file's content, whole or not at all."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner reads; a new file usually follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load(path: str | Path, backend: str | None = None) -> Sequential:
    """Read a model that `Sequential.save` wrote.

    Parameters
    ----------
    path : path
    backend : str, optional
        Backend of its programs; by default chosen as for ops.

    Returns
    -------
    Sequential
        Built, and compiled if it was when saved.

    Raises
    ------
    FileNotFoundError
    FileError
        If the file is corrupt, truncated, or not a fastnn model.
    """
    from safetensors import SafetensorError, safe_open

    from fastnn import layers
    from fastnn.model import Sequential

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"load: path: expected a file, got {str(path)!r}, which is not there")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it has no __iter__
    except (SafetensorError, OSError, ValueError) as error:
        raise FileError(f"load: {path.name}: expected a whole safetensors file, got one that fails: {error}") from error
    if "fastnn" not in metadata:
        raise FileError(f"load: {path.name}: expected a fastnn model, got a safetensors file of another program")
    try:
        config = json.loads(metadata["fastnn"])
        if config["format"] != FORMAT:
            raise FileError(f"load: {path.name}: expected format {FORMAT}, got {config['format']!r}")
        described = [layers.REGISTRY.get(layer) for layer in config["layers"]]
        model = Sequential(described, config["dtype"], backend, config["seed"], config["input_shape"])
        model.extra = config["extra"]
        model.epochs_done = config["epochs_done"]
        model.set_weights([tensors[name] for name in model.parameter_names()])
        if "compile" in config:
            model.compile(**config["compile"])
        if "iterations" in config:
            _restore_optimizer(model, config["iterations"], tensors)
    except (KeyError, TypeError, json.JSONDecodeError, checks.ShapeError) as error:
        raise FileError(f"load: {path.name}: expected a complete fastnn model, got one that lacks {error}") from error
    return model


def _restore_optimizer(model: Sequential, iterations: int, tensors: dict[str, np.ndarray]) -> None:
    """Set moments and step count."""
    optimizer, _ = model._compiled()
    optimizer.iterations = iterations
    model._allocate_moments()
    for i, moment in enumerate(model._moments):
        saved = tensors[f"optimizer.{i}"]
        if saved.shape != tuple(moment.shape):
            checks.fail(checks.ShapeError, "load", f"optimizer.{i}", f"shape {tuple(moment.shape)}", saved.shape)
        model.backend.assign(moment, saved)
