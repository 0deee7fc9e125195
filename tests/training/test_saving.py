"""Models as files: what comes back, what cannot be saved, and what survives a failure."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from peers import OPTIMIZERS, ours
from safetensors.numpy import load_file
from small import bits, data, fit, make

import fastnn as fn
from fastnn import initializers, saving

#: Every layer with arguments of its own, and rows it takes.
LAYERS = {
    "dense": ([fn.Dense(4, "gelu"), fn.Dense(3, "softmax", use_bias=False)], (5,)),
    "initializers": (
        [
            fn.Dense(4, kernel_initializer="he_normal", bias_initializer={"name": "uniform", "low": -1.0, "high": 0.5}),
            fn.Dense(2, kernel_initializer=initializers.Normal(1.0, 0.1, seed=7)),
        ],
        (3,),
    ),
    "activation": ([fn.Activation("elu", 0.3), fn.Dense(2), fn.Activation("log_softmax")], (4,)),
    "dropout": ([fn.Dropout(0.25), fn.Dense(2)], (4,)),
    "noise": ([fn.GaussianNoise(0.1), fn.GaussianDropout(0.25), fn.AlphaDropout(0.5)], (4,)),
    "prelu": ([fn.PReLU("normal"), fn.PReLU(shared_axes=[1])], (2, 3)),
    "maxout": ([fn.Maxout(4, 3), fn.Maxout(2, use_bias=False)], (5,)),
    "flatten": ([fn.Flatten(), fn.Dense(2)], (2, 3)),
    "no parameters": ([fn.Flatten()], (2, 3)),
    "sequence": ([fn.Dense(4, "tanh"), fn.Dense(2)], (6, 3)),
}


def dropping(backend=None, optimizer="adam", **options):
    """A compiled network whose training draws random numbers."""
    return make(backend, optimizer, metrics=["accuracy"], dropout=0.3, seed=3, **options)


def losses(model, x, y, epochs):
    return fit(model, x, y, epochs=epochs).history["loss"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


# --- round trips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_layers(backend, dtype, name, path, rng):
    layers, shape = LAYERS[name]
    model = fn.Sequential(layers, dtype=dtype, backend=backend, seed=11, input_shape=shape)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    model.save(path)
    again = fn.load(path, backend=backend)
    assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in model.layers]
    assert (again.dtype, again.seed, again.input_shape) == (model.dtype, 11, shape)
    assert bits(again) == bits(model) and again.parameter_names() == model.parameter_names()
    x = rng.normal(size=(4, *shape))
    assert np.array_equal(again.predict(x), model.predict(x))
    assert again.optimizer is None


@pytest.mark.parametrize("description", OPTIMIZERS)
def test_training_goes_on_bit_for_bit(backend, description, path, rng):
    """With dropout and shuffling, from a file written after two of four epochs."""
    x, y = data(rng)
    straight = dropping(backend, ours(description), clip_norm=1.0)
    expected = losses(straight, x, y, 4)
    model = dropping(backend, ours(description), clip_norm=1.0)
    losses(model, x, y, 2)
    model.save(path, include_optimizer=True)
    again = fn.load(path, backend=backend)
    assert again.optimizer.config() == model.optimizer.config() and again.clip_norm == 1.0
    assert again.optimizer.iterations == model.optimizer.iterations == 8
    assert losses(again, x, y, 2) == expected[2:]
    assert bits(again) == bits(straight)


def test_training_goes_on_in_another_process(path, rng, tmp_path):
    x, y = data(rng)
    straight = dropping()
    expected = losses(straight, x, y, 4)
    model = dropping()
    losses(model, x, y, 2)
    model.save(path, include_optimizer=True)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    code = f"""
import numpy as np, fastnn as fn
data = np.load({str(tmp_path / "data.npz")!r})
model = fn.load({str(path)!r})
history = model.fit(data["x"], data["y"], epochs=2, batch_size=16, verbose=0).history
print([loss.hex() for loss in history["loss"]])
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([loss.hex() for loss in expected[2:]])


def test_without_the_optimizers_state(backend, path, rng):
    """The configuration comes back, the moments do not."""
    x, y = data(rng)
    model = dropping(backend, fn.RMSprop(0.01, momentum=0.5), clip_norm=2.0)
    losses(model, x, y, 2)
    model.save(path)
    again = fn.load(path, backend=backend)
    assert again.optimizer.config() == model.optimizer.config() and again.clip_norm == 2.0
    assert repr(again.loss) == repr(model.loss) and [m.name for m in again.metrics] == ["accuracy"]
    assert again.optimizer.iterations == 0 and again.epochs_done == 2
    assert again.evaluate(x, y) == model.evaluate(x, y)
    assert "optimizer.0" not in load_file(path)


def test_state_before_the_first_step(backend, path, rng):
    x, y = data(rng)
    model = dropping(backend)
    model.save(path, include_optimizer=True)
    assert losses(fn.load(path, backend=backend), x, y, 2) == losses(model, x, y, 2)


def test_learning_rate_as_it_is_now(path):
    model = dropping()
    model.optimizer.learning_rate = 0.125
    model.save(path)
    assert fn.load(path).optimizer.learning_rate == 0.125


@pytest.mark.parametrize("writer", ["cython", "numba", "reference"])
def test_another_backend_reads_the_same_model(backend, writer, path, rng):
    if fn.backends.missing(writer):
        pytest.skip(fn.backends.missing(writer))
    x, y = data(rng)
    model = dropping(writer)
    losses(model, x, y, 2)
    model.save(path, include_optimizer=True)
    again = fn.load(path, backend=backend)
    assert again.backend.name == backend and bits(again) == bits(model)
    assert np.allclose(again.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)
    assert np.allclose(losses(again, x, y, 2), losses(model, x, y, 2), rtol=1e-4)


def test_backend_is_chosen_as_for_ops(path):
    dropping("reference").save(path)
    with fn.use_backend("reference"):
        assert fn.load(path).backend.name == "reference"


def test_unknown_backend_is_no_fault_of_the_file(path):
    dropping().save(path)
    with pytest.raises(ValueError, match=r"^backend: name: expected one of .*, got 'torch'$") as caught:
        fn.load(path, backend="torch")
    assert not isinstance(caught.value, fn.FileError)


def test_extra(path):
    model = dropping()
    extra = {"classes": ["a", "ü"], "mean": [0.1, 1e-300], "nested": {"n": None, "flag": True}}
    extra["number"] = np.float32(0.5)
    model.save(path, extra=extra)
    assert fn.load(path).extra == {**extra, "number": 0.5} and model.extra == extra
    model.save(path)
    assert fn.load(path).extra["classes"] == ["a", "ü"]
    model.save(path, extra={})
    assert fn.load(path).extra == {}


def test_numbers_of_numpy_are_numbers(path):
    """Hyper-parameters often are."""
    kernel = initializers.Normal(seed=np.int64(3))
    layers = [fn.Dense(np.int32(4), kernel_initializer=kernel), fn.Activation("elu", np.float32(1))]
    model = fn.Sequential(layers, seed=np.int64(1), input_shape=(np.int64(2),))
    model.compile(fn.SGD(np.float32(0.25), weight_decay=np.float32(0.5)), fn.Huber(np.float64(2)))
    model.save(path)
    again = fn.load(path)
    assert bits(again) == bits(model) and again.optimizer.weight_decay == 0.5 and again.loss.delta == 2


def test_paths_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dropping().save("model.safetensors")
    assert fn.load("model.safetensors").count_params() == 119


def test_other_programs_can_read_the_weights(path):
    model = dropping()
    model.save(path)
    tensors = load_file(path)
    assert sorted(tensors) == sorted(model.parameter_names())
    assert np.array_equal(tensors["dense_2.kernel"], model.get_weights()[2])


# --- what cannot be saved --------------------------------------------------------------------------------


class Mine(fn.SGD):
    pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.compile(Mine(0.1), "mse"), r"^optimizer: Mine cannot be saved: it is not one of fastnn's own$"),
        (
            lambda m: m.compile(fn.Adam(lambda step: 0.1), "mse"),
            r"^optimizer: Adam cannot be saved: its learning_rate is a function$",
        ),
        (lambda m: m.extra.update(wrong={1, 2}), r"^save: extra: expected JSON-able values, got a set$"),
        (lambda m: m.extra.update({(1, 2): 3}), r"^save: extra: expected JSON-able values, got keys must be str"),
        (lambda m: m.extra.update(me=m.extra), r"^save: extra: expected JSON-able values, got Circular reference"),
    ],
)
def test_what_cannot_be_saved(change, message, path):
    model = dropping()
    model.save(path)
    kept = path.read_bytes()
    change(model)
    with pytest.raises(TypeError, match=message):
        model.save(path)
    assert path.read_bytes() == kept and os.listdir(path.parent) == [path.name]


def test_functions_as_initializers_cannot_be_saved(path):
    layer = fn.Dense(2, kernel_initializer=lambda shape, dtype, rng: np.zeros(shape, dtype))
    with pytest.raises(TypeError, match=r"^initializer: function cannot be saved: it is not one of fastnn's own$"):
        fn.Sequential([layer], input_shape=(2,)).save(path)
    assert not path.exists()


def test_models_that_are_not_built_cannot_be_saved(path):
    with pytest.raises(RuntimeError, match="not built"):
        fn.Sequential([fn.Dense(2)]).save(path)


# --- whole or not at all ---------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_leaves_the_old_file(function, error, path, rng, monkeypatch):
    model = dropping()
    model.save(path)
    kept = path.read_bytes()
    fit(model, *data(rng), epochs=1)

    def fail(*args, **options):
        raise error

    monkeypatch.setattr(saving.os, function, fail)
    with pytest.raises(type(error)):
        model.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == kept and os.listdir(path.parent) == [path.name]
    model.save(path)
    assert bits(fn.load(path)) == bits(model)


def test_a_disk_that_is_full(path, monkeypatch):
    """After half of the bytes."""
    model = dropping()
    model.save(path)
    kept, real = path.read_bytes(), os.fdopen

    def fdopen(*args):
        file = real(*args, buffering=0)
        whole = file.write

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                file.close()

            def write(self, data):
                whole(data[: len(data) // 2])
                raise OSError(28, "No space left on device")

        return Full()

    monkeypatch.setattr(saving.os, "fdopen", fdopen)
    model.set_weights([w + 1 for w in model.get_weights()])
    with pytest.raises(OSError, match="No space left"):
        model.save(path)
    assert path.read_bytes() == kept and os.listdir(path.parent) == [path.name]


def test_the_new_file_is_written_to_disk_before_it_gets_its_name(path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(saving.os, name, lambda *args, name=name, real=real: (order.append(name), real(*args)))
    dropping().save(path)
    assert order == ["fsync", "replace"]


def test_the_same_model_gives_the_same_file(tmp_path):
    """Whoever compares checksums of files compares models."""
    model = dropping()
    paths = [tmp_path / str(n) for n in range(20)]
    for path in paths:
        model.save(path, include_optimizer=True, extra={"name": "é"})
    assert len({path.read_bytes() for path in paths}) == 1
    assert fn.load(paths[0]).extra == {"name": "é"}
    assert (int.from_bytes(paths[0].read_bytes()[:8], "little") + 8) % 8 == 0


def test_what_a_killed_process_left_is_removed(path):
    """Only what belongs to this file, and is so old that no other process can be writing it."""
    names = {f".{path.name}.{kind}.part": kind == "old" for kind in ("old", "new")} | {".other.old.part": False}
    for name in names:
        left = path.with_name(name)
        left.write_bytes(b"half")
        if "old" in name:
            os.utime(left, (1, 1))
    make().save(path)
    assert sorted(os.listdir(path.parent)) == sorted([path.name, *(name for name, gone in names.items() if not gone)])


def test_files_have_the_usual_permissions(path):
    old = os.umask(0o027)
    try:
        dropping().save(path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o640


def test_no_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^save: path: expected a folder that is there, got '.*nowhere"):
        dropping().save(tmp_path / "nowhere" / "model.safetensors")


def test_a_folder_in_the_way(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(IsADirectoryError, match=r"^save: path: expected a file, got the directory '"):
        dropping().save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"x": np.ones(2)}, "JSON-able values, got a ndarray"),
        ([1], r"a dict, got \[1\]"),
        ({1: 2}, "text as keys, got 1"),
        ({"a": [{"b": ({2.5: 3},)}]}, "text as keys, got 2.5"),
    ],
)
def test_a_refused_extra_changes_nothing(extra, message, path):
    model = make()
    model.save(path, extra={"kept": 1})
    with pytest.raises(TypeError, match=f"^save: extra: expected {message}$"):
        model.save(path, extra=extra)
    assert model.extra == {"kept": 1}
    model.save(path)
    assert fn.load(path).extra == {"kept": 1}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_an_old_file_keeps_its_permissions(mode, path):
    path.write_bytes(b"")
    path.chmod(mode)
    make().save(path)
    assert path.stat().st_mode & 0o777 == mode and fn.load(path)


def test_a_link_stays_one(path, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target"
    path.symlink_to(target)
    for seed in (1, 2):  # the target is made, then replaced
        make(seed=seed).save(path)
        assert path.is_symlink() and fn.load(target).seed == seed
    assert list(target.parent.iterdir()) == [target]
