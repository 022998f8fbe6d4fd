"""Names: any file name comes back from Pachyderm as it was, and no name leaves its folder."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.data import names
from chandlery.errors import UserError

# What pachd's own check allows: printable ASCII without glob characters.
ACCEPTED = re.compile(r"^[ -~]+$")

elements = (
    st.binary(min_size=1, max_size=20)
    .map(lambda raw: os.fsdecode(raw.replace(b"\0", b"_").replace(b"/", b"_")))
    .filter(lambda name: name not in (".", ".."))
)
paths = st.lists(elements, min_size=1, max_size=3).map("/".join)


@settings(deadline=None)
@given(paths)
def test_every_file_name_comes_back(path: str) -> None:
    encoded = names.encode(path)
    assert ACCEPTED.match(encoded)
    assert not set(encoded) & set("*?[]{}!()@+^\\")
    assert names.decode(encoded) == path


@settings(deadline=None)
@given(paths, paths)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert (names.encode(one) == names.encode(other)) == (one == other)


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_decoding_a_foreign_name_never_makes_a_dangerous_one(foreign: str) -> None:
    decoded = names.decode(foreign)
    if decoded != foreign:
        assert "\0" not in decoded
        assert not set(decoded.split("/")) & {"", ".", ".."}
        assert decoded.count("/") == foreign.count("/")


@pytest.mark.parametrize(
    "foreign",
    ["..%2F..%2Fetc", "%2E%2E/x", "a%20b", "50%", "%zz", "%28%00", "x%2f", "%E9"],
    ids=str,
)
def test_names_that_we_cannot_have_made_stay_as_they_are(foreign: str) -> None:
    if foreign == "%E9":  # ours: a byte that is not UTF-8
        assert names.encode(names.decode(foreign)) == foreign
    else:
        assert names.decode(foreign) == foreign


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        ("image (1).jpg", "image %281%29.jpg"),
        ("a+b.csv", "a%2Bb.csv"),
        ("naïve.txt", "na%C3%AFve.txt"),
        ("100%.txt", "100%25.txt"),
        ("a\\b", "a%5Cb"),
        ("plain-name_1.parquet", "plain-name_1.parquet"),
    ],
)
def test_the_encoding_is_readable(path: str, stored: str) -> None:
    assert names.encode(path) == stored


@pytest.mark.parametrize("path", ["", "/", "a//b", "../x", "a/./b", "a/..", "a\0b"])
def test_paths_that_no_file_system_holds_are_refused(path: str) -> None:
    with pytest.raises(UserError, match="cannot be stored"):
        names.encode(path)


@pytest.mark.parametrize(
    ("path", "folder"), [("/", "/"), ("", "/"), ("a/b", "/a/b/"), ("/a (1)//b/", "/a %281%29/b/")]
)
def test_folders_take_their_canonical_form(path: str, folder: str) -> None:
    assert names.folder(path) == folder
