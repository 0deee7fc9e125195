"""Callbacks that write files: checkpoints, CSV, TensorBoard."""

import csv
import os
import sys
import types

import numpy as np
import pytest
from safetensors.numpy import load_file
from small import Says, bits, data, fit, make

import fastnn as fn


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


# --- checkpoints -----------------------------------------------------------------------------------------


def test_names_of_files(rng, tmp_path):
    path = tmp_path / "runs" / "{epoch:02d}" / "model-{score:.1f}.safetensors"
    callbacks = [Says("score", [0.5, 0.25]), fn.ModelCheckpoint(path)]
    model = make()
    fit(model, *data(rng), epochs=2, callbacks=callbacks)
    found = sorted(str(p.relative_to(tmp_path / "runs")) for p in tmp_path.rglob("*.safetensors"))
    assert found == ["01/model-0.5.safetensors", "02/model-0.2.safetensors"]
    assert bits(fn.load(tmp_path / "runs" / found[1])) == bits(model)


def test_every_few_epochs(rng, tmp_path):
    fit(make(), *data(rng), epochs=7, callbacks=[fn.ModelCheckpoint(tmp_path / "{epoch}", every=3)])
    assert sorted(os.listdir(tmp_path)) == ["3", "6"]


@pytest.mark.parametrize(("mode", "expected"), [("auto", ["1", "3", "4"]), ("max", ["1", "2"])])
def test_the_best_only(mode, expected, rng, tmp_path):
    checkpoint = fn.ModelCheckpoint(tmp_path / "{epoch}", "score", mode, save_best_only=True)
    fit(make(), *data(rng), epochs=5, callbacks=[checkpoint, Says("score", [2, 3, 1, 0, 0])][::-1])
    assert sorted(os.listdir(tmp_path)) == expected


def test_nan_is_not_the_best(rng, tmp_path):
    """Nothing is smaller than NaN, so the checkpoint would be that of the first epoch for ever; as in Keras."""
    checkpoint = fn.ModelCheckpoint(tmp_path / "{epoch}", "score", save_best_only=True)
    stopping = fn.EarlyStopping("score", patience=3, restore_best_weights=True)
    says = Says("score", [np.nan, 3, 2, np.nan, np.nan, np.nan, 1])
    fit(make(), *data(rng), epochs=7, callbacks=[says, stopping, checkpoint])
    assert sorted(os.listdir(tmp_path)) == ["2", "3"]
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (2, 2, 5)


@pytest.mark.parametrize("whole", [True, False])
def test_with_or_without_the_optimizer(whole, rng, tmp_path):
    path = tmp_path / "model"
    stopping = fn.EarlyStopping("loss", patience=9, restore_best_weights=True)
    fit(make(), *data(rng), callbacks=[fn.ModelCheckpoint(path, include_optimizer=whole), stopping])
    tensors = load_file(path)
    assert ("optimizer.0" in tensors) == ("callback.1.weights.0" in tensors) == whole


def test_fields_that_are_not_in_the_logs(rng, tmp_path):
    message = r"^ModelCheckpoint: path: expected a text whose fields are among loss, epoch, got .*val_loss"
    with pytest.raises(ValueError, match=message):
        fit(make(), *data(rng), callbacks=[fn.ModelCheckpoint(tmp_path / "{val_loss}")])


@pytest.mark.parametrize(
    ("path", "error"),
    [("file/model", NotADirectoryError), ("file/{epoch}/model", NotADirectoryError), (".", IsADirectoryError)],
)
def test_places_where_nothing_can_be_written(path, error, rng, tmp_path):
    """This must not wait for the end of an epoch, which may take hours."""
    (tmp_path / "file").touch()
    epochs = []
    counts = fn.LambdaCallback(on_epoch_begin=epochs.append)
    with pytest.raises(error):
        fit(make(), *data(rng), callbacks=[counts, fn.ModelCheckpoint(tmp_path / path)])
    assert epochs == [] and os.listdir(tmp_path) == ["file"]


def test_models_that_cannot_be_saved(rng, tmp_path):
    epochs = []
    model = fn.Sequential([fn.Dense(3, lambda x: x * x)])
    model.compile("sgd", "cross_entropy")
    with pytest.raises(TypeError, match=r"^layer: Dense cannot be saved: its activation is a function$"):
        counts = fn.LambdaCallback(on_epoch_begin=epochs.append)
        fit(model, *data(rng), callbacks=[counts, fn.ModelCheckpoint(tmp_path / "model")])
    assert epochs == [] and not os.listdir(tmp_path)


def test_checking_leaves_nothing_behind(rng, tmp_path):
    fit(make(), *data(rng), epochs=1, callbacks=[fn.ModelCheckpoint(tmp_path / "new" / "{epoch}", every=2)])
    assert not os.listdir(tmp_path)


def test_a_state_that_is_no_json(rng, tmp_path):
    class Mine(fn.Callback):
        def state(self):
            return {"what": {1, 2}}

    with pytest.raises(TypeError, match=r"^save: a callback's state: expected JSON-able values, got a set$"):
        fit(make(), *data(rng), callbacks=[Mine(), fn.ModelCheckpoint(tmp_path / "model")])
    assert not os.listdir(tmp_path)


# --- CSV -------------------------------------------------------------------------------------------------


def test_csv(rng, tmp_path):
    path = tmp_path / "log.csv"
    x, y = data(rng)
    seen = []
    reads = fn.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(rows(path))))
    history = fit(make(), x, y, epochs=3, validation_data=(x, y), callbacks=[fn.CSVLogger(path), reads])
    assert seen == [2, 3, 4]  # each line is there at once
    header, *lines = rows(path)
    assert header == ["epoch", "loss", "val_loss"]
    expected = zip(history.epoch, *history.history.values(), strict=True)
    assert [(int(e), float(a), float(b)) for e, a, b in lines] == list(expected)


def test_csv_columns_are_those_of_the_first_epoch(rng, tmp_path):
    class Later(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            logs |= {"late": 1.0} if epoch else {"early": 2.0}

    path = tmp_path / "log.csv"
    fit(make(), *data(rng), epochs=2, callbacks=[Later(), fn.CSVLogger(path)])
    header, first, second = rows(path)
    assert header == ["epoch", "loss", "early"] and first[2] == "2.0" and second[2] == "" and len(second) == 3


def test_csv_append(rng, tmp_path):
    path = tmp_path / "log.csv"
    x, y = data(rng)
    for _ in range(2):
        fit(make(), x, y, epochs=2, callbacks=[fn.CSVLogger(path, append=True)])
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "0", "1"]
    fit(make(), x, y, callbacks=[fn.CSVLogger(path)])
    assert [row[0] for row in rows(path)] == ["epoch", "0"]


def test_csv_where_nothing_can_be_written(rng, tmp_path):
    (tmp_path / "file").touch()
    epochs = []
    counts = fn.LambdaCallback(on_epoch_begin=epochs.append)
    with pytest.raises((NotADirectoryError, FileExistsError)):
        fit(make(), *data(rng), callbacks=[counts, fn.CSVLogger(tmp_path / "file" / "log.csv")])
    assert epochs == []
    fit(make(), *data(rng), callbacks=[fn.CSVLogger(tmp_path / "new" / "folder" / "log.csv")])
    assert len(rows(tmp_path / "new" / "folder" / "log.csv")) == 2


# --- TensorBoard -----------------------------------------------------------------------------------------


def test_tensorboard(rng, tmp_path):
    pytest.importorskip("tensorboardX")
    fit(make(), *data(rng), epochs=2, callbacks=[fn.TensorBoard(tmp_path)])
    assert any(name.startswith("events.out.tfevents") for name in os.listdir(tmp_path))


def test_tensorboards_scalars(rng, tmp_path, monkeypatch):
    """What tensorboardX is asked for."""
    calls = []

    class SummaryWriter:
        def __init__(self, folder):
            calls.append(folder)

        def add_scalar(self, *arguments):
            calls.append(arguments)

        def flush(self):
            calls.append("flush")

        def close(self):
            calls.append("close")

    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=SummaryWriter))
    losses = fit(make(), *data(rng), epochs=2, callbacks=[fn.TensorBoard(tmp_path)]).history["loss"]
    scalars = [("loss", losses[0], 0), "flush", ("loss", losses[1], 1), "flush"]
    assert calls == [str(tmp_path), *scalars, "close"]


def test_tensorboard_that_is_missing(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    message = r'^TensorBoard: tensorboardX is not installed; `pip install "fastnn\[tensorboard\]"` provides it$'
    with pytest.raises(ModuleNotFoundError, match=message):
        fit(make(), *data(rng), callbacks=[fn.TensorBoard("logs")])
