"""Environments of those that we compare with: made by uv from a committed lock on first use, and kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
INSTALL_SECONDS = 1800.0


@dataclass(frozen=True)
class Environment:
    """An installed environment.

    Attributes:
        folder: where it is.
    """

    folder: Path

    @property
    def bin(self) -> Path:
        """The folder of its programs."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.bin / "python"

    def versions(self, *packages: str) -> dict[str, str]:
        """Return the installed versions of some packages."""
        program = (
            "import json, sys; from importlib.metadata import version;"
            " print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
        )
        output = subprocess.run(
            [self.python, "-c", program, *packages], check=True, capture_output=True, text=True, timeout=120
        ).stdout
        found: dict[str, str] = json.loads(output)
        return found

    def variables(self, **more: str) -> dict[str, str]:
        """Return the variables for its programs: this process's with its `bin` first on PATH, and `more`."""
        own = {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "VIRTUAL_ENV": str(self.folder)}
        return {**{n: v for n, v in os.environ.items() if n != "PYTHONPATH"}, **own, **more}


def environment(name: str, groups: Sequence[str] = (), project: Path | None = None) -> Environment:
    """Return the environment of `benchmarks/<name>` (pyproject.toml and uv.lock), installed when it is not there.

    Args:
        name: folder, such as `peers-steps`.
        groups: dependency groups that are wanted besides.
        project: folder with pyproject.toml and uv.lock, where it is another.

    Raises:
        RuntimeError: there is no uv.
        subprocess.CalledProcessError: it could not be installed.
    """
    uv = shutil.which("uv") or shutil.which("uv", path=HERE.parent / ".tools" / "bin")
    if uv is None:
        raise RuntimeError("uv, which makes the environment of the peers, is neither on PATH nor in .tools")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "chandlery-benchmarks" / name
    wanted = [part for group in groups for part in ("--group", group)]
    subprocess.run(
        [
            uv,
            "sync",
            "--quiet",
            "--frozen",
            "--compile-bytecode",
            "--project",
            str(project or HERE / name),
            *wanted,
        ],
        env={**os.environ, "UV_PROJECT_ENVIRONMENT": str(folder)},
        check=True,
        timeout=INSTALL_SECONDS,
    )
    return Environment(folder)
