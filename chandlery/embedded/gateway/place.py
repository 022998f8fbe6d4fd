"""The files of the gateway, and the address that the running gateway writes down."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from chandlery.embedded.gateway.table import write_json
from chandlery.errors import PlatformError
from chandlery.processes.ports import HOST

LONGEST_SOCKET = 100  # bytes of a socket's path: the system takes 107 (103 on macOS)


@dataclass(frozen=True)
class Place:
    """Files of the gateway below a home folder."""

    home: Path

    @property
    def root(self) -> Path:
        """Folder of everything below."""
        return self.home / "gateway"

    @property
    def table(self) -> Path:
        """The table of routes."""
        return self.root / "routes.json"

    @property
    def address(self) -> Path:
        """Address of the running gateway."""
        return self.root / "address.json"

    @property
    def admin(self) -> Path:
        """Socket of the gateway's administration: below the home, or in a folder of its own where that path is too long.

        Not a port: whoever reaches Envoy's administration can stop it and read every route, and any local user or web
        page reaches a port on loopback.
        """
        path = self.root / "admin.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            return path
        digest = hashlib.sha256(os.fsencode(self.home.absolute())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"chandlery-{os.getuid()}-{digest}" / "admin.sock"

    @property
    def lock(self) -> Path:
        """Held by the running gateway."""
        return self.root / "lock"

    @property
    def bootstrap(self) -> Path:
        """Envoy's start-up configuration."""
        return self.root / "envoy" / "bootstrap.json"

    # Envoy reads a file again when something is renamed inside its folder, so each has a folder of its own.
    @property
    def clusters(self) -> Path:
        """Envoy's clusters."""
        return self.root / "envoy" / "clusters" / "clusters.json"

    @property
    def routes(self) -> Path:
        """Envoy's routes."""
        return self.root / "envoy" / "routes" / "routes.json"


@dataclass(frozen=True)
class Address:
    """A gateway in a home folder.

    Attributes:
        kind: `envoy` or `aiohttp`.
        port: where it takes requests.
        admin: path of the socket of its administration.
        pid: its process.
    """

    kind: str
    port: int
    admin: str
    pid: int

    @property
    def url(self) -> str:
        """Base URL for requests."""
        return f"http://{HOST}:{self.port}"


def read_address(place: Place) -> Address | None:
    """Return the address of the gateway that ran last; None when there was none."""
    try:
        text = place.address.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Address(**json.loads(text))


def prepare_admin(place: Place) -> None:
    """Make the folder of the administration's socket, for its owner alone, and remove a socket that was left.

    Raises:
        PlatformError: the folder belongs to somebody else.
    """
    folder = place.admin.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder != place.root:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PlatformError(
                f"{folder} is not a folder of yours alone", "remove it, or use a shorter CHANDLERY_HOME"
            )
    place.admin.unlink(missing_ok=True)


def write_address(place: Place, address: Address) -> None:
    """Write the gateway's address, for the controller, the supervisor and the next start."""
    write_json(place.address, asdict(address))
