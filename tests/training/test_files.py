"""Files that are no models, or no longer whole: each is refused with what is wrong."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small import bits, make

import fastnn as fn
from fastnn import saving


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def refused(path, message=""):
    expected = r"^load: model.safetensors: expected a whole fastnn model of format 1, got "
    with pytest.raises(fn.FileError, match=expected + message):
        fn.load(path)


def rewrite(path, change):
    """Change a file's configuration, and sign it anew: what a program with other ideas might write."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    metadata, tensors = header["__metadata__"], load_file(path)
    config = json.loads(metadata["fastnn"])
    change(config, tensors)
    text = json.dumps(config)
    save_file(tensors, path, {"fastnn": text, "crc32": str(saving._checksum(text, tensors))})


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"^load: path: expected a file, got '.*', which is not there$"):
        fn.load(path)


def test_folder(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"^load: path: expected a file, got the directory '.*'$"):
        fn.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\0", b"hello\n", b"\x89PNG\r\n\x1a\n" * 40, bytes(1000), b"\xff" * 1000])
def test_files_of_other_kinds(content, path):
    path.write_bytes(content)
    refused(path, "one that fails: ")


def test_random_bytes(path, rng):
    for size in (1, 7, 8, 9, 100, 5000):
        path.write_bytes(rng.bytes(size))
        refused(path)
        path.write_bytes((size - 8).to_bytes(8, "little", signed=True) + rng.bytes(size))
        refused(path)


def test_truncated_files(path):
    """At every length, and longer ones."""
    model = fn.Sequential([fn.Dense(2)], input_shape=(3,))
    model.compile("adam", "mse")
    model.save(path, include_optimizer=True)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refused(path)
    path.write_bytes(whole + b"\0")
    refused(path)


def test_any_flipped_bit_is_found(path, rng):
    """In the header, in the configuration, in the weights."""
    model = make()
    model.save(path)
    whole = path.read_bytes()
    for place in [*range(0, len(whole), 11), *rng.integers(0, len(whole), 50)]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            again = fn.load(path)
        except fn.FileError:
            continue
        # Blanks that pad the header, and the order of JSON's keys, carry nothing.
        assert bits(again) == bits(model) and repr(again.layers) == repr(model.layers), f"byte {place}"


def test_damaged_weights(path):
    make().save(path)
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(whole)
    refused(path, "one whose content is not what was saved$")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_of_other_programs(metadata, path):
    save_file({"weight": np.zeros((2, 2), np.float32)}, path, metadata)
    refused(path, "a safetensors file of another program$")


def test_safetensors_with_foreign_dtypes(path):
    """bfloat16, which NumPy does not know."""
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(path, "a safetensors file of another program$")


def test_other_version(path):
    make().save(path)
    rewrite(path, lambda config, tensors: config.update(format=2))
    refused(path, "one of format 2$")


def test_configuration_that_is_no_json(path):
    save_file({"a": np.zeros(1)}, path, {"fastnn": "{"})
    refused(path, "one that fails: Expecting property name")
    save_file({"a": np.zeros(1)}, path, {"fastnn": "[]"})
    refused(path, "one that fails: ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t: t.pop("dense_2.kernel"), r"one without 'dense_2.kernel'$"),
        (lambda c, t: t.pop("optimizer.1"), r"one without 'optimizer.1'$"),
        (lambda c, t: c.pop("layers"), r"one without 'layers'$"),
        (lambda c, t: c.update(callbacks=[["A", {}, ["w"]]]), r"one without 'callback.0.w'$"),
        (lambda c, t: c.update(callbacks=3), r"one that fails: "),
        (lambda c, t: c["layers"].append({"name": "conv"}), r"one that fails: layer: expected one of .*, got 'conv'$"),
        (lambda c, t: c["layers"].append({"name": "dense", "size": 3}), r"one that fails: .*unexpected keyword"),
        (lambda c, t: c.update(layers=[]), r"one that fails: Sequential: layers: expected at least one layer"),
        (lambda c, t: c.update(dtype="float16"), r"one that fails: Sequential: dtype: "),
        (lambda c, t: c.update(input_shape=[7]), r"one that fails: set_weights: weights\[0\]: "),
        (lambda c, t: c.update(input_shape=None), r"one that fails: "),
        (lambda c, t: c.update(compile={"optimizer": "adam", "loss": "poetry"}), r"one that fails: loss: "),
        (lambda c, t: t.update({"optimizer.0": np.zeros(3)}), r"one that fails: load: optimizer.0: expected shape "),
    ],
)
def test_incomplete_models(change, message, path):
    make().save(path, include_optimizer=True)
    rewrite(path, change)
    refused(path, message)
