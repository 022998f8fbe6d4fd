"""Reads from MLflow over its published REST API.

MLflow's Python client takes seconds and 150 MB to import, in every process. A model server or a step that only asks
which version is champion should not pay for that; whatever writes uses the client (`chandlery.registry.client`).
Credentials come from MLflow's own variables: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
MLFLOW_TRACKING_TOKEN; MLFLOW_TRACKING_INSECURE_TLS, MLFLOW_TRACKING_SERVER_CERT_PATH, MLFLOW_WORKSPACE.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chandlery.addresses import VARIABLES, require_mlflow
from chandlery.errors import RegistryError
from chandlery.registry import client as limits

if TYPE_CHECKING:
    import httpx

API = "/api/2.0/mlflow"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


class RegistryReader:
    """A connection to MLflow for reading. Use it as a context manager."""

    def __init__(self) -> None:
        """Connect lazily.

        Raises:
            PlatformError: no tracking server is configured.
            RegistryError: the tracking URI is not `http://` or `https://`.
        """
        import httpx

        self.address = require_mlflow().rstrip("/")
        if not self.address.startswith(("http://", "https://")):
            raise RegistryError(
                f"{VARIABLES['mlflow']}={self.address}: not the address of a tracking server",
                "use http://host:port or https://host",
            )
        try:
            urlsplit(self.address)
            self._http = httpx.Client(
                base_url=self.address,
                headers=_headers(),
                auth=_auth(),
                verify=_verify(),
                timeout=limits.ANSWER_SECONDS,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise RegistryError(
                f"{VARIABLES['mlflow']}={self.address}: not an address: {error}",
                "use http://host:port or https://host",
            ) from error

    def __enter__(self) -> RegistryReader:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._http.close()

    def get(self, path: str, **parameters: str | int) -> dict[str, Any] | None:
        """Return the answer of `GET <API>/<path>`, or None when MLflow answers that it does not exist.

        Raises:
            RegistryError: the server cannot be reached, or refuses.
        """
        return self._answer(self._send("GET", f"{API}/{path}", params=parameters))

    def search(self, path: str, field: str, **body: Any) -> Iterator[dict[str, Any]]:
        """Yield all `field` entries of a paged search: `POST` for runs, `GET` for the registry."""
        while True:
            if path == "runs/search":
                response = self._send("POST", f"{API}/{path}", json=body)
            else:
                response = self._send("GET", f"{API}/{path}", params=body)
            page = self._answer(response) or {}
            yield from page.get(field, [])
            if not page.get("next_page_token"):
                return
            body = {**body, "page_token": page["next_page_token"]}

    def list_artifacts(self, path: str) -> list[dict[str, Any]]:
        """Return what lies in folder `path` of the server's artifact store: `path`, `is_dir`, `file_size`."""
        answer = self._answer(self._send("GET", ARTIFACTS, params={"path": path})) or {}
        return list(answer.get("files", []))

    @contextmanager
    def open_artifact(self, path: str) -> Iterator[Iterator[bytes]]:
        """Stream one file of the server's artifact store.

        Raises:
            RegistryError: the server cannot be reached, or does not have the file.
        """
        import httpx

        try:
            with self._http.stream("GET", f"{ARTIFACTS}/{path}") as response:
                if response.status_code != 200:
                    response.read()
                    raise limits.refused(f"{path}: HTTP {response.status_code} {response.text}")
                yield response.iter_bytes(1 << 20)
        except httpx.TransportError as error:
            raise limits.unreachable(str(error) or type(error).__name__) from error

    def _send(self, method: str, path: str, **named: Any) -> httpx.Response:
        import httpx

        deadline = time.monotonic() + limits.DEADLINE_SECONDS
        while True:
            try:
                response = self._http.request(method, path, **named)
            except httpx.TransportError as error:
                if time.monotonic() >= deadline:
                    raise limits.unreachable(str(error) or type(error).__name__) from error
            else:
                if response.status_code not in (429, 500, 502, 503, 504):
                    return response
                if time.monotonic() >= deadline:
                    raise limits.refused(f"HTTP {response.status_code} {response.text}")
            time.sleep(limits.PAUSE_SECONDS)

    def _answer(self, response: httpx.Response) -> dict[str, Any] | None:
        if response.status_code == 404 and _code(response) in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        if response.status_code == 400 and "alias" in response.text and "not found" in response.text:
            return None  # MLflow's answer for an alias that the registered model does not have
        if response.status_code != 200:
            raise limits.refused(f"HTTP {response.status_code} {response.text}")
        answer: dict[str, Any] = response.json()
        return answer


def tags(entries: list[Mapping[str, str]] | None) -> dict[str, str]:
    """Return MLflow's list of `{key, value}` as a mapping."""
    return {entry["key"]: entry.get("value", "") for entry in entries or []}


def _code(response: httpx.Response) -> str:
    try:
        return str(response.json().get("error_code", ""))
    except ValueError:
        return ""


def _headers() -> dict[str, str]:
    headers = {}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    if workspace := os.environ.get("MLFLOW_WORKSPACE"):
        headers["X-MLFLOW-WORKSPACE"] = workspace
    return headers


def _auth() -> tuple[str, str] | None:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
    return (user, password) if user and password else None


def _verify() -> bool | ssl.SSLContext:
    if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("1", "true"):
        return False
    bundle = os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH")
    return ssl.create_default_context(cafile=bundle) if bundle else True
