"""Metrics: what tells how good predictions are, besides the loss.

Classes, by name in ``compile``, are computed within the program while it trains or evaluates. Functions, named and
defined as in scikit-learn, take arrays; of these the area under the ROC curve has no class, for it needs all
predictions at once.
"""

from fastnn.metrics.recorded import (
    F1,
    R2,
    REGISTRY,
    Accuracy,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    Precision,
    Recall,
    TopKAccuracy,
)
from fastnn.metrics.scores import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
    precision_score,
    r2_score,
    recall_score,
    roc_auc_score,
    roc_curve,
    top_k_accuracy_score,
)

__all__ = [
    "F1", "R2", "REGISTRY", "Accuracy", "MeanAbsoluteError", "MeanSquaredError", "Metric", "Precision", "Recall",
    "TopKAccuracy", "accuracy_score", "confusion_matrix", "f1_score", "mean_absolute_error", "mean_squared_error",
    "precision_score", "r2_score", "recall_score", "roc_auc_score", "roc_curve", "top_k_accuracy_score",
]  # fmt: skip
