"""The command, run as a user runs it: in a process of its own."""

import csv
import json
import os
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn as fn
from fastnn import backends, cli, commands
from fastnn.datasets import load_digits

#: The package under test is the one imported here, installed or built in place, whatever the working directory.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(fn.__file__).parents[1])}
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared(path: str) -> str:
    if not (SHARED / path).exists():
        pytest.skip(f"the shared data folder does not hold {path}")
    return str(SHARED / path)


def fastnn(*arguments: object, status: int = 0, **options) -> subprocess.CompletedProcess:
    """Run the command; expects an exit status, and nothing but one line on stderr where it is 2."""
    command = [sys.executable, "-m", "fastnn", *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, **options)
    assert result.returncode == status, result.stdout + result.stderr
    if status == 2:
        assert result.stderr.count("\n") == 1 and "error: " in result.stderr, result.stderr
        assert "Traceback" not in result.stderr
    return result


def report(result: subprocess.CompletedProcess) -> dict[str, str]:
    """The report's values by name."""
    return dict(re.findall(r"^(\S+(?: \S+)*)  +(.+)$", result.stdout, re.MULTILINE))


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


@pytest.fixture(scope="module")
def digits_model(tmp_path_factory):
    """A model of the digits with all defaults, and what its training printed."""
    path = tmp_path_factory.mktemp("models") / "digits.safetensors"
    return path, fastnn("train", "digits", "--save", path)


@pytest.fixture
def flowers(tmp_path):
    """A CSV file in which colour and size say the class; size decides within a colour."""
    generator = np.random.default_rng(0)
    lines = ["size;colour;note;kind"]
    for i in range(300):
        size, colour = generator.normal(5, 2), ("red", "pale blue")[i % 2]
        lines.append(f'{size:.3f};"{colour}";note {i};{"iris" if (size > 5) == (colour == "red") else "rose"}')
    path = tmp_path / "flowers.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


# --- training and predicting -----------------------------------------------------------------------------


def test_digits(digits_model):
    path, result = digits_model
    values = report(result)
    assert float(values["test accuracy"]) >= 0.975
    assert float(values["seconds"]) < 60 and float(values["samples/s"].replace(",", "")) > 0
    assert values["epochs"] == "40 of 40" and values["backend"] == "cython" and values["saved"] == str(path)
    assert {"ISA", "threads"} <= set(values)
    assert "digits: 1797 rows, 64 features, classification, 10 classes" in result.stdout
    assert "1437 rows to train on, 360 to test on" in result.stdout


def test_predict_digits(digits_model, tmp_path):
    path, _ = digits_model
    rows = table(fastnn("predict", path, "digits").stdout)
    digits = load_digits()
    right = [int(row["prediction"]) == label for row, label in zip(rows, digits.y, strict=True)]
    assert np.mean(right) > 0.99
    output = tmp_path / "p.csv"
    assert fastnn("predict", path, "digits", "--probabilities", "--output", output).stdout == ""
    with_probabilities = table(output.read_text())
    assert [row["prediction"] for row in with_probabilities] == [row["prediction"] for row in rows]
    for row in with_probabilities[:20]:
        probabilities = [float(row[f"probability_{k}"]) for k in range(10)]
        assert sum(probabilities) == pytest.approx(1, abs=1e-4)
        assert np.argmax(probabilities) == int(row["prediction"])


def test_predict_into_a_closed_pipe(digits_model):
    command = [sys.executable, "-m", "fastnn", "predict", digits_model[0], "digits"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0


def test_mnist(tmp_path):
    images, labels = shared("mnist/t10k-images-idx3-ubyte.gz"), shared("mnist/t10k-labels-idx1-ubyte.gz")
    model = tmp_path / "mnist.safetensors"
    result = fastnn(
        "train", "--images", images, "--labels", labels, "--train-rows", 8000, "--test-rows", 2000,
        "--layers", "256,128", "--threads", 1, "--save", model,
    )  # fmt: skip
    assert "8000 rows to train on, 2000 to test on" in result.stdout
    assert float(report(result)["test accuracy"]) >= 0.965
    assert len(table(fastnn("predict", model, "--images", images).stdout)) == 10_000


def test_wine(tmp_path):
    wine, model = shared("wine/winequality-red.csv"), tmp_path / "wine.safetensors"
    result = fastnn("train", wine, "--target", "quality", "--save", model)
    assert "regression of 3 to 8; --task classification makes each value a class" in result.stdout
    values = report(result)
    assert float(values["test MAE"]) < 0.65 and float(values["test R2"]) > 0.15
    quality = [float(row["quality"]) for row in table(Path(wine).read_text("utf-8-sig"))]
    predicted = [float(row["prediction"]) for row in table(fastnn("predict", model, wine).stdout)]
    assert np.mean(np.abs(np.subtract(predicted, quality))) < 0.6  # in the target's own units
    fastnn("predict", model, wine, "--probabilities", status=2)
    result = fastnn("train", wine, "--target", "-1", "--task", "classification", "--epochs", 2)
    assert "classification, 6 classes" in result.stdout


def test_csv_with_categories(flowers, tmp_path):
    model = tmp_path / "m.safetensors"
    result = fastnn("train", flowers, "--target", "kind", "--ignore", "note", "--missing", "mean", "--save", model)
    assert "3 features, classification, 2 classes" in result.stdout
    assert float(report(result)["test accuracy"]) > 0.9
    new = tmp_path / "new.csv"  # other order and delimiter, no target, a column more, a missing value
    new.write_text("extra,colour,size\na,red,9\nb,pale blue,9\nc,red,1\nd,pale blue,1\ne,NA,9\n")
    rows = table(fastnn("predict", model, new).stdout)
    assert [row["prediction"] for row in rows[:4]] == ["iris", "rose", "rose", "iris"] and len(rows) == 5
    new.write_text("colour,size\nred,9\ngreen,9\n")
    error = fastnn("predict", model, new, status=2).stderr
    assert "row 2 (line 3), column 'colour': 'green' is not among the categories" in error
    new.write_text("colour\nred\n")
    assert "lacks the columns 'size'" in fastnn("predict", model, new, status=2).stderr
    assert "this is a file of the other kind" in fastnn("predict", model, "digits", status=2).stderr


def test_npz_and_idx(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3, 2))
    np.savez(tmp_path / "a.npz", x=x, y=x[:, 0, 0] * 1000 + 5000)
    result = fastnn("train", tmp_path / "a.npz", "--precision", "float64", "--save", tmp_path / "m")
    assert float(report(result)["test R2"]) > 0.8
    np.savez(tmp_path / "b.npz", x=x[:7])
    assert len(table(fastnn("predict", tmp_path / "m", tmp_path / "b.npz").stdout)) == 7
    np.savez(tmp_path / "c.npz", x=x[:, :, :1])
    error = fastnn("predict", tmp_path / "m", tmp_path / "c.npz", status=2).stderr
    assert "3 features in a row, but the model was trained on 6" in error
    (tmp_path / "labels").write_bytes(struct.pack(">BBBBI", 0, 0, 8, 1, 3) + b"\0\1\2")
    (tmp_path / "images").write_bytes(struct.pack(">BBBBII", 0, 0, 8, 2, 2, 3) + b"012345")
    for arguments, message in (
        (["--images", "images"], "IDX images need --labels"),
        (["images", "--labels", "labels"], "images has 2 images, but labels has 3 labels"),
        (["labels", "--labels", "labels"], "are these labels"),
        (["--images", "images", "--labels", "images"], "expected labels"),
        (["images", "--labels", "labels", "--target", "a"], "--target, --ignore and --no-header are for CSV files"),
        (["a.npz", "--labels", "labels"], "a.npz: not an IDX file, so --labels has no meaning"),
    ):
        assert message in fastnn("train", *arguments, status=2, cwd=tmp_path).stderr


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_options(optimizer):
    result = fastnn(
        "train", "digits", "--optimizer", optimizer, "--layers", "32", "--activation", "gelu", "--dropout", "0.1",
        "--epochs", 25, "--batch-size", 50, "--validation-split", "0.1", "--test-split", "0.3", "--seed", 1,
        "--precision", "float64", "--backend", "cython", "--threads", 1,
    )  # fmt: skip
    assert float(report(result)["test accuracy"]) > 0.9
    assert report(result)["threads"] == "1" and report(result)["epochs"] == "25 of 25"


def test_every_optimizer():
    assert set(cli.OPTIMIZERS) == set(fn.optimizers.REGISTRY.classes)
    for name in cli.OPTIMIZERS:
        args = cli.build_parser().parse_args(["train", "digits", "--optimizer", name])
        assert commands._network(64, ["a", "b"], args).optimizer.learning_rate < 0.1 or name == "adadelta"


def test_patience():
    arguments = ("train", "digits", "--validation-split", "0.2", "--learning-rate", "0.05", "--quiet")
    done, of = report(fastnn(*arguments, "--patience", 2))["epochs"].split(" of ")
    assert 3 <= int(done) < int(of) == 40


def test_l2():
    args = cli.build_parser().parse_args(["train", "digits", "--l2", "0.5"])
    model = commands._network(64, ["a", "b"], args)
    assert [layer.kernel_regularizer.l2 for layer in model.layers] == [0.5] * 3
    plain = commands._network(64, ["a", "b"], cli.build_parser().parse_args(["train", "digits"]))
    assert plain.layers[0].kernel_regularizer is None


def test_quiet_and_without_test_rows():
    result = fastnn("train", "digits", "--quiet", "--test-split", 0, "--layers", "none", "--epochs", 3)
    assert result.stderr == "" and result.stdout.startswith("training accuracy")


def test_same_seed_same_model(tmp_path):
    """Bit for bit, whatever the number of threads."""
    outputs = []
    for threads, seed in ((1, 3), (2, 3), (1, 4)):
        model = tmp_path / f"{threads}-{seed}"
        fastnn("train", "digits", "--epochs", 2, "--seed", seed, "--threads", threads, "--save", model, "--quiet")
        outputs.append(fastnn("predict", model, "digits", "--probabilities").stdout)
    assert outputs[0] == outputs[1] != outputs[2]


def test_interrupt(tmp_path):
    model = tmp_path / "m.safetensors"
    # A process started in the background of a script may ignore SIGINT: have Python's own handler.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import sys; "
        "from fastnn.cli import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, "train", "digits", "--epochs", "1000000", "--save", str(model)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    while "to train on" not in process.stdout.readline():
        assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == cli.INTERRUPTED and "Traceback" not in errors, errors
    assert re.search(r"epochs +\d+ of 1000000 \(interrupted\)", output) and "test accuracy" in output
    assert len(table(fastnn("predict", model, "digits").stdout)) == 1797


# --- errors of use ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: {train,predict,info,bench}"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "expected either DATA or --images FILE"),
        (["train", "digits", "--images", "x"], "expected either DATA or --images FILE"),
        (["train", "nowhere.csv"], "nowhere.csv: No such file or directory"),
        (["train", "."], "Is a directory"),
        (["train", "a.csv"], "a.csv: a CSV file needs --target, one of its columns 'a', 'b'"),
        (["train", "a.csv", "--target", "c"], "a.csv: no column 'c'; its columns: 'a', 'b'"),
        (["train", "a.csv", "--target", "b", "--task", "regression"], "needs numbers, the target holds text"),
        (["train", "a.csv", "--target", "a", "--train-rows", "5"], "cannot take 5 rows to train from 3 rows"),
        (["train", "a.csv", "--target", "b", "--validation-split", "0.9"], "fit: validation_split: expected a share"),
        (["train", "a.npy"], "a.npy: not UTF-8 text: byte 0 is 0x93; expected a CSV, npz or IDX file"),
        (["train", "ragged.csv", "--target", "a"], "ragged.csv: row 2 (line 3): 1 fields, expected 2"),
        (["train", "one.csv", "--target", "b"], "a classification needs two classes, every target is 'x'"),
        (["train", "digits", "--target", "a"], "are for CSV files"),
        (["train", "digits", "--layers", "12,x"], "expected sizes such as 256,128 or \"none\", got '12,x'"),
        (["train", "digits", "--layers", "0"], "expected sizes"),
        (["train", "digits", "--layers", "999999999999999"], "Unable to allocate"),
        (["train", "digits", "--dropout", "1"], "expected a number of at least 0 and below 1, got '1'"),
        (["train", "digits", "--epochs", "0"], "expected an integer of at least 1, got '0'"),
        (["train", "digits", "--epochs", "2.5"], "expected an integer"),
        (["train", "digits", "--learning-rate", "nan"], "expected a number above 0, got 'nan'"),
        (["train", "digits", "--learning-rate", "0"], "expected a number above 0, got '0'"),
        (["train", "digits", "--threads", "0"], "argument --threads: expected an integer of at least 1"),
        (["train", "digits", "--backend", "tpu"], "invalid choice: 'tpu'"),
        (["train", "digits", "--activation", "rely"], "invalid choice: 'rely'"),
        (["train", "digits", "--epoch", "3"], "unrecognized arguments: --epoch 3"),
        (["train", "digits", "--test-split", "0.1", "--test-rows", "9"], "--test-split excludes"),
        (["train", "digits", "--test-rows", "1797"], "no training rows"),
        (["train", "digits", "--save", "no/where/m"], "no/where/m: cannot write there"),
        (["train", "digits", "--save", "."], ".: cannot write there"),
        (["train", "digits", "--patience", "3"], "--patience needs --validation-split"),
        (["train", "digits", "--l2", "-1"], "expected a number of at least 0, got '-1'"),
        (["bench", "--json", "no/where.json"], "no/where.json: cannot write there"),
        (["bench", "softmax", "--only", "nosuch"], "--only 'nosuch': in no case's line; the cases: softmax 64x10"),
        (["bench", "tensor_cores"], "group tensor_cores: it is measured with --backend cuda only"),
        (["predict", "a.csv", "digits"], "a.csv"),
        (["predict", "nowhere", "digits"], "nowhere"),
        (["predict", "nowhere"], "expected either DATA or --images FILE"),
    ],
)
def test_errors_of_use(tmp_path, arguments, message):
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n3,x\n")
    np.save(tmp_path / "a.npy", np.ones((3, 3)))
    (tmp_path / "one.csv").write_text("a,b\n1,x\n2,x\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,x\n2\n")
    assert message in fastnn(*arguments, status=2, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory"),
        (fn.DtypeError("fit: X: expected numbers, got text"), "fit: X: expected numbers, got text"),
    ],
)
def test_errors_of_one_line(error, message, monkeypatch, capsys):
    def fails(args):
        raise error

    monkeypatch.setattr(commands, "info", fails)
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == f"fastnn info: error: {message}\n"


def test_missing_backend():
    result = fastnn("info")
    missing = [name for name in cli.BACKENDS if not re.search(rf"^  {name} +available$", result.stdout, re.MULTILINE)]
    for name in missing:
        error = fastnn("train", "digits", "--backend", name, status=2).stderr
        assert f"backend '{name}' is not available" in error


# --- info and bench --------------------------------------------------------------------------------------


def test_info():
    result = fastnn("info")
    values = report(result)
    assert {"fastnn", "Python", "NumPy", "CPU", "ISA", "threads", "OpenMP"} <= set(values)
    assert values["NumPy"] == np.__version__
    for name in cli.BACKENDS:
        line = re.search(rf"^  {name} +(.+)$", result.stdout, re.MULTILINE)[1]
        assert line == "available" or "pip install" in line or "driver" in line


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("", "cython (default)"),
        ("reference", "reference (FASTNN_BACKEND)"),
        ("foo", "foo (FASTNN_BACKEND): unknown, expected one of cython, numba, cuda, reference"),
    ],
)
def test_info_shows_the_backend(asked, shown, monkeypatch, capsys):
    monkeypatch.setenv("FASTNN_BACKEND", asked)
    assert cli.main(["info"]) == 0
    assert re.search(r"^backend +(.+)$", capsys.readouterr().out, re.MULTILINE)[1] == shown


def test_info_shows_a_backend_that_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(backends, "missing", lambda name: "no card" if name == "cuda" else None)
    monkeypatch.setenv("FASTNN_BACKEND", "cuda")
    fn.show_config()
    assert re.search(r"^backend +cuda \(FASTNN_BACKEND\): not available$", capsys.readouterr().out, re.MULTILINE)
    with fn.use_backend("reference"):
        fn.show_config()
    assert re.search(r"^backend +reference \(use_backend\)$", capsys.readouterr().out, re.MULTILINE)


def test_version():
    assert re.fullmatch(r"fastnn \d+\.\d+.*\n", fastnn("--version").stdout)


def test_bench(tmp_path):
    given = ("--backend", "cython", "--seconds", "0.02", "--threads", "1", "--json", tmp_path / "b.json")
    lines = fastnn("bench", "training", "softmax", "--against", "numpy,sklearn", *given).stdout.splitlines()
    assert any(line.startswith("FMA peak, float32") and line.endswith("GFLOP/s") for line in lines)
    assert sum("batch" in line for line in lines) == 3 and sum("cross_entropy" in line for line in lines) == 3
    written = json.loads((tmp_path / "b.json").read_text())
    assert len(written["results"]) == 12 and written["machine"]["threads"] == 1
    assert all(r["seconds"] > 0 and r["ratio"] is None and r["share"] > 0 for r in written["results"])
    lines = fastnn("bench", "matmul", "--only", "x32 nn float32", "--against", "numpy", *given).stdout.splitlines()
    assert re.search(r"matmul float32 on cython: geometric mean \d+\.\d\d of \d cases, \d lost", lines[-1])
    lines = fastnn("bench", "scaling", "--only", "batch 64", *given).stdout.splitlines()
    assert sum("scaled_" in line and "cython in one thread" in line for line in lines) == 1


def test_bench_without_what_a_chart_needs(tmp_path):
    """Noticed before anything is measured."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['matplotlib'] = None")
    path = os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])
    environment = {**ENVIRONMENT, "PYTHONPATH": path}
    command = [sys.executable, "-m", "fastnn", "bench", "--chart", str(tmp_path / "chart.png")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    expected = 'fastnn bench: error: plots: matplotlib is not installed: pip install "fastnn[plot]"\n'
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)
    pytest.importorskip("matplotlib")
    result = fastnn("bench", "--chart", tmp_path / "chart.png", status=2)
    assert result.stdout == "" and "--chart draws ratios: it needs --against" in result.stderr


# --- pure parts ------------------------------------------------------------------------------------------


def test_defaults():
    args = cli.build_parser().parse_args(["train", "digits"])
    assert (args.layers, args.epochs, args.batch_size, args.optimizer, args.seed) == ((128, 64), 40, 32, "adam", 0)
    assert cli.build_parser().parse_args(["train", "d", "--layers", "none"]).layers == ()
    assert cli.build_parser().parse_args(["train", "d", "--target", "-1"]).target == "-1"


def test_preparation_survives_json():
    from fastnn.datasets import Column
    from fastnn.preparation import Preparation
    from fastnn.preprocessing import Standardizer

    inputs = Standardizer.fit(np.random.default_rng(0).normal(size=(5, 3)))
    preparation = Preparation(
        None, inputs, Standardizer.fit(np.arange(3.0)), (Column("a"), Column("b", ("x", "y"))), True, "mean"
    )
    again = Preparation.from_dict(json.loads(json.dumps(preparation.to_dict())))
    assert again.columns == preparation.columns and (again.classes, again.header, again.missing) == (None, True, "mean")
    np.testing.assert_array_equal(again.inputs.std, inputs.std)
    assert again.outputs.mean == 1
