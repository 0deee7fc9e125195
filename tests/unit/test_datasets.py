"""Readers of data files, and what is done to data before training."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastnn import datasets
from fastnn.checks import DataError
from fastnn.csv_table import parse_csv
from fastnn.datasets import Column, load, load_csv, load_digits, load_idx, load_npz, read_idx
from fastnn.preparation import choose_task, encode_classes, position_split
from fastnn.preprocessing import Standardizer

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def shared(path: str) -> Path:
    if not (SHARED / path).exists():
        pytest.skip(f"the shared data folder does not hold {path}")
    return SHARED / path


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    types = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(types[code]).tobytes()


@pytest.fixture
def csv(tmp_path):
    """Writes text as a CSV file and returns its path."""

    def write(text: str | bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refuses(pattern: str):
    return pytest.raises(DataError, match=pattern)


# --- digits and IDX --------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    expected = pytest.importorskip("sklearn.datasets").load_digits()
    digits = load_digits()
    np.testing.assert_array_equal(digits.X, expected.data)
    np.testing.assert_array_equal(digits.y, expected.target)
    assert (digits.X.dtype, digits.y.dtype, digits.shape) == (np.float32, np.int64, (8, 8))


def test_mnist():
    data = load(shared("mnist/t10k-images-idx3-ubyte.gz"), shared("mnist/t10k-labels-idx1-ubyte.gz"))
    assert data.X.shape == (10_000, 784) and data.shape == (28, 28)
    assert (data.X.min(), data.X.max()) == (0, 255)
    assert np.bincount(data.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.mark.parametrize("code", [0x08, 0x09, 0x0B, 0x0C, 0x0D, 0x0E])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx_types(tmp_path, code, compress):
    array = np.arange(24).reshape(2, 3, 4)
    path = tmp_path / "a"
    path.write_bytes(compress(idx_bytes(array, code)))
    result = read_idx(path)
    np.testing.assert_array_equal(result, array)
    assert result.dtype.isnative and datasets.file_kind(path) == "idx"


def test_damaged_idx(tmp_path):
    path = tmp_path / "images"
    whole = idx_bytes(np.zeros((3, 2, 2), np.uint8))
    packed = gzip.compress(whole)
    for content, message in (
        (b"", "images: not an IDX file.*empty file"),
        (b"\x89PNG", "images: not an IDX file.*89 50 4e 47"),
        (b"\0\0\x07\1", "images: not an IDX file"),
        (whole[:9], "images: IDX header of 3 dimensions needs 16 bytes, the file has 9"),
        (whole[:-1], "images: IDX header says 3x2x2 values, so 28 bytes, the file has 27"),
        (whole + b"x", "so 28 bytes, the file has 29"),
        (b"\0\0\x08\3" + b"\xff" * 12, "4294967295x4294967295x4294967295 values"),
        (packed[:-9], "images: damaged gzip file"),
        (packed[:12] + b"\xff\xff\xff" + packed[15:], "images: damaged gzip file"),
    ):
        path.write_bytes(content)
        with refuses(message):
            read_idx(path)


def test_images_and_labels_must_fit(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx_bytes(np.zeros((3, 2, 2))))
    labels.write_bytes(idx_bytes(np.zeros(2)))
    with refuses("images has 3 images, but .*labels has 2 labels"):
        load_idx(images, labels)
    with refuses("expected images.*are these labels"):
        load_idx(labels, images)
    with refuses("expected labels"):
        load_idx(images, images)
    images.write_bytes(idx_bytes(np.zeros((0, 2, 2))))
    with refuses("no data"):
        load_idx(images)


# --- npz -------------------------------------------------------------------------------------------------


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    x, y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array(["b", "a", "b"])
    for x_key, y_key in (("X", "y"), ("x", "y"), ("images", "labels"), ("data", "target")):
        np.savez(path, **{x_key: x, y_key: y})
        data = load(path)
        np.testing.assert_array_equal(data.X, x.reshape(3, 4))
        assert data.X.dtype == np.float32 and data.shape == (2, 2) and data.y.tolist() == y.tolist()
    np.savez(path, X=x.astype(np.int64), y=np.array([[1], [2], [3]], np.uint8))
    data = load_npz(path)
    assert data.X.dtype == np.float64 and data.y.dtype == np.int64 and data.y.shape == (3,)
    np.savez(path, X=x)
    assert load_npz(path, need_target=False).y is None


def test_npz_refused(tmp_path):
    path = tmp_path / "a.npz"
    x, y = np.zeros((3, 2)), np.zeros(3)
    for content, message in (
        ({"weights": x, "y": y}, "a.npz: has no array X or x.*; its arrays: weights, y"),
        ({"X": x}, "has no array Y or y.*its arrays: X"),
        ({"X": x, "y": y[:2]}, r"of shape \(3,\).*got float64 of shape \(2,\)"),
        ({"X": y, "y": y}, "at least 2 dimensions"),
        ({"X": x.astype(str), "y": y}, "must be numbers"),
        ({"X": x, "y": np.array([{}] * 3)}, "cannot read this npz"),
        ({"X": x[:0], "y": y[:0]}, "no data"),
        ({"X": np.where([[0], [0], [1]], np.inf, x), "y": y}, r"row 2, feature 0 \(counted from 0\): infinite"),
        ({"X": x, "y": np.array([0, np.inf, 1])}, "row 1 of the target: infinite"),
    ):
        np.savez(path, **content)
        with refuses(message):
            load_npz(path)
    path.write_bytes(path.read_bytes()[:-30])
    with refuses("cannot read this npz"):
        load(path)


def test_npz_missing(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, X=[[1, 2], [3, np.nan], [5, 6]], y=[0.5, 1.5, 2.5])
    with refuses("row 1, feature 1.*missing value; --missing mean"):
        load_npz(path)
    assert np.isnan(load_npz(path, missing="mean").X[1, 1])
    assert load_npz(path, missing="drop").X.tolist() == [[1, 2], [5, 6]]
    assert load_npz(path, missing="drop").y.tolist() == [0.5, 2.5]
    np.savez(path, X=[[1, 2], [3, 4]], y=[0.5, np.nan])
    with refuses("row 1 of the target: missing value; --missing drop leaves"):
        load_npz(path, missing="mean")
    with pytest.raises(ValueError, match="missing must be one of error, mean, drop, got 'zero'"):
        load_npz(path, missing="zero")


# --- CSV -------------------------------------------------------------------------------------------------


def test_wine():
    data = load(shared("wine/winequality-red.csv"), target="quality")
    assert data.X.shape == (1599, 11) and data.X.dtype == np.float64
    assert data.feature_names[0] == "fixed acidity"  # behind a byte-order mark
    assert data.X[0].tolist() == [7.4, 0.7, 0, 1.9, 0.076, 11, 34, 0.9978, 3.51, 0.56, 9.4]
    assert sorted(set(data.y)) == [3, 4, 5, 6, 7, 8] and choose_task(data.y) == "regression"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encode", [str.encode, lambda s: s.encode("utf-8-sig"), lambda s: gzip.compress(s.encode())])
def test_dialects(csv, delimiter, end, encode):
    lines = ['"size, (a;b)"|colour|price', "1|red|2.5", '2|"dark ""navy"", blue"|-1e-3', "", " 3 | red | +7"]
    data = load_csv(csv(encode(end.join(lines).replace("|", delimiter))), "price")
    assert data.feature_names == ["size, (a;b)", 'colour=dark "navy", blue', "colour=red"]
    assert data.X.tolist() == [[1, 0, 1], [2, 1, 0], [3, 0, 1]]
    assert data.y.tolist() == [2.5, -0.001, 7]


def test_target_by_name_or_number(csv):
    path = csv("a,b,3\n1,2,x\n3,4,y\n")
    for target in ("3", 2, -1, "2", "-1"):
        assert load_csv(path, target).y.tolist() == ["x", "y"]
    assert load_csv(path, "a").feature_names == ["b", "3=x", "3=y"]
    assert load_csv(path, "a", ignore=["3"]).feature_names == ["b"]
    for target in ("c", 3, "-4"):
        with refuses("data.csv: no column '?.*; its columns: 'a', 'b', '3'"):
            load_csv(path, target)
    with refuses("no columns left"):
        load_csv(path, "a", ignore=["b", -1])


def test_no_header(csv):
    path = csv("5.1,3.5,setosa\n4.9,3.0,virginica\n")
    with refuses("the header has the number 5.1 for a name .no header"):
        load_csv(path, -1)
    data = load_csv(path, -1, header=False)
    assert data.X.tolist() == [[5.1, 3.5], [4.9, 3.0]] and data.y.tolist() == ["setosa", "virginica"]
    first = load_csv(path, 0, header=False)
    again = load_csv(csv("1.5,setosa\n", "new.csv"), header=False, columns=first.columns)
    assert again.X.tolist() == [[1.5, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "data.csv: empty file"),
        ("\n\n", "data.csv: empty file"),
        ("a,b\n", "data.csv: no rows below the header"),
        ("a,b,y\n1,2,3\n\n4,5\n", r"data.csv: row 2 \(line 4\): 2 fields, expected 3"),
        ('a,b\n"1\n",2\n3,4,5\n', r"row 2 \(line 4\): 3 fields, expected 2"),
        ("a,y,a\n1,2,3\n", "columns 0 and 2 are both called 'a'"),
        (",y\n1,2\n", "column 0 has no name; leave it out with --ignore 0"),
        ('a,y\n1,"2\n', "data.csv: line 2: unexpected end of data"),
        ('a,y\n"1"2,3\n', "data.csv: line 2"),
        (b"a,y\n\xff,2\n", "not UTF-8 text: byte 4 is 0xff"),
        (b"a,y\n\0,2\n", "not a text file: character 4"),
        ("a,y\n1,1\n2,1\n3..5,1\n", r"row 3 \(line 4\), column 'a': expected a number, got '3..5'"),
        ("a,y\n1,1\n-inf,1\n", r"row 2 \(line 3\), column 'a': infinite value '-inf'"),
        ("a,y\n1_000,1\n1_001,1\n2,1\n3,1\n", r"row 1 \(line 2\), column 'a': expected a number, got '1_000'"),
        ("a;y\n1,5;2\n", r"row 1 \(line 2\), column 'a': '1,5' has a decimal comma"),
        ("a,y\n" + "".join(f"id{i},1\n" for i in range(300)), "column 'a' has 300 different texts, such as 'id0'"),
        ("a,y\n?,1\n,2\n", "missing value .and 1 more."),
    ],
)
def test_csv_refused(csv, text, message):
    with refuses(message):
        load_csv(csv(text), "y")


@pytest.mark.parametrize("field", ["", " ", "NA", "n/a", "nan", "NaN", "?", "NULL"])
def test_missing_fields(csv, field):
    path = csv(f"a,c,y\n1,red,1\n{field},blue,2\n3,{field},3\n5,red,4\n")
    with refuses(r"row 2 \(line 3\), column 'a': missing value \(and 1 more\); --missing mean .* --missing drop"):
        load_csv(path, "y")
    data = load_csv(path, "y", missing="drop")
    assert data.X.tolist() == [[1, 0, 1], [5, 0, 1]] and data.y.tolist() == [1, 4]
    data = load_csv(path, "y", missing="mean")
    np.testing.assert_array_equal(data.X, [[1, 0, 1], [np.nan, 1, 0], [3, np.nan, np.nan], [5, 0, 1]])
    filled = Standardizer.fit(data.X)
    np.testing.assert_allclose(filled.mean, [3, 1 / 3, 2 / 3])
    z = filled.transform(data.X)
    assert z[1, 0] == 0 and (z[2, 1:] == 0).all() and np.isfinite(z).all()
    with refuses("column 'a': missing value; --missing drop leaves"):
        load_csv(path, "a", missing="mean", ignore=["c"])
    with refuses("every row has a missing value"):
        load_csv(csv(f"a,y\n{field or '?'},1\n"), "y", missing="drop")


def test_columns_of_a_model(csv):
    columns = load_csv(csv("a,c,y\n1,red,1\n2,blue,2\n"), "y").columns
    assert columns == (Column("a"), Column("c", ("blue", "red")))
    data = load_csv(csv("extra,c,a\nx,red,5\nz,red,6\n"), columns=columns)
    assert data.X.tolist() == [[5, 0, 1], [6, 0, 1]] and data.y is None
    for text, message in (
        ("a,b\n1,2\n", "lacks the columns 'c' of the training data"),
        ("a,c\n1,red\n2,green\n", r"row 2 \(line 3\), column 'c': 'green' is not among the categories.*: blue, red"),
        ("a,c\nx,red\ny,red\n", r"row 1 \(line 2\), column 'a': expected a number, got 'x'"),
        ("a,c\n,red\n", "column 'a': missing value"),
    ):
        with refuses(message):
            load_csv(csv(text), columns=columns)
    np.testing.assert_array_equal(load_csv(csv("a,c\n,NA\n"), columns=columns, missing="mean").X, [[np.nan] * 3])


def test_labels_only_with_idx(csv):
    with refuses("not an IDX file"):
        load(csv("a,b\n1,2\n"), csv("a\n1\n", "labels"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content):
    try:
        table = parse_csv(content, "f")
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert all(len(row) == len(table.header) for row in table.rows) and len(table.lines) == len(table.rows)


# --- preparation ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 2] * 5, "classification"),
        ([3, 7, 9] * 5, "classification"),
        (list(range(100)), "regression"),
        (list(range(2000)) * 3, "regression"),
        ([0.0, 1.0] * 3, "classification"),
        ([0.0, 1.0, 2.0] * 3, "classification"),
        ([3.0, 4.0, 8.0] * 5, "regression"),
        ([0.0, 2.0] * 5, "regression"),
        ([0.5, 1.5] * 5, "regression"),
        ([0.0, 0.0], "regression"),
        ([float(i) for i in range(25)] * 3, "regression"),
    ],
)
def test_choose_task(y, task):
    assert choose_task(np.array(y)) == task


def test_encode_classes():
    assert [a if isinstance(a, list) else a.tolist() for a in encode_classes(np.array(["b", "a", "b"]))] == [
        [1, 0, 1],
        ["a", "b"],
    ]
    assert encode_classes(np.array([3.0, -1.0, 0.5]))[1] == ["-1", "0.5", "3"]
    assert encode_classes(np.array([True, False]))[1] == ["False", "True"]


def test_position_splits_refused():
    refused = {
        (8, 3): "8 rows to train and 3 rows to test",
        (11, None): "11 rows to train",
        (None, 11): "11 rows to test",
        (-1, 2): "-1 rows to train and 2 rows to test",
    }
    for rows, named in refused.items():
        with pytest.raises(ValueError, match=f"^cannot take {named} from 10 rows$"):
            position_split(10, *rows)


@pytest.mark.parametrize(
    ("rows", "expected"), [((6, 3), (6, 3)), ((6, None), (6, 4)), ((None, 3), (7, 3)), ((10, 0), (10, 0))]
)
def test_position_split(rows, expected):
    train, test = position_split(10, *rows)
    assert train.tolist() == list(range(expected[0])) and test.tolist() == list(range(10 - expected[1], 10))
