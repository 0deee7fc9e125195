"""The command: ``fastnn train``, ``fastnn predict``, ``fastnn info``, ``fastnn bench``."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastnn import __version__
from fastnn.table import ACTIVATIONS, DTYPES

BACKENDS = ("cython", "numba", "cuda", "reference")
OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "nadam", "radam", "rmsprop", "sgd")
BENCH_GROUPS = (
    "matmul", "dense", "activations", "softmax", "optimizers", "training", "inference", "fit", "scaling",
)  # fmt: skip
DEVICE_GROUPS = ("tensor_cores",)  # besides these, with --backend cuda
PEERS = ("numpy", "torch", "jax", "sklearn", "onnxruntime", "cupy")
#: Exit status after Ctrl-C: 128 + SIGINT, as shells have it.
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; an error of use is one line on stderr and status 2."""
    args = build_parser().parse_args(argv)
    try:
        from fastnn import commands

        status = INTERRUPTED if getattr(commands, args.command)(args) == "interrupted" else 0
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(f"fastnn {args.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `fastnn predict ... | head`: nobody reads on, and the flush at exit must not complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError as error:  # NumPy says how much it asked for, Python nothing
        message = str(error) or "out of memory"
    except (ValueError, TypeError, NotImplementedError, ArithmeticError, ImportError) as error:
        message = str(error)
    print(f"fastnn {args.command}: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


# --- arguments -------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _number(kind: type, low: float, high: float = math.inf, *, above: bool = False) -> Callable[[str], Any]:
    """A parser of numbers from `low` (or only `above` it) to below `high`."""

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < high or (above and value == low):
            name = "an integer" if kind is int else "a number"
            lower = f"above {low:g}" if above else f"of at least {low:g}"
            upper = "" if high == math.inf else f" and below {high:g}"
            raise argparse.ArgumentTypeError(f"expected {name} {lower}{upper}, got {text!r}")
        return value

    return parse


def _option(names: Sequence[str]) -> Callable[[str], str]:
    """A parser of one of some names."""

    def parse(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(names)}, got {text!r}")
        return text

    return parse


def _layers(text: str) -> tuple[int, ...]:
    """Sizes of the hidden layers, "256,128"; "none" for a linear model."""
    if text == "none":
        return ()
    try:
        sizes = tuple(int(size) for size in text.split(","))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError(f'expected sizes such as 256,128 or "none", got {text!r}')
    return sizes


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = _Parser(prog="fastnn", description="Train and run small neural networks.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,predict,info,bench}")
    _add_train(commands)

    predict = commands.add_parser("predict", help="write a trained model's predictions as CSV", allow_abbrev=False)
    predict.add_argument("model", metavar="MODEL", help="a file that `fastnn train --save` wrote")
    predict.add_argument("data", metavar="DATA", nargs="?", help="digits, or a CSV, npz or IDX file")
    predict.add_argument("--images", metavar="FILE", help="IDX file of images, instead of DATA")
    predict.add_argument("--output", metavar="FILE", help="file to write to (default: standard output)")
    predict.add_argument("--probabilities", action="store_true", help="write each class's probability too")
    _add_run_options(predict)

    commands.add_parser("info", help="show versions, the CPU and the backends", allow_abbrev=False)

    _add_bench(commands)
    return parser


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser(
        "bench",
        help="time fastnn, beside other libraries where asked for",
        allow_abbrev=False,
        description="Time fastnn's kernels, training steps and inference, beside other libraries where asked for.",
    )
    bench.add_argument(
        "groups",
        metavar="GROUP",
        nargs="*",
        type=_option((*BENCH_GROUPS, *DEVICE_GROUPS)),
        help=f"of {', '.join(BENCH_GROUPS)} (default: training inference); {', '.join(DEVICE_GROUPS)} on cuda",
    )
    bench.add_argument(
        "--against",
        metavar="PEER,...",
        type=lambda text: tuple(map(_option(PEERS), text.split(","))),
        default=(),
        help=f"of {', '.join(PEERS)}; those installed are used",
    )
    bench.add_argument("--only", metavar="TEXT", default="", help="only cases with TEXT in their line")
    bench.add_argument("--seconds", type=_number(float, 0, above=True), default=0.5, help="for each time (default 0.5)")
    bench.add_argument("--images", metavar="FILE", help="IDX file for the group fit, instead of the digits inside")
    bench.add_argument("--labels", metavar="FILE", help="IDX file of labels")
    bench.add_argument("--json", metavar="FILE", help="write the figures there")
    bench.add_argument("--chart", metavar="FILE", help="draw the ratios there (png, svg or pdf; needs matplotlib)")
    _add_run_options(bench)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=BACKENDS, help="where to compute (default: cython)")
    parser.add_argument("--threads", type=_number(int, 1), help="CPU threads (default: all CPUs)")


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a network on a data set",
        allow_abbrev=False,
        description="Train a network on DATA, standardised, and report how good and how fast it is.",
    )
    data = train.add_argument_group("data")
    data.add_argument("data", metavar="DATA", nargs="?", help="digits (comes with fastnn), or a CSV, npz or IDX file")
    data.add_argument("--images", metavar="FILE", help="IDX file of images, plain or gzip, instead of DATA")
    data.add_argument("--labels", metavar="FILE", help="IDX file of labels")
    data.add_argument("--target", metavar="COL", help="column of a CSV file to predict: its name, or number from 0")
    data.add_argument(
        "--ignore", metavar="COL", action="append", default=[], help="CSV column to leave out; repeatable"
    )
    data.add_argument("--no-header", dest="header", action="store_false", help="the CSV file's first line is data")
    data.add_argument(
        "--missing",
        choices=("error", "mean", "drop"),
        default="error",
        help="missing values (empty, NA, nan, ?): refuse them, fill in the mean, or drop their rows (default: error)",
    )
    data.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto: text, booleans, integer arrays and the numbers 0, 1, ..., k-1 are classes, others a quantity",
    )
    rate = _number(float, 0, 1)
    data.add_argument("--test-split", metavar="FRACTION", type=rate, help="random rows to test on (default 0.2)")
    data.add_argument("--train-rows", metavar="N", type=_number(int, 1), help="train on the first N rows")
    data.add_argument("--test-rows", metavar="N", type=_number(int, 0), help="test on the last N rows")
    data.add_argument(
        "--validation-split", metavar="FRACTION", type=rate, default=0.0, help="training rows to validate on"
    )

    network = train.add_argument_group("network")
    network.add_argument(
        "--layers", metavar="N,N,...", type=_layers, default=(128, 64), help="hidden layers (default 128,64), or none"
    )
    network.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="default: relu")
    network.add_argument(
        "--dropout", metavar="RATE", type=rate, default=0.0, help="after each hidden layer (default 0)"
    )
    network.add_argument(
        "--l2", metavar="X", type=_number(float, 0), default=0.0, help="penalty X times the sum of squared weights"
    )

    fit = train.add_argument_group("training")
    fit.add_argument("--optimizer", choices=OPTIMIZERS, default="adam", help="default: adam; sgd has momentum 0.9")
    fit.add_argument(
        "--learning-rate",
        metavar="RATE",
        type=_number(float, 0, above=True),
        help="at first, falling linearly with the epochs (default 0.001, sgd 0.01, others as in fastnn.optimizers)",
    )
    fit.add_argument("--epochs", metavar="N", type=_number(int, 1), default=40, help="default 40")
    fit.add_argument(
        "--patience",
        metavar="N",
        type=_number(int, 1),
        help="end after N epochs in which the loss on the --validation-split did not improve, and go back to the best",
    )
    fit.add_argument("--batch-size", metavar="N", type=_number(int, 1), default=32, help="default 32")
    fit.add_argument("--seed", metavar="N", type=_number(int, 0, 2**53), default=0, help="default 0")
    fit.add_argument("--precision", choices=DTYPES, default="float32", help="default: float32")
    _add_run_options(fit)
    fit.add_argument("--save", metavar="FILE", help="write the trained model there (safetensors)")
    fit.add_argument("--quiet", action="store_true", help="print the final report only")
