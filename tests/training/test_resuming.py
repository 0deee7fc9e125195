"""Training that goes on from a checkpoint, after whatever end: the same bits as if never interrupted."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from resuming import everything, model_of, train, watchers
from small import bits, data, fit, make

import fastnn as fn
from fastnn import saving


@pytest.mark.parametrize("before", [0, 3])
def test_every_epochs_checkpoint_goes_on_bit_for_bit(backend, before, rng, tmp_path):
    """Of a new model, and of one fitted before, whose epochs count anew."""
    x, y = data(rng)
    (tmp_path / "straight").mkdir()
    straight = model_of(backend)
    fit(straight, x, y, epochs=before)
    straight.epochs_done = 0
    callbacks = [fn.ModelCheckpoint(tmp_path / "{epoch}"), *watchers(tmp_path / "straight")]
    history = train(straight, x, y, callbacks, 9)
    best = fn.load(tmp_path / "straight" / "best")
    log = (tmp_path / "straight" / "log.csv").read_bytes()
    assert len(history.epoch) > 4, "the test wants some epochs"
    for epoch in history.epoch:
        folder = tmp_path / f"from {epoch}"
        folder.mkdir()
        (folder / "log.csv").write_bytes(log)
        model = fn.load(tmp_path / str(epoch + 1), backend=backend)
        assert model.epochs_done == epoch + 1
        callbacks = [fn.ModelCheckpoint(folder / "{epoch}"), *watchers(folder)]
        again = train(model, x, y, callbacks, 9)
        assert again.epoch == history.epoch[epoch + 1 :]
        for name, values in again.history.items():
            assert values == history.history[name][epoch + 1 :]
        assert everything(model) == everything(straight)
        if again.epoch:
            assert (folder / "log.csv").read_bytes() == log
        if (folder / "best").exists():
            assert bits(fn.load(folder / "best")) == bits(best)


def test_layers_with_statistics_and_penalties(rng, tmp_path):
    x, y = data(rng)
    layers = [fn.Dense(8, "relu", kernel_regularizer=fn.L1L2(1e-3, 1e-3)), fn.BatchNormalization(), fn.Dense(3)]
    straight = fn.Sequential(layers)
    straight.compile("adam", "cross_entropy", clip_value=0.5)
    losses = fit(straight, x, y, epochs=4, callbacks=[fn.ModelCheckpoint(tmp_path / "{epoch}")]).history["loss"]
    for epoch in (1, 2, 3):
        model = fn.load(tmp_path / str(epoch))
        assert fit(model, x, y, epochs=4, initial_epoch=model.epochs_done).history["loss"] == losses[epoch:]
        assert everything(model) == everything(straight)


CHILD = """
import sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
import fastnn as fn
from resuming import model_of, train, watchers
folder = Path({folder!r})
data = np.load(folder / "data.npz")
latest = folder / "latest"
model = fn.load(latest) if latest.exists() else model_of()
print("begun", flush=True)
train(model, data["x"], data["y"], watchers(folder), 30)
model.save(folder / "end", include_optimizer=True)
"""


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_any_moment(seed, tmp_path):
    """By SIGKILL, again and again, until it gets to its end."""
    x, y = np.random.default_rng(9).normal(size=(200, 6)), np.random.default_rng(8).integers(0, 3, 200)
    (tmp_path / "straight").mkdir()
    straight = model_of()
    began = time.perf_counter()
    train(straight, x, y, watchers(tmp_path / "straight"), 30)
    duration = time.perf_counter() - began
    (tmp_path / "killed").mkdir()
    np.savez(tmp_path / "killed" / "data.npz", x=x, y=y)
    code = CHILD.format(tests=os.path.dirname(__file__), folder=str(tmp_path / "killed"))
    moments, kills = random.Random(seed), 0
    for attempt in range(60):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"begun\n"
        try:
            # Later kills come later, so that it gets to its end.
            child.wait(moments.uniform(0, 0.5 * duration) * (1 + attempt))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
        child.stdout.close()
        assert child.returncode in (0, -signal.SIGKILL)
        if child.returncode == 0:
            break
        if (tmp_path / "killed" / "latest").exists():
            fn.load(tmp_path / "killed" / "latest")
    assert child.returncode == 0
    if kills == 0:
        pytest.skip("it was faster than the first kill")
    assert everything(fn.load(tmp_path / "killed" / "end")) == everything(straight)
    assert (tmp_path / "killed" / "log.csv").read_bytes() == (tmp_path / "straight" / "log.csv").read_bytes()
    for name in ("latest", "best"):
        killed, whole = (fn.load(tmp_path / kind / name) for kind in ("killed", "straight"))
        assert everything(killed) == everything(whole)


def test_killed_while_writing(tmp_path):
    """The file under its name is always whole, and is always one of those that were saved."""
    code = f"""
import fastnn as fn
model = fn.Sequential([fn.Dense(300), fn.Dense(300)], input_shape=(300,))
print("begun", flush=True)
n = 0
while True:
    n += 1
    model.set_weights([w * 0 + n for w in model.get_weights()])
    model.save({str(tmp_path / "model")!r})
"""
    moments = random.Random(4)
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        child.stdout.readline()
        time.sleep(moments.uniform(0.02, 0.2))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if (tmp_path / "model").exists():
            weights = fn.load(tmp_path / "model").get_weights()
            assert all((w == weights[0][0, 0]).all() for w in weights) and weights[0][0, 0] >= 1
    assert (tmp_path / "model").exists()


def test_a_new_fit_takes_over_nothing(rng, tmp_path):
    """States belong to the training that goes on, not to another one."""
    x, y = data(rng)
    fit(make(), x, y, epochs=3, callbacks=[fn.EarlyStopping("loss", patience=9), fn.ModelCheckpoint(tmp_path / "m")])
    model, stopping = fn.load(tmp_path / "m"), fn.EarlyStopping("loss", patience=9)
    began = []
    looks = fn.LambdaCallback(on_epoch_begin=lambda epoch: began.append(stopping.best))
    fit(model, x, y, callbacks=[stopping, looks])
    assert began == [None] and model.epochs_done == 1
    fit(model, x, y, epochs=2, initial_epoch=model.epochs_done, callbacks=[stopping, looks])
    assert began == [None, None]


def test_states_go_to_their_classes_in_order(rng, tmp_path):
    class Keeps(fn.Callback):
        def __init__(self, value):
            self.value, self.got = value, None

        def state(self):
            return {"value": self.value, "array": np.arange(self.value)}

        def restore(self, state):
            self.got = state["value"], state["array"].tolist()

    class Other(Keeps):
        pass

    path, x_y = tmp_path / "m", data(rng)
    fit(make(), *x_y, callbacks=[fn.ModelCheckpoint(path), Keeps(1), fn.Callback(), Other(2), Keeps(3)])
    model = fn.load(path)
    fresh = [Other(0), Keeps(0), Keeps(0), Keeps(0), fn.History()]
    fit(model, *x_y, epochs=2, initial_epoch=1, callbacks=fresh)
    assert [c.got for c in fresh[:4]] == [(2, [0, 1]), (1, [0]), (3, [0, 1, 2]), None]


def test_a_training_that_had_stopped_stays_stopped(rng, tmp_path):
    """Unless more patience is asked for."""
    x, y = data(rng)

    def run(model, patience):
        stopping = fn.EarlyStopping("loss", min_delta=1e9, patience=patience)
        callbacks = [stopping, fn.ModelCheckpoint(tmp_path / "m")]
        return fit(model, x, y, epochs=9, initial_epoch=model.epochs_done, callbacks=callbacks).epoch

    assert run(make(), 2) == [0, 1, 2]
    assert run(fn.load(tmp_path / "m"), 2) == []
    assert run(fn.load(tmp_path / "m"), 4) == [3, 4]


def test_initial_epoch(rng):
    x, y = data(rng)
    model = make()
    assert fit(model, x, y, epochs=5, initial_epoch=3).epoch == [3, 4] and model.epochs_done == 5
    assert fit(model, x, y, epochs=2, initial_epoch=2).epoch == [] and model.epochs_done == 2
    with pytest.raises(ValueError, match=r"^fit: initial_epoch: expected an integer of at least 0, got -1$"):
        fit(model, x, y, initial_epoch=-1)


@pytest.mark.parametrize("function", ["fsync", "replace", "fdopen"])
def test_a_failed_checkpoint_leaves_the_one_before(function, rng, tmp_path, monkeypatch):
    path = tmp_path / "model"
    x, y = data(rng)
    fit(make(), x, y, callbacks=[fn.ModelCheckpoint(path)])
    kept = path.read_bytes()

    def fail(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving.os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        fit(make(seed=1), x, y, callbacks=[fn.ModelCheckpoint(path)])
    monkeypatch.undo()
    assert path.read_bytes() == kept and os.listdir(tmp_path) == ["model"]
