"""What happens around training: history, stopping, checkpoints, logs, and whatever a user adds."""

from __future__ import annotations

from fastnn.callbacks.base import Callback, CallbackList, History, LambdaCallback, Logs
from fastnn.callbacks.files import CSVLogger, ModelCheckpoint, TensorBoard
from fastnn.callbacks.progress import EpochLines, ProgressBar
from fastnn.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from fastnn.callbacks.stopping import Convergence, EarlyStopping

__all__ = [
    "CSVLogger", "Callback", "CallbackList", "Convergence", "EarlyStopping", "EpochLines", "History",
    "LambdaCallback", "LearningRateScheduler", "Logs", "ModelCheckpoint", "ProgressBar", "ReduceLROnPlateau",
    "TensorBoard",
]  # fmt: skip
