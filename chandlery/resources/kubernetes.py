"""ResourceStore on a Kubernetes API server, through the official client."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chandlery.errors import ChandleryError, ConflictError, InvalidDocumentError, NotFoundError, PlatformError
from chandlery.resources.document import kind_of, name_of, prepared
from chandlery.resources.port import Document, Event, Kind
from chandlery.resources.selector import matcher

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

# The API server's answer, under status 500, to an applied document that its kind's schema does not fit: the merge comes
# before the validation, and its errors are not dressed.
_MISFIT = "failed to create typed patch object"
_REQUEST_SECONDS = 30
_STATUS_ATTEMPTS = 5
_PAUSE_SECONDS = 1.0


class KubernetesStore:
    """Custom resources of a cluster.

    Args:
        context: context of the kubeconfig; "" for the pod's own service account, or outside of a cluster the
            kubeconfig's current context.
        config_file: path of the kubeconfig; "" for `$KUBECONFIG` or `~/.kube/config`.

    Raises:
        PlatformError: there is no usable configuration.
    """

    def __init__(self, context: str = "", *, config_file: str = "") -> None:
        self._client = _client(context, config_file)

    def apply(self, document: Document, *, owner: str = "chandlery", force: bool = False) -> Document:
        """See `ResourceStore.apply`."""
        config = prepared(document)
        kind, (namespace, name) = kind_of(config), name_of(config)
        return self._json(
            "PATCH",
            _path(kind, namespace, name),
            {"fieldManager": owner, "force": str(force).lower()},
            config,
            "application/apply-patch+yaml",  # JSON is YAML
        )

    def get(self, kind: Kind, name: str, namespace: str) -> Document:
        """See `ResourceStore.get`."""
        return self._json("GET", _path(kind, namespace, name))

    def list(self, kind: Kind, namespace: str, selector: str = "") -> list[Document]:
        """See `ResourceStore.list`."""
        matcher(selector)  # refuses what is malformed with the same words as every store
        query = {"labelSelector": selector} if selector else {}
        documents, _ = self._snapshot(kind, namespace, query)
        return [*documents]

    def delete(self, kind: Kind, name: str, namespace: str) -> None:
        """See `ResourceStore.delete`."""
        try:
            self._json("DELETE", _path(kind, namespace, name), {"propagationPolicy": "Background"})
        except NotFoundError:
            return

    def update_status(self, document: Document) -> Document:
        """See `ResourceStore.update_status`."""
        kind, (namespace, name) = kind_of(document), name_of(document)
        wanted = document["metadata"].get("resourceVersion")
        for attempt in range(_STATUS_ATTEMPTS):
            live = self.get(kind, name, namespace)
            if wanted:
                live["metadata"]["resourceVersion"] = wanted
            live.pop("status", None)
            if document.get("status") is not None:
                live["status"] = document["status"]
            try:
                return self._json("PUT", _path(kind, namespace, name) + "/status", {}, live)
            except ConflictError:
                # Without a wanted version it was only a race between our read and our write.
                if wanted or attempt == _STATUS_ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    def watch(self, kind: Kind, namespace: str, *, since: str = "", deadline: float) -> Iterator[Event]:
        """See `ResourceStore.watch`; a broken connection is made again until the deadline."""
        end = time.monotonic() + deadline
        if not since:
            documents, since = self._snapshot(kind, namespace, {})
            for document in documents:
                yield Event("ADDED", document)
        while (remaining := end - time.monotonic()) > 0:
            for event in self._stream(kind, namespace, since, remaining):
                since = event.document["metadata"]["resourceVersion"]
                yield event
                if time.monotonic() >= end:
                    return

    def close(self) -> None:
        """See `ResourceStore.close`."""
        self._client.close()
        self._client.rest_client.pool_manager.clear()

    def _snapshot(
        self, kind: Kind, namespace: str, query: Mapping[str, str]
    ) -> tuple[Sequence[Document], str]:
        """Return the documents in name order and the resourceVersion at which they were so."""
        answer = self._json("GET", _path(kind, namespace), query)
        # The items of a list carry neither.
        documents = [{"apiVersion": kind.api_version, "kind": kind.kind, **item} for item in answer["items"]]
        documents.sort(key=lambda d: (d["metadata"]["namespace"], d["metadata"]["name"]))
        return documents, answer["metadata"]["resourceVersion"]

    def _stream(self, kind: Kind, namespace: str, since: str, seconds: float) -> Iterator[Event]:
        from urllib3.exceptions import HTTPError

        query = {"watch": "true", "resourceVersion": since, "timeoutSeconds": str(max(1, round(seconds)))}
        try:
            # The read timeout bounds the wait for each next event, so that a quiet watch ends at its deadline too.
            response = self._request(
                "GET", _path(kind, namespace), query, timeout=(_REQUEST_SECONDS, seconds)
            )
        except PlatformError:
            time.sleep(min(_PAUSE_SECONDS, seconds))
            return
        try:
            for line in _lines(response):
                change = json.loads(line)
                if change["type"] == "ERROR":
                    raise _error(
                        change["object"].get("code", 0), change["object"].get("message", ""), kind.plural
                    )
                if change["type"] != "BOOKMARK":
                    yield Event(change["type"], change["object"])
        except HTTPError:
            return  # timed out or broken off; the caller asks again from where it was
        finally:
            response.close()

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        content_type: str = "application/json",
    ) -> Document:
        response = self._request(method, path, query or {}, body, content_type)
        document: Document = json.loads(response.data)
        return document

    def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Document | None = None,
        content_type: str = "application/json",
        timeout: float | tuple[float, float] = _REQUEST_SECONDS,
    ) -> Any:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=timeout,
            )
        except ApiException as error:
            raise _error(error.status or 0, _message(error), path) from error
        except HTTPError as error:
            host = self._client.configuration.host
            raise PlatformError(
                f"Kubernetes API server {host} does not answer: {error}",
                "check the context in CHANDLERY_RESOURCES and the network",
            ) from error


def _client(context: str, config_file: str) -> ApiClient:
    from kubernetes import config
    from kubernetes.client import ApiClient, Configuration

    try:
        if not context and not config_file and os.environ.get("KUBERNETES_SERVICE_HOST"):
            settings = Configuration()
            config.load_incluster_config(client_configuration=settings)
            client = ApiClient(settings)
        else:
            client = config.new_client_from_config(
                config_file=config_file or os.environ.get("KUBECONFIG") or None,
                context=context or None,
                persist_config=False,
            )
    except (config.ConfigException, OSError) as error:
        raise PlatformError(
            f"no usable Kubernetes configuration: {error}",
            "check CHANDLERY_RESOURCES=kubernetes://<context> and KUBECONFIG",
        ) from error
    client.configuration.retries = False  # the steps that call us know what may be repeated
    client.rest_client.pool_manager.connection_pool_kw["retries"] = False
    return client


def _path(kind: Kind, namespace: str, name: str = "") -> str:
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{kind.group}/{kind.version}{scope}/{kind.plural}" + (f"/{name}" if name else "")


def _lines(response: Any) -> Iterator[bytes]:
    buffer = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from (line for line in lines if line.strip())


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


def _error(status: int, message: str, where: str) -> ChandleryError:
    text = f"{where.rpartition('/')[2]}: {message}" if message else f"{where}: HTTP {status}"
    if status == 404:
        return NotFoundError(
            text, "check its name and namespace, and that the cluster has this kind of resource"
        )
    if status == 409:
        return ConflictError(text, "read it again, or apply with force to take its fields over")
    if status == 410:
        return ConflictError(text, "list again and watch from there")
    if status in (400, 413, 415, 422) or (status == 500 and message.startswith(_MISFIT)):
        return InvalidDocumentError(text, "correct the document")
    if status in (401, 403):
        return PlatformError(text, "give the service account or user the right to do this")
    return PlatformError(f"{text} (HTTP {status})", "see the API server's log, or try again")
