"""Metrics as functions of arrays, with scikit-learn's names, definitions and values where a denominator is zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn import checks

AVERAGES = ("binary", "macro", "micro", "weighted", None)


# --- classes ---------------------------------------------------------------------------------------------


def accuracy_score(y_true: Any, y_pred: Any, *, normalize: bool = True, sample_weight: Any = None) -> float:
    """Share of rows whose predicted class is the true one; with ``normalize=False`` their number.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (rows,)
        Classes: numbers or text.
    sample_weight : array_like of shape (rows,), optional
    """
    true, predicted, w = _labels("accuracy_score", y_true, y_pred, sample_weight)
    right = float(w @ (true == predicted))
    return right / float(w.sum()) if normalize else right


def top_k_accuracy_score(y_true: Any, y_score: Any, *, k: int = 2, sample_weight: Any = None) -> float:
    """Share of rows whose true class is among the k with the largest scores; of equal scores the last win.

    Parameters
    ----------
    y_true : array_like of shape (rows,)
        Class numbers from 0 to classes - 1.
    y_score : array_like of shape (rows, classes)
    k : int
    sample_weight : array_like of shape (rows,), optional
    """
    who = "top_k_accuracy_score"
    checks.integer(who, "k", k, 1)
    scores = _numbers(who, "y_score", y_score)
    if scores.ndim != 2:
        checks.fail(checks.ShapeError, who, "y_score", "shape (rows, classes)", scores.shape)
    true = checks.host_array(who, "y_true", y_true, np.dtype(np.int64))
    _same_rows(who, true, scores)
    checks.labels(who, true, scores.shape[1])
    w = _weights(who, sample_weight, len(true))
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
    return float(np.average((best == true[:, None]).any(axis=1), weights=w))


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None, normalize: str | None = None
) -> np.ndarray:
    """Number of rows of each true class (down) predicted to be of each class (across).

    Parameters
    ----------
    y_true, y_pred : array_like of shape (rows,)
        Classes: numbers or text.
    labels : array_like of shape (classes,), optional
        Which classes, in which order; by default all that occur, sorted.
    sample_weight : array_like of shape (rows,), optional
        What each row counts.
    normalize : {"true", "pred", "all"}, optional
        Divide by the rows' sums, the columns' sums, or the sum of all; where that is 0 the share is 0.

    Returns
    -------
    array of shape (classes, classes), int64, or float64 with weights or `normalize`
    """
    who = "confusion_matrix"
    checks.option(who, "normalize", normalize, ("true", "pred", "all", None))
    true, predicted, w = _labels(who, y_true, y_pred, sample_weight)
    classes = np.unique(np.concatenate([true, predicted])) if labels is None else np.asarray(labels)
    if classes.ndim != 1 or not 0 < len(classes) == len(np.unique(classes)):
        checks.fail(ValueError, who, "labels", "at least one class, each once", repr(labels))
    matrix = np.zeros((len(classes), len(classes)))
    rows, row_known = _places(true, classes)
    columns, column_known = _places(predicted, classes)
    known = row_known & column_known
    np.add.at(matrix, (rows[known], columns[known]), w[known])
    if normalize is None:
        return matrix.astype(np.int64) if sample_weight is None else matrix
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    total = np.broadcast_to(matrix.sum(axis=axis, keepdims=True), matrix.shape)
    return np.divide(matrix, total, out=np.zeros_like(matrix), where=total != 0)


def precision_score(
    y_true: Any,
    y_pred: Any,
    *,
    average: str | None = "binary",
    pos_label: Any = 1,
    sample_weight: Any = None,
    zero_division: float = 0.0,
) -> Any:
    """Share of the rows predicted to be of a class that are: right / predicted.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (rows,)
        Classes: numbers or text.
    average : {"binary", "macro", "micro", "weighted", None}
        The ratio of the class `pos_label` alone, of which there may be at most one other; the mean over classes; the
        ratio of all classes' sums; the mean weighted by the classes' true rows; or each class's, in sorted order.
    pos_label : int or str
        The class of ``average="binary"``.
    sample_weight : array_like of shape (rows,), optional
    zero_division : float
        The ratio where its denominator is 0.

    Returns
    -------
    float, or array of shape (classes,) for ``average=None``
    """
    counts = _counts("precision_score", y_true, y_pred, average, pos_label, sample_weight)
    return _average(counts, counts[0], counts[1], average, zero_division)


def recall_score(
    y_true: Any,
    y_pred: Any,
    *,
    average: str | None = "binary",
    pos_label: Any = 1,
    sample_weight: Any = None,
    zero_division: float = 0.0,
) -> Any:
    """Share of the rows of a class that are predicted to be of it: right / actual. See `precision_score`."""
    counts = _counts("recall_score", y_true, y_pred, average, pos_label, sample_weight)
    return _average(counts, counts[0], counts[2], average, zero_division)


def f1_score(
    y_true: Any,
    y_pred: Any,
    *,
    average: str | None = "binary",
    pos_label: Any = 1,
    sample_weight: Any = None,
    zero_division: float = 0.0,
) -> Any:
    """Harmonic mean of precision and recall: 2 right / (predicted + actual). See `precision_score`."""
    counts = _counts("f1_score", y_true, y_pred, average, pos_label, sample_weight)
    return _average(counts, 2 * counts[0], counts[1] + counts[2], average, zero_division)


def _counts(who: str, y_true: Any, y_pred: Any, average: Any, pos_label: Any, sample_weight: Any) -> np.ndarray:
    """Weights of rows predicted rightly, predicted and actual, of shape (3, classes)."""
    checks.option(who, "average", average, AVERAGES)
    true, predicted, w = _labels(who, y_true, y_pred, sample_weight)
    classes = np.unique(np.concatenate([true, predicted]))
    if average == "binary":
        if len(classes) > 2:
            checks.fail(ValueError, who, "average", "another than 'binary'", f"{len(classes)} classes")
        if len(classes) == 2:
            _one_of(who, pos_label, classes)
        classes = np.array([pos_label])
    is_true, is_predicted = true == classes[:, None], predicted == classes[:, None]
    counts = np.stack([(is_true & is_predicted) @ w, is_predicted @ w, is_true @ w])
    return counts.sum(axis=1, keepdims=True) if average == "micro" else counts


def _average(
    counts: np.ndarray, above: np.ndarray, below: np.ndarray, average: str | None, zero_division: float
) -> Any:
    """Ratios of each class, averaged."""
    ratios = np.divide(above, below, out=np.full(len(above), float(zero_division)), where=below != 0)
    if average is None:
        return ratios
    if average == "weighted":
        actual = counts[2]
        return float(np.average(ratios, weights=actual)) if actual.any() else float(zero_division)
    return float(ratios.mean())


# --- scores of two classes -------------------------------------------------------------------------------


def roc_curve(
    y_true: Any, y_score: Any, *, pos_label: Any = 1, sample_weight: Any = None, drop_intermediate: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Receiver operating characteristic: what is gained and lost as the threshold falls (Fawcett 2006).

    Parameters
    ----------
    y_true : array_like of shape (rows,)
        Two classes.
    y_score : array_like of shape (rows,)
        Probability, logit or any number that grows with the belief in `pos_label`.
    pos_label : int or str
        The class that counts as positive.
    sample_weight : array_like of shape (rows,), optional
    drop_intermediate : bool
        Leave out points on a straight line between their neighbours.

    Returns
    -------
    false_positive_rate, true_positive_rate, thresholds : arrays of shape (points,)
        Rates of rows with a score of at least the threshold, which falls from infinity; NaN where one class is absent.
    """
    who = "roc_curve"
    true = np.asarray(y_true)
    scores = _numbers(who, "y_score", y_score)
    for name, array in (("y_true", true), ("y_score", scores)):
        if array.ndim != 1:
            checks.fail(checks.ShapeError, who, name, "shape (rows,)", array.shape)
    _same_rows(who, true, scores)
    classes = np.unique(true)
    if len(classes) > 2:
        checks.fail(checks.DataError, who, "y_true", "two classes", f"{len(classes)}")
    if len(classes) == 2:
        _one_of(who, pos_label, classes)
    w = _weights(who, sample_weight, len(true))
    true, scores, w = true[w != 0] == pos_label, scores[w != 0], w[w != 0]
    order = np.argsort(-scores, kind="stable")
    true, scores, w = true[order], scores[order], w[order]
    last = np.r_[np.flatnonzero(np.diff(scores)), len(scores) - 1]  # the last row of each score
    hits, alarms = np.cumsum(w * true)[last], np.cumsum(w * ~true)[last]
    thresholds = scores[last]
    if drop_intermediate and len(hits) > 2:
        bends = (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0)
        keep = np.r_[True, bends, True]
        hits, alarms, thresholds = hits[keep], alarms[keep], thresholds[keep]
    return _share(np.r_[0, alarms]), _share(np.r_[0, hits]), np.r_[np.inf, thresholds]


def _share(counts: np.ndarray) -> np.ndarray:
    """Running counts as shares of the last."""
    return counts / counts[-1] if counts[-1] > 0 else np.full(len(counts), np.nan)


def roc_auc_score(y_true: Any, y_score: Any, *, average: str = "macro", sample_weight: Any = None) -> float:
    """Area under the ROC curve: the chance that a positive row scores above a negative one (ties count half).

    Parameters
    ----------
    y_true : array_like of shape (rows,)
        Two classes, of which the larger is positive; with scores of several columns, class numbers, all present.
    y_score : array_like of shape (rows,) or (rows, classes)
        With several columns, the mean of the areas of each class against the rest.
    average : {"macro", "weighted"}
        How the classes' areas are averaged: equally, or by the classes' rows.
    sample_weight : array_like of shape (rows,), optional

    Raises
    ------
    DataError
        If a class is absent: the area does not exist then.
    """
    who = "roc_auc_score"
    checks.option(who, "average", average, ("macro", "weighted"))
    true, scores = np.asarray(y_true), _numbers(who, "y_score", y_score)
    _same_rows(who, true, scores)
    w = _weights(who, sample_weight, len(true))
    classes = np.unique(true[w != 0])
    if scores.ndim == 1:
        if len(classes) != 2:
            checks.fail(checks.DataError, who, "y_true", "two classes", f"{len(classes)}")
        return _area(true == classes[1], scores, w)
    if scores.ndim != 2 or not np.array_equal(classes, np.arange(scores.shape[1])):
        expected = f"every class number from 0 to {scores.shape[-1] - 1}"
        checks.fail(checks.DataError, who, "y_true", expected, f"{classes.tolist()}")
    areas = [_area(true == c, column, w) for c, column in zip(classes, scores.T, strict=True)]
    rows = [w[true == c].sum() for c in classes]
    return float(np.average(areas, weights=rows if average == "weighted" else None))


def _area(positive: np.ndarray, scores: np.ndarray, w: np.ndarray) -> float:
    """Area under the ROC curve by the trapezoidal rule, exact for its straight pieces."""
    x, y, _ = roc_curve(positive, scores, sample_weight=w)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


# --- numbers ---------------------------------------------------------------------------------------------


def mean_squared_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """Mean of (y_true - y_pred)^2 over rows, weighted, and over outputs.

    Parameters
    ----------
    y_true, y_pred : array_like of shape (rows,) or (rows, outputs)
    sample_weight : array_like of shape (rows,), optional
    """
    true, predicted, w = _values("mean_squared_error", y_true, y_pred, sample_weight)
    return float(np.average((true - predicted) ** 2, axis=0, weights=w).mean())


def mean_absolute_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """Mean of ``|y_true - y_pred|`` over rows, weighted, and over outputs. See `mean_squared_error`."""
    true, predicted, w = _values("mean_absolute_error", y_true, y_pred, sample_weight)
    return float(np.average(np.abs(true - predicted), axis=0, weights=w).mean())


def r2_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """Coefficient of determination, 1 - sum w (y_true - y_pred)^2 / sum w (y_true - mean y_true)^2, mean over outputs.

    A constant target has 1 where it is predicted exactly, else 0; a single row has none (NaN).
    See `mean_squared_error` for the parameters.
    """
    true, predicted, w = _values("r2_score", y_true, y_pred, sample_weight)
    if len(true) < 2:
        return float("nan")
    error = w @ (true - predicted) ** 2
    spread = w @ (true - np.average(true, axis=0, weights=w)) ** 2
    constant = (error != 0).astype(float)  # what to subtract from 1 where there is no spread
    return float(np.mean(1 - np.divide(error, spread, out=constant, where=spread != 0)))


# --- arguments -------------------------------------------------------------------------------------------


def _numbers(who: str, name: str, values: Any) -> np.ndarray:
    """Finite numbers in float64."""
    array = checks.host_array(who, name, values, np.dtype(np.float64))
    if not np.isfinite(array).all():
        checks.fail(checks.DataError, who, name, "finite numbers", "NaN or infinity")
    return array


def _same_rows(who: str, true: np.ndarray, other: np.ndarray) -> None:
    if not true.ndim or not len(true):
        checks.fail(checks.DataError, who, "y_true", "at least one row", f"shape {true.shape}")
    if other.shape[:1] != true.shape[:1]:
        checks.fail(checks.ShapeError, who, "predictions", f"{len(true)} rows", other.shape)


def _weights(who: str, sample_weight: Any, rows: int) -> np.ndarray:
    if sample_weight is None:
        return np.ones(rows)
    w = _numbers(who, "sample_weight", sample_weight)
    if w.shape != (rows,):
        checks.fail(checks.ShapeError, who, "sample_weight", f"shape ({rows},)", w.shape)
    if not w.any() or w.min() < 0:
        checks.fail(checks.DataError, who, "sample_weight", "numbers of at least 0, not all 0", "others")
    return w


def _labels(who: str, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes of rows, and the rows' weights."""
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    for name, array in (("y_true", true), ("y_pred", predicted)):
        if array.ndim != 1:
            checks.fail(checks.ShapeError, who, name, "classes of shape (rows,)", array.shape)
    kinds = {array.dtype.kind for array in (true, predicted)}
    if "U" in kinds and kinds & set("biuf"):
        expected = ("text" if true.dtype.kind == "U" else "numbers") + ", as in y_true"
        checks.fail(checks.DtypeError, who, "y_pred", expected, predicted.dtype)
    _same_rows(who, true, predicted)
    return true, predicted, _weights(who, sample_weight, len(true))


def _values(who: str, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of shape (rows, outputs), and the rows' weights."""
    true, predicted = _numbers(who, "y_true", y_true), _numbers(who, "y_pred", y_pred)
    _same_rows(who, true, predicted)
    true, predicted = true.reshape(len(true), -1), predicted.reshape(len(true), -1)
    if true.shape != predicted.shape:
        checks.fail(checks.ShapeError, who, "y_pred", f"shape {true.shape}", predicted.shape)
    return true, predicted, _weights(who, sample_weight, len(true))


def _one_of(who: str, pos_label: Any, classes: np.ndarray) -> None:
    if pos_label not in classes.tolist():
        checks.fail(ValueError, who, "pos_label", f"one of {classes.tolist()}", repr(pos_label))


def _places(values: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands among the classes, and whether it does."""
    order = np.argsort(classes)
    places = np.searchsorted(classes, values, sorter=order).clip(max=len(classes) - 1)
    found = order[places]
    return found, classes[found] == values
