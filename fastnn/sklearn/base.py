"""What classifier and regressor share: parameters, checks, and training through `fastnn.Sequential`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import KW_ONLY, dataclass
from functools import partial
from math import inf, nan
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fastnn import batches, checks, losses
from fastnn.model import CHUNK, Sequential
from fastnn.program import Slot
from fastnn.sklearn import network
from fastnn.sklearn.monitor import Monitor
from fastnn.threadcount import threads

#: Rows, targets as numbers, and weights.
Data = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclass(eq=False, repr=False)
class MLP(BaseEstimator):
    """Base class of `MLPClassifier` and `MLPRegressor`, whose docstrings describe the parameters."""

    hidden_layer_sizes: Any = (100,)
    activation: Any = "relu"
    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 1e-4
    batch_size: Any = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 1e-3
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    dropout: Any = 0.0
    optimizer: Any = None
    loss: Any = None
    callbacks: Sequence[Any] = ()
    dtype: Any = "float32"
    backend: str | None = None
    n_threads: int | None = None

    # --- what the two differ in --------------------------------------------------------------------------

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        """Note what the targets are, at the first fit."""
        raise NotImplementedError

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        """Targets as numbers: labels from 0, indicators, or values."""
        raise NotImplementedError

    def _loss_and_activation(self) -> tuple[losses.Loss, str]:
        """The loss, and the output layer's activation within the network."""
        raise NotImplementedError

    def _loss_targets(self, y: np.ndarray) -> np.ndarray:
        """Targets as the loss takes them."""
        return y

    def _class_weights(self, y: np.ndarray, incremental: bool) -> np.ndarray | None:
        """Weights of rows that follow from their classes."""
        return None

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
        """Accuracy or R^2 of the network's outputs."""
        raise NotImplementedError

    # --- training ----------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)
            Sparse rows are made dense at once: the kernels are, and every row is needed once an epoch.
        y : array_like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array_like of shape (n_samples,), optional
            At least 0; only their proportions matter for the loss.
        validation_data : (X, y) or (X, y, sample_weight), optional
            Scored after each epoch, in ``validation_scores_`` and ``validation_loss_curve_``; with `early_stopping`
            these rows are used instead of `validation_fraction` of the training data.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For parameters and data that cannot be used.
        fastnn.NonFiniteLoss
            If the loss becomes infinite or NaN.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool, classes: Any = None
    ) -> Self:
        network.check(self)
        if incremental and self.early_stopping and validation_data is None:
            raise ValueError("partial_fit does not support early_stopping=True without validation_data")
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        X, y = self._validated(X, y, reset=first)
        if first:
            self._learn_targets(y, classes)
        numbers = self._numbers(y)
        weight = batches.weights(type(self).__name__, sample_weight, len(X), self.dtype)
        random = check_random_state(self.random_state)
        seed = random.randint(2**31 - 1)
        if first:
            self._start()
        if first or not incremental:
            self._build(seed, keep=not first)
        train: Data = (X, numbers, weight)
        held = None if validation_data is None else self._held(validation_data)
        if held is None and self.early_stopping:
            train, held = self._split(train, random)
        if held is not None and self.validation_scores_ is None:
            self.validation_scores_, self.validation_loss_curve_, self.best_validation_score_ = [], [], -inf
        if not self.early_stopping and self.best_loss_ is None:
            self.best_loss_ = inf
        self._train(train, held, incremental)
        return self

    def _validated(self, X: Any, y: Any, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the network's dtype and targets, dense; nothing is copied that fits already."""
        X, y = validate_data(
            self, X, y, accept_sparse=("csr", "csc"), multi_output=True, y_numeric=is_regressor(self),
            dtype=np.dtype(self.dtype).type, order="C", reset=reset,
        )  # fmt: skip
        y = y.toarray() if issparse(y) else y
        y = column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y
        return X.toarray(order="C") if issparse(X) else X, y

    def _held(self, given: Any) -> Data:
        """Explicit validation data as numbers."""
        who = type(self).__name__
        if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
            checks.fail(ValueError, who, "validation_data", "(X, y) or (X, y, sample_weight)", type(given).__name__)
        X, y = self._validated(*given[:2], reset=False)
        weight = batches.weights(who, given[2] if len(given) == 3 else None, len(X), self.dtype)
        return X, self._numbers(y), weight

    def _split(self, data: Data, random: Any) -> tuple[Data, Data]:
        """Training and validation rows, in each the same proportions of classes."""
        X, y, weight = data
        stratify = y if hasattr(self, "classes_") and y.ndim == 1 else None
        weights = () if weight is None else (weight,)
        pieces = train_test_split(
            X, y, *weights, random_state=random, test_size=self.validation_fraction, stratify=stratify
        )
        if len(pieces[1]) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        without = (None,) * (weight is None)
        return (*pieces[::2], *without), (*pieces[1::2], *without)

    def _start(self) -> None:
        """Attributes before the first epoch."""
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self.best_loss_: float | None = None
        self.validation_scores_: list[float] | None = None
        self.validation_loss_curve_: list[float] | None = None
        self.best_validation_score_: float | None = None
        self._no_improvement_count = 0

    def _build(self, seed: int, keep: bool) -> None:
        """A new network, with the parameters of the one before or initial ones."""
        hidden = network.hidden(self)
        self._penalty_factor = Slot("penalty", 0)
        penalty = network.Alpha(self._penalty_factor) if self.alpha else None
        loss, out_activation = self._loss_and_activation()
        layers = network.stack(self.n_features_in_, hidden, self.n_outputs_, out_activation, penalty)
        model = Sequential(layers, np.dtype(self.dtype).name, self.backend, seed, (self.n_features_in_,))
        model.compile(network.optimizer(self), loss)
        if keep:
            model.set_weights(self.model_.get_weights())
        self.model_ = model
        self.n_layers_ = len(hidden) + 2

    def _train(self, train: Data, held: Data | None, incremental: bool) -> None:
        """Epochs, until one of the reasons to stop."""
        X, y, weight = train
        self.n_iter_ = 0
        batch_size = self._batch_size(len(X))
        by_class = self._class_weights(y, incremental)
        if by_class is not None:
            weight = by_class if weight is None else weight * by_class
        weight, mean = _normalized(weight)
        self._penalty_factor.value = self.alpha / (2 * batch_size * mean)
        score = evaluated = None
        if held is not None:
            score = partial(self._validation_score, held)
            evaluated = (held[0], self._loss_targets(held[1]), _normalized(held[2])[0])
        monitor = Monitor(self, score, self.early_stopping)
        with self._threads():
            history = self.model_.fit(
                X, self._loss_targets(y), epochs=1 if incremental else self.max_iter, batch_size=batch_size,
                shuffle=self.shuffle, sample_weight=weight, validation_data=evaluated,
                callbacks=[monitor, *self.callbacks], verbose=0,
            )  # fmt: skip
        if history.interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif self.n_iter_ == self.max_iter and not (monitor.converged or incremental):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        if self.early_stopping and not incremental:
            self.model_.set_weights(monitor.best)

    def _validation_score(self, held: Data) -> float:
        """The score on validation rows; NaN, which is better than nothing, if outputs are not finite."""
        outputs = self.model_.predict(held[0])
        return float(self._score_outputs(outputs, *held[1:])) if np.isfinite(outputs).all() else nan

    def _batch_size(self, rows: int) -> int:
        if self.batch_size == "auto":
            return min(200, rows)
        if self.batch_size > rows:
            warnings.warn("Got `batch_size` larger than sample size. It is going to be clipped", stacklevel=5)
        return min(self.batch_size, rows)

    def _threads(self) -> AbstractContextManager[None]:
        return nullcontext() if self.n_threads is None else threads(self.n_threads)

    # --- inference ---------------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs (n_samples, n_outputs); sparse rows are made dense some at a time."""
        check_is_fitted(self, "model_")
        X = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=self.model_.dtype.type, order="C", reset=False
        )
        with self._threads():
            if not issparse(X):
                return self.model_.predict(X)
            rows = X.tocsr()
            pieces = (rows[start : start + CHUNK].toarray() for start in range(0, rows.shape[0], CHUNK))
            return np.concatenate([self.model_.predict(piece) for piece in pieces])

    @property
    def coefs_(self) -> list[np.ndarray]:
        """Copies of the weights, of shape (units before, units) each."""
        return self.model_.get_weights()[::2]

    @property
    def intercepts_(self) -> list[np.ndarray]:
        """Copies of the biases, of shape (units,) each."""
        return self.model_.get_weights()[1::2]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _normalized(weight: np.ndarray | None) -> tuple[np.ndarray | None, float]:
    """Weights of mean 1, which the losses' division by the number of rows asks for, and the mean they had."""
    if weight is None:
        return None, 1.0
    mean = weight.mean(dtype=np.float64)
    if mean == 0:
        checks.fail(checks.DataError, "fit", "sample_weight", "some weights above zero", "zeros only")
    return (weight / mean).astype(weight.dtype), mean
