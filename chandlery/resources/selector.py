"""Label selectors: `key=value`, `key==value`, `key!=value`, `key`, `!key`, joined by commas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chandlery.errors import UserError

_HINT = "use key=value, key!=value, key or !key, joined by commas"


def matcher(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Return the predicate on labels that `selector` describes; an empty one matches everything.

    As in Kubernetes, `key!=value` also matches when the key is absent.

    Raises:
        UserError: the selector is malformed or uses a form that is not supported (`in`, `notin`).
    """
    terms = [_term(text.strip(), selector) for text in selector.split(",")] if selector.strip() else []
    return lambda labels: all(term(labels) for term in terms)


def _term(text: str, selector: str) -> Callable[[Mapping[str, str]], bool]:
    if not text or " " in text or "(" in text:
        raise UserError(f"selector {selector!r}: malformed term {text!r}", _HINT)
    if "!=" in text:
        key, _, value = text.partition("!=")
        return _keyed(key, selector, lambda labels: labels.get(key) != value)
    if "=" in text:
        key, _, value = text.replace("==", "=", 1).partition("=")
        return _keyed(key, selector, lambda labels: labels.get(key) == value)
    if text.startswith("!"):
        return _keyed(text[1:], selector, lambda labels: text[1:] not in labels)
    return lambda labels: text in labels


def _keyed(
    key: str, selector: str, predicate: Callable[[Mapping[str, str]], bool]
) -> Callable[[Mapping[str, str]], bool]:
    if not key:
        raise UserError(f"selector {selector!r}: a term without a key", _HINT)
    return predicate
