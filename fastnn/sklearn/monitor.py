"""When training ends: scikit-learn's rule of `tol` and `n_iter_no_change`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.callbacks import Callback, Logs

#: With ``learning_rate="adaptive"`` training ends where it would fall further.
SMALLEST_RATE = 1e-6


class Monitor(Callback):
    """Keeps an estimator's curves, and decides when it stops.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Its fitted attributes are updated after each epoch.
    score : function of no arguments, optional
        The score on validation data.
    early_stopping : bool
        Watch the score instead of the training loss, and keep the parameters that had the best one.

    Attributes
    ----------
    best : list of array
        Parameters of the best score so far.
    converged : bool
        Whether training was stopped because it did not improve.
    """

    def __init__(self, estimator: Any, score: Callable[[], float] | None, early_stopping: bool) -> None:
        self.estimator, self.score, self.early_stopping = estimator, score, early_stopping
        self.converged = False

    def on_train_begin(self) -> None:
        self.best = self.model.get_weights() if self.early_stopping else []

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        e = self.estimator
        e.n_iter_ += 1
        e.t_ += self.params["rows"]
        e.loss_ = logs["loss"]
        e.loss_curve_.append(e.loss_)
        self._print(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if self.score is not None:
            self._look_at_score(self.score(), logs["val_loss"])
        if not self.early_stopping:
            e._no_improvement_count = e._no_improvement_count + 1 if e.loss_ > e.best_loss_ - e.tol else 0
            e.best_loss_ = min(e.best_loss_, e.loss_)
        if self._rate_is("invscaling"):
            self.model.optimizer.learning_rate = e.learning_rate_init / (e.t_ + 1) ** e.power_t
        if e._no_improvement_count > e.n_iter_no_change:
            self._no_improvement()

    def _look_at_score(self, score: float, loss: float) -> None:
        """Note the score and the loss on validation data."""
        e = self.estimator
        e.validation_scores_.append(score)
        e.validation_loss_curve_.append(loss)
        self._print(f"Validation score: {score:f}")
        best = e.best_validation_score_
        if self.early_stopping:
            e._no_improvement_count = e._no_improvement_count + 1 if score < best + e.tol else 0
        if score > best:
            e.best_validation_score_ = score
            self.best = self.model.get_weights() if self.early_stopping else []

    def _no_improvement(self) -> None:
        """Learn more slowly, or stop."""
        e, optimizer = self.estimator, self.model.optimizer
        what = "Validation score" if self.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        if self._rate_is("adaptive") and optimizer.learning_rate > SMALLEST_RATE:
            optimizer.learning_rate /= 5
            e._no_improvement_count = 0
            self._print(f"{message} Setting learning rate to {optimizer.learning_rate:f}")
        else:
            self.converged = self.model.stop_training = True
            self._print(f"{message} Stopping.")

    def _rate_is(self, kind: str) -> bool:
        """Whether the learning rate is this one of scikit-learn's, which are for its solver "sgd"."""
        e = self.estimator
        return e.learning_rate == kind and e.solver == "sgd" and e.optimizer is None

    def _print(self, line: str) -> None:
        if self.estimator.verbose:
            print(line)
