"""The contract of a team's model code: one class, used everywhere the model goes.

A recipe defines what its raw data looks like, how it is loaded, featurized and modelled, what to search over, and
how a request becomes rows and a prediction becomes an answer. Notebook, search trial, training, evaluation,
batch and model server all call the same methods.

Rows travel as `Columns`: a mapping from column name to an array whose first axis is the row. It is what a
Parquet file, a DataFrame and a prediction request all become in one step, and it is fast enough to serve.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import shutil
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from chandlery.arrays import Arrays
from chandlery.errors import RecipeError
from chandlery.recipe_import import PACKAGE, import_recipe, package_of
from chandlery.schema import DTYPES, Column, Columns, Value
from chandlery.state import State
from chandlery.state import checked as checked_state
from chandlery.tables import EXACT, Csv, read_tables

__all__ = ["Arrays", "Column", "Columns", "Csv", "Parameter", "Recipe", "Refused", "State", "Value"]

# The tasks that a recipe may name. `binary` and `multiclass` say more exactly what `classification` leaves to the
# number of classes.
TASKS = ("classification", "binary", "multiclass", "multilabel", "regression", "custom")

FIT_ROWS = 100_000  # most rows that `fit` and `build` see of a dataset that is read in chunks

TEXT_BYTES = 256 * 2**20  # most bytes that one column of texts may take

DIGEST_LENGTH = 16  # hex digits of the recipe digest that a pinned reference carries

# Metrics for which lower is better; every other objective is maximised.
LOWER_IS_BETTER = frozenset({"loss", "mae", "mse", "rmse", "log_loss", "brier"})


@dataclass(frozen=True)
class Parameter:
    """One dimension of the search space, with Katib's parameter types.

    Attributes:
        name: what `build` (or training itself: `epochs`, `batch_size`) looks up.
        type: `double`, `int`, `discrete` (numbers) or `categorical` (strings).
        minimum: lower bound, for double and int.
        maximum: upper bound, inclusive, for double and int.
        step: distance of grid points, for double and int; None for none.
        values: the choices, for discrete and categorical.
        log: search on a logarithmic scale, for double.
    """

    name: str
    type: Literal["double", "int", "discrete", "categorical"]
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    values: tuple[Value, ...] = ()
    log: bool = False


class Recipe(ABC):
    """The class that a team writes. Methods are pure: they keep no state between calls and do not touch their arguments.

    `Arrays` stands for one array or a mapping of named arrays, each with n rows: what several inputs, outputs or
    targets need. A recipe with one of each uses plain arrays.

    Class attributes:
        task: `classification` (also `binary`, `multiclass`), `multilabel`, `regression`, or `custom`: own metrics and
            no standard plots.
        schema: the columns of the raw data, targets included.
        target: name of the target column, or the names of several.
        classes: names of the classes in the order of the model's outputs; of the labels for `multilabel`.
        objective: metric that search and comparison use; one that `metrics` returns.
        search_space: dimensions that `tune_hyperparameters` searches.
        defaults: parameters used where nothing else is given; `epochs` and `batch_size` steer training itself.
        slices: columns by whose values `evaluate_model` breaks the metrics down.
        exact: serve a Keras model row by row, so that an answer is to the last bit that of a plain session, whatever shares
            its batch. It costs up to 20 times the time of a batch; without it answers differ by no more than 1e-5.
        files: which CSV and Parquet files below the dataset's folder the package reads, as a glob such as
            `**/*.parquet`; in place of `load`.
        csv: how these CSV files are written.
        shuffle_rows: rows of the buffer from which batches of a dataset that is read in chunks are drawn at random.
    """

    task: ClassVar[Literal["classification", "binary", "multiclass", "multilabel", "regression", "custom"]]
    schema: ClassVar[tuple[Column, ...]]
    target: ClassVar[str | tuple[str, ...]]
    classes: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[str]
    search_space: ClassVar[tuple[Parameter, ...]] = ()
    defaults: ClassVar[Mapping[str, Value]] = {}
    slices: ClassVar[tuple[str, ...]] = ()
    exact: ClassVar[bool] = False
    files: ClassVar[str] = ""
    csv: ClassVar[Csv] = Csv()
    shuffle_rows: ClassVar[int] = 65_536

    def load(self, root: Path) -> Columns | Iterator[Columns]:
        """Read the raw dataset below folder `root`: every column of the schema, n rows each.

        A generator yields the rows in chunks: the dataset is then never in memory as a whole, and each pass over it
        calls `load` again. Default: the package reads the files that `files` names, in chunks.
        """
        return read_tables(root, self.files, self.schema, self.csv)

    def fit(self, rows: Columns) -> State:
        """Learn what preprocessing needs, such as a vocabulary or a mean; default: nothing.

        Args:
            rows: rows of the training split alone, targets included; of a dataset that is read in chunks, a sample
                of at most `FIT_ROWS` of them.

        Returns:
            arrays and JSON values by name. They are kept in the model package and handed to `featurize` as its second
            argument, in training, evaluation, serving and everywhere else.
        """
        return {}

    @abstractmethod
    def featurize(self, rows: Columns, *args: Any, **kwargs: Any) -> Arrays:
        """Turn n raw rows (targets absent when serving) into the model's input: n rows of any type and shape.

        Written as `featurize(self, rows)`, or as `featurize(self, rows, state)` in a recipe with `fit`.
        """

    @abstractmethod
    def build(self, parameters: Mapping[str, Value], features: Any, *args: Any, **kwargs: Any) -> Any:
        """Return a compiled Keras model, or another model that follows `chandlery.frameworks.TrainableModel`.

        Args:
            parameters: hyperparameters, `defaults` filled in.
            features: the training features (n, ...), to read shapes and adapt normalisation from; of a dataset that is
                read in chunks, those of a sample of at most `FIT_ROWS` rows.
            args: the state, where `build` takes a third argument.
            kwargs: none is given.
        """

    @abstractmethod
    def metrics(self, truth: Any, outputs: Any) -> dict[str, float]:
        """Return named metrics of model outputs (n, ...) against the raw target column (n, ...); several by name."""

    @abstractmethod
    def answer(self, outputs: Any) -> Columns:
        """Turn model outputs (n, ...) into what a caller gets: named arrays of n rows. The first is the prediction."""

    @abstractmethod
    def wrong(self, prediction: Any, truth: Any) -> bool:
        """Return whether a served prediction was a bad one, once the truth is known.

        Args:
            prediction: the first answer column's value; of a recipe with several targets, all of them by name.
            truth: the target's value; of a recipe with several targets, all of them by name.
        """

    def labels(self, rows: Columns) -> Arrays:
        """Return the training target of n raw rows, in the form that the model's loss takes.

        Default: the target column; the columns by name where there are several.
        """
        found: Arrays = self.truth(rows)
        return found

    @classmethod
    def truth(cls, rows: Columns) -> Any:
        """Return the target column of n raw rows; the columns by name where there are several."""
        if isinstance(cls.target, str):
            return rows[cls.target]
        return {name: rows[name] for name in cls.target}

    @classmethod
    def targets(cls) -> tuple[str, ...]:
        """Return the names of the target columns."""
        return (cls.target,) if isinstance(cls.target, str) else tuple(cls.target)

    @classmethod
    def classifies(cls) -> bool:
        """Return whether the model chooses one of the classes."""
        return cls.task in ("classification", "binary", "multiclass")

    def rows(self, request: Mapping[str, np.ndarray]) -> Columns:
        """Turn a request into raw rows without the targets.

        Args:
            request: arrays by column name, as sent.

        Returns:
            one array per input column, of the schema's type and shape (n, *shape).

        Raises:
            RecipeError: a column is missing or unknown, or has the wrong type, shape or length; the message names what
                was expected.
        """
        return check_rows(self.inputs(), request)

    @classmethod
    def inputs(cls) -> tuple[Column, ...]:
        """Return the columns of a request: the schema without the targets."""
        targets = cls.targets()
        return tuple(column for column in cls.schema if column.name not in targets)

    @classmethod
    def maximise(cls) -> bool:
        """Return whether a larger objective is better."""
        return cls.objective not in LOWER_IS_BETTER


def check_rows(
    columns: tuple[Column, ...], request: Mapping[str, np.ndarray], what: str = "request"
) -> Columns:
    """Check and convert the arrays of a request, or of `what` the message is to name; see `Recipe.rows`."""
    expected = {column.name: column for column in columns}
    missing = [name for name in expected if name not in request]
    unknown = [name for name in request if name not in expected]
    if missing or unknown:
        problem = f"missing {missing[0]!r}" if missing else f"unknown column {unknown[0]!r}"
        raise RecipeError(f"{what}: {problem}", f"expected {describe(columns)}")
    rows: Columns = {}
    length: int | None = None
    for name, column in expected.items():
        array = as_array(request[name], f"{what}: {name!r}")
        if array.ndim != 1 + len(column.shape) or array.shape[1:] != column.shape:
            raise RecipeError(f"{what}: {name!r} has shape {array.shape}", f"expected {describe(columns)}")
        if length is not None and array.shape[0] != length:
            raise RecipeError(
                f"{what}: {name!r} has {array.shape[0]} rows where others have {length}",
                f"expected {describe(columns)}",
            )
        length = array.shape[0]
        rows[name] = _convert(column, array, columns, what)
    return rows


def as_array(value: object, what: str) -> np.ndarray:
    """Return a value as an array.

    Raises:
        RecipeError: the value cannot be an array, such as lists of unequal lengths.
    """
    try:
        return np.asarray(value)
    except Exception as error:  # it may be an object of any library
        raise RecipeError(
            f"{what} is not an array: {error}", "use an array, or lists of equal lengths"
        ) from error


def describe(columns: tuple[Column, ...]) -> str:
    """Return one line that names each column with its type and shape, `n` being the number of rows."""
    return ", ".join(f"{c.name}: {c.dtype}{['n', *c.shape]}".replace("'", "") for c in columns)


def _convert(column: Column, array: np.ndarray, columns: tuple[Column, ...], what: str) -> np.ndarray:
    wants_text = column.dtype == "str"
    if wants_text != (array.dtype.kind in "UO"):
        raise RecipeError(f"{what}: {column.name!r} is {array.dtype}", f"expected {describe(columns)}")
    if wants_text:
        return _texts(column, array, f"{what}: {column.name!r}")
    if array.dtype.kind not in "biuf":
        raise RecipeError(f"{what}: {column.name!r} is {array.dtype}", f"expected {describe(columns)}")
    whole = "int" in column.dtype
    if whole and column.nullable:
        return _whole_with_gaps(column, array, columns, what)
    if array.dtype == column.dtype:
        converted = array.copy()
    else:
        with np.errstate(all="ignore"):  # a number that does not fit is refused below, not warned of
            converted = array.astype(column.dtype)
        if (whole or column.dtype == "bool") and not np.array_equal(converted, array):
            raise RecipeError(
                f"{what}: {column.name!r} {_misfit(column, array)}", f"expected {describe(columns)}"
            )
    if not column.nullable and converted.dtype.kind == "f" and not np.isfinite(converted).all():
        raise RecipeError(
            f"{what}: {column.name!r} has a value that is not finite", f"expected {describe(columns)}"
        )
    return converted


def _misfit(column: Column, array: np.ndarray) -> str:
    """Return in words why numbers do not become whole numbers or booleans."""
    if array.dtype.kind == "f" and np.isnan(array).any():
        return "has a missing value"
    if column.dtype == "bool":
        return "has a number that is neither 0 nor 1"
    if array.dtype.kind == "f" and not np.array_equal(array, np.floor(array)):
        return "is not whole numbers"
    return f"has a number that {column.dtype} cannot hold"


def _whole_with_gaps(column: Column, array: np.ndarray, columns: tuple[Column, ...], what: str) -> np.ndarray:
    """Return whole numbers of which some may be missing: float64 with NaN, for want of an integer that says so.

    Always float64: the type of a row must not depend on the rows beside it.
    """
    known = array[~np.isnan(array)] if array.dtype.kind == "f" else array
    expected = f"expected {describe(columns)}"
    if known.dtype.kind == "f" and (not np.array_equal(known, np.floor(known)) or np.isinf(known).any()):
        raise RecipeError(f"{what}: {column.name!r} is not whole numbers", expected)
    # As a float the limit itself may be a neighbour that was rounded.
    most = EXACT - 1 if known.dtype.kind == "f" else EXACT
    if known.dtype.itemsize == 8 and ((known > most) | (known < -most)).any():
        raise RecipeError(
            f"{what}: {column.name!r} has a number beyond 2^53, and a column with missing values is of floats",
            f"declare it str; {expected}",
        )
    return array.astype("float64")


def _texts(column: Column, array: np.ndarray, what: str) -> np.ndarray:
    if array.dtype.kind == "U":
        return array.copy()
    if not all(isinstance(value, str) for value in array.flat):
        missing = np.array([_is_missing(value) for value in array.flat]).reshape(array.shape)
        if missing.any() and not column.nullable:
            raise RecipeError(
                f"{what} has a missing text",
                "declare the Column nullable, which makes it the empty text, or fill it before",
            )
        array = np.where(missing, "", array)
    lengths = np.fromiter(
        (len(value) if isinstance(value, str) else 0 for value in array.flat), dtype="int64"
    )
    longest = int(lengths.max(initial=0))
    if 4 * longest * array.size > TEXT_BYTES:  # numpy gives each text the room of the longest
        raise RecipeError(
            f"{what} has a text of {longest} characters among {array.size} texts",
            "shorten it in load(), or load fewer rows at a time",
        )
    texts = array.astype(str)
    if not np.array_equal(np.char.str_len(texts).ravel(), lengths) and all(
        isinstance(v, str) for v in array.flat
    ):
        raise RecipeError(f"{what} has a text that ends with a NUL character", "remove it in load()")
    return texts


def _is_missing(value: object) -> bool:
    """Return whether a value among texts stands for none: None, NaN, or what pandas has for it."""
    return (
        value is None
        or (isinstance(value, float) and value != value)
        or type(value).__name__ in ("NAType", "NaTType")
    )


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe instance with where it came from.

    Attributes:
        recipe: the instance.
        reference: the pinned reference, `target:Class@digest`.
        digest: first 16 hex digits of the SHA-256 over the source files that go with it.
        source: folder whose Python files belong to the recipe.
        entry: path of the recipe's own file, relative to `source`.
    """

    recipe: Recipe
    reference: str
    digest: str
    source: Path
    entry: str

    @property
    def class_name(self) -> str:
        """Name of the recipe class."""
        return type(self.recipe).__name__


def load_recipe(reference: str) -> LoadedRecipe:
    """Load a recipe.

    Args:
        reference: `path/to/recipe.py:Class` or `package.module:Class`, optionally followed by `@<digest>`, which
            must then match the source. A file may import its neighbours, `from churn import Churn` or relatively.

    Raises:
        RecipeError: not found, not loadable, not a recipe, or changed since it was pinned.
    """
    target, class_name, pinned = _parse(reference)
    source, entry = _locate(target, reference)
    digest = source_digest(source)
    if pinned and pinned != digest:
        raise RecipeError(
            f"recipe {target}:{class_name} is {digest}, but {pinned} was asked for",
            "its source changed: run again with the unpinned reference",
        )
    module = _import(source, entry, digest, reference)
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Recipe)):
        raise RecipeError(
            f"recipe {target}: no Recipe class named {class_name!r}",
            "reference it as path/to/recipe.py:Class",
        )
    try:
        recipe = cls()
    except Exception as error:
        raise RecipeError(
            f"recipe {target}:{class_name} cannot be made: {error}", "a recipe takes no arguments"
        ) from error
    _check(recipe, reference)
    return LoadedRecipe(recipe, f"{target}:{class_name}@{digest}", digest, source, entry)


def pin(reference: str) -> str:
    """Return `reference` with the digest of its source, so that a changed recipe is a changed argument."""
    return load_recipe(reference).reference


def snapshot(loaded: LoadedRecipe, folder: Path) -> str:
    """Copy the recipe's source files below `folder`; return the reference relative to it, `entry.py:Class`."""
    for path in _files(loaded.source):
        copy = folder / path.relative_to(loaded.source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    package = package_of(loaded.source)
    if package:
        (folder / PACKAGE).write_text(f"{package}\n", encoding="utf-8")
    return f"{loaded.entry}:{loaded.class_name}"


def load_snapshot(folder: Path, reference: str) -> LoadedRecipe:
    """Load a recipe that `snapshot` wrote to `folder`."""
    entry, _, class_name = reference.partition(":")
    digest = source_digest(folder)
    module = _import(folder, entry, digest, reference)
    cls = getattr(module, class_name, None)
    if not (isinstance(cls, type) and issubclass(cls, Recipe)):
        raise RecipeError(
            f"recipe snapshot {folder}: no Recipe class named {class_name!r}", "the model package is damaged"
        )
    return LoadedRecipe(cls(), reference, digest, folder, entry)


def source_digest(folder: Path) -> str:
    """Return the digest over names and contents of the Python files that belong to a recipe in `folder`."""
    digest = hashlib.sha256()
    for path in _files(folder):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:DIGEST_LENGTH]


def _files(folder: Path) -> Iterator[Path]:
    # The folder's own modules and its sub-packages: what a relative import can reach, and nothing that lies about.
    for path in sorted(folder.iterdir()):
        if path.suffix == ".py" and path.is_file():
            yield path
        elif (path / "__init__.py").is_file() and path.name not in ("__pycache__", "tests"):
            yield from _files(path)


def _parse(reference: str) -> tuple[str, str, str]:
    body, _, pinned = reference.partition("@")
    target, colon, class_name = body.rpartition(":")
    if not colon or not target or not class_name.isidentifier():
        raise RecipeError(
            f"recipe {reference!r} is not a reference", "use path/to/recipe.py:Class or package.module:Class"
        )
    return target, class_name, pinned


def _locate(target: str, reference: str) -> tuple[Path, str]:
    if target.endswith(".py"):
        try:
            path = Path(target).resolve()
            found = path.is_file()
        except (OSError, ValueError) as error:
            raise RecipeError(f"recipe {reference!r}: {error}", "use path/to/recipe.py:Class") from error
        if not found:
            raise RecipeError(
                f"recipe {reference!r}: no file {path}", "use path/to/recipe.py:Class or package.module:Class"
            )
        return path.parent, path.name
    if not all(part.isidentifier() for part in target.split(".")):
        raise RecipeError(
            f"recipe {reference!r} is not a reference", "use path/to/recipe.py:Class or package.module:Class"
        )
    try:
        spec = importlib.util.find_spec(target)
    except Exception as error:  # it imports the packages above the module, which may do anything
        raise RecipeError(
            f"recipe {reference!r}: cannot import {target}: {error}", "install the package, or give a path"
        ) from error
    if spec is None or spec.origin is None:
        raise RecipeError(
            f"recipe {reference!r}: no module {target}", "install the package, or give a path to a .py file"
        )
    origin = Path(spec.origin)
    source = origin.parents[target.count(".") - 1] if "." in target else origin.parent
    if origin.name == "__init__.py":
        source = origin.parents[target.count(".")]
    return source, str(origin.relative_to(source))


def _import(source: Path, entry: str, digest: str, reference: str) -> types.ModuleType:
    try:
        return import_recipe(source, entry, digest)
    except ModuleNotFoundError as error:
        raise RecipeError(
            f"recipe {reference!r} imports {error.name}, which is not installed and not beside {source / entry}",
            f"install {error.name} here and in the image, or put the file beside the recipe",
        ) from error
    except Exception as error:
        raise RecipeError(
            f"recipe {reference!r} cannot be loaded: {type(error).__name__}: {error}", f"see {source / entry}"
        ) from error


def _check(recipe: Recipe, reference: str) -> None:
    for name in ("task", "schema", "target", "objective"):
        if not hasattr(recipe, name):
            raise RecipeError(
                f"recipe {reference!r} has no {name!r}",
                "see chandlery.recipe.Recipe for the class attributes",
            )
    if recipe.task not in TASKS:
        raise RecipeError(f"recipe {reference!r}: task is {recipe.task!r}", f"valid: {', '.join(TASKS)}")
    _check_columns(recipe, reference)
    names = {column.name for column in recipe.schema}
    for target in recipe.targets():
        if target not in names:
            raise RecipeError(
                f"recipe {reference!r}: target {target!r} is not in its schema", "add it as a Column"
            )
    if not recipe.targets():
        raise RecipeError(f"recipe {reference!r} has no target", "name one column of its schema, or several")
    unknown = [name for name in recipe.slices if name not in names]
    if unknown:
        raise RecipeError(
            f"recipe {reference!r}: slices has {unknown[0]!r}, which is not in its schema",
            f"it has: {', '.join(column.name for column in recipe.schema)}",
        )
    if recipe.task == "binary" and len(recipe.classes) != 2:
        raise RecipeError(
            f"recipe {reference!r}: task is binary and it has {len(recipe.classes)} classes",
            "name two classes",
        )
    if type(recipe).load is Recipe.load and not recipe.files:
        raise RecipeError(
            f"recipe {reference!r} does not say how its data is read",
            "write load(), or set files to a glob such as '**/*.csv'",
        )
    if learns(recipe) and not _takes(recipe.featurize, 2):
        raise RecipeError(
            f"recipe {reference!r} has fit() and its featurize() takes no state",
            "write featurize(self, rows, state)",
        )
    if not learns(recipe) and _takes(recipe.featurize, 2, required=True):
        raise RecipeError(
            f"recipe {reference!r}: featurize() takes a state and there is no fit() to learn it",
            "write fit(self, rows), or featurize(self, rows)",
        )


def _check_columns(recipe: Recipe, reference: str) -> None:
    seen: set[str] = set()
    for column in recipe.schema:
        what = f"recipe {reference!r}: column {column.name!r}"
        if column.dtype not in DTYPES:
            hint = "declare it str: dates and times are ISO 8601 texts" if "date" in column.dtype else ""
            raise RecipeError(
                f"{what} has the type {column.dtype!r}", hint or f"valid: {', '.join(sorted(DTYPES))}"
            )
        if column.name in seen:
            raise RecipeError(f"{what} is there twice", "rename one of them")
        seen.add(column.name)


def learns(recipe: Recipe) -> bool:
    """Return whether a recipe has a `fit` of its own."""
    return type(recipe).fit is not Recipe.fit


def learn(recipe: Recipe, rows: Columns) -> State:
    """Return what the recipe learns from training rows, as it will be read from a model package.

    Raises:
        RecipeError: `fit` raised, or returned what cannot be saved.
    """
    if not learns(recipe):
        return {}
    return checked_state(guarded(recipe, "fit", dict(rows)), f"{type(recipe).__name__}.fit")


def featurized(recipe: Recipe, rows: Columns, state: State) -> Any:
    """Return what `featurize` returns for rows; whatever it raises comes out as it is."""
    return recipe.featurize(rows, state) if learns(recipe) else recipe.featurize(rows)


def built(recipe: Recipe, parameters: Mapping[str, Value], features: Any, state: State) -> Any:
    """Return the model that `build` makes.

    Raises:
        RecipeError: it raised.
    """
    more = (state,) if _takes(recipe.build, 3) else ()
    return guarded(recipe, "build", parameters, features, *more)


def _takes(method: Any, count: int, required: bool = False) -> bool:
    """Return whether a method takes `count` positional arguments, or takes no fewer."""
    parameters = [
        p
        for p in inspect.signature(method).parameters.values()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    if required:
        parameters = [p for p in parameters if p.default is p.empty]
    return len(parameters) >= count


class Refused(RecipeError):  # noqa: N818 - an answer to the caller, not a failure of the server
    """A request that the recipe will not answer. Raise it in `featurize` or `answer`: the caller gets 400 and the reason.

    A request of many rows is refused as a whole. Any other exception is a defect of the recipe: the caller gets 500.

    Args:
        reason: why, for the caller: one sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(str(reason))


def guarded(recipe: Recipe, method: str, *arguments: Any) -> Any:
    """Call a recipe's method; whatever it raises becomes a RecipeError that names the method."""
    try:
        return getattr(recipe, method)(*arguments)
    except Refused as refused:
        raise RecipeError(
            f"{type(recipe).__name__}.{method} refused rows of the data: {refused.message}",
            "leave such rows out in load(), or answer them",
        ) from refused
    except RecipeError:
        raise
    except Exception as error:
        raise RecipeError(
            f"{type(recipe).__name__}.{method} raised {type(error).__name__}: {error}",
            "correct the recipe and run again",
        ) from error


def split_rows(rows: Columns) -> np.ndarray:
    """Assign each row to `train`, `validation` or `test` by the hash of its content.

    A row keeps its place in every later commit of the data, so a champion is never tested on rows that it was
    trained on, whichever commit they came from. Shares: 70, 15 and 15 percent.

    Returns:
        array of n strings.
    """
    shares = row_shares(rows)
    parts = np.full(len(shares), "test", dtype="U10")
    parts[shares < 0.85] = "validation"
    parts[shares < 0.70] = "train"
    return parts


def row_shares(rows: Columns) -> np.ndarray:
    """Return for each row a number in [0, 1) that depends on its content alone: uniform, and equal for equal rows."""
    length = len(next(iter(rows.values())))
    groups: list[Any] = []  # of each row: its bytes, or an array of them
    numbers: list[np.ndarray] = []
    for _, column in sorted(rows.items()):
        if column.dtype.kind not in "UO":
            numbers.append(
                np.ascontiguousarray(column).reshape(length, -1).view(np.uint8).reshape(length, -1)
            )
            continue
        if numbers:
            groups.append(np.concatenate(numbers, axis=1))
            numbers = []
        texts = np.char.encode(column.astype("U"), "utf-8")
        # Element by element: an array of texts is as wide as its longest, which is no property of the row.
        if texts.ndim == 1:
            groups.append([text or b"\0" for text in texts.tolist()])  # numpy's bytes of an empty text
        else:
            groups.append([b"\0".join(row.ravel().tolist()) for row in texts])
    if numbers:
        groups.append(np.concatenate(numbers, axis=1))
    contents = groups[0] if len(groups) == 1 else (b"".join(row) for row in zip(*groups, strict=True))
    hashes = np.fromiter(
        (int.from_bytes(hashlib.blake2b(row, digest_size=4).digest(), "big") for row in contents),
        dtype="uint32",
        count=length,
    )
    return hashes / 2**32


def part_of(recipe: Recipe, rows: Columns) -> np.ndarray:
    """Return the part of each row, n of `train`, `validation` or `test`, from its inputs alone."""
    return split_rows(hashed_columns(recipe, rows))


def hashed_columns(recipe: Recipe, rows: Columns) -> Columns:
    """Return the columns of rows by whose content they are split: the inputs, whole numbers as integers.

    Raises:
        RecipeError: the schema has no input.
    """
    if not recipe.inputs():
        raise RecipeError(f"{type(recipe).__name__} has no input column", "add one to its schema")
    return {column.name: _hashed(column, rows[column.name]) for column in recipe.inputs()}


def _hashed(column: Column, array: np.ndarray) -> np.ndarray:
    if not ("int" in column.dtype and array.dtype.kind == "f"):
        return array
    missing = np.isnan(array)
    return np.where(missing, np.iinfo(column.dtype).min, np.where(missing, 0, array).astype(column.dtype))


def take(rows: Columns, which: Any) -> Columns:
    """Return the rows selected by a boolean mask, by indices or by a slice."""
    return {name: column[which] for name, column in rows.items()}
