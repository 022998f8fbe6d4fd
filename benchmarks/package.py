"""What the package costs before it does anything: to import it, and to install its base."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

from benchmarks.harness import OURS, Aim, Contender, Figure, Figures, Row, Setting, plain

ROOT = Path(__file__).parents[1]
SECONDS = 900.0
_IMPORT = "import time; b = time.perf_counter(); import chandlery; print(1000 * (time.perf_counter() - b))"


def _import_contenders(setting: Setting) -> list[Contender]:
    return [Contender("chandlery", OURS, plain(_import), {"chandlery": version("chandlery")})]


def _import() -> Figures:
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True, timeout=60
    )
    return {"time": float(done.stdout)}


def _install_contenders(setting: Setting) -> list[Contender]:
    made = setting.scratch / "wheel"
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-q", "-w", str(made), str(ROOT)]
    uv = ROOT / ".tools" / "bin" / "uv"
    if uv.exists():
        command = [str(uv), "build", "--wheel", "-q", "-o", str(made), str(ROOT)]
    subprocess.run(command, check=True, timeout=SECONDS)
    (wheel,) = made.glob("chandlery-*.whl")
    return [
        Contender(
            "chandlery",
            OURS,
            plain(partial(_install, wheel, setting.scratch)),
            {"chandlery": version("chandlery")},
        )
    ]


def _install(wheel: Path, scratch: Path) -> Figures:
    """Install the base with pip in an environment of its own; the size is that of the whole environment, pip included."""
    place = scratch / f"venv-{os.urandom(4).hex()}"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True, timeout=SECONDS)
    subprocess.run([place / "bin" / "pip", "install", "-q", str(wheel)], check=True, timeout=SECONDS)
    size = sum(
        path.stat().st_blocks * 512 for path in place.rglob("*") if path.is_file() and not path.is_symlink()
    )
    return {"size": size / 2**20}


ROWS = (
    Row(
        "import",
        "`import chandlery`",
        _import_contenders,
        (Figure("time", "ms"),),
        (Aim("time", at_most=50.0),),
        notes="In a fresh process, without the start of Python.",
    ),
    Row(
        "install",
        "the base, by pip, in an environment of its own",
        _install_contenders,
        (Figure("size", "MiB"),),
        (Aim("size", at_most=200.0),),
        notes="pip, its own libraries and all bytecode included. Reads the package index.",
        warm_up=False,
    ),
)
