"""Where the gateway keeps its files and what it says of itself."""

from __future__ import annotations

import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from chandlery.embedded.gateway.table import write_json
from chandlery.errors import PlatformError

HOST = "127.0.0.1"


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


def choose_port(asked: int, remembered: int, taken: frozenset[int] = frozenset()) -> int:
    """Return a port that can be bound now.

    Args:
        asked: port that the user named; 0 for none.
        remembered: port of the last time, taken again when it is free; 0 for none.
        taken: ports not to use.

    Raises:
        PlatformError: the port that the user named is in use.
    """
    if asked:
        if not is_free(asked):
            raise PlatformError(
                f"port {asked} is in use", "stop what listens there, or choose another with --port"
            )
        return asked
    if remembered and remembered not in taken and is_free(remembered):
        return remembered
    while True:
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        if port not in taken:
            return port


def is_free(port: int) -> bool:
    """Tell whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do; a connection that lingers after a restart is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
