"""A TAR is read as `tarfile` reads it, wherever the stream is cut, and a broken one is told."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.data.tar import TarReader

NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=70)
FILES = st.dictionaries(
    st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=5).map("/".join),
    st.binary(max_size=1500),
    max_size=6,
)
FORMATS = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])


def archive(files: dict[str, bytes], format_: int, folders: tuple[str, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format_, pax_headers={"comment": "global"}) as tar:
        for folder in folders:
            info = tarfile.TarInfo(folder)
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def cut(data: bytes, every: int) -> Iterator[bytes]:
    for at in range(0, len(data), every):
        yield data[at : at + every]
        yield b""


def read(messages: Iterator[bytes]) -> dict[str, bytes]:
    reader = TarReader(messages)
    found = {}
    for name, size in reader.files():
        found[name] = b"".join(reader.content())
        assert len(found[name]) == size
    return found


@settings(deadline=None)
@given(FILES, FORMATS, st.integers(1, 3000))
def test_it_reads_what_tarfile_writes(files: dict[str, bytes], format_: int, every: int) -> None:
    assert read(cut(archive(files, format_, ("a folder/",)), every)) == files


@settings(deadline=None)
@given(st.integers(1, 1535))
def test_one_that_breaks_off_is_told(at: int) -> None:
    data = archive({"a": b"1" * 700}, tarfile.GNU_FORMAT)
    with pytest.raises(tarfile.TarError):
        read(cut(data[:at], 100))


@settings(deadline=None)
@given(st.integers(0, 511), st.integers(1, 255))
def test_a_damaged_header_is_told(at: int, flip: int) -> None:
    data = bytearray(archive({"a" * 90: b"1"}, tarfile.GNU_FORMAT))
    data[at] ^= flip
    # Within the checksum itself a damage may change nothing that is read: `0` and ` ` pad alike.
    if 148 <= at < 156:
        return
    with pytest.raises(tarfile.TarError):
        read(cut(bytes(data), 4000))


def test_a_stream_is_read_to_its_end_which_may_be_an_error() -> None:
    def messages() -> Iterator[bytes]:
        yield archive({"a": b"1"}, tarfile.GNU_FORMAT)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        read(messages())


def test_content_may_be_left() -> None:
    reader = TarReader(cut(archive({"a": b"1" * 700, "b": b"2"}, tarfile.USTAR_FORMAT), 64))
    assert list(reader.files()) == [("a", 700), ("b", 1)]


def test_a_size_beyond_eight_gibibytes() -> None:
    for format_ in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        info = tarfile.TarInfo("large")
        info.size = 1 << 40
        assert next(TarReader([info.tobuf(format_)]).files()) == ("large", 1 << 40)
