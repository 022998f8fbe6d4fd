"""`doctor`: is every endpoint there, and what to do when one is not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from chandlery import addresses, platform
from chandlery.cli.output import print_json, print_table
from chandlery.errors import ChandleryError
from chandlery.resources import SELDON_DEPLOYMENT

TIMEOUT = 5.0  # seconds a check


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    address: str
    ok: bool
    detail: str


def doctor(*, as_json: bool) -> int:
    """Print every check; returns 0 when all are well, else 1."""
    checks = [_python(), *(_checked(name, address, probe) for name, address, probe in _probes())]
    if as_json:
        print_json([check.__dict__ for check in checks])
    else:
        print_table(
            ["", "what", "address", "detail"],
            [("ok" if check.ok else "BAD", check.name, check.address, check.detail) for check in checks],
        )
    return 0 if all(check.ok for check in checks) else 1


def _probes() -> list[tuple[str, str, Callable[[], str]]]:
    points = addresses.endpoints()
    return [
        ("data", points.data, _data),
        ("resources", points.resources, _resources),
        ("mlflow", points.mlflow, lambda: _http(addresses.require_mlflow() + "/health")),
        ("gateway", points.gateway, lambda: _http(addresses.require_gateway() + "/", any_status=True)),
        ("artifacts", points.artifacts, _artifacts),
    ]


def _checked(name: str, address: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, address or "(not set)", True, probe())
    except ChandleryError as error:
        return Check(
            name,
            address or "(not set)",
            False,
            f"{error.message}; {error.hint}" if error.hint else error.message,
        )
    except Exception as error:  # every problem is reported
        return Check(
            name,
            address or "(not set)",
            False,
            f"{type(error).__name__}: {error}; see {addresses.VARIABLES[name]}",
        )


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", sys.executable, (3, 11) <= sys.version_info[:2] <= (3, 13), version)


def _data() -> str:
    client = platform.open_data()
    return f"pachd {client.get_version().major}.{client.get_version().minor}, {len(list(client.pfs.list_repo()))} repos"


def _resources() -> str:
    store = platform.open_resources()
    try:
        return f"{len(store.list(SELDON_DEPLOYMENT, addresses.endpoints().namespace))} deployments"
    finally:
        store.close()


def _http(url: str, *, any_status: bool = False) -> str:
    import httpx

    answer = httpx.get(url, timeout=TIMEOUT)
    if not any_status:
        answer.raise_for_status()
    return f"answers ({answer.status_code})"


def _artifacts() -> str:
    import os
    from pathlib import Path

    root = addresses.endpoints().artifacts
    if "://" in root:
        return "object store (not probed: its client's own credentials apply)"
    folder = Path(root)
    folder.mkdir(parents=True, exist_ok=True)
    usage = os.statvfs(folder)
    return f"writable, {usage.f_bavail * usage.f_frsize / 2**30:.1f} GiB free"
