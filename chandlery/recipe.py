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
import shutil
import types
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from chandlery.errors import RecipeError
from chandlery.recipe_import import import_recipe

if TYPE_CHECKING:
    import keras

Columns = dict[str, np.ndarray]
Value = float | int | str

DIGEST_LENGTH = 16  # hex digits of the recipe digest that a pinned reference carries

# Metrics for which lower is better; every other objective is maximised.
LOWER_IS_BETTER = frozenset({"loss", "mae", "mse", "rmse", "log_loss", "brier"})


@dataclass(frozen=True)
class Column:
    """One column of the raw data: the same declaration validates datasets, describes and checks requests.

    Attributes:
        name: column name.
        dtype: numpy type name: `float32`, `float64`, `int64`, `bool` or `str`.
        shape: shape of one row's value; () for a scalar.
        minimum: smallest value allowed; None for no limit.
        maximum: largest value allowed; None for no limit.
        allowed: closed set of values; empty for no limit.
        nullable: missing values (NaN) are allowed.
        description: what it is, with its unit.
    """

    name: str
    dtype: str = "float64"
    shape: tuple[int, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Value, ...] = ()
    nullable: bool = False
    description: str = ""


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

    Class attributes:
        task: `classification` or `regression`.
        schema: the columns of the raw data, target included.
        target: name of the target column.
        classes: names of the classes in the order of the model's outputs; classification only.
        objective: metric that search and comparison use; one that `metrics` returns.
        search_space: dimensions that `tune_hyperparameters` searches.
        defaults: parameters used where nothing else is given; `epochs` and `batch_size` steer training itself.
        slices: columns by whose values `evaluate_model` breaks the metrics down.
    """

    task: ClassVar[Literal["classification", "regression"]]
    schema: ClassVar[tuple[Column, ...]]
    target: ClassVar[str]
    classes: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[str]
    search_space: ClassVar[tuple[Parameter, ...]] = ()
    defaults: ClassVar[Mapping[str, Value]] = {}
    slices: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def load(self, root: Path) -> Columns:
        """Read the raw dataset below folder `root`: every column of the schema, n rows each."""

    @abstractmethod
    def featurize(self, rows: Columns) -> np.ndarray:
        """Turn n raw rows (target absent when serving) into the model's input, float32 of shape (n, ...)."""

    @abstractmethod
    def build(self, parameters: Mapping[str, Value], features: np.ndarray) -> keras.Model:
        """Return a compiled Keras model.

        Args:
            parameters: hyperparameters, `defaults` filled in.
            features: the training features, float32 (n, ...), to read shapes and adapt normalisation from.
        """

    @abstractmethod
    def metrics(self, truth: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
        """Return named metrics of model outputs (n, ...) against the raw target column (n,)."""

    @abstractmethod
    def answer(self, outputs: np.ndarray) -> Columns:
        """Turn model outputs (n, ...) into what a caller gets: named arrays of n rows. The first is the prediction."""

    @abstractmethod
    def wrong(self, prediction: Value, truth: Value) -> bool:
        """Return whether a served prediction (the first answer column's value) was a bad one, once the truth is known."""

    def labels(self, rows: Columns) -> np.ndarray:
        """Return the training target of n raw rows, in the form that the model's loss takes; default: the target column."""
        return rows[self.target]

    def rows(self, request: Mapping[str, np.ndarray]) -> Columns:
        """Turn a request into raw rows without the target.

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
        """Return the columns of a request: the schema without the target."""
        return tuple(column for column in cls.schema if column.name != cls.target)

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
        return array.astype(str)
    if array.dtype.kind not in "biuf":
        raise RecipeError(f"{what}: {column.name!r} is {array.dtype}", f"expected {describe(columns)}")
    if array.dtype == column.dtype:
        converted = array.copy()
    else:
        with np.errstate(all="ignore"):  # a number that does not fit is refused below, not warned of
            converted = array.astype(column.dtype)
        if column.dtype.startswith("int") and not np.array_equal(converted, array):
            raise RecipeError(
                f"{what}: {column.name!r} is not whole numbers", f"expected {describe(columns)}"
            )
    if not column.nullable and converted.dtype.kind == "f" and not np.isfinite(converted).all():
        raise RecipeError(
            f"{what}: {column.name!r} has a value that is not finite", f"expected {describe(columns)}"
        )
    return converted


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
    if recipe.task not in ("classification", "regression"):
        raise RecipeError(
            f"recipe {reference!r}: task is {recipe.task!r}", "valid: classification, regression"
        )
    if recipe.target not in {column.name for column in recipe.schema}:
        raise RecipeError(
            f"recipe {reference!r}: target {recipe.target!r} is not in its schema", "add it as a Column"
        )


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
    length = len(next(iter(rows.values())))
    buffers = [np.ascontiguousarray(column) for _, column in sorted(rows.items())]
    buffers = [np.char.encode(b.astype("U"), "utf-8") if b.dtype.kind in "UO" else b for b in buffers]
    parts = np.empty(length, dtype="U10")
    for index in range(length):
        digest = hashlib.blake2b(digest_size=4)
        for buffer in buffers:
            digest.update(buffer[index].tobytes())
        share = int.from_bytes(digest.digest(), "big") / 2**32
        parts[index] = "train" if share < 0.70 else "validation" if share < 0.85 else "test"
    return parts


def take(rows: Columns, which: np.ndarray) -> Columns:
    """Return the rows selected by a boolean mask or by indices."""
    return {name: column[which] for name, column in rows.items()}
