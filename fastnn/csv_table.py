"""CSV files as columns of text, and what their fields mean: numbers, categories, missing values."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass

import numpy as np

from fastnn.checks import DataError

DELIMITERS = ",;\t"
#: Fields that stand for a missing value, in lower case.
MISSING_FIELDS = frozenset({"", "?", "na", "n/a", "nan", "null"})
#: A text column with more different values than this is an identifier or free text, not a category.
MAX_CATEGORIES = 256


@dataclass(frozen=True)
class CsvTable:
    """The fields of a CSV file as text.

    `name` is the file's, `header` the columns' names, `rows` the fields row by row, and `lines` says in which line
    of the file each row ends. Rows count from 1, as a reader of the file counts them.
    """

    name: str
    header: list[str]
    rows: list[list[str]]
    lines: list[int]

    def place(self, row: int, column: int) -> str:
        """Where a field stands, for messages."""
        return f"{self.name}: row {row + 1} (line {self.lines[row]}), column {self.header[column]!r}"

    def find(self, key: str | int) -> int:
        """The number of a column, given by name, or by number from 0 (from -1 backwards)."""
        if key in self.header:
            return self.header.index(key)
        try:
            number = int(key)
        except ValueError:
            number = len(self.header)
        if not -len(self.header) <= number < len(self.header):
            raise DataError(f"{self.name}: no column {key!r}; its columns: {', '.join(map(repr, self.header))}")
        return number % len(self.header)

    def values(self, column: int) -> np.ndarray:
        """A column's numbers (rows,) float64, missing ones NaN; or its text (rows,), missing ones empty.

        A column is text when fewer than half of its present fields are numbers. One field of text in a column of
        numbers is an error: it would otherwise turn the whole column into categories.
        """
        fields = [row[column] for row in self.rows]
        numbers = [_number(field) for field in fields]
        words = [i for i, number in enumerate(numbers) if number is None]
        present = sum(number is None or not math.isnan(number) for number in numbers)
        if not words:
            values = np.array(numbers, np.float64)
            infinite = np.flatnonzero(np.isinf(values))
            if len(infinite):
                raise DataError(f"{self.place(infinite[0], column)}: infinite value {fields[infinite[0]]!r}")
            return values
        if 2 * len(words) <= present:
            raise DataError(f"{self.place(words[0], column)}: expected a number, got {fields[words[0]]!r}")
        if re.fullmatch(r"[+-]?\d+,\d+", fields[words[0]]):
            raise DataError(f"{self.place(words[0], column)}: {fields[words[0]]!r} has a decimal comma, not a point")
        return self.text(column)

    def numbers(self, column: int) -> np.ndarray:
        """The numbers of a column that has to hold numbers."""
        values = self.values(column)
        if values.dtype.kind != "f":
            row = next(i for i, value in enumerate(values) if _number(value) is None)
            raise DataError(f"{self.place(row, column)}: expected a number, got {self.rows[row][column]!r}")
        return values

    def text(self, column: int) -> np.ndarray:
        """The text of a column that has to hold text, missing fields empty."""
        return np.array(["" if row[column].lower() in MISSING_FIELDS else row[column] for row in self.rows], str)

    def categories(self, column: int, text: np.ndarray) -> tuple[str, ...]:
        """The different values of a column's text, sorted, missing ones left out."""
        found = tuple(sorted(set(text.tolist()) - {""}))
        if len(found) > MAX_CATEGORIES:
            raise DataError(
                f"{self.name}: column {self.header[column]!r} has {len(found)} different texts, such as {found[0]!r}: "
                f"too many for categories (at most {MAX_CATEGORIES}); leave the column out with --ignore"
            )
        return found


def _number(field: str) -> float | None:
    """The value of a field; NaN if it is missing, None if it is not a number."""
    try:
        return None if "_" in field else float(field)  # float() reads 1_000
    except ValueError:
        return math.nan if field.lower() in MISSING_FIELDS else None


def parse_csv(content: bytes, name: str, header: bool = True) -> CsvTable:
    """Read CSV text: UTF-8 with or without a byte-order mark, separated by comma, semicolon or tab, quoted by ``"``.

    Blank lines are skipped, spaces around fields too. Without a `header` the columns are called "0", "1", ...
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte {error.start} is {content[error.start]:#04x}"
        raise DataError(f"{name}: not UTF-8 text: {found}; expected a CSV, npz or IDX file") from error
    if "\0" in text:
        raise DataError(f"{name}: not a text file: character {text.index(chr(0))} is a zero byte")
    records, lines = _records(text, name, _delimiter(text))
    if not records:
        raise DataError(f"{name}: empty file")
    first = records.pop(0) if header else [str(i) for i in range(len(records[0]))]
    if header:
        lines.pop(0)
        _check_header(first, name)
    for row, (record, line) in enumerate(zip(records, lines, strict=True)):
        if len(record) != len(first):
            raise DataError(f"{name}: row {row + 1} (line {line}): {len(record)} fields, expected {len(first)}")
    if not records:
        raise DataError(f"{name}: no rows below the header")
    return CsvTable(name, first, records, lines)


def _records(text: str, name: str, delimiter: str, limit: int | None = None) -> tuple[list[list[str]], list[int]]:
    """The first `limit` records of a text, and the lines they end in."""
    records, lines = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        for record in reader:
            if record not in ([], [""]):
                records.append([field.strip() for field in record])
                lines.append(reader.line_num)
            if limit and len(records) == limit:
                break
    except csv.Error as error:
        raise DataError(f"{name}: line {reader.line_num}: {error}") from error
    return records, lines


def _delimiter(text: str) -> str:
    """The delimiter under which most of the first 20 records have as many fields as the header, more than one."""

    def score(delimiter: str) -> tuple[int, int]:
        try:
            sizes = [len(record) for record in _records(text, "", delimiter, limit=20)[0]]
        except DataError:
            return 0, 0
        return (sizes.count(sizes[0]), sizes[0]) if sizes and sizes[0] > 1 else (0, 0)

    return max(DELIMITERS, key=score)


def _check_header(header: list[str], name: str) -> None:
    """Names that repeat or look like data are refused."""
    for position, column in enumerate(header):
        first = header.index(column)
        if column and first < position:
            raise DataError(
                f"{name}: columns {first} and {position} are both called {column!r} (no header? use --no-header)"
            )
        if re.fullmatch(r"[+-]?\d*\.\d+(e[+-]?\d+)?", column, re.IGNORECASE):
            raise DataError(f"{name}: the header has the number {column} for a name (no header? use --no-header)")
