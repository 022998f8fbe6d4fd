"""The files of the gateway, and the address that the running gateway writes down."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from chandlery.embedded.gateway.table import write_json
from chandlery.processes.ports import HOST


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
        admin: port of its statistics.
        pid: its process.
    """

    kind: str
    port: int
    admin: int
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


def write_address(place: Place, address: Address) -> None:
    """Write the gateway's address, for the controller, the supervisor and the next start."""
    write_json(place.address, asdict(address))
