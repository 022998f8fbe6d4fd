"""The port to Kubernetes custom resources, without anything of a particular client.

Two implementations: `chandlery.resources.kubernetes` on the official client, and
`chandlery.embedded.resources` on SQLite. Open either by address with `chandlery.platform.open_resources`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Document = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A custom resource kind, as the API server names it."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """`group/version`, the document's apiVersion."""
        return f"{self.group}/{self.version}"


EXPERIMENT = Kind("kubeflow.org", "v1beta1", "Experiment", "experiments")
TRIAL = Kind("kubeflow.org", "v1beta1", "Trial", "trials")
SELDON_DEPLOYMENT = Kind("machinelearning.seldon.io", "v1", "SeldonDeployment", "seldondeployments")


@dataclass(frozen=True)
class Event:
    """One change seen by a watch; `document` is the resource after it (before it, when deleted)."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    document: Document


class ResourceStore(Protocol):
    """Custom resources of one cluster, or of one laptop.

    Documents are the plain JSON of the API server: apiVersion, kind, metadata, spec, status.
    """

    def apply(self, document: Document, *, owner: str = "chandlery", force: bool = False) -> Document:
        """Server-side apply `document` (its status is ignored) as field manager `owner`.

        Returns the stored document. Raises ConflictError when another owner holds a changed field and
        `force` is not set, InvalidDocumentError when it has no kind, name or a malformed one.
        """
        ...

    def get(self, kind: Kind, name: str, namespace: str) -> Document:
        """Return the document; raises NotFoundError."""
        ...

    def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Document]:
        """Return all documents of the kind in name order; namespace "" means all of them.

        `selector` as `key=value,key2!=v,key3,!key4`; raises UserError when it is malformed.
        """
        ...

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """Delete (or mark for deletion while finalizers remain); a missing one is not an error."""
        ...

    def update_status(self, document: Document) -> Document:
        """Replace the status subresource alone.

        Raises ConflictError when `metadata.resourceVersion` is given and no longer current, NotFoundError.
        """
        ...

    def watch(self, kind: Kind, namespace: str, *, since: str = "", deadline: float) -> Iterator[Event]:
        """Yield changes after resourceVersion `since` ("" = existing ones first, as ADDED) for `deadline` seconds.

        Raises ConflictError when the store no longer remembers the changes since then: list, or watch from "".
        """
        ...

    def close(self) -> None:
        """Release connections; the store is unusable afterwards."""
        ...
