"""scikit-learn's multilayer perceptron."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier


class Sklearn:
    name = "sklearn"

    def fit(
        self, weights: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray, epochs: int, batch_size: int
    ) -> Callable[[], np.ndarray]:
        """With its own initial weights, which cannot be given."""

        def run() -> np.ndarray:
            hidden = [w.shape[1] for w in weights[:-2:2]]
            model = MLPClassifier(
                hidden, alpha=0.0, batch_size=batch_size, max_iter=epochs, n_iter_no_change=epochs + 1, random_state=0
            )
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                return model.fit(x, y).predict(x)

        return run


def competitors(threads: int) -> list[Any]:
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads, user_api="blas")
    return [Sklearn()]
