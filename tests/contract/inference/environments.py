"""Environments of their own for clients whose requirements do not go with ours: made once by uv, and kept.

They lie below CHANDLERY_TEST_ENVIRONMENTS where that is set, and then outlive the session; otherwise in the session's
temporary folder, which all workers share. Add a client by its name in `REQUIREMENTS`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VARIABLE = "CHANDLERY_TEST_ENVIRONMENTS"
PYTHON = "3.11"
INSTALL_SECONDS = 300

REQUIREMENTS = {
    "triton": ("tritonclient[http,grpc]==2.73.0", "ml-dtypes"),
    "mlserver": ("mlserver==1.7.1", "pandas<3", "requests"),
    "kserve": ("kserve==0.21.0",),
    "openapi": ("openapi-spec-validator==0.7.2",),
    "seldon": ("seldon-core==1.18.2", "setuptools<82"),
}


def interpreter(name: str, shared: Path) -> Path:
    """Return the Python of an environment, which is made when it is not there yet.

    Args:
        name: one of `REQUIREMENTS`.
        shared: a folder that all workers of this session share.

    The test is skipped, with the reason, where uv or the index is not there.
    """
    uv = shutil.which("uv") or ROOT / ".tools" / "bin" / "uv"
    if not Path(uv).exists():
        pytest.skip("uv is not installed, and makes the environments of the clients")
    requirements = REQUIREMENTS[name]
    digest = hashlib.sha256("\n".join((PYTHON, *requirements)).encode()).hexdigest()[:12]
    folder = Path(os.environ.get(VARIABLE) or shared) / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    done = folder / "complete"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            python = folder / "bin" / "python"
            _run(uv, "venv", "--quiet", "--clear", "--python", PYTHON, folder)
            _run(uv, "pip", "install", "--quiet", "--python", python, *requirements)
            done.touch()
    return folder / "bin" / "python"


def _run(*command: str | Path) -> None:
    words = [str(word) for word in command]
    try:
        found = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"`{' '.join(words[:3])}` took longer than {INSTALL_SECONDS} s: is the index reachable?")
    if found.returncode:
        pytest.skip(f"`{' '.join(words[:3])}` failed: {found.stderr.strip()[-300:]}")
