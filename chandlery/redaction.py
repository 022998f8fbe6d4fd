"""Secrets of addresses in text that is written down: a password before the host, and a query that signs.

Everything that goes into a log, an event, a record or an error passes through `redacted`. It cannot know a secret that is
not part of an address.
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "***"

# In JSON an '&' may be written as \u0026; a quote, a blank or another backslash ends an address.
_INSIDE = r"(?:[^\s\"'<>\\]|\\u00[0-9a-fA-F]{2})"
_USER = re.compile(rf"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?:(?![/?#]){_INSIDE})+@")
_QUERY = re.compile(rf"(?P<address>https?://(?:(?![?#]){_INSIDE})+)[?#]{_INSIDE}+", re.IGNORECASE)


def redacted(text: str) -> str:
    """Return `text` with user, password, query and fragment of each address in it hidden.

    Args:
        text: any text. A query is hidden for `http` and `https`, a user for every scheme: keys of buckets may hold a '?'.
    """
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<address>?{HIDDEN}", _USER.sub(rf"\g<scheme>{HIDDEN}@", text))


def redacted_values(value: Any) -> Any:
    """Return lists, mappings and texts with all their texts redacted; other values as they are."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: redacted_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(item) for item in value]
    return value
