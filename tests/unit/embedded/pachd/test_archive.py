"""The headers that are put together by hand are those of `tarfile`."""

from __future__ import annotations

import tarfile

import pytest

from chandlery.embedded.pachd.rpc import archive


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/a", 0),
        ("/d/", 0),
        ("/b c", 123_456),
        ("/" + "n" * 99, 8**11 - 1),
        ("/" + "n" * 100, 1),
        ("/a", 8**11),
    ],
    ids=["file", "folder", "size", "longest name, largest size", "longer name", "larger size"],
)
def test_headers(path: str, size: int) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = size, 0
    info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
    assert archive._header(path, size) == info.tobuf(tarfile.PAX_FORMAT)
