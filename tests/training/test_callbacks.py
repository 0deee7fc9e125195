"""Callbacks and the progress bar."""

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from small import Recorder, bits, data, fit, make

import fastnn as fn

# --- callbacks -------------------------------------------------------------------------------------------


class BatchRecorder(Recorder):
    def on_batch_end(self, batch, logs):
        assert set(logs) == {"loss", "accuracy", "size"}
        self.calls.append((self.name, f"batch {batch} of {logs['size']}"))


def test_callbacks_are_called_in_order(rng):
    x, y = data(rng, 20)
    calls = []
    model = make(metrics=["accuracy"])
    fit(model, x, y, epochs=2, callbacks=[Recorder(calls, "a"), BatchRecorder(calls, "b")])
    epochs = []
    for epoch in (0, 1):
        epochs += [("a", f"epoch {epoch} begin"), ("b", f"epoch {epoch} begin")]
        epochs += [("b", "batch 0 of 16"), ("b", "batch 1 of 4")]
        epochs += [("a", f"epoch {epoch} end"), ("b", f"epoch {epoch} end")]
    begin, end = [("a", "train begin"), ("b", "train begin")], [("a", "train end"), ("b", "train end")]
    assert calls == begin + epochs + end


def test_batches_are_reported_only_to_those_who_look(rng, monkeypatch):
    called = []
    monkeypatch.setattr(fn.callbacks.CallbackList, "call", lambda self, method, *args: called.append(method))
    fit(make(metrics=["accuracy"]), *data(rng), callbacks=[Recorder([], "a")])
    assert "on_epoch_end" in called and "on_batch_end" not in called
    fit(make(metrics=["accuracy"]), *data(rng), callbacks=[BatchRecorder([], "b")])
    assert called.count("on_batch_end") == 4


def test_callbacks_know_model_and_history(rng):
    class Looks(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            assert self.params["epochs"] == 2 and self.params["batches"] == 4
            self.model.optimizer.learning_rate = 0.0
            self.weights = bits(self.model)

    looks, model = Looks(), make()
    fit(model, *data(rng), epochs=2, callbacks=[looks])
    assert looks.weights == bits(model) and model.optimizer.learning_rate == 0.0


def test_an_error_in_a_callback_comes_out(rng):
    calls = []

    class Fails(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fit(make(metrics=["accuracy"]), *data(rng), callbacks=[Recorder(calls, "a"), Fails()])
    assert calls[-1] == ("a", "train end")


def test_each_that_began_is_ended(rng):
    """In order, whatever the others do; the first error comes out."""
    calls = []

    class Fails(fn.Callback):
        def on_train_end(self):
            calls.append("failed")
            raise KeyError("mine")

    class BeginsBadly(Recorder):
        def on_train_begin(self):
            raise ValueError("no begin")

    model = make(metrics=["accuracy"])
    with pytest.raises(KeyError, match="mine"):
        fit(model, *data(rng), callbacks=[Recorder(calls, "a"), Fails(), Recorder(calls, "b")])
    assert calls[-3:] == [("a", "train end"), "failed", ("b", "train end")]
    calls.clear()
    with pytest.raises(ValueError, match="no begin"):
        fit(model, *data(rng), callbacks=[Recorder(calls, "a"), BeginsBadly(calls, "b"), Recorder(calls, "c")])
    assert calls == [("a", "train begin"), ("a", "train end")]


def test_functions_as_callbacks(rng):
    calls = []
    notes = fn.LambdaCallback(
        on_train_begin=lambda: calls.append("begin"),
        on_epoch_begin=lambda epoch: calls.append(epoch),
        on_batch_end=lambda batch, logs: calls.append(logs["size"]),
        on_epoch_end=lambda epoch, logs: calls.append(sorted(logs)),
        on_train_end=lambda: calls.append("end"),
    )
    fit(make(), *data(rng, 20), callbacks=[notes])
    assert calls == ["begin", 0, 16, 4, ["loss"], "end"]
    watchers = fn.callbacks.CallbackList([fn.LambdaCallback(on_epoch_end=print)], None, {})
    assert not watchers.watches_batches


@pytest.mark.parametrize("wrong", [fn.Callback, print, None])
def test_only_callbacks_are_callbacks(wrong, rng):
    with pytest.raises(TypeError, match=r"^fit: callbacks: expected Callback objects, got "):
        fit(make(), *data(rng), callbacks=[wrong])


def test_one_callback_or_none(rng):
    """As in Keras."""
    calls = []
    fit(make(), *data(rng), callbacks=fn.LambdaCallback(on_epoch_end=lambda epoch, logs: calls.append(epoch)))
    fit(make(), *data(rng), callbacks=None)
    assert calls == [0]


# --- progress --------------------------------------------------------------------------------------------


SCRIPT = """
import numpy as np, fastnn as fn
model = fn.Sequential([fn.Dense(2)])
model.compile("sgd", "cross_entropy", ["accuracy"])
model.fit(np.ones((64, 3)), np.arange(64) % 2, epochs=3, verbose={verbose})
"""


def on_a_terminal(verbose):
    """What a fit writes to a terminal that is its standard error, and to its standard output."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 120))
    environment = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT.format(verbose=verbose)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, env=environment)
    os.close(end)
    written = b""
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not piece:
            break
        written += piece
    output, _ = process.communicate()
    os.close(terminal)
    assert process.returncode == 0, written.decode()
    return written.decode(), output


def test_progress_on_a_terminal():
    written, output = on_a_terminal(1)
    last = written.rstrip().split("\r")[-1]
    assert "epoch 3/3" in last and "100%" in last
    assert "loss=" in last and "accuracy=" in last and "samples/s" in last
    assert output == b""


def test_the_running_loss_within_the_first_epoch(monkeypatch):
    """At most a few times a second."""
    bar = fn.callbacks.ProgressBar()
    bar.params = {"epochs": 2, "initial_epoch": 0, "rows": 40}
    clock = iter([0.0, 0.1, 0.3, 0.3, 0.4, 0.5])
    monkeypatch.setattr(fn.callbacks.progress.time, "monotonic", lambda: next(clock))
    bar.on_train_begin()
    shown = []
    bar._bar.close()
    monkeypatch.setattr(bar, "_show", shown.append)
    for batch, loss in enumerate([4.0, 2.0, 9.0]):
        bar.on_batch_end(batch, {"loss": loss, "size": 10})
    assert shown == [{"loss": 3.0}]
    bar.on_epoch_end(0, {"loss": 5.0})
    bar.on_batch_end(0, {"loss": 1.0, "size": 10})
    assert shown == [{"loss": 3.0}, {"loss": 5.0}]


def test_lines(rng, capfd):
    x, y = data(rng)
    history = make().fit(x, y, epochs=3, initial_epoch=1, validation_split=0.2, verbose=2).history
    output, error = capfd.readouterr()
    assert error == ""
    lines = output.splitlines()
    assert len(lines) == 2
    for epoch, line in enumerate(lines, 1):
        head, seconds, loss, val_loss = line.split(" - ")
        assert head == f"epoch {epoch + 1}/3" and seconds.endswith(" s") and float(seconds[:-2]) >= 0
        assert loss == f"loss: {history['loss'][epoch - 1]:.4g}"
        assert val_loss == f"val_loss: {history['val_loss'][epoch - 1]:.4g}"


def test_wrong_verbose(rng):
    with pytest.raises(ValueError, match=r"^fit: verbose: expected one of 0, 1, 2, got 'yes'$"):
        make().fit(*data(rng), verbose="yes")


def test_no_progress_when_not_asked_for():
    assert on_a_terminal(0) == ("", b"")


def test_no_progress_where_nobody_looks(rng, capfd):
    """Standard error is a file here."""
    make().fit(*data(rng), epochs=2, verbose=1)
    assert capfd.readouterr() == ("", "")


def test_the_bar_changes_no_result(rng, capfd):
    x, y = data(rng)
    a, b = make(), make()
    assert a.fit(x, y, epochs=2, verbose=1).history == b.fit(x, y, epochs=2, verbose=0).history
    assert bits(a) == bits(b)
