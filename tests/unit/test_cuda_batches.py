"""Batches on their way to a device, with streams that do nothing until somebody waits for them."""

from types import SimpleNamespace

import numpy as np

from fastnn.backends.cuda_batches import Batches


class Stream:
    """A queue whose work is done as late as the events allow."""

    def __init__(self):
        self.queued, self.done = [], 0

    def queue(self, work):
        self.queued.append(work)

    def run(self, count):
        while self.done < count:
            self.done += 1
            self.queued[self.done - 1]()


class Event:
    """A place in a stream's queue."""

    def __init__(self):
        self.stream, self.count = Stream(), 0

    def record(self, stream):
        self.stream, self.count = stream, len(stream.queued)

    def wait(self, stream):
        recorded, count = self.stream, self.count
        stream.queue(lambda: recorded.run(count))

    def synchronize(self):
        self.stream.run(self.count)


class Array:
    """Memory of the device."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.data = shape, dtype, np.zeros(shape, dtype)

    def copy_to_device(self, host, stream):
        stream.queue(lambda: np.copyto(self.data, host))


def copy(source, target, stream):
    """Queue a copy."""
    target.copy_to_device(source, stream)


def made(*like):
    """A backend and its batches of such arrays."""
    shim = SimpleNamespace(pinned=np.empty, new_event=Event, new_stream=Stream, copy=copy)
    backend = SimpleNamespace(shim=shim, stream=Stream(), empty=Array)
    return backend, Batches(backend, like)


def arrivals(steps):
    """What programs find on the device that are given one batch after the other, from arrays that are used again."""
    backend, batches = made(Array((4, 2), np.float32), Array((4,), np.int64))
    x, y, found = np.empty((4, 2), np.float32), np.empty(4, np.int64), []
    for step in range(steps):
        x[...], y[...] = step, -step
        there = batches.bring([x, y])
        backend.stream.queue(lambda there=there: found.append([a.data.copy() for a in there]))
        batches.release()
    backend.stream.run(len(backend.stream.queued))
    return [(x.tolist(), y.tolist()) for x, y in found]


def test_every_program_finds_its_own_batch():
    assert arrivals(7) == [([[step] * 2] * 4, [-step] * 4) for step in range(7)]


def test_without_events_batches_are_mixed_up(monkeypatch):
    for event in ("wait", "synchronize"):
        with monkeypatch.context() as patch:
            patch.setattr(Event, event, lambda *_: None)
            assert arrivals(7) != [([[step] * 2] * 4, [-step] * 4) for step in range(7)]


def test_a_batch_does_not_wait_for_the_one_before():
    backend, batches = made(Array((2,), np.float32))
    for _ in range(2):
        batches.bring([np.ones(2, np.float32)])
        backend.stream.queue(lambda: None)
        batches.release()
    assert backend.stream.done == 0 and batches.stream.done == 0
