"""ResourceStore on SQLite."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from chandlery.embedded.resources import ownership
from chandlery.embedded.resources.database import Database
from chandlery.errors import ConflictError, InvalidDocumentError, NotFoundError
from chandlery.resources.document import kind_of, name_of, prepared
from chandlery.resources.port import Document, Event, Kind
from chandlery.resources.selector import matcher

_POLL_SECONDS = 0.05
_EVENTS_KEPT = 2000  # of each kind; a watch from before these must list again


class EmbeddedStore:
    """Custom resources in a folder, shared by any number of processes and threads.

    Args:
        folder: where the store is kept; made when it is missing.

    Raises:
        PlatformError: the folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder)

    def apply(self, document: Document, *, owner: str = "chandlery", force: bool = False) -> Document:
        """See `ResourceStore.apply`."""
        config = prepared(document)
        kind, (namespace, name) = kind_of(config), name_of(config)
        with self._database.writing() as connection:
            live = _read(connection, kind, namespace, name)
            _check_current(live, config["metadata"], kind, name)
            base = live or _created(config, namespace, name)
            owners = _owners(base)
            clashes = ownership.conflicts(base, owners, config, owner)
            if clashes and not force:
                raise _conflict(kind, name, clashes)
            result, owners = ownership.merged(base, owners, config, owner)
            result["apiVersion"] = kind.api_version
            _check_finalizers(live, result, kind, name)
            if live is not None and owners == _owners(live) and _same(result, live):
                return live
            if live is not None and not _same(_desired(result), _desired(live)):
                result["metadata"]["generation"] += 1
            result["metadata"]["managedFields"] = _managed(base, owners, kind)
            if _is_over(result):
                return _store(connection, kind, "DELETED", result)
            return _store(connection, kind, "MODIFIED" if live else "ADDED", result)

    def get(self, kind: Kind, name: str, namespace: str) -> Document:
        """See `ResourceStore.get`."""
        with self._database.reading() as connection:
            return _existing(connection, kind, namespace, name)

    def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Document]:
        """See `ResourceStore.list`."""
        matches = matcher(selector)
        with self._database.reading() as connection:
            documents = _read_all(connection, kind, namespace)
        return [document for document in documents if matches(document["metadata"].get("labels", {}))]

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """See `ResourceStore.delete`."""
        with self._database.writing() as connection:
            live = _read(connection, kind, namespace, name)
            if live is None:
                return
            if not live["metadata"].get("finalizers"):
                _store(connection, kind, "DELETED", live)
            elif "deletionTimestamp" not in live["metadata"]:
                live["metadata"]["deletionTimestamp"] = _now()
                live["metadata"]["deletionGracePeriodSeconds"] = 0
                live["metadata"]["generation"] += 1  # as the API server does: what is wanted has changed
                _store(connection, kind, "MODIFIED", live)

    def update_status(self, document: Document) -> Document:
        """See `ResourceStore.update_status`."""
        kind, (namespace, name) = kind_of(document), name_of(document)
        try:
            status = json.loads(json.dumps(document.get("status"), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidDocumentError(
                f"{kind.kind} {name}: the status is not plain JSON: {error}"
            ) from error
        with self._database.writing() as connection:
            live = _existing(connection, kind, namespace, name)
            _check_current(live, document["metadata"], kind, name)
            if _same(live.get("status"), status):
                return live
            live.pop("status", None)
            if status is not None:
                live["status"] = status
            return _store(connection, kind, "MODIFIED", live)

    def watch(self, kind: Kind, namespace: str, *, since: str = "", deadline: float) -> Iterator[Event]:
        """See `ResourceStore.watch`; polls every 50 ms."""
        end = time.monotonic() + deadline
        if since:
            seen = _version(since)
        else:
            with self._database.reading() as connection:
                documents = _read_all(connection, kind, namespace)
                seen = _clock(connection)
            for document in documents:
                yield Event("ADDED", document)
        while True:
            with self._database.reading() as connection:
                _check_remembered(connection, kind, seen)
                rows = connection.execute(
                    "SELECT version, type, document FROM events WHERE grp = ? AND kind = ? AND version > ?"
                    " AND namespace = coalesce(?, namespace) ORDER BY version",
                    (kind.group, kind.kind, seen, namespace or None),
                ).fetchall()
                seen = _clock(connection)
            for _, type_, text in rows:
                yield Event(type_, json.loads(text))
            remaining = end - time.monotonic()
            if remaining <= 0:
                return
            time.sleep(min(_POLL_SECONDS, remaining))

    def stamp(self) -> object:
        """Return what is equal as long as no document was changed, without opening the database."""
        return self._database.stamp()

    def close(self) -> None:
        """See `ResourceStore.close`."""
        self._database.close()


def _created(config: Document, namespace: str, name: str) -> Document:
    return {
        "apiVersion": config["apiVersion"],
        "kind": config["kind"],
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "creationTimestamp": _now(),
            "generation": 1,
        },
    }


def _store(
    connection: sqlite3.Connection,
    kind: Kind,
    type_: Literal["ADDED", "MODIFIED", "DELETED"],
    document: Document,
) -> Document:
    """Write the document and its event under the next resourceVersion, and return it as stored."""
    version = _clock(connection) + 1
    connection.execute("UPDATE clock SET version = ?", (version,))
    metadata = document["metadata"]
    metadata["resourceVersion"] = str(version)
    text = json.dumps(document)
    key = (kind.group, kind.kind, metadata["namespace"], metadata["name"])
    if type_ == "DELETED":
        connection.execute(
            "DELETE FROM resources WHERE grp = ? AND kind = ? AND namespace = ? AND name = ?", key
        )
    else:
        connection.execute("INSERT OR REPLACE INTO resources VALUES (?, ?, ?, ?, ?)", (*key, text))
    connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", (version, *key[:3], type_, text))
    _forget(connection, kind)
    return document


def _forget(connection: sqlite3.Connection, kind: Kind) -> None:
    oldest = connection.execute(
        "SELECT version FROM events WHERE grp = ? AND kind = ? ORDER BY version DESC LIMIT 1 OFFSET ?",
        (kind.group, kind.kind, _EVENTS_KEPT),
    ).fetchone()
    if oldest:
        key = (kind.group, kind.kind, oldest[0])
        connection.execute("DELETE FROM events WHERE grp = ? AND kind = ? AND version <= ?", key)
        connection.execute("INSERT OR REPLACE INTO forgotten VALUES (?, ?, ?)", key)


def _check_remembered(connection: sqlite3.Connection, kind: Kind, since: int) -> None:
    row = connection.execute(
        "SELECT version FROM forgotten WHERE grp = ? AND kind = ?", (kind.group, kind.kind)
    ).fetchone()
    if row and since < row[0]:
        raise ConflictError(
            f"resourceVersion {since} of {kind.plural} is too old", "list again and watch from there"
        )
    if since > _clock(connection):
        raise ConflictError(
            f"resourceVersion {since} is newer than the store", "list again and watch from there"
        )


def _read(connection: sqlite3.Connection, kind: Kind, namespace: str, name: str) -> Document | None:
    row = connection.execute(
        "SELECT document FROM resources WHERE grp = ? AND kind = ? AND namespace = ? AND name = ?",
        (kind.group, kind.kind, namespace, name),
    ).fetchone()
    return json.loads(row[0]) if row else None


def _read_all(connection: sqlite3.Connection, kind: Kind, namespace: str) -> list[Document]:
    rows = connection.execute(
        "SELECT document FROM resources WHERE grp = ? AND kind = ? AND namespace = coalesce(?, namespace)"
        " ORDER BY namespace, name",
        (kind.group, kind.kind, namespace or None),
    )
    return [json.loads(row[0]) for row in rows]


def _existing(connection: sqlite3.Connection, kind: Kind, namespace: str, name: str) -> Document:
    document = _read(connection, kind, namespace, name)
    if document is None:
        raise NotFoundError(
            f'{kind.plural}.{kind.group} "{name}" not found in namespace {namespace!r}',
            "check its name and namespace",
        )
    return document


def _clock(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT version FROM clock").fetchone()[0])


def _version(text: str) -> int:
    if not text.isdecimal():
        raise InvalidDocumentError(
            f"resourceVersion {text!r} is not valid", "use one that a document or event carried"
        )
    return int(text)


def _check_current(live: Document | None, metadata: Document, kind: Kind, name: str) -> None:
    for key in ("resourceVersion", "uid"):
        wanted = metadata.get(key)
        if wanted and (live is None or live["metadata"][key] != wanted):
            raise ConflictError(
                f"{kind.kind} {name}: {key} {wanted} is no longer current: another writer changed it",
                "read it again and repeat the change on what is there now",
            )


def _check_finalizers(live: Document | None, result: Document, kind: Kind, name: str) -> None:
    if live is None or "deletionTimestamp" not in live["metadata"]:
        return
    added = set(result["metadata"].get("finalizers", [])) - set(live["metadata"].get("finalizers", []))
    if added:
        raise InvalidDocumentError(
            f"{kind.kind} {name}: no finalizer can be added while it is being deleted: {', '.join(sorted(added))}",
            "wait until it is gone and apply again",
        )


def _is_over(document: Document) -> bool:
    return "deletionTimestamp" in document["metadata"] and not document["metadata"].get("finalizers")


def _conflict(kind: Kind, name: str, clashes: dict[str, list[ownership.Path]]) -> ConflictError:
    what = "; ".join(
        f"{owner} owns {', '.join(ownership.dotted(path) for path in paths)}"
        for owner, paths in sorted(clashes.items())
    )
    return ConflictError(
        f"{kind.kind} {name}: {what}", "leave these fields out, or apply with force to take them over"
    )


def _owners(document: Document) -> ownership.Owners:
    return {
        entry["manager"]: ownership.from_fields(entry["fieldsV1"])
        for entry in document["metadata"].get("managedFields", [])
    }


def _managed(before: Document, owners: ownership.Owners, kind: Kind) -> list[dict[str, Any]]:
    old = {entry["manager"]: entry for entry in before["metadata"].get("managedFields", [])}
    old_owners = _owners(before)
    return [
        old[owner]
        if owner in old and old_owners[owner] == fields
        else {
            "manager": owner,
            "operation": "Apply",
            "apiVersion": kind.api_version,
            "time": _now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": ownership.to_fields(fields),
        }
        for owner, fields in sorted(owners.items())
    ]


def _desired(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
