"""The scikit-learn estimators: scikit-learn's own checks, and its own multi-layer perceptrons beside ours."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")

import joblib
from scipy import sparse
from sklearn import neural_network as theirs
from sklearn.base import clone
from sklearn.datasets import load_digits, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn as fn
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, LABELS = load_digits(return_X_y=True)
X = (X[:600] / 16).astype(np.float32)
LABELS = LABELS[:600]
TRAIN, TEST = slice(0, 400), slice(400, 600)
BINARY = (LABELS % 2).astype(int)
INDICATORS = np.stack([LABELS % 2, LABELS > 4, LABELS == 3], axis=1).astype(int)
VALUES = make_regression(600, 64, n_targets=2, random_state=0, noise=1.0)[1] / 100
SMALL = {"hidden_layer_sizes": (16,), "max_iter": 5, "random_state": 0}
BOTH = pytest.mark.parametrize("kind, y", [(MLPClassifier, LABELS), (MLPRegressor, VALUES)], ids=["class", "value"])


def outputs(estimator):
    """What an estimator says of all rows, as precisely as it can."""
    return estimator.predict_proba(X) if hasattr(estimator, "predict_proba") else estimator.predict(X)


# --- scikit-learn's own checks -----------------------------------------------------------------------------


def expected_failures(estimator):
    """In float64 none; float32 sums of other orders differ by more than scikit-learn's relative 1e-7."""
    if estimator.dtype == "float64":
        return {}
    reason = "float32: repeated rows and weighted rows are summed in another order; the check compares to 1e-7"
    failing = {f"check_sample_weight_equivalence_on_{kind}_data": reason for kind in ("dense", "sparse")}
    if isinstance(estimator, MLPRegressor):
        failing["check_regressor_multioutput"] = "predictions are float32 as asked for; the check demands float64"
    return failing


@parametrize_with_checks(
    [kind(max_iter=100, dtype=dtype) for kind in (MLPClassifier, MLPRegressor) for dtype in ("float32", "float64")],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_are_scikit_learns(name):
    """Names and defaults are the same; what only L-BFGS uses is missing, and `loss` names the same default."""
    own = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[name]().get_params()
    peers = getattr(theirs, name)().get_params()
    del peers["max_fun"]
    peers.pop("loss", None)
    assert peers == {key: own[key] for key in peers}


# --- the same training as scikit-learn's -------------------------------------------------------------------


def twins(kind, **params):
    """Ours and scikit-learn's estimator in float64 with the same parameters, after one epoch."""
    params = {"hidden_layer_sizes": (8,), "activation": "tanh", "shuffle": False, "random_state": 0, **params}
    return kind(dtype="float64", **params), getattr(theirs, kind.__name__)(**params)


def give_weights(peer, own):
    """Let scikit-learn's estimator go on from our parameters."""
    peer.coefs_, peer.intercepts_ = own.coefs_, own.intercepts_
    if hasattr(peer, "_optimizer"):
        del peer._optimizer  # it refers to the arrays before


@pytest.mark.parametrize(
    "kind, y",
    [
        (MLPClassifier, LABELS), (MLPClassifier, BINARY), (MLPClassifier, INDICATORS),
        (MLPRegressor, VALUES[:, 0]), (MLPRegressor, VALUES),
    ],
    ids=["multiclass", "binary", "indicators", "one value", "values"],
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_same_steps_as_scikit_learn(kind, y, weighted):
    """From the same parameters, an epoch of full-batch gradient descent with a penalty leads to the same ones."""
    weight = np.random.default_rng(0).uniform(0.1, 3.0, 300) if weighted else None
    data = (X[:300].astype(np.float64), y[:300], weight)
    own, peer = twins(kind, solver="sgd", momentum=0.0, learning_rate_init=0.3, alpha=2.0, batch_size=300, max_iter=1)
    own.fit(*data)
    peer.fit(*data)
    give_weights(peer, own)
    for estimator in (own, peer):
        estimator.set_params(warm_start=True, max_iter=3).fit(*data)
    assert own.n_iter_ == peer.n_iter_ == 3
    for ours, their in zip(own.coefs_ + own.intercepts_, peer.coefs_ + peer.intercepts_, strict=True):
        np.testing.assert_allclose(ours, their, rtol=1e-9, atol=1e-12)
    if y.ndim == 1 or kind is MLPClassifier:  # theirs shows the mean over outputs of several values
        np.testing.assert_allclose(own.loss_, peer.loss_, rtol=1e-9)
    np.testing.assert_allclose(own.predict(X), peer.predict(X), rtol=1e-7)
    assert own.score(X, y) == pytest.approx(peer.score(X, y), rel=1e-9)
    if kind is MLPClassifier:
        np.testing.assert_allclose(own.predict_proba(X), peer.predict_proba(X), rtol=1e-7)
        np.testing.assert_allclose(own.predict_log_proba(X), peer.predict_log_proba(X), rtol=1e-7)


def test_as_accurate_as_scikit_learn():
    """Test accuracies differ by less than three standard errors of the difference of two shares near 0.9."""
    params = {"max_iter": 20, "random_state": 0, "learning_rate_init": 0.01}
    own, peer = (kind(**params).fit(X[TRAIN], LABELS[TRAIN]) for kind in (MLPClassifier, theirs.MLPClassifier))
    p = peer.score(X[TEST], LABELS[TEST])
    assert p > 0.8
    assert abs(own.score(X[TEST], LABELS[TEST]) - p) < 3 * np.sqrt(2 * p * (1 - p) / 200)


@pytest.mark.parametrize("activation, factor", [("relu", 6), ("logistic", 2), ("tanh", 6)])
def test_initial_parameters(activation, factor):
    """Uniform within scikit-learn's bounds, weights and biases."""
    tiny = {"learning_rate_init": 1e-12, "max_iter": 1}
    fitted = MLPClassifier((50, 30), activation, **tiny).fit(X, LABELS)
    for w, b in zip(fitted.coefs_, fitted.intercepts_, strict=True):
        bound = np.sqrt(factor / sum(w.shape))
        largest = max(abs(w).max(), abs(b).max())
        assert 0.97 * bound < largest <= bound * (1 + 1e-6)
        assert abs(b).max() > 0


@pytest.mark.parametrize("rate, expected", [("invscaling", 0.5 / 601**0.5), ("constant", 0.5)])
def test_learning_rates(rate, expected):
    fitted = MLPClassifier(solver="sgd", learning_rate=rate, learning_rate_init=0.5, max_iter=1).fit(X, LABELS)
    assert fitted.model_.optimizer.learning_rate == pytest.approx(expected)


def test_adaptive_learning_rate():
    """Epochs that bring no improvement (here none does by 10) divide it by 5, until it is tiny."""
    adaptive = MLPClassifier(
        solver="sgd", learning_rate="adaptive", learning_rate_init=1e-4, tol=10.0, n_iter_no_change=1, max_iter=50
    ).fit(X, LABELS)
    assert adaptive.model_.optimizer.learning_rate == pytest.approx(1e-4 / 5**3)
    assert adaptive.n_iter_ == 9  # every second epoch, 1e-4 to 8e-7, the first of them better than infinity
    assert adaptive.n_iter_ < adaptive.max_iter


@pytest.mark.parametrize("n_iter_no_change", [1, 4])
def test_stops_where_scikit_learn_stops(n_iter_no_change):
    params = {"tol": 10.0, "n_iter_no_change": n_iter_no_change, "hidden_layer_sizes": (8,), "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        own, peer = (kind(**params).fit(X, LABELS) for kind in (MLPClassifier, theirs.MLPClassifier))
    assert own.n_iter_ == peer.n_iter_
    assert len(own.loss_curve_) == own.n_iter_
    assert own.best_loss_ == min(own.loss_curve_)


def test_convergence_warning():
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(2\) reached"):
        MLPClassifier((4,), max_iter=2).fit(X, LABELS)


def test_verbose_prints(capsys):
    MLPClassifier((4,), max_iter=2, verbose=True, early_stopping=True, random_state=0).fit(X, LABELS)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" = ")[0].split(": ")[0] for line in lines] == [
        "Iteration 1, loss", "Validation score", "Iteration 2, loss", "Validation score",
    ]  # fmt: skip


# --- early stopping and validation data --------------------------------------------------------------------


@BOTH
def test_early_stopping_keeps_the_best(kind, y):
    fitted = kind((16,), early_stopping=True, n_iter_no_change=2, tol=0.05, random_state=0, batch_size=32).fit(X, y)
    assert fitted.n_iter_ < 200
    assert fitted.best_loss_ is None
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    assert len(fitted.validation_scores_) == len(fitted.validation_loss_curve_) == fitted.n_iter_
    assert fitted.t_ == 540 * fitted.n_iter_


@BOTH
@pytest.mark.parametrize("early_stopping", [False, True])
def test_explicit_validation_data(kind, y, early_stopping):
    """All rows are trained on; scores and losses are those of the given rows."""
    fitted = kind(**SMALL, early_stopping=early_stopping, alpha=0.0)
    fitted.fit(X[TRAIN], y[TRAIN], validation_data=(X[TEST], y[TEST]))
    assert fitted.t_ == 400 * fitted.n_iter_
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    at = -1 if not early_stopping else int(np.argmax(fitted.validation_scores_))
    assert fitted.score(X[TEST], y[TEST]) == pytest.approx(fitted.validation_scores_[at], abs=1e-6)
    if kind is MLPClassifier:
        expected = -fitted.predict_log_proba(X[TEST])[np.arange(200), y[TEST]].mean(dtype=np.float64)
    else:
        expected = ((fitted.predict(X[TEST]) - y[TEST]) ** 2).sum(axis=1).mean() / 2
    assert fitted.validation_loss_curve_[at] == pytest.approx(expected, rel=1e-5)


def test_validation_data_with_weights_and_labels():
    weight = np.arange(200) % 3
    fitted = MLPClassifier(**SMALL).fit(
        X[TRAIN], LABELS[TRAIN].astype(str), validation_data=(X[TEST], LABELS[TEST].astype(str), weight)
    )
    expected = fitted.score(X[TEST], LABELS[TEST].astype(str), weight)
    assert fitted.validation_scores_[-1] == pytest.approx(expected)


def test_partial_fit_with_validation_data():
    """Scores are kept from call to call; with early stopping they are needed."""
    fitted = MLPClassifier(**SMALL, early_stopping=True)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True without validation_data"):
        fitted.partial_fit(X, LABELS, classes=range(10))
    for _ in range(3):
        fitted.partial_fit(X[TRAIN], LABELS[TRAIN], classes=range(10), validation_data=(X[TEST], LABELS[TEST]))
    assert len(fitted.validation_scores_) == len(fitted.validation_loss_curve_) == 3
    assert fitted.validation_scores_[-1] == fitted.score(X[TEST], LABELS[TEST])


def test_warm_start_with_validation_data():
    fitted = MLPClassifier(**SMALL, early_stopping=True, warm_start=True)
    for _ in range(2):
        fitted.fit(X[TRAIN], LABELS[TRAIN], validation_data=(X[TEST], LABELS[TEST]))
    assert len(fitted.validation_scores_) == 10
    assert fitted.score(X[TEST], LABELS[TEST]) == fitted.best_validation_score_ == max(fitted.validation_scores_)


@pytest.mark.parametrize("given", [X[TEST], (X[TEST],), "rows"], ids=["array", "one", "string"])
def test_bad_validation_data(given):
    with pytest.raises(ValueError, match=r"validation_data: expected \(X, y\) or \(X, y, sample_weight\)"):
        MLPClassifier(**SMALL).fit(X, LABELS, validation_data=given)


# --- going on ----------------------------------------------------------------------------------------------


@BOTH
def test_partial_fit_is_fit_in_pieces(kind, y):
    """An epoch over batches in order is one call for each of them, bit for bit."""
    params = {**SMALL, "batch_size": 100, "shuffle": False, "max_iter": 3, "dropout": 0.2}
    whole = kind(**params).fit(X, y)
    pieces = kind(**params)
    first = {"classes": range(10)} if kind is MLPClassifier else {}
    for _ in range(3):
        for start in range(0, 600, 100):
            rows = slice(start, start + 100)
            pieces.partial_fit(X[rows], y[rows], **first)
    np.testing.assert_array_equal(outputs(pieces), outputs(whole))
    assert pieces.t_ == whole.t_ == 1800


@BOTH
@pytest.mark.parametrize("way", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e)), "joblib"])
def test_copies_go_on_bit_for_bit(kind, y, way, tmp_path):
    fitted = kind(**SMALL, dropout=0.1, alpha=0.1).partial_fit(
        X, y, **({"classes": range(10)} if kind is MLPClassifier else {})
    )
    if way == "joblib":
        joblib.dump(fitted, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
    else:
        again = way(fitted)
    np.testing.assert_array_equal(outputs(again), outputs(fitted))
    for _ in range(2):
        fitted.partial_fit(X[:250], y[:250])
        again.partial_fit(X[:250], y[:250])
    np.testing.assert_array_equal(outputs(again), outputs(fitted))
    assert again.loss_curve_ == fitted.loss_curve_


def test_warm_start_goes_on():
    fitted = MLPClassifier(**SMALL, warm_start=True).fit(X, LABELS)
    losses = list(fitted.loss_curve_)
    fitted.set_params(learning_rate_init=1e-12, dropout=0.0).fit(X, LABELS)
    assert fitted.n_iter_ == 5 and fitted.t_ == 6000
    assert fitted.loss_curve_[:5] == losses
    assert fitted.loss_curve_[5] < losses[-1]
    cold = clone(fitted).set_params(warm_start=False).fit(X, LABELS)
    assert cold.loss_curve_[0] > losses[-1]


def test_same_seed_same_bits():
    one, two, other = (MLPClassifier(**{**SMALL, "random_state": s}).fit(X, LABELS) for s in (0, 0, 1))
    np.testing.assert_array_equal(outputs(one), outputs(two))
    assert (outputs(one) != outputs(other)).any()


# --- data --------------------------------------------------------------------------------------------------


def test_string_labels():
    names = np.array(["even", "odd"])[BINARY]
    fitted = MLPClassifier(**SMALL).fit(X, names)
    assert fitted.classes_.tolist() == ["even", "odd"]
    np.testing.assert_array_equal(fitted.predict(X), fitted.classes_[fitted.predict_proba(X).argmax(axis=1)])
    np.testing.assert_array_equal(outputs(fitted), outputs(MLPClassifier(**SMALL).fit(X, BINARY)))
    with pytest.raises(ValueError, match="`y` has classes not in `self"):
        fitted.partial_fit(X[:2], ["even", "neither"])


@BOTH
@pytest.mark.parametrize("layout", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, sparse.csc_array])
def test_sparse_rows(kind, y, layout):
    dense, thin = kind(**SMALL).fit(X, y), kind(**SMALL).fit(layout(X), y)
    np.testing.assert_array_equal(outputs(thin), outputs(dense))
    np.testing.assert_array_equal(thin.predict(layout(X)), dense.predict(X))


def test_column_names():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    fitted, plain = (MLPClassifier(**SMALL).fit(x, LABELS) for x in (frame, X))
    assert fitted.feature_names_in_.tolist() == list(frame.columns)
    np.testing.assert_array_equal(fitted.predict_proba(frame), plain.predict_proba(X))
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(frame.rename(columns={"pixel 0": "first"}))
    with pytest.raises(ValueError, match="63 features"):
        plain.predict(X[:, 1:])


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype(kind, y, dtype):
    """Parameters and predictions have the estimator's dtype, whatever the data's is."""
    fitted = kind(**SMALL, dtype=dtype).fit(X.astype(np.float64), y)
    assert {a.dtype.name for a in fitted.coefs_ + fitted.intercepts_} == {dtype}
    assert outputs(fitted).dtype == dtype


def test_float32_rows_are_not_copied(monkeypatch):
    """The array that reaches the training loop is the user's own."""
    seen = []
    monkeypatch.setattr(fn.Sequential, "fit", lambda self, X, y, **options: seen.append(X) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        MLPClassifier().fit(X, LABELS)
    assert np.shares_memory(seen[0], X)


def test_not_fitted():
    for method in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(MLPClassifier(), method)(X)
    assert not hasattr(MLPClassifier(), "coefs_")


# --- within scikit-learn -----------------------------------------------------------------------------------


@BOTH
def test_pipeline_and_grid_search(kind, y):
    """In two processes; starting them takes five of the test's seconds, once."""
    pipeline = make_pipeline(StandardScaler(), kind(**SMALL))
    name = kind.__name__.lower()
    search = GridSearchCV(pipeline, {f"{name}__hidden_layer_sizes": [(4,), (8, 8)]}, n_jobs=2, cv=2)
    search.fit(X, y)
    assert len(search.best_estimator_[-1].coefs_) == search.best_estimator_[-1].n_layers_ - 1
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    serial = cross_val_score(search.best_estimator_, X, y, cv=2).mean()
    assert serial == pytest.approx(search.best_score_, rel=1e-6)


def test_clone_and_parameters():
    optimizer = fn.Adam(fn_rate, weight_decay=0.1)
    estimator = MLPClassifier(**SMALL, optimizer=optimizer, activation=["relu"], dropout=[0.1])
    copied = clone(estimator)
    assert copied.get_params()["activation"] == ["relu"]
    assert copied.optimizer is not optimizer and copied.optimizer.weight_decay == 0.1
    copied.set_params(alpha=0.5, class_weight="balanced")
    assert copied.alpha == 0.5 and estimator.alpha == 1e-4
    estimator.fit(X, LABELS)
    assert optimizer.iterations == 0
    assert estimator.model_.optimizer.iterations == 15


def fn_rate(step):
    """A schedule: 0.01 in the first step, half of it from the tenth on."""
    return 0.01 if step < 9 else 0.005


# --- what scikit-learn's have not --------------------------------------------------------------------------


def test_optimizers():
    """A name takes `learning_rate_init`, an object goes its own way, with a schedule too."""
    named = MLPClassifier(**SMALL, optimizer="rmsprop", learning_rate_init=0.003).fit(X, LABELS)
    assert isinstance(named.model_.optimizer, fn.RMSprop) and named.model_.optimizer.learning_rate == 0.003
    scheduled = MLPClassifier(**SMALL, optimizer=fn.SGD(fn_rate, momentum=0.9)).fit(X, LABELS)
    assert scheduled.model_.optimizer._rate.value == 0.005
    same = MLPClassifier(**SMALL, optimizer=fn.Adam(1e-3)).fit(X, LABELS)
    np.testing.assert_array_equal(outputs(same), outputs(MLPClassifier(**SMALL).fit(X, LABELS)))


def test_activations():
    """One for each layer, by scikit-learn's or fastnn's name or as a function of ops."""
    one = MLPRegressor((8, 8), ["logistic", lambda x: fn.maximum(x, 0.0)], max_iter=3, random_state=0).fit(X, VALUES)
    two = MLPRegressor((8, 8), ["sigmoid", "relu"], max_iter=3, random_state=0).fit(X, VALUES)
    np.testing.assert_allclose(outputs(one), outputs(two), rtol=1e-4, atol=1e-6)
    assert MLPRegressor((8, 8), "gelu", max_iter=1).fit(X, VALUES).model_.layers[1].activation == "gelu"
    with pytest.raises(ValueError, match="activation: expected one for each of the 2 hidden layers, got 1"):
        MLPRegressor((8, 8), ["relu"]).fit(X, VALUES)
    with pytest.raises(ValueError, match="activation: expected one of"):
        MLPRegressor((8,), "rely").fit(X, VALUES)


def test_dropout():
    fitted = MLPClassifier((8, 8), dropout=(0.5, 0.0), max_iter=2).fit(X, LABELS)
    assert [type(layer).__name__ for layer in fitted.model_.layers] == ["Dense", "Dropout", "Dense", "Dense"]
    np.testing.assert_array_equal(outputs(fitted), outputs(fitted))
    with pytest.raises(ValueError, match="dropout: expected one for each"):
        MLPClassifier((8, 8), dropout=[0.5]).fit(X, LABELS)


@pytest.mark.parametrize("y", [LABELS, BINARY, INDICATORS], ids=["multiclass", "binary", "indicators"])
def test_losses_of_probabilities(y):
    """Other losses than cross-entropy see probabilities and indicators: here the Brier score."""
    fitted = MLPClassifier((16,), loss="mean_squared_error", alpha=0.0, random_state=0, learning_rate_init=0.01)
    fitted.set_params(max_iter=40).fit(X, y, validation_data=(X, y))
    p = fitted.predict_proba(X)
    truth = y if y.ndim == 2 else np.eye(len(fitted.classes_))[y]
    assert fitted.validation_loss_curve_[-1] == pytest.approx(((p - truth) ** 2).mean(), rel=1e-5)
    np.testing.assert_array_equal(p > 0.5 if y.ndim == 2 else p.argmax(axis=1), fitted.predict(X))
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), p, rtol=1e-5, atol=1e-7)
    assert fitted.score(X, y) > 0.6


def test_cross_entropy_of_two_classes():
    """With label smoothing, two outputs; confidence falls."""
    sharp = MLPClassifier((16,), random_state=0, max_iter=60).fit(X, BINARY)
    smooth = MLPClassifier(
        (16,), random_state=0, max_iter=60, loss=fn.losses.CrossEntropy(label_smoothing=0.3)
    ).fit(X, BINARY)
    assert smooth.n_outputs_ == 2 and smooth.out_activation_ == "softmax"
    assert smooth.score(X, BINARY) > 0.9
    assert outputs(smooth).max(axis=1).mean() < outputs(sharp).max(axis=1).mean()


@pytest.mark.parametrize(
    "y, loss",
    [
        (LABELS, fn.losses.CrossEntropy(from_logits=False)), (LABELS, fn.losses.KLDivergence()),
        (BINARY, fn.losses.KLDivergence(from_logits=False)),
    ],
    ids=["from probabilities", "divergence", "divergence from probabilities"],
)  # fmt: skip
def test_losses_that_are_cross_entropy(y, loss):
    """They train the network that cross-entropy from logits trains."""
    same = MLPClassifier(**SMALL, dtype="float64", loss=loss).fit(X, y)
    plain = MLPClassifier(**SMALL, dtype="float64", loss="cross_entropy").fit(X, y)
    np.testing.assert_allclose(outputs(same), outputs(plain), rtol=1e-6)
    assert same.loss_ == pytest.approx(plain.loss_, rel=1e-9)


@pytest.mark.parametrize("y", [LABELS, BINARY, INDICATORS], ids=["multiclass", "binary", "indicators"])
def test_hinge(y):
    """It sees scores, whose signs decide; of several classes the largest."""
    params = {"learning_rate_init": 0.01, "batch_size": 32, "max_iter": 40, "random_state": 0}
    fitted = MLPClassifier((16,), loss="hinge", **params).fit(X, y)
    assert fitted.score(X, y) > 0.8
    assert fitted.model_.predict(X).min() < -0.5


def test_loss_by_function():
    """It sees probabilities and indicators: the Brier score again."""
    brier = MLPClassifier(**SMALL, loss=lambda p, t: fn.mean((p - t) ** 2.0)).fit(X, LABELS)
    named = MLPClassifier(**SMALL, loss="mean_squared_error").fit(X, LABELS)
    np.testing.assert_allclose(outputs(brier), outputs(named), rtol=1e-4)


def test_poisson_regression():
    """Without hidden layers it is scikit-learn's generalised linear model; predictions are rates."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (500, 2))
    counts = rng.poisson(np.exp(1 + x[:, 0]))
    fitted = MLPRegressor(
        (), loss="poisson", solver="sgd", learning_rate_init=0.2, batch_size=500, alpha=0.0, max_iter=500, tol=0.0,
        n_iter_no_change=500, random_state=0, dtype="float64",
    ).fit(x, counts)  # fmt: skip
    expected = PoissonRegressor(alpha=0, tol=1e-8).fit(x, counts)
    assert fitted.out_activation_ == "exp"
    np.testing.assert_allclose(fitted.coefs_[0][:, 0], expected.coef_, rtol=1e-4)
    np.testing.assert_allclose(fitted.predict(x), expected.predict(x), rtol=1e-4)


def test_losses_that_do_not_fit():
    with pytest.raises(ValueError, match="loss: expected a loss of one class of several, got BinaryCrossEntropy"):
        MLPClassifier(loss="binary_cross_entropy").fit(X, LABELS)
    with pytest.raises(ValueError, match="loss: expected a loss of independent labels, got CrossEntropy"):
        MLPClassifier(loss="cross_entropy").fit(X, INDICATORS)


def test_regression_losses():
    """An outlier moves the mean absolute error's prediction less than the squared error's."""
    y = VALUES[:, 0].copy()
    y[0] = 1e3
    fits = [MLPRegressor((8,), loss=name, random_state=0, max_iter=20).fit(X, y) for name in ("squared_error", "mae")]
    errors = [np.median(abs(f.predict(X[1:]) - y[1:])) for f in fits]
    assert errors[1] < errors[0]


def test_class_weights():
    """They are sample weights, also with labels that are words, and "balanced" ones scikit-learn's."""
    names = np.array(["rare", "usual"])[(np.arange(600) % 10 > 0).astype(int)]
    weighted = MLPClassifier(**SMALL, class_weight={"rare": 4.0}).fit(X, names)
    by_row = MLPClassifier(**SMALL).fit(X, names, np.where(names == "rare", 4.0, 1.0))
    np.testing.assert_array_equal(outputs(weighted), outputs(by_row))
    balanced = MLPClassifier(**SMALL, class_weight="balanced").fit(X, names)
    by_row = MLPClassifier(**SMALL).fit(X, names, np.where(names == "rare", 600 / (2 * 60), 600 / (2 * 540)))
    np.testing.assert_array_equal(outputs(balanced), outputs(by_row))
    held = MLPClassifier(**SMALL, class_weight="balanced").fit(X, names, validation_data=(X, names))
    assert held.validation_scores_[-1] == held.score(X, names)
    with pytest.raises(ValueError, match="class_weight label: expected one of 'rare', 'usual', got 'seldom'"):
        MLPClassifier(class_weight={"seldom": 2.0}).fit(X, names)
    with pytest.raises(ValueError, match="expected a dict with partial_fit"):
        MLPClassifier(class_weight="balanced").partial_fit(X, names, classes=["rare", "usual"])
    with pytest.raises(ValueError, match="expected one label a row"):
        MLPClassifier(class_weight={0: 2.0}).fit(X, INDICATORS)


@BOTH
def test_sample_weights_scale(kind, y):
    """Only proportions matter, without a penalty; the penalty's share falls as they grow."""
    weight = np.random.default_rng(0).integers(0, 4, 600)
    one = kind(**SMALL, alpha=0.0).fit(X, y, weight)
    four = kind(**SMALL, alpha=0.0).fit(X, y, 4 * weight)
    np.testing.assert_array_equal(outputs(one), outputs(four))
    light, heavy = (kind(**SMALL, alpha=50.0).fit(X, y, f * weight) for f in (1, 100))
    assert np.linalg.norm(light.coefs_[0]) < np.linalg.norm(heavy.coefs_[0])


def test_callbacks_and_threads():
    class Watch(fn.Callback):
        def on_train_begin(self):
            self.threads = fn.get_num_threads()
            self.losses = []

        def on_epoch_end(self, epoch, logs):
            self.losses.append(logs["loss"])

    watch = Watch()
    fitted = MLPClassifier(**SMALL, callbacks=[watch], n_threads=1).fit(X, LABELS)
    assert watch.losses == fitted.loss_curve_
    assert watch.threads == 1


def test_backend():
    reference = MLPClassifier(**SMALL, backend="reference").fit(X, LABELS)
    assert reference.model_.backend.name == "reference"
    np.testing.assert_allclose(outputs(reference), outputs(MLPClassifier(**SMALL).fit(X, LABELS)), atol=1e-4)


def test_linear_model():
    """Without hidden layers, full-batch descent comes close to the least-squares solution."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    y = x @ [1.0, -2.0, 0.5] + 3.0
    fitted = MLPRegressor((), solver="sgd", learning_rate_init=0.1, max_iter=300, alpha=0.0, tol=0.0, dtype="float64")
    fitted.fit(x, y)
    np.testing.assert_allclose(fitted.coefs_[0][:, 0], [1.0, -2.0, 0.5], atol=1e-6)
    assert r2_score(y, fitted.predict(x)) > 1 - 1e-12


def test_interrupted():
    class Stop(fn.Callback):
        def on_epoch_end(self, epoch, logs):
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Training interrupted by user"):
        fitted = MLPClassifier(**SMALL, callbacks=[Stop()]).fit(X, LABELS)
    assert fitted.n_iter_ == 1 and fitted.predict(X).shape == (600,)


# --- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params, message",
    [
        ({"solver": "lbfgs"}, "solver: expected 'adam' or 'sgd', as fastnn trains in batches, got 'lbfgs'"),
        ({"solver": "adamax"}, "solver: expected one of 'adam', 'sgd'"),
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes: expected an integer of at least 1, got 0"),
        ({"alpha": -1.0}, "alpha: expected a number in"),
        ({"batch_size": 0}, "batch_size: expected an integer of at least 1"),
        ({"max_iter": 0}, "max_iter: expected an integer of at least 1"),
        ({"learning_rate": "falling"}, "learning_rate: expected one of"),
        ({"learning_rate_init": 0.0}, "learning_rate_init: expected a number in"),
        ({"validation_fraction": 1.0}, "validation_fraction: expected a number in"),
        ({"n_iter_no_change": 0}, "n_iter_no_change: expected a number in"),
        ({"dtype": "int32"}, "dtype: expected one of 'float32', 'float64'"),
        ({"optimizer": "adamant"}, "optimizer: expected one of"),
        ({"loss": "huge"}, "loss: expected one of"),
    ],
    ids=lambda p: next(iter(p)) if isinstance(p, dict) else "",
)
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_bad_parameters(kind, params, message):
    with pytest.raises(ValueError, match=message):
        kind(**params).fit(X, BINARY)


@pytest.mark.parametrize("y, message", [(np.zeros(600), "two classes"), (X[:, :1] + 0.5, "Unknown label type")])
def test_bad_targets(y, message):
    with pytest.raises(ValueError, match=message), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MLPClassifier().fit(X, y + X[:, 1:2] if y.ndim == 2 else y)


def test_batch_size_is_clipped():
    with pytest.warns(UserWarning, match="larger than sample size"):
        fitted = MLPClassifier((4,), batch_size=1000, max_iter=2).fit(X, LABELS)
    assert fitted.model_.optimizer.iterations == 2


def test_scikit_learn_is_imported_when_used():
    code = "import fastnn, sys; fastnn.Sequential; assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_scikit_learn():
    """The error names the extra."""
    code = "import sys; sys.modules['sklearn'] = None\nimport fastnn.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert 'pip install "fastnn[sklearn]"' in done.stderr.splitlines()[-1]
