"""Where the gateway keeps its files and what it says of itself."""

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
        """What the running gateway says of itself."""
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
    """Return what the gateway that ran last said of itself; None when none ever did."""
    try:
        text = place.address.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Address(**json.loads(text))


def write_address(place: Place, address: Address) -> None:
    """Say where the gateway is, for the controller, the supervisor and the next start."""
    write_json(place.address, asdict(address))
