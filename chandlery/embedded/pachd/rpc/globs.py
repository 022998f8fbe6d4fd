"""Glob patterns as pachd reads them: `*` and `?` stop at a slash, `**` does not; sets, alternatives, repetitions."""

from __future__ import annotations

import re
from functools import lru_cache

from chandlery.embedded.pachd.store.failure import unimplemented, unknown

_SPECIAL = re.compile(r"[*?\[{\\]|[@+!]\(")
_GROUPS = {"@": "", "?": "?", "*": "*", "+": "+"}


def literal_prefix(pattern: str) -> str:
    """Return the beginning of a pattern that every match shares."""
    match = _SPECIAL.search(pattern)
    return pattern[: match.start()] if match else pattern


def is_literal(pattern: str) -> bool:
    """Return whether a pattern matches only itself."""
    return _SPECIAL.search(pattern) is None


@lru_cache(maxsize=256)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """Return the regular expression of a pattern.

    Raises:
        ServiceError: UNKNOWN for a malformed pattern, UNIMPLEMENTED for `!(...)`.
    """
    expression, at = _sequence(pattern, 0, "")
    if at != len(pattern):
        raise unknown(f"glob {pattern!r} is malformed at {pattern[at:]!r}")
    return re.compile(expression + r"\Z")


def _sequence(pattern: str, at: int, closing: str) -> tuple[str, int]:
    out = []
    while at < len(pattern):
        char, following = pattern[at], pattern[at + 1 : at + 2]
        if closing and (char == closing[0] or char in closing[1:]):
            break
        if char in "@?*+!" and following == "(":
            if char == "!":
                raise unimplemented("a glob with !(...)")
            inner, at = _alternatives(pattern, at + 2, ")|")
            out.append(f"(?:{inner}){_GROUPS[char]}")
        elif char == "{":
            inner, at = _alternatives(pattern, at + 1, "},")
            out.append(f"(?:{inner})")
        elif char == "*":
            double = following == "*"
            out.append(".*" if double else "[^/]*")
            at += 2 if double else 1
        elif char == "[":
            piece, at = _set(pattern, at)
            out.append(piece)
        else:
            escaped = char == "\\" and bool(following)
            out.append("[^/]" if char == "?" else re.escape(following if escaped else char))
            at += 2 if escaped else 1
    return "".join(out), at


def _alternatives(pattern: str, at: int, closing: str) -> tuple[str, int]:
    found = []
    while True:
        inner, at = _sequence(pattern, at, closing)
        found.append(inner)
        if at >= len(pattern):
            raise unknown(f"glob {pattern!r} is malformed: {closing[0]!r} is missing")
        at += 1
        if pattern[at - 1] == closing[0]:
            return "|".join(found), at


def _set(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at + 1 : at + 2] in ("!", "^") and at + 2 < len(pattern)
    start = at + 2 if negated else at + 1
    end = pattern.find("]", start + 1)
    if end < 0:
        raise unknown(f"glob {pattern!r} is malformed: ']' is missing")
    members = (
        pattern[start:end].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^").replace("&", "\\&")
    )
    members = members.replace("|", "\\|").replace("~", "\\~")
    return f"[{'^/' if negated else ''}{members}]", end + 1
