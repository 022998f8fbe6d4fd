"""Server-side apply by owner of fields, as pure functions on documents.

The rules of Kubernetes for resources whose lists are atomic (what a CRD's lists are unless its schema says otherwise): maps merge key
by key, everything else is one leaf. `metadata.finalizers` is a set. An owner's fields are the leaves of what it
applied last and, in a kind without a schema, the maps that they lie in; a field that it no longer applies and that no other owner
owns goes away; changing the value of a field that another owns is a conflict unless forced, which takes the field over.

A path is a tuple of FieldsV1 elements, `f:<key>` or, in a set, `v:<json>`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
Owners = dict[str, frozenset[Path]]

_FINALIZERS: Path = ("f:metadata", "f:finalizers")
_METADATA = "f:metadata"  # has a schema in every kind
_WITH_SCHEMA = {"SeldonDeployment"}
_IDENTITY = {"name", "namespace", "resourceVersion", "uid"}
_MISSING = object()


def conflicts(
    live: Mapping[str, Any], owners: Owners, config: Mapping[str, Any], owner: str
) -> dict[str, list[Path]]:
    """Return, by other owner, its fields that applying `config` as `owner` would change."""
    found: dict[str, list[Path]] = {}
    for path, value in owned(config):
        if not _changes(live, path, value):
            continue
        for other, fields in owners.items():
            if other != owner:
                found.setdefault(other, []).extend(
                    field for field in fields if _clash(live, field, path, value)
                )
    return {other: sorted(set(fields)) for other, fields in found.items() if fields}


def merged(
    live: Mapping[str, Any], owners: Owners, config: Mapping[str, Any], owner: str
) -> tuple[dict[str, Any], Owners]:
    """Apply `config` as `owner`, taking over what conflicts, and return the new document and owners."""
    applied = dict(owned(config))
    taken = conflicts(live, owners, config, owner)
    others = {name: fields - set(taken.get(name, ())) for name, fields in owners.items() if name != owner}
    others = {name: fields for name, fields in others.items() if fields}
    document: dict[str, Any] = copy.deepcopy(dict(live))
    for path, value in applied.items():
        if _changes(document, path, value):
            _put(document, path, value)
    kept = frozenset(applied).union(*others.values())
    for path in owners.get(owner, frozenset()) - frozenset(applied):
        if not any(field[: len(path)] == path for field in kept):
            _remove(document, path, kept)
    return document, others | ({owner: frozenset(applied)} if applied else {})


def to_fields(paths: frozenset[Path]) -> dict[str, Any]:
    """Return the FieldsV1 form of a set of paths."""
    fields: dict[str, Any] = {}
    for path in sorted(paths):
        node = fields
        for element in path:
            node = node.setdefault(element, {})
        # An inner node that is owned itself (an empty map that others fill) is marked as Kubernetes does.
        node["."] = {}
    return _without_leaf_dots(fields)


def from_fields(fields: Mapping[str, Any]) -> frozenset[Path]:
    """Return the set of paths of a FieldsV1 form."""
    return frozenset(_paths(fields, ()))


def dotted(path: Path) -> str:
    """Return a path as a human reads it: `.spec.parallelTrialCount`."""
    return "".join("." + element[2:] for element in path)


def owned(config: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Yield the fields that applying `config` owns, each with its value; a map before what is in it, as {}."""
    part = _owned_part(config)
    if config.get("kind") in _WITH_SCHEMA:
        yield from _leaves(part)
    else:
        for key, value in part.items():
            path = ("f:" + key,)
            yield from _leaves(value, path) if path[0] == _METADATA else _fields(value, path)


def _owned_part(config: Mapping[str, Any]) -> dict[str, Any]:
    part = {key: value for key, value in config.items() if key not in ("apiVersion", "kind", "status")}
    part["metadata"] = {
        key: value for key, value in config.get("metadata", {}).items() if key not in _IDENTITY
    }
    return {key: value for key, value in part.items() if key != "metadata" or value}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if path == _FINALIZERS:
        for item in value:
            yield (*path, "v:" + json.dumps(item)), item
    elif isinstance(value, dict) and (value or not path):
        for key, item in value.items():
            yield from _leaves(item, (*path, "f:" + key))
    else:
        yield path, value


def _fields(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        yield path, {}
        for key, item in value.items():
            yield from _fields(item, (*path, "f:" + key))
    else:
        yield path, value


def _lookup(document: Any, path: Path) -> Any:
    node = document
    for element in path:
        if element.startswith("v:"):
            item = json.loads(element[2:])
            return item if isinstance(node, list) and item in node else _MISSING
        if not isinstance(node, dict) or element[2:] not in node:
            return _MISSING
        node = node[element[2:]]
    return node


def _changes(document: Any, path: Path, value: Any) -> bool:
    present = _lookup(document, path)
    if present is _MISSING:
        return True
    if value == {} and isinstance(present, dict):
        return False  # an empty map merges into any map
    # By their JSON, because in Python True == 1.
    return json.dumps(present, sort_keys=True) != json.dumps(value, sort_keys=True)


def _clash(live: Any, field: Path, path: Path, value: Any) -> bool:
    if field == path:
        return True
    if path[: len(field)] == field:  # theirs is a leaf where we need a map
        return not isinstance(_lookup(live, field), dict)
    return field[: len(path)] == path and value != {}  # ours is a leaf where theirs is a map


def _put(document: dict[str, Any], path: Path, value: Any) -> None:
    node: Any = document
    for position, element in enumerate(path[:-1]):
        key = element[2:]
        empty: Any = [] if path[: position + 1] == _FINALIZERS else {}
        if not isinstance(node.get(key), type(empty)):
            node[key] = empty
        node = node[key]
    if path[-1].startswith("v:"):
        node.append(value)
    else:
        node[path[-1][2:]] = copy.deepcopy(value)


def _remove(document: dict[str, Any], path: Path, kept: frozenset[Path]) -> None:
    if _lookup(document, path) is _MISSING:
        return
    parent = _lookup(document, path[:-1])
    if path[-1].startswith("v:"):
        parent.remove(json.loads(path[-1][2:]))
    else:
        del parent[path[-1][2:]]
    if not parent and len(path) > 1 and path[:-1] not in kept:
        _remove(document, path[:-1], kept)


def _without_leaf_dots(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {} if key == "." or set(child) == {"."} else _without_leaf_dots(child)
        for key, child in fields.items()
    }


def _paths(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for key, child in fields.items():
        if key == ".":
            yield path
        elif child:
            yield from _paths(child, (*path, key))
        else:
            yield (*path, key)
