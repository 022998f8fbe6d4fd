"""Endpoints: read once, opened by address scheme.

The only place that knows where a system runs. Each endpoint comes from, in this order: the environment,
`chandlery.toml` in the working directory (table `[endpoints]`), what the laptop platform wrote when it
started (`<home>/platform/endpoints.json`), the laptop default.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import SplitResult, urlsplit

from chandlery.errors import PlatformError, UserError

if TYPE_CHECKING:
    from pachyderm_sdk import Client

    from chandlery.resources import ResourceStore

HOME_VARIABLE = "CHANDLERY_HOME"
CONFIG_FILE = "chandlery.toml"

# Endpoint name -> environment variable. The token of a real pachd is read by its SDK from PACH_PYTHON_AUTH_TOKEN.
VARIABLES = {
    "data": "CHANDLERY_DATA",
    "resources": "CHANDLERY_RESOURCES",
    "mlflow": "MLFLOW_TRACKING_URI",
    "gateway": "CHANDLERY_GATEWAY",
    "prometheus": "CHANDLERY_PROMETHEUS",
    "artifacts": "CHANDLERY_ARTIFACTS",
    "namespace": "CHANDLERY_NAMESPACE",
}


@dataclass(frozen=True)
class Endpoints:
    """Where each system is.

    Attributes:
        home: folder of everything that the laptop platform keeps.
        data: versioned data: `embedded:///path`, `grpc://host:port`, `grpcs://host:port` or `unix:///path.sock`.
        resources: custom resources: `embedded:///path` or `kubernetes://[context]`.
        mlflow: MLflow tracking URI; empty when the laptop platform has not been started.
        gateway: base URL of the prediction gateway; empty likewise.
        prometheus: base URL of a Prometheus server; empty: evidence is read from the gateway itself.
        artifacts: root for checkpoints, checkouts and other large files: a folder, `gs://` or `s3://`.
        namespace: Kubernetes namespace of the custom resources.
    """

    home: Path
    data: str
    resources: str
    mlflow: str
    gateway: str
    prometheus: str
    artifacts: str
    namespace: str


class Garbage(Protocol):
    """Chunks of versioned data that nothing refers to."""

    def garbage(self) -> tuple[int, int]:
        """Return how many chunk files nothing refers to, and their bytes; (0, 0) while another call uses the chunks."""
        ...

    def collect(self) -> int:
        """Free them unless another call uses the chunks just now; returns the bytes freed."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


def home() -> Path:
    """Return the absolute home folder: `$CHANDLERY_HOME` or `.chandlery` in the working directory."""
    return Path(os.environ.get(HOME_VARIABLE) or ".chandlery").resolve()


def endpoints() -> Endpoints:
    """Return the endpoints in force.

    Raises:
        UserError: `chandlery.toml` is not valid TOML or names an unknown endpoint.
    """
    root = home()
    values = {
        "data": f"embedded://{root}/pachd",
        "resources": f"embedded://{root}/resources",
        "mlflow": "",
        "gateway": "",
        "prometheus": "",
        "artifacts": str(root / "artifacts"),
        "namespace": "default",
    }
    values.update(_started(root))
    values.update(_configured())
    for name, variable in VARIABLES.items():
        if os.environ.get(variable):
            values[name] = os.environ[variable]
    return Endpoints(home=root, **values)


def open_data() -> Client:
    """Open the versioned-data endpoint as a Pachyderm SDK client. Close it with `chandlery.data.close` or the process.

    Raises:
        UserError: the address has an unknown scheme.
    """
    address = endpoints().data
    parts = _split("data", address)
    if parts.scheme == "embedded":
        from chandlery.embedded.pachd import open_client

        return open_client(_folder("data", parts))
    from pachyderm_sdk import Client

    if parts.scheme in ("grpc", "grpcs"):
        try:
            return Client.from_pachd_address(address)
        except ValueError as error:
            raise UserError(f"{VARIABLES['data']}={address}: {error}", "use grpc://host:port") from error
    if parts.scheme == "unix":
        # The SDK formats host:port without looking at either, so this gives grpc the target unix:/path.
        return Client(host="unix", port=parts.path)
    raise UserError(
        f"{VARIABLES['data']}={address}: unknown scheme {parts.scheme!r}",
        "use embedded:///folder, grpc://host:port, grpcs://host:port or unix:///path.sock",
    )


def open_garbage() -> Garbage | None:
    """Open what the versioned data keeps and nothing refers to; None when the data is not of this machine, or not there."""
    parts = _split("data", endpoints().data)
    if parts.scheme != "embedded" or not Path(parts.path).is_dir():
        return None
    from chandlery.embedded.pachd.store import Store

    return Store(Path(parts.path))


def open_resources() -> ResourceStore:
    """Open the custom-resources endpoint.

    Raises:
        UserError: the address has an unknown scheme.
    """
    address = endpoints().resources
    parts = _split("resources", address)
    if parts.scheme == "embedded":
        from chandlery.embedded.resources import EmbeddedStore

        return EmbeddedStore(_folder("resources", parts))
    if parts.scheme == "kubernetes":
        from chandlery.resources.kubernetes import KubernetesStore

        return KubernetesStore(context=parts.netloc)
    raise UserError(
        f"{VARIABLES['resources']}={address}: unknown scheme {parts.scheme!r}",
        "use embedded:///folder or kubernetes://[context]",
    )


def laptop() -> ModuleType:
    """Return the module that starts, stops and watches the laptop platform: `up`, `down`, `states`."""
    from chandlery.embedded import supervisor

    return supervisor


def serve_data(address: str) -> None:
    """Serve this home's embedded versioned data on `unix:///path.sock` or `host:port` until SIGTERM.

    Raises:
        UserError: the data endpoint is not embedded, so there is nothing of ours to serve.
    """
    parts = _split("data", endpoints().data)
    if parts.scheme != "embedded":
        raise UserError(
            f"{VARIABLES['data']}={endpoints().data} is not embedded", "it has a server of its own"
        )
    from chandlery.embedded.pachd.server import serve

    serve(Path(parts.path), address)


def require_mlflow() -> str:
    """Return the MLflow tracking URI.

    Raises:
        PlatformError: none is configured and the laptop platform is down.
    """
    return _require("mlflow", endpoints().mlflow)


def require_gateway() -> str:
    """Return the base URL of the prediction gateway, without a trailing slash.

    Raises:
        PlatformError: none is configured and the laptop platform is down.
    """
    return _require("gateway", endpoints().gateway).rstrip("/")


def _require(name: str, value: str) -> str:
    if not value:
        raise PlatformError(
            f"no {name} endpoint: the laptop platform is not running in {home()}",
            f"start it with `chandlery up`, or set {VARIABLES[name]}",
        )
    return value


def _started(root: Path) -> dict[str, str]:
    try:
        written = json.loads((root / "platform" / "endpoints.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(written, dict):
        return {}  # not ours
    return {name: str(value) for name, value in written.items() if name in VARIABLES}


def _configured() -> dict[str, str]:
    path = Path(CONFIG_FILE)
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("endpoints", {})
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path.resolve()}: not valid TOML: {error}", "mend the file, or remove it"
        ) from error
    if not isinstance(table, dict):
        raise UserError(f"{path.resolve()}: endpoints is no table", "write a line [endpoints] above them")
    unknown = sorted(set(table) - set(VARIABLES))
    if unknown:
        raise UserError(
            f"{path.resolve()}: unknown endpoint {unknown[0]!r}",
            f"valid endpoints: {', '.join(sorted(VARIABLES))}",
        )
    for name, value in table.items():
        if not isinstance(value, str) or "\0" in value:
            raise UserError(f"{path.resolve()}: endpoint {name} is {value!r}", 'write a text: name = "..."')
    return table


def _split(name: str, address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise UserError(
            f"{VARIABLES[name]}={address}: not an address: {error}", "mend or unset it"
        ) from error


def _folder(name: str, parts: SplitResult) -> Path:
    if not parts.path.startswith("/"):
        raise UserError(
            f"{VARIABLES[name]}={parts.geturl()}: no absolute folder",
            "use embedded:///folder, with three slashes",
        )
    return Path(parts.path)
