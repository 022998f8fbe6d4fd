"""Ports on the loopback interface: which are free, which one to take."""

from __future__ import annotations

import socket

from chandlery.errors import PlatformError

HOST = "127.0.0.1"


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
        port = free_port()
        if port not in taken:
            return port


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Return whether a server could listen on the port now."""
    with socket.socket() as probe:
        # As servers do; a connection that lingers after a restart does not matter.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def is_open(port: int) -> bool:
    """Return whether a server listens on the port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0
