"""MLPClassifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import expit, log_expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from fastnn import batches, checks, losses
from fastnn.sklearn.base import MLP
from fastnn.sklearn.network import Scaled
from fastnn.sklearn.parameters import document

#: Losses of one class of several, and those that may see what comes before softmax or sigmoid.
_OF_ONE_CLASS = (losses.CrossEntropy, losses.KLDivergence)
_OF_LOGITS = (*_OF_ONE_CLASS, losses.BinaryCrossEntropy, losses.Hinge)

_LOSS = """\
    loss : str, Loss or function, optional
        None and "log_loss" are scikit-learn's: cross-entropy, its mean over rows, for indicators summed over
        outputs. See `fastnn.losses` for others. Cross-entropies, `KLDivergence` and the hinge losses see the last
        layer before softmax or sigmoid, unless they say ``from_logits=False``; any other loss or function sees
        probabilities. `CrossEntropy` takes labels, any other indicators of shape (n_samples, n_outputs).
    class_weight : dict or "balanced", optional
        Weights by label, 1 for labels that are missing, multiplied with `sample_weight`; "balanced" is inverse to
        the labels' frequencies. In training alone, not in scores; not for indicators."""

_CLASSES = """\
    classes_ : array of shape (n_classes,)
        Labels; numbers of columns if targets are indicators.
"""


@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MLP):
    __doc__ = document("A multi-layer perceptron that predicts classes, or several labels at once.", _LOSS, _CLASSES)

    class_weight: Any = None

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None, *, validation_data: Any = None
    ) -> Self:
        """Train for one epoch over the given rows, going on from where the last call ended; see `fit`.

        With `early_stopping` there must be validation data; nothing is stopped or set back, but scores are kept.

        Parameters
        ----------
        X, y, sample_weight, validation_data
            As for `fit`.
        classes : array_like of shape (n_classes,)
            All labels that will come; needed in the first call.

        Returns
        -------
        self
        """
        if not hasattr(self, "model_"):
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self._fit(X, y, sample_weight, validation_data, incremental=True, classes=classes)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row, or which labels are more probable than not.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,), or indicators of shape (n_samples, n_classes)
        """
        decided = self._decide(self._outputs(X))
        return decided if self._indicators else self.classes_[decided]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of classes, or of labels independent of each other.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples, n_classes), of the estimator's dtype
        """
        return self._probabilities(self._outputs(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`, finite and exact even where probabilities round to 0."""
        outputs = self._outputs(X)
        if not self._logits:
            return np.log(self._probabilities(outputs))
        if self.out_activation_ == "softmax":
            return log_softmax(outputs, axis=1)
        return log_expit(outputs if self._indicators else np.hstack([-outputs, outputs]))

    def _probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """Probabilities of all classes or labels, of outputs that may be logits."""
        if self.out_activation_ == "softmax":
            return softmax(outputs, axis=1) if self._logits else outputs
        if self._indicators:
            return expit(outputs) if self._logits else outputs
        return expit(np.hstack([-outputs, outputs])) if self._logits else np.hstack([1 - outputs, outputs])

    # --- targets -----------------------------------------------------------------------------------------

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multiclass-multioutput":
            raise ValueError("MLPClassifier: y: expected one label a row, or indicators, got several labels a row")
        indicators = kind == "multilabel-indicator"
        labels = np.arange(y.shape[1]) if indicators else np.unique(y) if classes is None else unique_labels(classes)
        if len(labels) < 2 and not indicators:
            raise ValueError(f"MLPClassifier: y: expected at least two classes, got one class: {labels[0]}")
        self._indicators, self.classes_ = indicators, labels
        several = not indicators and (len(labels) > 2 or isinstance(self._given_loss(), _OF_ONE_CLASS))
        self.out_activation_ = "softmax" if several else "logistic"
        self.n_outputs_ = len(labels) if several or indicators else 1

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        """Labels from 0, of shape (rows,), or indicators."""
        check_classification_targets(y)
        expected = (len(y), self.n_outputs_) if self._indicators else (len(y),)
        if y.shape != expected:
            checks.fail(checks.ShapeError, "MLPClassifier", "y", f"shape {expected}", y.shape)
        if self._indicators:
            return (y != 0).astype(np.int64)
        found, inverse = np.unique(y, return_inverse=True)
        unknown = np.setdiff1d(found, self.classes_)
        if len(unknown):
            raise ValueError(f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has "
                             f"{unknown}.")  # fmt: skip
        return np.searchsorted(self.classes_, found)[inverse.reshape(len(y))]

    # --- losses ------------------------------------------------------------------------------------------

    def _given_loss(self) -> losses.Loss | None:
        """The loss if it is not scikit-learn's."""
        return None if self.loss is None or self.loss == "log_loss" else losses.REGISTRY.get(self.loss)

    def _loss_and_activation(self) -> tuple[losses.Loss, str]:
        several = self.out_activation_ == "softmax"
        loss = self._given_loss()
        if isinstance(loss, losses.BinaryCrossEntropy if several else _OF_ONE_CLASS):
            expected = "a loss of one class of several" if several else "a loss of independent labels"
            checks.fail(ValueError, "MLPClassifier", "loss", expected, repr(loss))
        self._logits = loss is None or (isinstance(loss, _OF_LOGITS) and getattr(loss, "from_logits", True))
        if loss is None:
            loss = losses.CrossEntropy() if several else Scaled(losses.BinaryCrossEntropy(), self.n_outputs_)
        return loss, "linear" if self._logits else self.out_activation_

    def _loss_targets(self, y: np.ndarray) -> np.ndarray:
        if self.out_activation_ == "softmax" and not isinstance(self.model_.loss, losses.CrossEntropy):
            return np.eye(self.n_outputs_, dtype=self.dtype)[y]
        return y

    def _class_weights(self, y: np.ndarray, incremental: bool) -> np.ndarray | None:
        given = self.class_weight
        if given is None:
            return None
        if self._indicators:
            raise ValueError("MLPClassifier: class_weight: expected one label a row with it, got indicators")
        if isinstance(given, dict):
            places = {label: i for i, label in enumerate(self.classes_.tolist())}
            for label in given:
                checks.option("MLPClassifier", "class_weight label", label, tuple(places))
            given = {places[label]: weight for label, weight in given.items()}
        elif incremental:
            raise ValueError('MLPClassifier: class_weight: expected a dict with partial_fit, got "balanced", which '
                             "needs all rows at once: sklearn.utils.class_weight.compute_class_weight")  # fmt: skip
        return batches.class_weights(given, y, len(self.classes_), np.dtype(self.dtype))

    def _decide(self, outputs: np.ndarray) -> np.ndarray:
        """Labels from 0, or indicators."""
        if self.out_activation_ == "softmax":
            return outputs.argmax(axis=1)
        decided = (outputs > (0.0 if self._logits else 0.5)).astype(np.int64)
        return decided if self._indicators else decided[:, 0]

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
        right = self._decide(outputs) == y
        return np.average(right.reshape(len(y), -1).all(axis=1), weights=weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
