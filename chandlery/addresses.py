"""Addresses: where each system is.

Each endpoint comes from, in this order: the environment, `chandlery.toml` in the working directory (table
`[endpoints]`), the file that the laptop platform writes when it starts (`<home>/platform/endpoints.json`), the
laptop's default. `chandlery.platform` opens what is at an address.
"""

from __future__ import annotations

import json
import os
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from chandlery.errors import PlatformError, UserError

HOME_VARIABLE = "CHANDLERY_HOME"
CONFIG_FILE = "chandlery.toml"
MLFLOW_FOLDER = "mlflow"  # of the laptop's MLflow, below the home folder
MLFLOW_AUTH_VARIABLE = "CHANDLERY_MLFLOW_AUTH"
MLFLOW_USER = "chandlery"  # of the laptop's MLflow, where it asks for one
MLFLOW_CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")

# On a cluster every pod takes the endpoints from this ConfigMap and the credentials from this Secret.
CONFIG_MAP = "chandlery-endpoints"
SECRET = "chandlery-credentials"

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


def home() -> Path:
    """Return the absolute home folder.

    It is `$CHANDLERY_HOME`; or else the `.chandlery` of this user's in the working directory or the nearest folder above
    it, so that commands work from a subfolder of a project; or else `.chandlery` in the working directory.
    """
    given = os.environ.get(HOME_VARIABLE)
    if given:
        return Path(given).resolve()
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            found = (folder / ".chandlery").stat()
        except OSError:
            continue
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            return (folder / ".chandlery").resolve()
    return (here / ".chandlery").resolve()


def make_home() -> Path:
    """Make the home folder, for this user alone (mode 0700), and return it: it holds people's data and credentials.

    Raises:
        PlatformError: it cannot be made, or belongs to another user.
    """
    root = home()
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if root.stat().st_mode & 0o077:
            root.chmod(0o700)
    except OSError as error:
        raise PlatformError(
            f"{root}: {error.strerror}", f"make the folder yours, or set {HOME_VARIABLE} to another"
        ) from error
    return root


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


def is_configured(name: str) -> bool:
    """Return whether the environment or `chandlery.toml` names the address of a system.

    Raises:
        UserError: `chandlery.toml` is not valid.
    """
    return bool(os.environ.get(VARIABLES[name]) or name in _configured())


def require_mlflow() -> str:
    """Return the MLflow tracking URI.

    Raises:
        PlatformError: none is configured and the laptop platform is down.
    """
    points = endpoints()
    sign_in(points)
    return _require("mlflow", points.mlflow)


def sign_in(points: Endpoints) -> None:
    """Put the password of the laptop's MLflow into this process's environment, where MLflow's client looks for it.

    Only for the MLflow that the laptop platform started, and where the environment names no user.
    """
    if any(os.environ.get(name) for name in (*MLFLOW_CREDENTIALS, "MLFLOW_TRACKING_TOKEN")):
        return
    if points.mlflow and points.mlflow == _started(points.home).get("mlflow"):
        password = mlflow_password(points.home)
        if password:
            os.environ.update(zip(MLFLOW_CREDENTIALS, (MLFLOW_USER, password), strict=True))


def password_file(root: Path) -> Path:
    """Return the file of the laptop's MLflow's password, which may not exist."""
    return root / "platform" / "mlflow-password"


def mlflow_password(root: Path) -> str:
    """Return the password of the laptop's MLflow; empty when it asks for none."""
    try:
        return password_file(root).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


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
            f"{path.resolve()}: not valid TOML: {error}", "correct the file, or remove it"
        ) from error
    if not isinstance(table, dict):
        raise UserError(
            f"{path.resolve()}: endpoints is not a table", "put the endpoints below a line [endpoints]"
        )
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


def split(name: str, address: str) -> SplitResult:
    """Return the parts of an endpoint's address.

    Raises:
        UserError: the address cannot be read.
    """
    try:
        return urlsplit(address)
    except ValueError as error:
        raise UserError(
            f"{VARIABLES[name]}={address}: not an address: {error}", "correct or unset it"
        ) from error


def folder_of(name: str, parts: SplitResult) -> Path:
    """Return the folder of an `embedded:` address.

    Raises:
        UserError: the address names no absolute folder.
    """
    if not parts.path.startswith("/"):
        raise UserError(
            f"{VARIABLES[name]}={parts.geturl()}: no absolute folder",
            "use embedded:///folder, with three slashes",
        )
    return Path(parts.path)
