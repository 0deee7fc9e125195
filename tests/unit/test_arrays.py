"""Arrays that begin where vectors do, and questions about arrays."""

import numpy as np
import pytest

from fastnn_ext.arrays import class_numbers, empty, ready, ready_rows, within


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (7, 5), (1,) * 40])
def test_empty_is_aligned(shape, dtype):
    kept = [empty(shape, np.dtype(dtype)) for _ in range(5)]
    for i, array in enumerate(kept):
        assert array.shape == shape and array.dtype == dtype
        assert array.ctypes.data % 64 == 0 and array.flags.carray
        array[...] = i
    assert all((array == i).all() for i, array in enumerate(kept))


def test_empty_refuses():
    with pytest.raises(ValueError, match="expected at most 64 dimensions, got 65"):
        empty((1,) * 65, np.dtype("f4"))
    with pytest.raises(MemoryError):
        empty((2**40, 2**18), np.dtype("f4"))
    with pytest.raises(ValueError, match="size"):
        empty((2**31, 2**31, 2**31), np.dtype("f4"))
    with pytest.raises(ValueError, match="negative"):
        empty((-1,), np.dtype("f4"))


def test_ready():
    dtype = np.dtype("f8")
    x = np.zeros((4, 3))
    assert ready(x, dtype) and ready(x[1:], dtype) and ready(np.zeros(()), dtype)
    assert ready(np.frombuffer(bytes(8)), dtype)
    misaligned = np.zeros(17, np.uint8)[1:].view("f8")
    for other in (x.T, x[:, :2], x.astype("f4"), x.astype(">f8"), misaligned, np.ma.array(x), [1.0], 1.0, None):
        assert not ready(other, dtype)


def test_within():
    assert within(np.array([0, 4]), 5) and within(np.array([], int), 0)
    assert not within(np.array([5]), 5) and not within(np.array([-1]), 5)
    labels = np.arange(1000) % 7
    assert within(labels, 7) and not within(labels, 6)
    for wrong in (labels[::2], labels.astype("i4"), labels.astype(">i8")):
        with pytest.raises(TypeError, match="C-contiguous array of native int64"):
            within(wrong, 7)


def test_ready_rows():
    """Rows that kernels read as they are; of all others Python looks after."""
    rows = np.zeros((4, 2, 3), np.float32)
    assert ready_rows(rows, np.dtype("f4"), (2, 3)) and ready_rows(rows[:0], np.dtype("f4"), (2, 3))
    assert ready_rows(np.zeros(4), np.dtype("f8"), ())
    for other, shape in (
        (rows, (3, 2)), (rows, (2,)), (rows, (4, 2, 3)), (rows.astype("f8"), (2, 3)), (rows.astype(">f4"), (2, 3)),
        (np.asfortranarray(rows), (2, 3)), (rows[::2], (2, 3)), (rows.tolist(), (2, 3)), (None, ()),
    ):  # fmt: skip
        assert not ready_rows(other, np.dtype("f4"), shape)


def test_class_numbers():
    labels = np.array([0, 2, 1])
    assert class_numbers(labels, 3) and class_numbers(labels[:0], 3)
    for other in (
        labels + 1, labels - 1, labels[:, None], labels.astype(np.int32), labels.astype(">i8"), labels * 1.0,
        np.repeat(labels, 2)[::2], labels.tolist(), np.array(1), None,
    ):  # fmt: skip
        assert not class_numbers(other, 3)
