"""MLPRegressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from fastnn import losses
from fastnn.sklearn.base import MLP
from fastnn.sklearn.network import Scaled
from fastnn.sklearn.parameters import document

_LOSS = """\
    loss : str, Loss or function, optional
        Of the last layer and targets of shape (n_samples, n_outputs), see `fastnn.losses`. None and "squared_error"
        are scikit-learn's: half the squared error, its mean over rows, summed over outputs. (With several outputs
        scikit-learn descends along this sum's gradient too, but its ``loss_`` shows the mean over outputs.) With
        "poisson" the last layer predicts the logarithm of rates, as scikit-learn's does; ``loss_`` lacks the terms
        of the deviance that the targets alone decide, and with several outputs is the mean over them."""

class MLPRegressor(RegressorMixin, MLP):
    __doc__ = document("A multi-layer perceptron that predicts one or several numbers.", _LOSS)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Self:
        """Train for one epoch over the given rows, going on from where the last call ended; see `fit`.

        With `early_stopping` there must be validation data; nothing is stopped or set back, but scores are kept.

        Returns
        -------
        self
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=True)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted values.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n_samples, n_features)

        Returns
        -------
        array of shape (n_samples,) or (n_samples, n_outputs), of the estimator's dtype
        """
        outputs = self._values(self._outputs(X))
        return outputs[:, 0] if self.n_outputs_ == 1 else outputs

    def _learn_targets(self, y: np.ndarray, classes: Any) -> None:
        self.n_outputs_ = 1 if y.ndim == 1 else y.shape[1]

    def _numbers(self, y: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(y, dtype=self.dtype)

    def _loss_and_activation(self) -> tuple[losses.Loss, str]:
        if self.loss is None or self.loss == "squared_error":
            loss: losses.Loss = Scaled(losses.MeanSquaredError(), self.n_outputs_ / 2)
        else:
            loss = losses.REGISTRY.get(self.loss)
        of_logarithms = isinstance(loss, losses.Poisson) and loss.log_input
        self.out_activation_ = "exp" if of_logarithms else "identity"
        return loss, "linear"

    def _values(self, outputs: np.ndarray) -> np.ndarray:
        """Predictions that outputs of the last layer stand for."""
        return np.exp(outputs) if self.out_activation_ == "exp" else outputs

    def _score_outputs(self, outputs: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> float:
        return r2_score(y, self._values(outputs), sample_weight=weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
