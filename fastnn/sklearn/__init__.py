"""fastnn's networks as scikit-learn estimators, with the parameters of scikit-learn's own `MLPClassifier` and
`MLPRegressor` and more.

Needs scikit-learn: ``pip install "fastnn[sklearn]"``. Importing fastnn alone does not import it.
"""

from __future__ import annotations

try:
    from sklearn.utils.validation import validate_data  # noqa: F401 - a public name since scikit-learn 1.6
except ImportError as error:
    raise ImportError(
        "fastnn.sklearn: expected scikit-learn 1.6 or later, got none or an older one: "
        'pip install "fastnn[sklearn]"'
    ) from error

from fastnn.sklearn.classifier import MLPClassifier
from fastnn.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
