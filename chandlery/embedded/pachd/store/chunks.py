"""File contents: chunks named by their BLAKE2b-256 digest, and the lists of chunks that files consist of.

A file is cut every 8 MiB. Its list of chunks is a byte string of records (32 bytes of digest, 8 bytes of
length), and the digest of the file is B(B(chunk 1) | B(chunk 2) | ...), as in Pachyderm, which cuts where the
content says so. A file below 1,000,000 bytes is one chunk in both, so there the digests are the same.

Chunks up to 16 KiB live in the database, larger ones in files; so thousands of small files cost one
transaction, and a large one never passes through SQLite.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from grpc import StatusCode

from chandlery.embedded.pachd.store.failure import ServiceError
from chandlery.processes.locks import claimed, shared

CHUNK_BYTES = 8 * 1024 * 1024
SMALL_BYTES = 16 * 1024
RECORD_BYTES = 40
_PIECE = 64 * 1024  # smaller parts of a chunk are put together
_IN_FLIGHT = 3  # chunks being hashed and written while the next message arrives

Buffer = bytes | bytearray | memoryview
Small = tuple[bytes, bytes]  # digest, data: a chunk that still has to be put into the database


def digest_of(*parts: Buffer) -> bytes:
    """Return BLAKE2b-256 of parts put together."""
    digest = blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.digest()


def records(chunks: bytes) -> Iterator[tuple[bytes, int]]:
    """Yield (digest, length in bytes) of each chunk in a list of chunks."""
    for at in range(0, len(chunks), RECORD_BYTES):
        yield chunks[at : at + 32], int.from_bytes(chunks[at + 32 : at + RECORD_BYTES], "little")


def record(digest: bytes, length: int) -> bytes:
    """Return the record of one chunk."""
    return digest + length.to_bytes(8, "little")


def is_whole(chunks: bytes) -> bool:
    """Return whether a list of chunks is cut as a file written in one go would be."""
    if len(chunks) <= RECORD_BYTES:
        return not chunks or 0 < int.from_bytes(chunks[32:], "little") <= CHUNK_BYTES
    lengths = [length for _, length in records(chunks)]
    return all(length == CHUNK_BYTES for length in lengths[:-1]) and (
        not lengths or 0 < lengths[-1] <= CHUNK_BYTES
    )


def file_digest(chunks: bytes) -> bytes:
    """Return the digest of a file from its list of chunks, which must be whole."""
    if len(chunks) == RECORD_BYTES:
        return digest_of(chunks[:32])
    return digest_of(b"".join(digest for digest, _ in records(chunks)))


class ChunkStore:
    """The chunks of one store.

    Args:
        root: folder of the store; `chunks/` and `tmp/` in it are made when missing.
    """

    def __init__(self, root: Path) -> None:
        self._chunks = root / "chunks"
        self._temporary = root / "tmp"
        self._lock_file = root / "chunks.lock"
        for folder in (self._chunks, self._temporary):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock_file.touch()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep chunks from being collected. The lock goes with the process, however it ends."""
        with shared(self._lock_file):
            yield

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Be the only user of the chunks; gives False at once when another call uses them."""
        with claimed(self._lock_file) as free:
            yield free

    def put(self, *parts: Buffer) -> tuple[bytes, Small | None]:
        """Store one chunk, given in one part or several.

        Returns:
            Its record, and the chunk itself when it is one for the database, which the caller then inserts.

        Raises:
            OSError: the disk is full or the file cannot be written; nothing is left behind.
        """
        digest, length = digest_of(*parts), sum(map(len, parts))
        if length <= SMALL_BYTES:
            return record(digest, length), (digest, b"".join(parts))
        target = self._file(digest)
        if not target.exists():
            self._write(target, parts)
        return record(digest, length), None

    def read(
        self, connection: sqlite3.Connection, chunks: bytes, offset: int = 0, limit: int | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of a file from `offset` on, at most `limit` of them, in pieces of at most 8 MiB."""
        left = sum(length for _, length in records(chunks)) - offset if limit is None else limit
        for digest, length in records(chunks):
            if left <= 0:
                return
            if offset >= length:
                offset -= length
                continue
            piece = self._read_chunk(connection, digest, length, offset, min(left, length - offset))
            offset = 0
            left -= len(piece)
            yield piece

    def read_small(self, connection: sqlite3.Connection, files: Sequence[bytes]) -> list[bytes | None]:
        """Return the bytes of those files that are one chunk in the database; None for every other.

        Args:
            connection: within a transaction.
            files: their lists of chunks, a few hundred at most.
        """
        digests = {
            chunks[:32]
            for chunks in files
            if len(chunks) == RECORD_BYTES and int.from_bytes(chunks[32:], "little") <= SMALL_BYTES
        }
        places = ", ".join("?" * len(digests))
        # In the order of the index, so that each of its pages is visited once.
        found = dict(
            connection.execute(
                f"SELECT digest, data FROM small_chunk WHERE digest IN ({places})", sorted(digests)
            )
        )
        return [_whole(found.get(chunks[:32]), chunks) for chunks in files]

    def digest(self, connection: sqlite3.Connection, chunks: bytes, whole: bool) -> bytes:
        """Return the digest of a file, also of one that is still cut otherwise than every 8 MiB."""
        if whole:
            return file_digest(chunks)
        pieces = _recut(self.read(connection, chunks))
        return digest_of(b"".join(digest_of(piece) for piece in pieces))

    def rechunk(self, connection: sqlite3.Connection, chunks: bytes) -> tuple[bytes, list[Small]]:
        """Chunk a file again, every 8 MiB, and keep the leading chunks that have this length already.

        Returns:
            The new list of chunks, and the small chunks to insert.
        """
        kept = 0
        for _, length in records(chunks):
            if length != CHUNK_BYTES:
                break
            kept += RECORD_BYTES
        parts = [chunks[:kept]]
        small: list[Small] = []
        for piece in _recut(self.read(connection, chunks[kept:])):
            written, for_database = self.put(piece)
            parts.append(written)
            if for_database:
                small.append(for_database)
        return b"".join(parts), small

    def sweep(self, wanted: set[bytes]) -> int:
        """Remove every chunk file not in `wanted` and all unfinished ones; call it while `alone`.

        Returns:
            The number of bytes freed.
        """
        freed = self.remove_unfinished()
        for path in self.unwanted(wanted):
            freed += path.stat().st_size
            path.unlink()
        return freed

    def unwanted(self, wanted: set[bytes]) -> Iterator[Path]:
        """Yield every chunk file not in `wanted`; call it while `alone`."""
        for folder in self._chunks.iterdir():
            for path in folder.iterdir():
                if bytes.fromhex(path.name) not in wanted:
                    yield path

    def remove_unfinished(self) -> int:
        """Remove what killed writers left; call it while `alone`. Returns the number of bytes freed."""
        freed = 0
        for path in self._temporary.iterdir():
            freed += path.stat().st_size
            path.unlink()
        return freed

    def _file(self, digest: bytes) -> Path:
        name = digest.hex()
        return self._chunks / name[:2] / name

    def _write(self, target: Path, parts: tuple[Buffer, ...]) -> None:
        temporary = self._temporary / uuid.uuid4().hex
        try:
            with open(temporary, "xb", buffering=0) as out:
                for part in parts:
                    view = memoryview(part)
                    while view:
                        view = view[out.write(view) :]
            target.parent.mkdir(exist_ok=True)
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def _read_chunk(
        self, connection: sqlite3.Connection, digest: bytes, length: int, offset: int, count: int
    ) -> bytes:
        if length <= SMALL_BYTES:
            row = connection.execute("SELECT data FROM small_chunk WHERE digest = ?", (digest,)).fetchone()
            data: bytes = row[0] if row else b""
            found = len(data)
            data = data[offset : offset + count]
        else:
            try:
                with open(self._file(digest), "rb", buffering=0) as source:
                    found = os.fstat(source.fileno()).st_size
                    data = os.pread(source.fileno(), count, offset)
            except FileNotFoundError:
                found, data = 0, b""
        if found != length or len(data) != count:
            raise ServiceError(
                StatusCode.DATA_LOSS, f"chunk {digest.hex()} has {found} bytes instead of {length}"
            )
        return data


class FileWriter:
    """Takes the content of one file piece by piece; hashing and writing go on while the next piece arrives.

    Args:
        store: where chunks go.
        pool: threads to hash and write with; BLAKE2b and file writes run beside the interpreter.
    """

    def __init__(self, store: ChunkStore, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._pool = pool
        self._parts: list[Buffer] = []  # of the chunk to come, not copied unless they are small and many
        self._held = 0  # bytes in them
        self._pending: deque[Future[tuple[bytes, Small | None]]] = deque()
        self._records: list[bytes] = []
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        self.size += len(data)
        if len(data) < _PIECE and len(data) + self._held < CHUNK_BYTES:
            self._append_small(data)
            return
        view = memoryview(data)
        while view:
            part = view[: CHUNK_BYTES - self._held]
            view = view[len(part) :]
            self._parts.append(part)
            self._held += len(part)
            if self._held == CHUNK_BYTES:
                full, self._parts, self._held = self._parts, [], 0
                self._submit(full)

    def finish(self) -> tuple[bytes, Small | None]:
        """Return the file's list of chunks, and its last chunk when that belongs into the database."""
        while self._pending:
            self._collect()
        small = None
        if self._held:
            written, small = self._store.put(*self._parts)
            self._records.append(written)
        return b"".join(self._records), small

    def abandon(self) -> None:
        """Wait for the writes under way, so that none outlives the call."""
        for future in self._pending:
            future.cancel()
        for future in self._pending:
            if not future.cancelled():
                future.exception()

    def _append_small(self, data: Buffer) -> None:
        self._held += len(data)
        if self._parts and isinstance(self._parts[-1], bytearray):
            self._parts[-1] += data
        elif data:
            self._parts.append(bytearray(data) if self._parts else data)

    def _submit(self, parts: list[Buffer]) -> None:
        while len(self._pending) >= _IN_FLIGHT:
            self._collect()
        self._pending.append(self._pool.submit(self._store.put, *parts))

    def _collect(self) -> None:
        written, _ = self._pending.popleft().result()
        self._records.append(written)


def _whole(data: bytes | None, chunks: bytes) -> bytes | None:
    # A chunk of another length is left to `read`, which reports what is wrong with it.
    whole = data is not None and len(chunks) == RECORD_BYTES and record(chunks[:32], len(data)) == chunks
    return data if whole else None


def _recut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for piece in pieces:
        rest += piece
        while len(rest) >= CHUNK_BYTES:
            yield bytes(rest[:CHUNK_BYTES])
            del rest[:CHUNK_BYTES]
    if rest:
        yield bytes(rest)
