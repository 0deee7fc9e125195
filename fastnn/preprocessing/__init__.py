"""What happens to data before training: encodings, standardisation, splits, mini-batches. NumPy only."""

from fastnn.preprocessing.batching import batches
from fastnn.preprocessing.features import Standardizer, one_hot, polynomial_features, standardize
from fastnn.preprocessing.splits import k_fold, train_test_split, train_validation_test_split

__all__ = [
    "Standardizer", "batches", "k_fold", "one_hot", "polynomial_features", "standardize", "train_test_split",
    "train_validation_test_split",
]  # fmt: skip
