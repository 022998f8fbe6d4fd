"""CSV and Parquet files read in chunks, as the columns of a schema: what a recipe's `files` stands for.

pyarrow reads; this module decides what each value becomes, and refuses what would lose something on the way.
"""

from __future__ import annotations

import csv as python_csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chandlery.arrays import concatenate, count
from chandlery.errors import RecipeError
from chandlery.schema import Column, Columns

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 65_536
CHUNK_BYTES = 32 * 2**20  # of a chunk, as it lies in a file
TEXT_BYTES = 256 * 2**20  # most bytes that one column of texts of a chunk may take
EXACT = 2**53  # whole numbers beyond it have no exact float64

CSV_SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


@dataclass(frozen=True)
class Csv:
    """How CSV files are written.

    Attributes:
        delimiter: what stands between two values; a `.tsv` file has tabs whatever is given here.
        decimal: the decimal mark of numbers, `.` or `,`.
        thousands: what groups the digits of numbers, such as `.` or a space; empty for nothing.
        quote: what a text is enclosed in when it holds the delimiter or a line break.
        encoding: of the text; a byte-order mark is skipped.
        missing: what stands in columns of numbers and booleans where there is no value.
    """

    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    quote: str = '"'
    encoding: str = "utf-8"
    missing: tuple[str, ...] = field(default=("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))


def read_tables(
    root: Path, pattern: str, columns: Sequence[Column], csv: Csv | None = None, rows: int = CHUNK_ROWS
) -> Iterator[Columns]:
    """Yield the rows of all files below a folder, file by file in the order of their paths.

    A missing number becomes NaN in a column of floats, and in one of nullable whole numbers, which is float64 then. A
    missing text of Parquet becomes the empty text in a nullable column; texts of CSV are as they are written. Dates
    and timestamps become ISO 8601 texts, those with a time zone in UTC. A column whose rows have a shape is a list in
    Parquet, and `name.0`, `name.1` and so on in CSV.

    Args:
        root: the folder.
        pattern: which files, as a glob relative to it: `**/*.parquet`. CSV files may be gzipped.
        columns: the columns of the schema; other columns of the files are not read.
        csv: how CSV files are written.
        rows: most rows of a chunk; fewer where rows are large.

    Raises:
        RecipeError: no file matches, a file cannot be read, or a value does not fit its column; the message names
            file, column and, where it can, row and value.
    """
    files = sorted(path for path in root.glob(pattern) if path.is_file())
    if not files:
        raise RecipeError(f"no file below {root} matches {pattern!r}", "correct the recipe's `files`")
    for path in files:
        name = path.name.lower()
        if name.endswith(PARQUET_SUFFIXES):
            chunks = _parquet(path, columns, rows)
        elif name.endswith(CSV_SUFFIXES):
            chunks = _csv(path, columns, csv or Csv(), rows)
        else:
            raise RecipeError(
                f"{path} is neither CSV nor Parquet",
                f"known names: {', '.join(CSV_SUFFIXES + PARQUET_SUFFIXES)}",
            )
        yield from _merged(chunks, rows)


def _merged(chunks: Iterator[Columns], rows: int) -> Iterator[Columns]:
    """Join chunks that are small, such as the blocks of a CSV file."""
    held: list[Columns] = []
    held_rows = 0
    widths: dict[str, int] = {}  # bytes of a row of each column: texts get the room of the longest
    for chunk in chunks:
        own = {name: array.nbytes // max(1, len(array)) for name, array in chunk.items()}
        joined = {name: max(width, widths.get(name, 0)) for name, width in own.items()}
        together = held_rows + count(chunk)
        if held and (together > rows or sum(joined.values()) * together > CHUNK_BYTES):
            yield concatenate(held)
            held, held_rows, joined = [], 0, own
        held.append(chunk)
        held_rows, widths = held_rows + count(chunk), joined
    if held:
        yield concatenate(held)


def _pieces(batch: pa.RecordBatch, texts: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Cut a batch where one long text would make the room of all others too large."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in texts:
        array = batch.column(name)
        if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
            continue
        longest = pc.max(pc.utf8_length(array)).as_py() or 0
        if len(batch) > 1 and 4 * longest * len(batch) > TEXT_BYTES:
            half = len(batch) // 2
            yield from _pieces(batch.slice(0, half), texts)
            yield from _pieces(batch.slice(half), texts)
            return
    yield batch


def _parquet(path: Path, columns: Sequence[Column], rows: int) -> Iterator[Columns]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            known = file.schema_arrow.names
            for column in columns:
                if column.name not in known:
                    raise _missing(path, column.name, known)
            size = max(1, _bytes(file) // max(1, file.metadata.num_rows))
            batches = file.iter_batches(
                min(rows, max(1, CHUNK_BYTES // size)), columns=[column.name for column in columns]
            )
            start = 0
            texts = [column.name for column in columns if column.dtype == "str"]
            for batch in (piece for whole in batches for piece in _pieces(whole, texts)):
                yield {
                    column.name: _values(batch.column(column.name), column, _Place(path, column.name, start))
                    for column in columns
                }
                start += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _bytes(file: Any) -> int:
    return sum(
        file.metadata.row_group(index).total_byte_size for index in range(file.metadata.num_row_groups)
    )


def _csv(path: Path, columns: Sequence[Column], csv: Csv, rows: int) -> Iterator[Columns]:
    import pyarrow as pa
    import pyarrow.csv

    tabs = path.name.lower().endswith((".tsv", ".tsv.gz"))
    delimiter = "\t" if tabs else csv.delimiter
    known = _header(path, csv, delimiter)
    wanted = {column.name: _places(column, known, path) for column in columns}
    names = [name for places in wanted.values() for name in places]
    repeated = next((name for name in names if known.count(name) > 1), None)
    if repeated is not None:
        raise RecipeError(f"{path}: two columns are called {repeated!r}", "rename one of them")
    # Every value is read as text, so that no type depends on the first block, and a wrong value can be told.
    options = {
        "read_options": pyarrow.csv.ReadOptions(
            use_threads=False, block_size=CHUNK_BYTES // 8, encoding=_encoding(csv)
        ),
        "parse_options": pyarrow.csv.ParseOptions(
            delimiter=delimiter, quote_char=csv.quote, newlines_in_values=True
        ),
        "convert_options": pyarrow.csv.ConvertOptions(
            include_columns=names,
            column_types={name: pa.string() for name in names},
            strings_can_be_null=False,
        ),
    }
    start = 0
    texts = [name for column in columns if column.dtype == "str" for name in wanted[column.name]]
    compression = "gzip" if path.name.lower().endswith(".gz") else None
    try:
        batches = pyarrow.csv.open_csv(pa.input_stream(str(path), compression=compression), **options)
        for batch in (piece for whole in batches for piece in _pieces(whole, texts)):
            yield {
                column.name: _table_values(batch, column, wanted[column.name], path, start, csv)
                for column in columns
            }
            start += len(batch)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def _encoding(csv: Csv) -> str:
    return (
        "utf8" if csv.encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig") else csv.encoding
    )


def _header(path: Path, csv: Csv, delimiter: str) -> list[str]:
    encoding = "utf-8-sig" if _encoding(csv) == "utf8" else csv.encoding
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opened(path, "rt", encoding=encoding, newline="") as file:
            return next(python_csv.reader(file, delimiter=delimiter, quotechar=csv.quote), [])
    except (OSError, UnicodeError, LookupError, EOFError, python_csv.Error) as error:
        raise _unreadable(path, error) from error


def _places(column: Column, known: list[str], path: Path) -> list[str]:
    names = [f"{column.name}.{i}" for i in range(prod(column.shape))] if column.shape else [column.name]
    for name in names:
        if name not in known:
            raise _missing(path, name, known)
    return names


def _table_values(
    batch: pa.RecordBatch, column: Column, names: list[str], path: Path, start: int, csv: Csv
) -> np.ndarray:
    parts = [_of_text(batch.column(name), column, _Place(path, name, start), csv) for name in names]
    if not column.shape:
        return parts[0]
    return np.stack(parts, axis=1).reshape(len(batch), *column.shape)


@dataclass(frozen=True)
class _Place:
    """Where values come from, for messages.

    Attributes:
        path: the file.
        column: name of the column in it.
        start: number of rows of the file before the first value.
        width: number of values of a row.
    """

    path: Path
    column: str
    start: int
    width: int = 1

    def error(self, where: Any, problem: str, hint: str) -> RecipeError:
        """Return the error for the first place where `where`, (n,) booleans, holds."""
        row = self.start + int(np.argmax(np.asarray(where))) // self.width + 1
        return RecipeError(f"{self.path}, row {row}: {self.column!r} {problem}", hint)


def _of_text(array: pa.Array, column: Column, place: _Place, csv: Csv) -> np.ndarray:
    """Return the values of a column of a CSV file."""
    import pyarrow.compute as pc

    if column.dtype == "str":
        return _texts(array, column, place)  # as it is written: the text NA may be a country
    texts = pc.utf8_trim_whitespace(array)
    absent = pc.is_in(texts, value_set=_arrow(csv.missing))
    texts = pc.if_else(absent, None, texts)
    array = texts
    if column.dtype == "bool":
        lower = pc.utf8_lower(texts)
        known = pc.is_in(lower, value_set=_arrow([*_TRUE, *_FALSE]))
        _refuse_unknown(texts, known, place, "use true or false")
        return _numbers(pc.is_in(lower, value_set=_arrow(_TRUE)), array, column, place)
    if csv.thousands:
        texts = pc.replace_substring(texts, csv.thousands, "")
    if csv.decimal != ".":
        dotted = pc.match_substring(texts, ".")
        if pc.any(dotted).as_py():
            where = pc.fill_null(dotted, False)
            raise place.error(where, "has a decimal point", f"the recipe's csv says decimal={csv.decimal!r}")
        texts = pc.replace_substring(texts, csv.decimal, ".")
    whole = pc.match_substring_regex(texts, r"^[+-]?[0-9]+(\.0*)?$")
    number = pc.or_(
        whole, pc.match_substring_regex(texts, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    )
    _refuse_unknown(texts, number, place, f"column {column.name!r} takes numbers")
    texts = pc.replace_substring_regex(texts, r"^\+", "")
    if "int" in column.dtype:
        _refuse_unknown(texts, whole, place, f"column {column.name!r} takes whole numbers")
        digits = pc.replace_substring_regex(texts, r"\.0*$", "")
        long = pc.fill_null(pc.greater(pc.utf8_length(digits), 18), False)
        if pc.any(long).as_py():
            return _numbers(_long(digits, long, place), array, column, place)
        return _numbers(pc.cast(digits, "int64"), array, column, place)
    numbers = pc.cast(texts, "float64")
    # At the limit itself a rounded neighbour cannot be told from the exact number.
    beyond = pc.fill_null(pc.and_(whole, pc.greater_equal(pc.abs(numbers), float(EXACT))), False)
    if pc.any(beyond).as_py():
        raise place.error(
            beyond, "has a whole number beyond 2^53, which a float rounds", "declare it int64 or str"
        )
    return _numbers(numbers, array, column, place)


def _long(digits: pa.Array, long: pa.Array, place: _Place) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array([None if text is None else int(text) for text in digits.to_pylist()], pa.int64())
    except (OverflowError, pa.ArrowException) as error:
        raise place.error(long, "has a whole number beyond 64 bits", "declare it str") from error


def _refuse_unknown(texts: pa.Array, known: pa.Array, place: _Place, hint: str) -> None:
    import pyarrow.compute as pc

    unknown = pc.fill_null(pc.invert(known), False)
    if pc.any(unknown).as_py():
        value = texts.filter(unknown)[0].as_py()
        raise place.error(unknown, f"is {value[:60]!r}", hint)


def _values(array: pa.Array, column: Column, place: _Place) -> np.ndarray:
    """Return the values of a column of a Parquet file."""
    import pyarrow as pa

    width = prod(column.shape)
    if column.shape:
        rows = len(array)
        array = _flat(array, width, place)
        place = replace(place, width=max(1, width))
        return _leaf(array, column, place).reshape(rows, *column.shape)
    if pa.types.is_nested(array.type):
        raise RecipeError(
            f"{place.path}: {place.column!r} is {array.type}, the schema declares one {column.dtype} a row",
            "give the Column a shape for a list of numbers; flatten structs and maps before",
        )
    return _leaf(array, column, place)


def _flat(array: pa.Array, width: int, place: _Place) -> pa.Array:
    """Return the elements of lists, `width` of each row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problem = RecipeError(
        f"{place.path}: {place.column!r} is {array.type}, the schema declares a list of {width} values a row",
        "correct the Column's shape, or flatten the column before",
    )
    rows = len(array)
    if array.null_count:
        raise place.error(pc.is_null(array), "is missing", "a row of an array column cannot be missing")
    while _is_list(array.type):
        lengths = pc.list_value_length(array)
        if len(lengths) and pc.min_max(lengths)["min"] != pc.min_max(lengths)["max"]:
            uneven = pc.not_equal(lengths, lengths[0])
            raise place.error(
                uneven, "has another number of elements than the row before", "use equal lengths"
            )
        array = array.flatten()
        if array.null_count and _is_list(array.type):
            raise problem
    if pa.types.is_nested(array.type) or len(array) != rows * width:
        raise problem
    return array


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _leaf(array: pa.Array, column: Column, place: _Place) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_null(kind):
        array = array.cast(pa.string() if column.dtype == "str" else pa.float64())
        kind = array.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    if column.dtype == "str":
        if pa.types.is_temporal(kind):
            return _texts(_iso(array), column, place)
        if text:
            return _texts(array, column, place)
    elif column.dtype == "bool":
        if pa.types.is_boolean(kind):
            return _numbers(array, array, column, place)
    elif pa.types.is_decimal(kind):
        return _numbers(pc.cast(array, "float64", safe=False), array, column, place)
    elif pa.types.is_integer(kind):
        if column.dtype.startswith("float"):
            beyond = _inexact(array)
            if pc.any(beyond).as_py():
                raise place.error(
                    beyond, "has a whole number beyond 2^53, which a float rounds", "declare it int64 or str"
                )
            array = pc.cast(array, "float64", safe=False)
        elif pa.types.is_uint64(kind):
            beyond = pc.fill_null(pc.greater(array, pa.scalar(2**63 - 1, pa.uint64())), False)
            if pc.any(beyond).as_py():
                raise place.error(beyond, "has a number beyond 64 bits", "declare it str")
        return _numbers(array, array, column, place)
    elif pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _numbers(array, array, column, place)
    raise RecipeError(
        f"{place.path}: {place.column!r} is {kind}, the schema declares {column.dtype}",
        "correct the Column's dtype, or convert the column before",
    )


def _inexact(numbers: pa.Array) -> pa.Array:
    """Return which whole numbers a float64 may round."""
    import pyarrow as pa
    import pyarrow.compute as pc

    high = pc.greater(numbers, pa.scalar(EXACT, pa.int64())) if numbers.type.bit_width == 64 else None
    if high is None:
        return pa.array(np.zeros(len(numbers), dtype=bool))
    if pa.types.is_unsigned_integer(numbers.type):
        return pc.fill_null(high, False)
    return pc.fill_null(pc.or_(high, pc.less(numbers, pa.scalar(-EXACT, pa.int64()))), False)


def _numbers(numbers: pa.Array, given: pa.Array, column: Column, place: _Place) -> np.ndarray:
    """Return numbers in the declared type; `given` tells which are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    floats = column.dtype.startswith("float")
    if given.null_count:
        absent = pc.is_null(given)
        # A float has NaN for what is missing, and validation tells all such rows; other types have nothing.
        if not floats and (not column.nullable or column.dtype == "bool"):
            raise place.error(absent, "is missing", "declare the Column nullable, or fill it before")
        if pa.types.is_integer(numbers.type):
            beyond = _inexact(numbers)
            if pc.any(beyond).as_py():
                raise place.error(beyond, "is beyond 2^53 in a column with missing values", "declare it str")
            numbers = pc.cast(numbers, "float64", safe=False)
        filled = pc.fill_null(pc.cast(numbers, "float64"), float("nan"))
        wide_array: np.ndarray = filled.to_numpy(zero_copy_only=False)
        return wide_array.astype(column.dtype) if floats else wide_array
    found: np.ndarray = numbers.to_numpy(zero_copy_only=False)
    if found.dtype == column.dtype:
        return found
    if "int" in column.dtype and found.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            odd = ~np.isfinite(found) | (found != np.floor(found)) | (np.abs(found) > EXACT)
        if odd.any():
            raise place.error(odd, f"is {found[odd][0]:g}, which is not a whole number", "declare it a float")
    return found.astype(column.dtype)


def _texts(array: pa.Array, column: Column, place: _Place) -> np.ndarray:
    import pyarrow.compute as pc

    if array.null_count and not column.nullable:
        raise place.error(pc.is_null(array), "is missing", "declare the Column nullable, or fill it before")
    array = pc.fill_null(array, "")
    if not len(array):
        return np.empty(0, dtype="U1")
    nul = pc.match_substring(array, "\0")
    if pc.any(nul).as_py():
        raise place.error(nul, "has a NUL character", "remove it: a text ends there for numpy and C")
    lengths = pc.utf8_length(array)
    longest = pc.max(lengths).as_py()
    if 4 * longest * len(array) > TEXT_BYTES:  # numpy gives each text the room of the longest
        raise place.error(
            pc.equal(lengths, longest),
            f"has a text of {longest} characters, in a chunk of {len(array)} rows",
            "shorten it, or write load() so that it yields fewer rows at a time",
        )
    return np.asarray(array.to_numpy(zero_copy_only=False)).astype(str)


def _iso(array: pa.Array) -> pa.Array:
    """Return dates and times as ISO 8601 texts, those with a time zone in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(array.type):
        zone = array.type.tz
        array = array.cast(pa.timestamp("us", "UTC" if zone is not None else None), safe=False)
        text = pc.replace_substring_regex(pc.strftime(array, "%Y-%m-%dT%H:%M:%S"), r"\.0+$", "")
        return pc.binary_join_element_wise(text, "+00:00", "") if zone is not None else text
    return pc.replace_substring_regex(array.cast(pa.string()), r"\.0+$", "")


def _arrow(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.string())


def _missing(path: Path, name: str, known: Sequence[str]) -> RecipeError:
    shown = ", ".join(list(known)[:12]) + (", ..." if len(known) > 12 else "")
    return RecipeError(f"{path} has no column {name!r}", f"it has: {shown or 'no header'}")


def _unreadable(path: Path, error: Exception) -> RecipeError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RecipeError(f"{path} cannot be read: {text[:300]}", "correct the file, or the recipe's `csv`")
