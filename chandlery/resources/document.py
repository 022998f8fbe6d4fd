"""Checks of a custom resource's document, the same for every store."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chandlery.errors import InvalidDocumentError
from chandlery.resources.port import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL, Document, Kind
from chandlery.resources.shape import check_json

KINDS = (EXPERIMENT, TRIAL, SELDON_DEPLOYMENT)

# Kubernetes' own rules: RFC 1123 for names, qualified names for keys, 63 characters for label values.
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

# Set by the server; what a caller sends there is ignored, so that a document that was read can be applied again.
_SERVER_SET = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "selfLink",
)


def kind_of(document: Mapping[str, Any]) -> Kind:
    """Return the kind that the document names.

    Raises:
        InvalidDocumentError: apiVersion or kind is missing or names no kind that we know.
    """
    if not isinstance(document, Mapping):
        raise InvalidDocumentError(
            f"the document is {type(document).__name__}, not a map", "give it apiVersion, kind and metadata"
        )
    for kind in KINDS:
        if document.get("apiVersion") == kind.api_version and document.get("kind") == kind.kind:
            return kind
    raise InvalidDocumentError(
        f"unknown apiVersion and kind: {document.get('apiVersion')!r}, {document.get('kind')!r}",
        "valid: " + ", ".join(f"{kind.api_version} {kind.kind}" for kind in KINDS),
    )


def name_of(document: Mapping[str, Any]) -> tuple[str, str]:
    """Return the document's namespace (`default` when it names none) and name.

    Raises:
        InvalidDocumentError: either is missing or malformed.
    """
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        raise InvalidDocumentError("the document has no metadata", "give it metadata with a name")
    name = metadata.get("name")
    if not isinstance(name, str) or len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        raise InvalidDocumentError(
            f"metadata.name {name!r} is not a valid name",
            "use up to 253 lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit",
        )
    namespace = metadata.get("namespace", "default")
    if not isinstance(namespace, str) or len(namespace) > 63 or not _LABEL.fullmatch(namespace):
        raise InvalidDocumentError(
            f"{name}: metadata.namespace {namespace!r} is not a valid namespace",
            "use up to 63 lower-case letters, digits and '-', beginning and ending with a letter or digit",
        )
    return namespace, name


def prepared(document: Mapping[str, Any]) -> Document:
    """Return a checked copy of `document` as it is sent to be applied.

    Left out are its status, what only the server sets, and keys whose value is null.

    Raises:
        InvalidDocumentError: unknown kind, a malformed name, label, annotation or finalizer, or not JSON.
    """
    kind_of(document)
    namespace, name = name_of(document)
    copy: Document = json.loads(check_json(document))
    copy.pop("status", None)
    metadata = copy["metadata"]
    metadata["namespace"] = namespace
    for key in _SERVER_SET:
        metadata.pop(key, None)
    _check_map(name, "labels", metadata.get("labels"))
    _check_map(name, "annotations", metadata.get("annotations"))
    for finalizer in _finalizers(name, metadata):
        if not _is_qualified(finalizer):
            raise InvalidDocumentError(
                f"{name}: finalizer {finalizer!r} is not a valid name", "use domain/name"
            )
    without_nulls: Document = _without_nulls(copy)
    return without_nulls


def _finalizers(name: str, metadata: Document) -> list[Any]:
    finalizers = metadata.get("finalizers") or []
    if not isinstance(finalizers, list):
        raise InvalidDocumentError(f"{name}: metadata.finalizers is not a list", "use a list of names")
    return finalizers


def _check_map(name: str, what: str, values: object) -> None:
    if values is None:
        return
    if not isinstance(values, dict):
        raise InvalidDocumentError(
            f"{name}: metadata.{what} is not a map", "use string keys and string values"
        )
    for key, value in values.items():
        if not _is_qualified(key):
            raise InvalidDocumentError(
                f"{name}: metadata.{what} has a malformed key {key!r}",
                "use [domain/]name, the name up to 63 letters, digits, '-', '_' and '.'",
            )
        if not isinstance(value, str):
            raise InvalidDocumentError(
                f"{name}: metadata.{what}[{key!r}] is {value!r}, not a string", "quote it"
            )
        if what == "labels" and value and (len(value) > 63 or not _QUALIFIED.fullmatch(value)):
            raise InvalidDocumentError(
                f"{name}: label {key!r} has a malformed value {value!r}",
                "use up to 63 letters, digits, '-', '_' and '.'; put longer texts into an annotation",
            )


def _is_qualified(key: object) -> bool:
    if not isinstance(key, str):
        return False
    domain, slash, name = key.rpartition("/")
    if slash and (len(domain) > 253 or not _SUBDOMAIN.fullmatch(domain)):
        return False
    return len(name) <= 63 and bool(_QUALIFIED.fullmatch(name))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
