"""What fitting asks of a dataset: features and labels in batches, in memory or streamed from chunks.

A streamed dataset is read once an epoch. Each chunk is split, featurized and put into a buffer of `Recipe.shuffle_rows`
rows, from which batches are drawn at random; tf.data reads ahead in a thread of its own. The rows of the validation
part are kept as files in a temporary folder during the first epoch, so that they are not read and featurized again.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandlery.arrays import concatenate, count, pick
from chandlery.errors import ChandleryError
from chandlery.example import example_row
from chandlery.frameworks.keras import tensors
from chandlery.recipe import (
    FIT_ROWS,
    Columns,
    Recipe,
    State,
    hashed_columns,
    learn,
    learns,
    part_of,
    row_shares,
    take,
)
from chandlery.training.dataset import Chunks, check_part, featurize, label_arrays, size, split

READ_AHEAD = 4  # batches that tf.data keeps ready
BUFFER_BYTES = 128 * 2**20  # the shuffle buffer holds fewer rows where rows are large
SAMPLE_BYTES = 512 * 2**20  # likewise the sample that `fit` sees


@dataclass(frozen=True)
class Part:
    """Rows of one part of a dataset, n each: features, labels as the loss takes them, raw targets."""

    features: Any
    labels: Any
    truth: Any


class Data(AbstractContextManager["Data"]):
    """A recipe's dataset as fitting uses it.

    Attributes:
        state: what the recipe's `fit` learned from the training part.
    """

    state: State

    @abstractmethod
    def sample(self) -> Any:
        """Return training features for `build`."""

    @abstractmethod
    def rows(self) -> int:
        """Return the number of training rows; known after the first pass."""

    @abstractmethod
    def training(self) -> tuple[Any, Any]:
        """Return all training features and labels, in memory."""

    @abstractmethod
    def validation_parts(self) -> Iterator[Part]:
        """Yield the validation part, in pieces; after the first pass."""

    @abstractmethod
    def batches(self, batch: int, random: np.random.Generator) -> Iterator[tuple[Any, Any]]:
        """Yield features and labels of one epoch in whole batches, in random order, ready for Keras.

        Whole batches only: another shape would be traced again. The order changes, so each row has its turn.
        """

    @abstractmethod
    def example(self) -> Columns:
        """Return one raw row of the validation part, without the targets."""

    def first_features(self) -> Any:
        """Return the features of one training row."""
        return pick(self.sample(), slice(0, 1))

    def validation(self) -> Part:
        """Return the whole validation part, in memory."""
        parts = list(self.validation_parts())
        return Part(
            *(concatenate([getattr(p, name) for p in parts]) for name in ("features", "labels", "truth"))
        )

    def some_validation(self, rows: int) -> Any:
        """Return features of up to `rows` rows of the validation part."""
        return pick(next(iter(self.validation_parts())).features, slice(0, rows))

    def __exit__(self, *exception: object) -> None:
        """Remove what was kept in files."""


def open_data(recipe: Recipe, rows: Columns | Chunks) -> Data:
    """Return a dataset for fitting; use as a context manager.

    Raises:
        RecipeError: a method of the recipe raised, or returned the wrong thing.
        TrainingError: a part has no rows.
    """
    return StreamedData(recipe, rows) if isinstance(rows, Chunks) else MemoryData(recipe, rows)


class MemoryData(Data):
    """All features in memory."""

    def __init__(self, recipe: Recipe, rows: Columns) -> None:
        """Split, learn and featurize."""
        parts = split(recipe, rows)
        self.state = learn(recipe, parts.train)
        self._training = _part(recipe, parts.train, self.state)
        self._rows = size(parts.train)
        self._recipe, self._validation_rows = recipe, parts.validation
        self._validation: Part | None = None

    def sample(self) -> Any:
        """Return all training features."""
        return self._training.features

    def rows(self) -> int:
        """Return the number of training rows."""
        return self._rows

    def training(self) -> tuple[Any, Any]:
        """Return all training features and labels."""
        return self._training.features, self._training.labels

    def validation_parts(self) -> Iterator[Part]:
        """Yield the validation part, in one piece."""
        if self._validation is None:
            self._validation = _part(self._recipe, self._validation_rows, self.state)
        yield self._validation

    def example(self) -> Columns:
        """Return a row of the validation part."""
        return example_row(self._recipe.inputs(), self._validation_rows)

    def batches(self, batch: int, random: np.random.Generator) -> Iterator[tuple[Any, Any]]:
        """Yield the training part in a random order."""
        features, labels = self.training()
        batch = min(batch, self._rows)
        order = random.permutation(self._rows)
        for start in range(0, self._rows - batch + 1, batch):
            chosen = order[start : start + batch]
            yield tensors(pick(features, chosen)), pick(labels, chosen)


class StreamedData(Data):
    """One chunk and a shuffle buffer in memory."""

    def __init__(self, recipe: Recipe, chunks: Chunks) -> None:
        """Read as much as is needed to learn the state and to know types and shapes."""
        self._recipe, self._chunks = recipe, chunks
        rows = _sample(recipe, chunks)
        self.state = learn(recipe, rows)
        self._sample = featurize(recipe, rows, self.state)
        self._labels = label_arrays(recipe, rows)
        self._rows = 0
        self._kept = Path(tempfile.mkdtemp(prefix="chandlery-validation-"))
        self._files: list[Path] | None = None

    def __exit__(self, *exception: object) -> None:
        """Remove the files of the validation part."""
        shutil.rmtree(self._kept, ignore_errors=True)

    def sample(self) -> Any:
        """Return the features of a sample of the training part."""
        return self._sample

    def rows(self) -> int:
        """Return the number of training rows; 0 before the first pass has ended."""
        return self._rows

    def training(self) -> tuple[Any, Any]:
        """Return all training features and labels: for models that cannot stream."""
        parts = list(self._pass())
        return concatenate([part[0] for part in parts]), concatenate([part[1] for part in parts])

    def validation_parts(self) -> Iterator[Part]:
        """Yield the validation part, a piece for each chunk."""
        if self._files is None:
            for _ in self._pass():
                pass
        for path in self._files or []:
            yield _read(path)

    def example(self) -> Columns:
        """Return a row of the validation part, from the first chunk that has any."""
        for chunk in self._chunks:
            chosen = part_of(self._recipe, chunk) == "validation"
            if chosen.any():
                return example_row(self._recipe.inputs(), take(chunk, chosen))
        return {}

    def batches(self, batch: int, random: np.random.Generator) -> Iterator[tuple[Any, Any]]:
        """Yield the training part from a shuffle buffer, read ahead by tf.data."""
        import tensorflow as tf

        # A generator's exception comes out of tf.data as a text; the original one is kept for the caller.
        failed: list[BaseException] = []

        def source() -> Iterator[tuple[Any, Any]]:
            try:
                yield from shuffled(self._pass(), batch, self._buffer(), random)
            except Exception as error:
                failed.append(error)
                raise

        signature = (_specs(self._sample), _specs(self._labels))
        dataset = tf.data.Dataset.from_generator(source, output_signature=signature).prefetch(READ_AHEAD)
        try:
            yield from dataset
        except tf.errors.OpError:
            if failed and isinstance(failed[0], ChandleryError):
                raise failed[0] from None
            raise

    def _buffer(self) -> int:
        return fitting_rows(self._recipe.shuffle_rows, BUFFER_BYTES, self._sample)

    def _pass(self) -> Iterator[tuple[Any, Any]]:
        """Yield features and labels of the training part of each chunk; the first whole pass keeps the rest."""
        keep = self._files is None
        files: list[Path] = []
        rows = total = validation = 0
        for index, chunk in enumerate(self._chunks):
            parts = part_of(self._recipe, chunk)
            total += size(chunk)
            chosen = parts == "validation"
            if keep and chosen.any():
                part = _part(self._recipe, take(chunk, chosen), self.state)
                files.append(self._kept / f"{index}.npz")
                _write(files[-1], part)
                validation += int(chosen.sum())
            chosen = parts == "train"
            if chosen.any():
                part = _part(self._recipe, take(chunk, chosen), self.state)
                rows += int(chosen.sum())
                yield part.features, part.labels
        check_part("train", rows, total)
        if keep:
            check_part("validation", validation, total)
            self._files, self._rows = files, rows


def row_bytes(arrays: Any) -> int:
    """Return the bytes of a row: a text takes the room of the longest in its array."""
    return sum(array.nbytes // max(1, len(array)) for array in _flat("", arrays).values())


def fitting_rows(rows: int, room: int, *arrays: Any) -> int:
    """Return how many rows, `rows` at most and one at least, fit into `room` bytes when they are joined."""
    return max(1, min(rows, room // max(1, *(row_bytes(part) for part in arrays))))


def narrow(arrays: Any) -> Any:
    """Return arrays whose texts take no more room than the longest left."""
    if isinstance(arrays, Mapping):
        return {name: narrow(array) for name, array in arrays.items()}
    if arrays.dtype.kind != "U":
        return arrays
    return arrays.astype(f"U{max(1, int(np.char.str_len(arrays).max(initial=0)))}")


def shuffled(
    parts: Iterator[tuple[Any, Any]], batch: int, buffer: int, random: np.random.Generator
) -> Iterator[tuple[Any, Any]]:
    """Yield features and labels in whole batches, drawn at random from a buffer of `buffer` rows or a few more.

    The buffer is smaller while it holds a long text, which widens all others. What is left of less than a batch at the
    end is dropped, unless there was no whole batch at all.
    """
    held: list[tuple[Any, Any]] = []
    waiting, yielded = 0, False

    def drawn(least: int) -> Iterator[tuple[Any, Any]]:
        # Yields until fewer than `least` + `batch` rows are left, and keeps these.
        features = concatenate([part[0] for part in held])
        labels = concatenate([part[1] for part in held])
        order = random.permutation(waiting)
        start = 0
        while waiting - start >= max(batch, least + batch):
            chosen = order[start : start + batch]
            yield pick(features, chosen), pick(labels, chosen)
            start += batch
        rest = order[start:]
        held[:] = [(narrow(pick(features, rest)), pick(labels, rest))]

    for features, labels in parts:
        while count(labels):
            limit = fitting_rows(buffer, BUFFER_BYTES, features, *(other for other, _ in held))
            if waiting >= max(limit, 2 * batch):  # what waits is not joined to rows that are so much wider
                for ready in drawn(0):
                    yielded = True
                    yield ready
                waiting = count(held[0][1])
                limit = fitting_rows(buffer, BUFFER_BYTES, features, held[0][0])
            wide = limit < fitting_rows(buffer, BUFFER_BYTES, features)  # by what waits
            piece = slice(0, max(batch, limit - waiting) if wide else None)
            held.append((pick(features, piece), pick(labels, piece)))
            waiting += count(held[-1][1])
            rest = slice(piece.stop if wide else count(labels), None)
            features, labels = pick(features, rest), pick(labels, rest)
            if waiting >= max(limit, 2 * batch):
                for ready in drawn(limit // 2):
                    yielded = True
                    yield ready
                waiting = count(held[0][1])
    if not held:
        return
    for ready in drawn(0):
        yielded = True
        yield ready
    if not yielded:
        yield held[0]


def _part(recipe: Recipe, rows: Columns, state: State) -> Part:
    return Part(featurize(recipe, rows, state), label_arrays(recipe, rows), recipe.truth(rows))


def _sample(recipe: Recipe, chunks: Chunks) -> Columns:
    """Return training rows to learn from.

    For a recipe with `fit`, those whose content has the smallest hashes, from a pass over all chunks: a sample that
    does not depend on the order of the rows. Otherwise those of the first chunk that has any.
    """
    kept: Columns = {}
    shares = np.empty(0)
    total = 0
    for chunk in chunks:
        found = row_shares(hashed_columns(recipe, chunk))
        total += size(chunk)
        chosen = found < 0.70
        if not chosen.any():
            continue
        shares = np.concatenate([shares, found[chosen]])
        more = take(chunk, chosen)
        most = fitting_rows(FIT_ROWS, SAMPLE_BYTES, more, *([kept] if kept else []))
        if len(shares) > most:
            # Before they are joined: one long text would widen all others.
            old = len(shares) - size(more)
            smallest = np.sort(np.argpartition(shares, most)[:most])
            more, shares = take(more, smallest[smallest >= old] - old), shares[smallest]
            kept = take(kept, smallest[smallest < old]) if kept else kept
        kept = concatenate([kept, more]) if kept else more
        if not learns(recipe):
            break
    check_part("train", size(kept), total)
    return kept


def _specs(arrays: Any) -> Any:
    import tensorflow as tf

    if isinstance(arrays, Mapping):
        return {name: _specs(array) for name, array in arrays.items()}
    kind = tf.string if arrays.dtype.kind == "U" else tf.as_dtype(arrays.dtype)
    return tf.TensorSpec([None, *arrays.shape[1:]], kind)


def _flat(name: str, arrays: Any) -> dict[str, np.ndarray]:
    if isinstance(arrays, Mapping):
        return {f"{name}/{key}": array for key, array in arrays.items()}
    return {name: arrays}


def _write(path: Path, part: Part) -> None:
    flat: dict[str, Any] = {}
    for name in ("features", "labels", "truth"):
        flat |= _flat(name, getattr(part, name))
    np.savez(path, allow_pickle=False, **flat)


def _read(path: Path) -> Part:
    with np.load(path, allow_pickle=False) as archive:
        whole = {name: archive[name] for name in archive.files}

    def of(name: str) -> Any:
        if name in whole:
            return whole[name]
        return {key.partition("/")[2]: array for key, array in whole.items() if key.startswith(f"{name}/")}

    return Part(of("features"), of("labels"), of("truth"))
