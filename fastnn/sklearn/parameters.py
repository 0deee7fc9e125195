"""The part of the docstrings that classifier and regressor share."""

from __future__ import annotations

_TEXT = """{summary}

    A network of dense layers trained by `fastnn.Sequential`, with the parameters, attributes and stopping rules of
    scikit-learn's estimator of the same name. All but the first two parameters are keyword-only.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of the hidden layers; an empty one makes a linear model.
    activation : str, function, pair of functions, or list of these
        Of the hidden layers: "identity", "logistic", "tanh", "relu", another activation of `fastnn.ops`, a function of
        ops, or a pair of functions as for `fastnn.Dense`. A list has one for each hidden layer.
    solver : {{"adam", "sgd"}}
        scikit-learn's "lbfgs" is not offered. Adam adds `epsilon` to the root of the bias-corrected second moment
        (scikit-learn: to the uncorrected one); when the learning rate changes, SGD's momentum of earlier steps
        changes with it (scikit-learn: remains).
    alpha : float
        The penalty of all weights w is ``alpha / 2 sum(w^2) / batch_size``, with sample weights divided by their mean
        too. (scikit-learn divides by each batch's own number or weight of rows: another number in a shorter last
        batch.)
    batch_size : int or "auto"
        "auto" is ``min(200, n_samples)``.
    learning_rate : {{"constant", "invscaling", "adaptive"}}
        For solver "sgd": as it is; after each epoch ``learning_rate_init / (t_ + 1)^power_t``; or divided by 5 when
        `n_iter_no_change` epochs brought no improvement, until it is 1e-6 or less.
    learning_rate_init : float
    power_t : float
    max_iter : int
        Most epochs.
    shuffle : bool
        Visit the rows in a new order in each epoch.
    random_state : int, RandomState or None
        Decides initial parameters, order, dropout and validation rows. The numbers are not scikit-learn's.
    tol : float
    verbose : bool
        Print loss and score after each epoch.
    warm_start : bool
        Let `fit` begin with the parameters of the last fit; optimizer and step count begin anew.
    momentum : float in [0, 1)
    nesterovs_momentum : bool
    early_stopping : bool
        Stop when the score on validation rows, not the training loss, has not improved by `tol` for more than
        `n_iter_no_change` epochs in a row, and keep the parameters of the best score.
    validation_fraction : float in [0, 1)
        Share of the rows that early stopping sets aside, unless it is given others.
    beta_1, beta_2 : float in [0, 1)
    epsilon : float
    n_iter_no_change : int
    dropout : float or sequence of float
        Share of each hidden layer's outputs that is set to zero in training; a sequence has one for each layer.
    optimizer : str or Optimizer, optional
        One of `fastnn.optimizers` instead of `solver`, its learning rate any schedule. A name takes
        `learning_rate_init`; the other parameters of the solvers are for these alone.
{loss}
    callbacks : sequence of Callback
        Called in training, see `fastnn.Callback`.
    dtype : {{"float32", "float64"}}
        Of parameters, rows and outputs. Rows of another dtype are converted once.
    backend : str, optional
        Backend of the kernels, by default chosen as for `fastnn.Sequential`.
    n_threads : int, optional
        Most threads in this estimator's training and predictions, see `fastnn.threads`.

    Attributes
    ----------
{classes}    coefs_, intercepts_ : list of array
        Copies of weights (units before, units) and biases (units,).
    model_ : Sequential
        The network. `partial_fit` goes on with it as it was made; other parameters take effect in the next `fit`.
    loss_ : float
        Mean loss of the last epoch with the penalty.
    best_loss_ : float or None
        Smallest loss, None with early stopping.
    loss_curve_ : list of float
        ``loss_`` of each epoch.
    validation_scores_, validation_loss_curve_ : list of float or None
        Score and loss on validation rows after each epoch.
    best_validation_score_ : float or None
    n_iter_ : int
        Epochs of the last fit.
    t_ : int
        Training rows seen.
    n_layers_, n_outputs_ : int
        Layers with input and output, and units of the last.
    out_activation_ : str
        What makes predictions of the last layer: "identity", "exp", "logistic" or "softmax".
    n_features_in_ : int
    feature_names_in_ : array of str
        Names of columns, if X had them in `fit`.

    Notes
    -----
    A training whose loss becomes infinite or NaN raises `fastnn.NonFiniteLoss`.
    """


def document(summary: str, loss: str, classes: str = "") -> str:
    """A class's docstring."""
    return _TEXT.format(summary=summary, loss=loss, classes=classes)
