"""Models as files: parameters in safetensors, configuration as JSON in its metadata. No pickle.

A save is atomic: the file is written beside the old one, synchronised, and renamed over it.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from contextlib import suppress
from glob import escape
from pathlib import Path
from stat import S_IMODE
from time import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastnn import backends, checks

if TYPE_CHECKING:
    from fastnn.model import Sequential

#: Version of the file's layout.
FORMAT = 1
#: A save takes seconds; what has lain beside a file for so many of them was left by a process that was killed.
STALE = 3600


class FileError(ValueError):
    """A model file is missing parts, corrupt, or not one of fastnn's."""


def save(model: Sequential, path: Path, include_optimizer: bool, extra: dict[str, Any]) -> None:
    """Write a model.

    Parameters
    ----------
    model : Sequential
        Built.
    path : Path
    include_optimizer : bool
        Also the optimizer's moments, the counter behind all random numbers and, within `fit`, the callbacks' states, so
        that training goes on bit for bit.
    extra : dict
        JSON-able values with text as keys.
    """
    from safetensors.numpy import save as to_bytes

    model._built()
    if not isinstance(extra, dict):
        checks.fail(TypeError, "save", "extra", "a dict", repr(extra))
    config = {**_described(model), "extra": extra}
    tensors = dict(zip(model.parameter_names(), model.get_weights(), strict=True))
    if model.optimizer is not None and "compile" in config and include_optimizer:
        config["iterations"] = model.optimizer.iterations
        model._allocate_moments()
        for i, moment in enumerate(model._moments):
            tensors[f"optimizer.{i}"] = np.array(model.backend.to_host(moment))
        config["callbacks"] = []
        for i, (name, state) in enumerate(model._callback_states):
            arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
            config["callbacks"].append([name, {k: v for k, v in state.items() if k not in arrays}, list(arrays)])
            tensors |= {f"callback.{i}.{key}": np.ascontiguousarray(value) for key, value in arrays.items()}
    for key, what in (("callbacks", "a callback's state"), ("extra", "extra")):
        try:
            json.dumps(config.get(key), default=_number)
        except (TypeError, ValueError) as error:
            raise TypeError(f"save: {what}: expected JSON-able values, got {error}") from error
    _check_keys(extra)
    text = json.dumps(config, default=_number)
    _write(path, *_sorted(to_bytes(tensors, {"fastnn": text, "crc32": str(_checksum(text, tensors))})))


def check(model: Sequential, path: Path) -> None:
    """Fail now where `save` would after hours of training: if the model cannot be described, or nothing written there.

    Parameters
    ----------
    model : Sequential
        Built.
    path : Path
        Its folders need not be there yet.
    """
    _described(model)
    if path.is_dir():
        raise IsADirectoryError(f"save: path: expected a file, got the directory {str(path)!r}")
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def _described(model: Sequential) -> dict[str, Any]:
    """The configuration of a model."""
    from fastnn import layers, losses, metrics, optimizers

    config: dict[str, Any] = {
        "format": FORMAT,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "input_shape": list(model._input()),
        "layers": [layers.REGISTRY.describe(layer) for layer in model.layers],
        "epochs_done": model.epochs_done,
    }
    if model.optimizer is not None and model.loss is not None:
        config["compile"] = {
            "optimizer": optimizers.REGISTRY.describe(model.optimizer),
            "loss": losses.REGISTRY.describe(model.loss),
            "metrics": [metrics.REGISTRY.describe(m) for m in model.metrics],
            "clip_norm": model.clip_norm,
            "clip_each_norm": model.clip_each_norm,
            "clip_value": model.clip_value,
            "gradient_norm": model.gradient_norm,
            "precision": model.precision,
        }
    return config


def _check_keys(value: Any) -> None:
    """Fail where JSON would turn a dict's key into text."""
    for key in value if isinstance(value, dict) else ():
        if not isinstance(key, str):
            checks.fail(TypeError, "save", "extra", "text as keys", repr(key))
    if isinstance(value, (dict, list, tuple)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_keys(inner)


def _number(value: Any) -> Any:
    """A NumPy number as JSON knows it."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__}")


def _checksum(text: str, tensors: dict[str, np.ndarray]) -> int:
    """CRC-32 of a file's content, of which safetensors keeps none."""
    crc = zlib.crc32(text.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].tobytes(), zlib.crc32(name.encode(), crc))
    return crc


def _sorted(data: bytes) -> tuple[bytes, memoryview]:
    """A file's header and the rest, with the metadata in order, which safetensors leaves to chance.

    The file begins with the header's length in 8 bytes; spaces fill the header up to a multiple of 8.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(data)[end:]


def _write(path: Path, *parts: bytes | memoryview) -> None:
    """Replace a file's content, whole or not at all; its mode stays, and so does a link to it."""
    if path.is_dir():
        raise IsADirectoryError(f"save: path: expected a file, got the directory {str(path)!r}")
    given, path = path, Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: path: expected a folder that is there, got {str(given)!r}")
    for left in path.parent.glob(f".{escape(path.name)}.*.part"):
        with suppress(FileNotFoundError):  # of several processes one removes it first
            if left.stat().st_mtime < time() - STALE:
                left.unlink()
    try:
        handle, temporary = tempfile.mkstemp(".part", f".{path.name}.", path.parent)
    except OSError as error:
        error.filename = str(given)
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files that only the owner reads; a new file usually follows the umask.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask)
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
    FileNotFoundError, IsADirectoryError
    FileError
        If the file is corrupt, truncated, or not a fastnn model.
    """
    from safetensors import SafetensorError

    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"load: path: expected a file, got the directory {str(path)!r}")
    if not path.exists():
        raise FileNotFoundError(f"load: path: expected a file, got {str(path)!r}, which is not there")
    backends.select(backend)  # that it is missing is no fault of the file
    cause: Exception
    try:
        return _restored(*_read(path), backend)
    except FileError as error:
        got, cause = str(error), error
    except KeyError as error:
        got, cause = f"one without {error}", error
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:
        got, cause = f"one that fails: {error}", error
    raise FileError(f"load: {path.name}: expected a whole fastnn model of format {FORMAT}, got {got}") from cause


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Configuration and tensors of a file."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        if "fastnn" not in metadata:
            raise FileError("a safetensors file of another program")
        config = json.loads(metadata["fastnn"])
        if config["format"] != FORMAT:
            raise FileError(f"one of format {config['format']!r}")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it has no __iter__
    if metadata["crc32"] != str(_checksum(metadata["fastnn"], tensors)):
        raise FileError("one whose content is not what was saved")
    return config, tensors


def _restored(config: dict[str, Any], tensors: dict[str, np.ndarray], backend: str | None) -> Sequential:
    """The model that a file describes."""
    from fastnn import layers
    from fastnn.model import Sequential

    described = [layers.REGISTRY.get(layer) for layer in config["layers"]]
    model = Sequential(described, config["dtype"], backend, config["seed"])
    model.build(config["input_shape"])
    model.extra = config["extra"]
    model.epochs_done = config["epochs_done"]
    model.set_weights([tensors[name] for name in model.parameter_names()])
    if "compile" in config:
        model.compile(**config["compile"])
    if "iterations" in config:
        _restore_optimizer(model, config["iterations"], tensors)
        model._callback_states = [
            (name, {**state, **{key: tensors[f"callback.{i}.{key}"] for key in arrays}})
            for i, (name, state, arrays) in enumerate(config.get("callbacks", ()))
        ]
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
