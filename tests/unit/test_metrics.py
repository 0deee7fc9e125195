"""Metrics as functions of arrays, against scikit-learn."""

import numpy as np
import pytest

import fastnn as fn
from fastnn import metrics

peers = pytest.importorskip("sklearn.metrics")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # theirs, where a denominator is 0

RATIOS = ("precision_score", "recall_score", "f1_score")


@pytest.fixture(params=[False, True], ids=["plain", "weighted"])
def options(request, rng):
    """Without and with weights, some of them 0."""
    return {"sample_weight": rng.integers(0, 4, 60) * 0.7} if request.param else {}


def labels(rng, classes, right=0.6):
    true = rng.integers(0, classes, 60)
    return true, np.where(rng.random(60) < right, true, rng.integers(0, classes, 60))


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_accuracy_and_confusion(classes, options, rng):
    true, predicted = labels(rng, classes)
    for normalize in (True, False):
        expected = peers.accuracy_score(true, predicted, normalize=normalize, **options)
        assert np.isclose(metrics.accuracy_score(true, predicted, normalize=normalize, **options), expected)
    for normalize in (None, "true", "pred", "all"):
        expected = peers.confusion_matrix(true, predicted, normalize=normalize, **options)
        found = metrics.confusion_matrix(true, predicted, normalize=normalize, **options)
        assert np.allclose(found, expected) and found.dtype == expected.dtype
    names = np.array(list("edcba"))
    expected = peers.confusion_matrix(names[true], names[predicted], **options)
    assert np.allclose(metrics.confusion_matrix(names[true], names[predicted], **options), expected)


def test_confusion_of_chosen_classes(options, rng):
    true, predicted = labels(rng, 5)
    for chosen in ([3, 0], [4, 2, 9, 1]):
        expected = peers.confusion_matrix(true, predicted, labels=chosen, **options)
        assert np.allclose(metrics.confusion_matrix(true, predicted, labels=chosen, **options), expected)
    empty = metrics.confusion_matrix([0, 0], [1, 1], normalize="true")
    assert np.array_equal(empty, [[0, 1], [0, 0]])


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_ratios(name, average, classes, options, rng):
    true, predicted = labels(rng, classes)
    predicted[predicted == 3] = 4  # class 3 is never predicted
    for zero_division in (0.0, 1.0):
        arguments = {"average": average, "zero_division": zero_division, **options}
        expected = getattr(peers, name)(true, predicted, **arguments)
        assert np.allclose(getattr(metrics, name)(true, predicted, **arguments), expected)


@pytest.mark.parametrize("name", RATIOS)
def test_ratios_of_two_classes(name, options, rng):
    true, predicted = labels(rng, 2)
    ours, theirs = getattr(metrics, name), getattr(peers, name)
    for y_pred in (predicted, np.zeros(60, int), np.ones(60, int)):
        for y_true in (true, np.zeros(60, int)):
            assert np.isclose(ours(y_true, y_pred, **options), theirs(y_true, y_pred, zero_division=0, **options))
    assert np.isclose(ours(true, predicted, pos_label=0, **options), theirs(true, predicted, pos_label=0, **options))
    words = np.array(["no", "yes"])
    expected = theirs(words[true], words[predicted], pos_label="yes", **options)
    assert np.isclose(ours(words[true], words[predicted], pos_label="yes", **options), expected)


def test_ratios_refuse():
    with pytest.raises(ValueError, match=r"^f1_score: average: expected another than 'binary', got 3 classes$"):
        metrics.f1_score([0, 1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match=r"^recall_score: pos_label: expected one of \[1, 2\], got 3$"):
        metrics.recall_score([1, 2], [1, 2], pos_label=3)
    with pytest.raises(ValueError, match=r"^precision_score: average: expected one of 'binary', .*, got 'mean'$"):
        metrics.precision_score([1, 2], [1, 2], average="mean")


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_top_k(k, options, rng):
    true, scores = rng.integers(0, 5, 60), rng.normal(size=(60, 5))
    for values in (scores, scores.round(0)):  # the second has ties
        expected = peers.top_k_accuracy_score(true, values, k=k, labels=range(5), **options)
        assert np.isclose(metrics.top_k_accuracy_score(true, values, k=k, **options), expected)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("drop_intermediate", [False, True])
def test_roc(ties, drop_intermediate, options, rng):
    true = rng.integers(0, 2, 60)
    scores = true + rng.normal(size=60)
    scores = scores.round(0) if ties else scores
    expected = peers.roc_curve(true, scores, drop_intermediate=drop_intermediate, **options)
    found = metrics.roc_curve(true, scores, drop_intermediate=drop_intermediate, **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.allclose(ours, theirs)
    expected = peers.roc_auc_score(true, scores, **options)
    assert np.isclose(metrics.roc_auc_score(true, scores, **options), expected)
    words = np.array(["no", "yes"])[true]
    assert np.isclose(metrics.roc_auc_score(words, scores, **options), expected)


def test_roc_without_one_class():
    rates = metrics.roc_curve([1, 1, 1], [0.1, 0.2, 0.3])
    assert np.isnan(rates[0]).all() and np.allclose(rates[1], [0, 1 / 3, 1])
    with pytest.raises(fn.DataError, match=r"^roc_auc_score: y_true: expected two classes, got 1$"):
        metrics.roc_auc_score([1, 1], [0.1, 0.2])
    with pytest.raises(fn.DataError, match=r"^roc_curve: y_true: expected two classes, got 3$"):
        metrics.roc_curve([0, 1, 2], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_area_of_several_classes(average, rng):
    true, scores = rng.permutation(np.arange(60) % 4), rng.normal(size=(60, 4)).round(1)
    true[true == 2] = np.where(rng.random(15) < 0.5, 3, 2)
    scores[np.arange(60), true] += 1
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)  # they refuse anything else
    expected = peers.roc_auc_score(true, probabilities, multi_class="ovr", average=average)
    assert np.isclose(metrics.roc_auc_score(true, probabilities, average=average), expected)
    with pytest.raises(fn.DataError, match=r"expected every class number from 0 to 3, got \[0, 1, 3\]$"):
        metrics.roc_auc_score(np.where(true == 2, 3, true), probabilities)


@pytest.mark.parametrize("name", ["mean_squared_error", "mean_absolute_error", "r2_score"])
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3)])
def test_regression(name, shape, options, rng):
    true = rng.normal(5, 2, size=shape)
    predicted = true + rng.normal(size=shape)
    assert np.isclose(
        getattr(metrics, name)(true, predicted, **options), getattr(peers, name)(true, predicted, **options)
    )


@pytest.mark.filterwarnings("ignore")
def test_r2_without_spread():
    for true, predicted in (([1, 1], [1, 1]), ([1, 1], [1, 2]), ([[1, 0], [1, 1]], [[1, 0], [2, 1]])):
        assert metrics.r2_score(true, predicted) == peers.r2_score(true, predicted)
    assert np.isnan(metrics.r2_score([1], [2])) and np.isnan(peers.r2_score([1], [2]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy_score([], []), fn.DataError, "y_true: expected at least one row"),
        (lambda: metrics.accuracy_score([1, 2], [1]), fn.ShapeError, "predictions: expected 2 rows"),
        (lambda: metrics.accuracy_score([[1]], [[1]]), fn.ShapeError, "y_true: expected classes of shape"),
        (lambda: metrics.r2_score([1.0, np.nan], [1, 2]), fn.DataError, "y_true: expected finite numbers"),
        (lambda: metrics.r2_score([1, 2], [[1, 2], [3, 4]]), fn.ShapeError, "y_pred: expected shape"),
        (lambda: metrics.accuracy_score([1], [1], sample_weight=[0]), fn.DataError, "sample_weight: expected numbers"),
        (lambda: metrics.accuracy_score([1], [1], sample_weight=[1, 2]), fn.ShapeError, "sample_weight: expected sha"),
        (lambda: metrics.top_k_accuracy_score([5], [[1, 2]]), fn.DataError, "labels: expected integers from 0 to 1"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.accuracy_score(["0", "1"], [0, 1]), fn.DtypeError, "y_pred: expected text, as in y_true, got"),
        (lambda: metrics.confusion_matrix([0, 1], ["a", "b"]), fn.DtypeError, "y_pred: expected numbers, as in y_tr"),
        (lambda: metrics.confusion_matrix([0], [1], labels=[]), ValueError, "labels: expected at least one class, ea"),
        (lambda: metrics.confusion_matrix([0], [1], labels=[0, 0]), ValueError, "labels: expected at least one class"),
        (lambda: metrics.roc_curve(["n", "p"], [0.1, 0.9]), ValueError, "pos_label: expected one of .*'n', 'p'.*got 1"),
    ],
)
def test_labels_that_do_not_match(call, error, message):
    """Each of these would give zeros or NaN."""
    with pytest.raises(error, match=message):
        call()
    assert metrics.accuracy_score(np.array(["a", "b"], object), ["a", "c"]) == 0.5
