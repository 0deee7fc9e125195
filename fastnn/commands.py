"""What the ``fastnn`` command does: train, predict, info, bench. Each takes the arguments parsed by `fastnn.cli`."""

from __future__ import annotations

import csv
import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import perf_counter

import numpy as np

import fastnn as fn
import fastnn_ext
from fastnn import backends, datasets
from fastnn.checks import DataError
from fastnn.config import print_aligned
from fastnn.csv_table import parse_csv
from fastnn.datasets import Dataset
from fastnn.metrics import mean_absolute_error, mean_squared_error, r2_score
from fastnn.plots import style
from fastnn.preparation import Preparation, choose_task, encode_classes, position_split
from fastnn.preprocessing import Standardizer, train_test_split

#: Arguments of optimizers that differ from their own defaults.
OPTIMIZERS: dict[str, dict[str, float]] = {"rmsprop": {"learning_rate": 1e-3}, "sgd": {"momentum": 0.9}}


# --- train -----------------------------------------------------------------------------------------------


def train(args: Namespace) -> str | None:
    """Train on a data set, report, and save; returns "interrupted" after Ctrl-C."""
    if args.save:
        _check_writable(args.save)
    if args.patience and not args.validation_split:
        raise DataError("--patience needs --validation-split")
    with _machine(args) as machine:
        data = _training_data(args)
        y, classes = _target(data.y, args.task)
        train_rows, test_rows = _split(y, classes, args)
        inputs = Standardizer.fit(data.X[train_rows], common_std=len(data.shape) > 1)
        outputs = None if classes else Standardizer.fit(y[train_rows])
        x = inputs.transform(data.X, args.precision)
        targets = outputs.transform(y, args.precision)[:, None] if outputs else y

        model = _network(x.shape[1], classes, args)
        if not args.quiet:
            print(_describe(data, classes, args))
            print(f"{len(train_rows)} rows to train on, {len(test_rows)} to test on", flush=True)
        start = perf_counter()
        history = model.fit(
            x[train_rows],
            targets[train_rows],
            epochs=args.epochs,
            batch_size=args.batch_size,
            validation_split=args.validation_split,
            callbacks=[_LinearDecay(), *_stopping(args)],
            verbose=0 if args.quiet else 1,
        )
        seconds = perf_counter() - start
        if args.save:
            preparation = Preparation(classes, inputs, outputs, data.columns, args.header, args.missing)
            model.save(args.save, extra=preparation.to_dict())

        name, rows = ("test", test_rows) if len(test_rows) else ("training", train_rows)
        predicted = model.predict(x[rows])
        if outputs:
            known, found = y[rows], outputs.inverse_transform(predicted[:, 0])
            scores = {
                "MAE": mean_absolute_error(known, found),
                "RMSE": mean_squared_error(known, found) ** 0.5,
                "R2": r2_score(known, found),
            }
        else:
            scores = {"accuracy": float(np.mean(predicted.argmax(axis=1) == y[rows]))}
        samples = model.optimizer.iterations / history.params["batches"] * history.params["rows"]
        report = {f"{name} {score}": f"{value:.4f}" for score, value in scores.items()}
        report |= {
            "epochs": f"{len(history.epoch)} of {args.epochs}" + " (interrupted)" * history.interrupted,
            "seconds": f"{seconds:.2f}",
            "samples/s": f"{samples / seconds:,.0f}",
            **machine,
        }
        if args.save:
            report["saved"] = args.save
        print_aligned(report)
    return "interrupted" if history.interrupted else None


class _LinearDecay(fn.Callback):
    """Lowers the learning rate by the same amount at every epoch, to nearly 0 in the last: the noise of mini-batches
    fades, and the result depends less on the seed."""

    def on_train_begin(self) -> None:
        self.rate = self.model.optimizer.learning_rate

    def on_epoch_begin(self, epoch: int) -> None:
        self.model.optimizer.learning_rate = self.rate * (1 - epoch / self.params["epochs"])

    def on_train_end(self) -> None:
        self.model.optimizer.learning_rate = self.rate


def _stopping(args: Namespace) -> list[fn.Callback]:
    """The callback that ends training early, if that is asked for."""
    if args.patience is None:
        return []
    return [fn.EarlyStopping("val_loss", patience=args.patience, restore_best_weights=True)]


def _check_writable(path: str) -> None:
    """Fail before the work, not after it."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(folder, os.W_OK):
        raise DataError(f"{path}: cannot write there")


def _training_data(args: Namespace) -> Dataset:
    """The data set that the arguments name."""
    if (args.data is None) == (args.images is None):
        raise DataError("expected either DATA or --images FILE --labels FILE")
    path = args.images or args.data
    kind = "digits" if path == "digits" else datasets.file_kind(path)
    if kind == "idx" and args.labels is None:
        raise DataError(f"{path}: IDX images need --labels FILE")
    if kind != "idx" and args.labels is not None:
        raise DataError(f"{path}: not an IDX file, so --labels has no meaning")
    if kind == "csv" and args.target is None:
        table = parse_csv(datasets.read_bytes(path), path, args.header)
        raise DataError(f"{path}: a CSV file needs --target, one of its columns {', '.join(map(repr, table.header))}")
    if kind != "csv" and (args.target is not None or args.ignore or not args.header):
        raise DataError(f"{path}: --target, --ignore and --no-header are for CSV files")
    return datasets.load(
        path, args.labels, target=args.target, missing=args.missing, ignore=args.ignore, header=args.header
    )


def _target(y: np.ndarray, task: str) -> tuple[np.ndarray, list[str] | None]:
    """Class indices and names for a classification, numbers and None for a regression."""
    if (choose_task(y) if task == "auto" else task) == "regression":
        if y.dtype.kind == "U":
            raise DataError(f"a regression needs numbers, the target holds text such as {str(y[0])!r}")
        return y.astype(np.float64), None
    indices, classes = encode_classes(y)
    if len(classes) < 2:
        raise DataError(f"a classification needs two classes, every target is {classes[0]!r}")
    return indices, classes


def _split(y: np.ndarray, classes: list[str] | None, args: Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train on (in random order, since the last ones may be for validation) and to test on."""
    if args.train_rows is None and args.test_rows is None:
        fraction = 0.2 if args.test_split is None else args.test_split
        rows = np.arange(len(y))
        train_rows, test_rows = train_test_split(
            rows, test_size=float(fraction), seed=args.seed, stratify=None if classes is None else y
        )
        return train_rows, test_rows
    if args.test_split is not None:
        raise DataError("--test-split excludes --train-rows and --test-rows")
    train_rows, test_rows = position_split(len(y), args.train_rows, args.test_rows)
    return np.random.default_rng(args.seed).permutation(train_rows), test_rows


def _network(features: int, classes: list[str] | None, args: Namespace) -> fn.Sequential:
    """The compiled network that the arguments describe."""
    layers: list[fn.layers.Layer] = []
    penalty = fn.L2(args.l2) if args.l2 else None
    for size in args.layers:
        layers.append(fn.Dense(size, activation=args.activation, kernel_regularizer=penalty))
        if args.dropout:
            layers.append(fn.Dropout(args.dropout))
    layers.append(fn.Dense(len(classes) if classes else 1, kernel_regularizer=penalty))
    model = fn.Sequential(layers, dtype=args.precision, backend=args.backend, seed=args.seed)
    rate = {"learning_rate": args.learning_rate} if args.learning_rate else {}
    optimizer = {"name": args.optimizer, **OPTIMIZERS.get(args.optimizer, {}), **rate}
    if classes:
        model.compile(optimizer=optimizer, loss="cross_entropy", metrics=["accuracy"])
    else:
        model.compile(optimizer=optimizer, loss="mean_squared_error")
    return model


def _describe(data: Dataset, classes: list[str] | None, args: Namespace) -> str:
    """One line on the data and the task."""
    name = os.path.basename(args.images or args.data)
    line = f"{name}: {len(data.X)} rows, {data.X.shape[1]} features, "
    if classes:
        return line + f"classification, {len(classes)} classes"
    hint = "; --task classification makes each value a class" if args.task == "auto" else ""
    return line + f"regression of {data.y.min():g} to {data.y.max():g}{hint}"


# --- predict ---------------------------------------------------------------------------------------------


def predict(args: Namespace) -> None:
    """Write the predictions for a data set as CSV: one line a row, below a header."""
    if (args.data is None) == (args.images is None):
        raise DataError("expected either DATA or --images FILE")
    with _machine(args):
        model = fn.load(args.model)
        if "inputs" not in (model.extra or {}):
            raise DataError(f"{args.model}: not a model that `fastnn train --save` wrote")
        preparation = Preparation.from_dict(model.extra)
        classes = preparation.classes
        if args.probabilities and classes is None:
            raise DataError(f"{args.model}: a regression has no --probabilities")
        x = preparation.inputs.transform(preparation.read(args.images or args.data), model.dtype)
        outputs = model.predict(x)
        probabilities = fn.ops.softmax(outputs) if args.probabilities else None
    header = ["prediction"]
    if classes is None:
        lines = [[f"{value:.9g}"] for value in preparation.outputs.inverse_transform(outputs[:, 0])]
    else:
        lines = [[classes[k]] for k in outputs.argmax(axis=1)]
        if probabilities is not None:
            header += [f"probability_{name}" for name in classes]
            lines = [[*a, *map("{:.6g}".format, p)] for a, p in zip(lines, probabilities, strict=True)]
    with open(args.output, "w", newline="", encoding="utf-8") if args.output else nullcontext(sys.stdout) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


# --- info and bench --------------------------------------------------------------------------------------


def info(args: Namespace) -> None:
    """Show versions, the CPU, threads, the backend, and which are available or what would provide them."""
    fn.show_config()


def bench(args: Namespace) -> None:
    """Time kernels, training steps and inference, beside other libraries where asked for."""
    from fastnn.bench.command import bench

    for path in filter(None, (args.json, args.chart)):
        _check_writable(path)
    if args.chart:
        style.pyplot()
    with _machine(args) as machine:
        bench(args, machine, fn.get_num_threads())


# --- shared ----------------------------------------------------------------------------------------------


@contextmanager
def _machine(args: Namespace) -> Iterator[dict[str, object]]:
    """Computes on the backend and threads that the arguments ask for; yields what the reports say of them."""
    name = args.backend or backends.requested()[0] or backends.DEFAULT
    reason = backends.missing(name)
    if reason is not None:
        raise DataError(f"backend {name!r} is not available: {reason}")
    if args.threads:
        fn.set_num_threads(args.threads)
    with fn.use_backend(name):
        yield {"backend": name, "ISA": fastnn_ext.ISA, "threads": fn.get_num_threads()}
