"""However a file arrives, it is cut, named and stored as if it had come at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chandlery.embedded.pachd.store import chunks


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 64)
    monkeypatch.setattr(chunks, "SMALL_BYTES", 8)
    monkeypatch.setattr(chunks, "_PIECE", 16)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), max_size=12))
@example([b"", b"1", b"22", b"", b"3" * 13])
@example([b"1" * 64, b"2" * 64])
@example([b"1" * 63, b"2"])
@example([b"1" * 20, b"2", b"3", b"4" * 20, b"5" * 30])
def test_pieces(tmp_path: Path, short: None, pieces: list[bytes]) -> None:
    store = chunks.ChunkStore(tmp_path)
    whole = b"".join(pieces)
    with ThreadPoolExecutor(2) as pool:
        writer = chunks.FileWriter(store, pool)
        for piece in pieces:
            writer.write(memoryview(piece) if len(piece) % 2 else piece)
        records, small = writer.finish()
    cut = [whole[at : at + 64] for at in range(0, len(whole), 64)]
    assert writer.size == len(whole)
    assert records == b"".join(
        chunks.record(blake2b(part, digest_size=32).digest(), len(part)) for part in cut
    )
    for part in cut:
        digest = blake2b(part, digest_size=32).hexdigest()
        if len(part) > 8:
            assert (tmp_path / "chunks" / digest[:2] / digest).read_bytes() == part
        else:
            assert small == (bytes.fromhex(digest), part)
