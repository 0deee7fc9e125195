"""Encodings, standardisation, splits and mini-batches, against scikit-learn where it has them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastnn as fn
from fastnn.preprocessing import (
    Standardizer,
    batches,
    k_fold,
    one_hot,
    polynomial_features,
    standardize,
    train_test_split,
    train_validation_test_split,
)

# --- features --------------------------------------------------------------------------------------------


def test_one_hot():
    y = one_hot([2, 0, 1, 2])
    assert y.dtype == np.float32 and y.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert np.array_equal(one_hot([2.0, 0.0, 1.0, 2.0]), y)
    assert np.array_equal(one_hot([[1], [0]], 3, "float64"), [[[0.0, 1, 0]], [[1, 0, 0]]])
    assert one_hot(np.zeros(0, int)).shape == (0, 0) and one_hot(np.zeros(0, int), 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("labels", "classes", "error", "message"),
    [
        ([0, 3], 3, fn.DataError, r"labels: expected integers from 0 to 2, got 0 to 3"),
        ([-1, 1], None, fn.DataError, r"labels: expected integers from 0 to 1, got -1 to 1"),
        ([0.5, 1.0], None, fn.DtypeError, r"labels: expected integers, got float64"),
        ([0.0, 1e30], None, fn.DtypeError, r"labels: expected integers, got float64"),
        ([0.0, np.nan], None, fn.DtypeError, r"labels: expected integers, got float64"),
        ([0], 1.5, TypeError, r"num_classes: expected an integer, got 1.5"),
    ],
)
def test_one_hot_refuses(labels, classes, error, message):
    with pytest.raises(error, match=f"^one_hot: {message}$"):
        one_hot(labels, classes)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("include_bias", [True, False])
@pytest.mark.parametrize("interaction_only", [True, False])
def test_polynomial_features(degree, include_bias, interaction_only, rng):
    peer = pytest.importorskip("sklearn.preprocessing").PolynomialFeatures
    x, options = rng.normal(size=(6, 3)), {"include_bias": include_bias, "interaction_only": interaction_only}
    y = polynomial_features(x, degree, **options)
    if degree or include_bias:  # scikit-learn refuses no features at all
        assert np.allclose(y, peer(degree, **options).fit_transform(x), rtol=1e-14)
    assert y.shape == (6, y.shape[1]) and y.dtype == np.float64
    assert polynomial_features(x.astype(np.float32), degree, **options).dtype == np.float32


def test_polynomial_features_of_one_column():
    assert polynomial_features([2, 3], 3).tolist() == [[1, 2, 4, 8], [1, 3, 9, 27]]
    with pytest.raises(fn.ShapeError, match=r"^polynomial_features: X: expected shape \(rows, columns\), got"):
        polynomial_features(np.zeros((2, 2, 2)), 2)
    with pytest.raises(ValueError, match=r"^polynomial_features: degree: expected an integer of at least 0, got -1$"):
        polynomial_features([1.0], -1)


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 20), st.integers(1, 5)), elements=st.floats(-1e6, 1e6)))
def test_standardizer(x):
    for common_std in (False, True):
        scaler = Standardizer.fit(x, common_std=common_std)
        z = scaler.transform(x, "float64")
        assert np.isfinite(z).all() and (scaler.std > 0).all()
        np.testing.assert_allclose(scaler.inverse_transform(z), x, atol=1e-6)
        again = Standardizer.from_dict(json.loads(json.dumps(scaler.to_dict())))
        np.testing.assert_array_equal(again.transform(x, "float64"), z)
    assert np.array_equal(standardize(x, "float64"), Standardizer.fit(x).transform(x, "float64"))
    assert standardize(x).dtype == np.float32


def test_standardizer_as_in_scikit_learn(rng):
    peer = pytest.importorskip("sklearn.preprocessing").StandardScaler()
    x, new = rng.normal(3, 5, size=(40, 4)), rng.normal(size=(7, 4))
    x[:, 1] = 0.1
    scaler, z = Standardizer.fit(x.tolist()), peer.fit_transform(x)
    assert np.allclose(standardize(x, "float64"), z, atol=1e-14)
    assert np.allclose(scaler.transform(new.tolist(), "float64"), peer.transform(new), rtol=1e-12)
    assert np.allclose(scaler.inverse_transform(z.tolist()), x)


def test_standardizer_of_objects():
    x = np.array([[1.5, True], [2.5, False], [4.0, True]], object)
    scaler = Standardizer.fit(x)
    assert np.array_equal(scaler.mean, Standardizer.fit(x.astype(float)).mean)
    assert np.array_equal(scaler.transform(x), scaler.transform(x.astype(float)))
    x[2, 0] = "red"
    for call in (Standardizer.fit, scaler.transform):
        with pytest.raises(fn.DtypeError, match=r"^Standardizer: X: expected numbers, got 'red' at \(2, 0\)$"):
            call(x)


def test_missing_values_become_the_mean():
    x = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, 7.0]])
    scaler = Standardizer.fit(x)
    assert scaler.mean.tolist() == [2, 6] and scaler.transform(x).tolist() == [[-1, 0], [1, -1], [0, 1]]


def test_constant_features_are_zero():
    x = np.full((7, 2), 0.1)
    x[:, 1] = np.arange(7)
    for common_std in (False, True):
        z = Standardizer.fit(x, common_std=common_std).transform(x)
        np.testing.assert_allclose(z[:, 0], 0, atol=1e-6)
    np.testing.assert_array_equal(Standardizer.fit(x[:, :1], common_std=True).std, 1)
    np.testing.assert_allclose(Standardizer.fit(x).transform(x)[:, 1].std(), 1, rtol=1e-6)
    offset = 1.7e9 + np.arange(4.0)[:, None]  # seconds since 1970: float32 would lose them all
    expected = np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)
    np.testing.assert_allclose(Standardizer.fit(offset).transform(offset)[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (3.0, fn.ShapeError, r"^Standardizer: X: expected rows, got a number$"),
        ([[1.0], [np.inf]], fn.DataError, r"^Standardizer: X: expected finite numbers or NaN, got infinity$"),
    ],
)
def test_standardizer_refuses(x, error, message):
    with pytest.raises(error, match=message):
        Standardizer.fit(x)


def test_standardizer_of_other_columns(rng):
    """One column would broadcast to three silently."""
    scaler = Standardizer.fit(rng.normal(size=(5, 3)))
    with pytest.raises(fn.ShapeError, match=r"^Standardizer: X: expected rows of shape \(3,\), got \(4, 1\)$"):
        scaler.transform(np.ones((4, 1)))
    assert scaler.transform(np.ones(3)).shape == (3,) and scaler.transform(np.ones((0, 3))).shape == (0, 3)


def test_standardizer_needs_values():
    for x in (np.zeros((0, 2)), np.full((3, 1), np.nan)):
        with pytest.raises(fn.DataError, match=r"no training rows|feature 0 has no value"):
            Standardizer.fit(x)
    with pytest.raises(fn.DtypeError, match=r"^Standardizer: X: expected numbers, got <U1$"):
        Standardizer.fit([["a"]])


# --- splits ----------------------------------------------------------------------------------------------

SIZES = [
    {}, {"test_size": 0.3}, {"test_size": 7}, {"train_size": 0.55}, {"train_size": 9},
    {"test_size": 0.3, "train_size": 0.3}, {"test_size": 5, "train_size": 0.5}, {"test_size": 0.21, "train_size": 4},
]  # fmt: skip


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("n", [11, 40])
def test_sizes_as_in_scikit_learn(sizes, n):
    peer = pytest.importorskip("sklearn.model_selection").train_test_split
    rows = np.arange(n)
    train, test = train_test_split(rows, **sizes, seed=1)
    assert (len(train), len(test)) == tuple(map(len, peer(rows, **sizes, random_state=1)))
    assert len({*train, *test}) == len(train) + len(test)
    for ours, theirs in zip(
        train_test_split(rows, **sizes, shuffle=False), peer(rows, **sizes, shuffle=False), strict=True
    ):
        assert np.array_equal(ours, theirs)


def test_arrays_stay_together(rng):
    x, names = rng.normal(size=(30, 2)), [f"row {i}" for i in range(30)]
    x_train, x_test, n_train, n_test = train_test_split(x, names, seed=3)
    for part, labels in ((x_train, n_train), (x_test, n_test)):
        assert np.array_equal(part, x[[int(name[4:]) for name in labels]])
    x_train[:] = 0
    assert x.all()
    parts = train_validation_test_split(x, names, validation_size=4, test_size=0.5, seed=3)
    assert [len(part) for part in parts] == [11, 4, 15] * 2
    assert sorted(np.concatenate(parts[3:]), key=lambda name: int(name[4:])) == names


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=300), st.floats(0, 0.49), st.floats(0, 0.5), st.integers(0, 9))
def test_stratified_splits(labels, validation_size, test_size, seed):
    """Every class gives its share to within one row, whatever the numbers of its rows are."""
    labels = np.array(labels)
    n, rows = len(labels), np.arange(len(labels))
    sizes = {"test_size": test_size, "validation_size": validation_size}
    if sum(np.ceil(n * size) for size in sizes.values()) >= n:
        return
    parts = train_validation_test_split(rows, **sizes, seed=seed, stratify=labels)
    assert sorted(np.concatenate(parts)) == rows.tolist()
    for label in range(5):
        share = (labels == label).sum() / n
        for part, slack in zip(parts, (2, 2, 1), strict=True):  # the second part is taken from what the first left
            assert abs((labels[part] == label).sum() - share * len(part)) <= slack + 1e-9
    again = train_validation_test_split(rows, **sizes, seed=seed, stratify=labels)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))
    train, test = train_test_split(rows, test_size=test_size, seed=seed, stratify=labels)
    for label in range(5):
        assert abs((labels[test] == label).sum() - (labels == label).sum() / n * len(test)) <= 1 + 1e-9
    assert sorted([*train, *test]) == rows.tolist()


def test_the_seed_decides():
    rows = np.arange(50)
    assert np.array_equal(train_test_split(rows, seed=1)[0], train_test_split(rows, seed=1)[0])
    assert not np.array_equal(train_test_split(rows, seed=1)[0], train_test_split(rows, seed=2)[0])
    assert not np.array_equal(train_test_split(rows)[0], train_test_split(rows)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_size": 1.0}, r"test_size: expected a number in \[0, 1\), got 1.0"),
        ({"test_size": -0.1}, r"test_size: expected a number in \[0, 1\), got -0.1"),
        ({"train_size": float("nan")}, r"train_size: expected a number in \[0, 1\), got nan"),
        ({"test_size": 10}, r"sizes: expected at least 1 row .*, got 0 to train and 10 to test"),
        ({"test_size": 5, "train_size": 6}, r"sizes: expected at least 1 row .* at most 10 in all, got 6 .* 5 to test"),
        ({"test_size": -1}, r"test_size: expected an integer of at least 0, got -1"),
        ({"seed": -1}, r"seed: expected an integer of at least 0, got -1"),
        ({"shuffle": False, "stratify": np.zeros(10)}, r"stratify: expected None without shuffle, got classes"),
        ({"stratify": [0, 1]}, r"stratify: expected shape \(10,\), got \(2,\)"),
    ],
)
def test_splits_refused(options, message):
    with pytest.raises(ValueError, match=f"^train_test_split: {message}$"):
        train_test_split(np.arange(10), **options)


def test_splits_refuse_arrays():
    with pytest.raises(ValueError, match=r"^train_test_split: arrays: expected at least one, got none$"):
        train_test_split()
    with pytest.raises(fn.ShapeError, match=r"^train_test_split: arrays: expected the same number of rows, got \["):
        train_test_split([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^train_validation_test_split: sizes: expected less than 4 rows, got 2 to "):
        train_validation_test_split(range(4), validation_size=0.5, test_size=0.5)


@pytest.mark.parametrize(("n", "splits"), [(10, 5), (11, 3), (7, 7), (20, 6)])
def test_k_fold_as_in_scikit_learn(n, splits):
    selection = pytest.importorskip("sklearn.model_selection")
    folds = list(k_fold(n, splits))
    for ours, theirs in zip(folds, selection.KFold(splits).split(np.zeros(n)), strict=True):
        assert np.array_equal(ours[0], theirs[0]) and np.array_equal(ours[1], theirs[1])
    shuffled = [test for _, test in k_fold(np.zeros((n, 2)), splits, shuffle=True, seed=1)]
    assert sorted(map(len, shuffled)) == sorted(len(test) for _, test in folds)
    assert sorted(np.concatenate(shuffled)) == list(range(n))


@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("shuffle", [False, True])
def test_stratified_k_fold_as_in_scikit_learn(shuffle, rng):
    peer = pytest.importorskip("sklearn.model_selection").StratifiedKFold
    y = np.r_[0, 1, 2, rng.choice(3, 50, p=[0.6, 0.3, 0.1])]  # the classes appear in order: theirs are numbered so
    counts = [np.bincount(y[test], minlength=3).tolist() for _, test in peer(5).split(y, y)]
    folds = list(k_fold(y, 5, shuffle=shuffle, seed=2, stratify=y))
    assert [np.bincount(y[test], minlength=3).tolist() for _, test in folds] == counts
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(y)))
    if not shuffle:
        for (_, test), (_, theirs) in zip(folds, peer(5).split(y, y), strict=True):
            assert np.array_equal(test, theirs)


def test_k_fold_refuses():
    with pytest.raises(ValueError, match=r"^k_fold: n_splits: expected at most 4, the number of rows, got 5$"):
        k_fold(4)
    with pytest.raises(ValueError, match=r"^k_fold: n_splits: expected an integer of at least 2, got 1$"):
        k_fold(4, 1)


# --- batches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [None, True, False])
def test_batches_of_arrays(shuffle, drop_last, rng):
    x = rng.normal(size=(23, 3))
    pairs = list(batches(x, np.arange(23), 5, shuffle=shuffle, drop_last=drop_last))
    assert [len(xb) for xb, _ in pairs] == [5, 5, 5, 5, 3][: 4 if drop_last else 5]
    rows = np.concatenate([yb for _, yb in pairs])
    assert np.array_equal(np.concatenate([xb for xb, _ in pairs]), x[rows])
    assert (rows.tolist() == list(range(len(rows)))) == (shuffle is False)
    if not drop_last:
        assert sorted(rows) == list(range(23))
    alone = list(batches(x.tolist(), None, 5, shuffle=shuffle, drop_last=drop_last))
    assert all(np.array_equal(a, b) for a, (b, _) in zip(alone, pairs, strict=True))


def test_seeds_of_batches():
    first, again, other = (np.concatenate(list(batches(np.arange(40), seed=seed))) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


class Watched:
    """An array that notes how many rows are read at once."""

    def __init__(self, array):
        self.array, self.shape, self.reads = array, array.shape, []

    def __getitem__(self, rows):
        self.reads.append(len(rows))
        return self.array[rows]


def test_only_a_batchs_rows_are_read(tmp_path, rng):
    path = tmp_path / "x.npy"
    x = rng.normal(size=(20, 4))
    np.save(path, x)
    mapped = np.load(path, mmap_mode="r")
    watched = Watched(mapped)
    found = list(batches(watched, None, 8, shuffle=False))
    assert watched.reads == [8, 8, 4] and np.array_equal(np.concatenate(found), x)
    for batch in batches(mapped, None, 8):
        assert type(batch) is np.ndarray and not np.shares_memory(batch, mapped)


def test_batches_of_a_generator():
    taken = []

    def rows():
        for i in range(7):
            taken.append(i)
            yield np.full(2, i), i % 3

    found = batches(rows(), batch_size=3)
    x, y = next(found)
    assert taken == [0, 1, 2] and x.tolist() == [[0, 0], [1, 1], [2, 2]] and y.tolist() == [0, 1, 2]
    assert [len(x) for x, _ in found] == [3, 1]
    assert [len(x) for x, _ in batches(rows(), batch_size=3, drop_last=True)] == [3, 3]
    assert [b.tolist() for b in batches(iter([1.0, 2.0, 3.0]), batch_size=2)] == [[1, 2], [3]]


def test_batches_refuse():
    with pytest.raises(ValueError, match=r"^batches: shuffle: expected False with an iterable of rows, got True$"):
        batches(iter([1]), shuffle=True)
    with pytest.raises(TypeError, match=r"^batches: y: expected None with an iterable of rows"):
        batches(iter([1]), [1])
    with pytest.raises(fn.ShapeError, match=r"^batches: X and y: expected the same number of rows, got \["):
        batches([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^batches: batch_size: expected an integer of at least 1, got 0$"):
        batches([1, 2], batch_size=0)
