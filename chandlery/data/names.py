"""File names that Pachyderm refuses, encoded reversibly.

Pachyderm takes printable ASCII only and none of `* ? [ ] { } ! ( ) @ + ^`; paths are read back as globs, where a
backslash escapes. Real datasets hold `image (1).jpg` and `naïve.txt`. Every byte outside of the allowed set, and `%`
itself, becomes `%XX`: different names stay different, and most names stay as they are.
"""

from __future__ import annotations

import os
import re

from chandlery.errors import UserError

REFUSED = "*?[]{}!()@+^"
_PLAIN = frozenset(
    code for code in range(0x20, 0x7F) if chr(code) not in REFUSED and chr(code) not in ("%", "\\")
)
_AS_IT_IS = re.compile("[{}]*".format(re.escape("".join(map(chr, sorted(_PLAIN))))))
# Elements between slashes, none of them empty, `.` or `..`.
_IS_PATH = re.compile(r"(?!\.{1,2}(?:/|\Z))[^/\0]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)*")
_ESCAPE = re.compile(r"%([0-9A-F]{2})")


def encode(path: str) -> str:
    """Return the name under which Pachyderm stores a file.

    Args:
        path: relative path with `/` between its elements, as the file system or the bucket gives it.

    Raises:
        UserError: the path has an empty element, `.` or `..`, which no encoding can bring back to a file system.
    """
    if not _IS_PATH.fullmatch(path):
        raise UserError(
            f"path {path!r}: empty, '.' and '..' elements cannot be stored", "rename it at the source"
        )
    try:
        return _encode(path)
    except UnicodeEncodeError as error:
        raise UserError(
            f"path {path!r}: half a character, which no file system can hold", "rename it at the source"
        ) from error


def decode(path: str) -> str:
    """Return the name of which `path` is the encoded form.

    A name that `encode` cannot have made (written by other tools, such as `a%20b` or `..%2Fx`) is returned as it is, so
    that no foreign name is changed and none can leave the folder that it is checked out to.
    """
    if "%" not in path:
        return path
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), path)
    try:
        name = os.fsdecode(raw.encode("latin-1"))
    except UnicodeEncodeError:
        return path
    if any(element in ("", ".", "..") for element in name.split("/")) or "\0" in name:
        return path
    return name if _encode(name) == path else path


def folder(path: str) -> str:
    """Return a folder in Pachyderm's form, `/` or `/a/b/`, encoded."""
    elements = [element for element in path.split("/") if element]
    return "/" if not elements else f"/{encode('/'.join(elements))}/"


def _encode(path: str) -> str:
    if _AS_IT_IS.fullmatch(path):
        return path
    # `os.fsencode` keeps names that are not valid UTF-8, which Linux allows.
    return "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in os.fsencode(path))
