"""Environments of Python components that ask for packages: made once, kept by what they ask for."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from chandlery.embedded.pipelines.commands import PythonComponent
from chandlery.errors import UserError
from chandlery.processes.locks import exclusive

_IMAGE = re.compile(r"(?:.*/)?python:(\d+\.\d+)")


def interpreter(component: PythonComponent, root: Path, log: int) -> str:
    """Return the interpreter that a component runs in: this one, where all that it asks for is installed.

    Args:
        component: the component.
        root: folder of the environments.
        log: descriptor for what the making of one prints.

    Raises:
        UserError: the environment cannot be made.
    """
    missing = [text for text in component.requirements if not _is_met(text)]
    wanted = _IMAGE.match(component.image)
    version = wanted[1] if wanted else ""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if not missing:
        return sys.executable
    python = _python(version) if version and version != ours else sys.executable
    if version and version != ours and python == sys.executable:
        os.write(
            log, f"Python {version} of {component.image} is not on this machine; {ours} is used\n".encode()
        )
    key = json.dumps([component.requirements, component.options, python])
    folder = root / hashlib.sha256(key.encode()).hexdigest()[:24]
    root.mkdir(parents=True, exist_ok=True)
    with exclusive(root / f"{folder.name}.lock"):
        if not (folder / "made").exists():
            os.write(log, f"making an environment with {', '.join(component.requirements)}\n".encode())
            _make(folder, python, component, log)
    return str(folder / "bin" / "python")


def _make(folder: Path, python: str, component: PythonComponent, log: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        steps = [[uv, "venv", "--python", python, str(folder)]]
        install = [uv, "pip", "install", "--python", str(folder / "bin" / "python")]
    else:
        steps = [[python, "-m", "venv", str(folder)]]
        install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check"]
    own = [text for text in component.requirements if not _is_kfp(text)]
    kfp = [text for text in component.requirements if _is_kfp(text)]
    options = [word for word in component.options if not (uv and word == "--trusted-host")]
    for listed, extra in ((own, []), (kfp, ["--no-deps"])):
        if listed:
            steps.append([*install, "--quiet", *options, *extra, *listed])
    for step in steps:
        ended = subprocess.run(step, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if ended.returncode:
            shutil.rmtree(folder, ignore_errors=True)
            raise UserError(
                f"an environment with {', '.join(component.requirements)} cannot be made",
                "see the task's log; install the packages in this environment, or correct packages_to_install",
            )
    (folder / "made").touch()


def _python(version: str) -> str:
    """Return an interpreter of a version; this one where there is none."""
    found = shutil.which(f"python{version}")
    if found:
        return found
    uv = shutil.which("uv")
    if uv:
        asked = subprocess.run(
            [uv, "python", "find", "--no-python-downloads", version], capture_output=True, text=True
        )
        if not asked.returncode:
            return asked.stdout.strip()
    return sys.executable


def _is_kfp(text: str) -> bool:
    return (
        re.match(r"[A-Za-z0-9._-]+", text.strip()) is not None
        and re.split(r"[^A-Za-z0-9_-]", text.strip())[0] == "kfp"
    )


def _is_met(text: str) -> bool:
    """Return whether a requirement is installed here; another release of kfp 2 runs the same components."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return False
    if requirement.marker is not None and not requirement.marker.evaluate():
        return True
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        return False
    if requirement.name == "kfp":
        return version.startswith("2.")
    return not requirement.url and requirement.specifier.contains(version, prereleases=True)
