"""Runs a task in its image, where a Docker engine answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chandlery.addresses import VARIABLES
from chandlery.embedded.pipelines.workers import Started, run_command
from chandlery.errors import UserError

PATIENCE = 5.0  # seconds for an engine to answer

_OURS = ("CHANDLERY_HOME", "CHANDLERY_RUN_ID", "CHANDLERY_EVENTS", *VARIABLES.values())


class Docker:
    """The Docker engine of this machine, through its command `docker`."""

    def __init__(self) -> None:
        """Look for it when it is needed."""
        self._answers: bool | None = None

    def answers(self) -> bool:
        """Return whether an engine answers; asked once."""
        if self._answers is None:
            self._answers = False
            if shutil.which("docker"):
                with contextlib.suppress(subprocess.SubprocessError, OSError):
                    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
                    self._answers = not subprocess.run(
                        asked, capture_output=True, timeout=PATIENCE
                    ).returncode
        return self._answers

    async def run(
        self,
        container: Mapping[str, Any],
        words: Sequence[str],
        environment: Mapping[str, str],
        log: int,
        started: Started,
        shared: Sequence[Path],
        run_id: str,
    ) -> int:
        """Run a command in a container's image; returns its exit code.

        The container has the user and the network of this process, and sees the folders `shared` at their own paths.

        Raises:
            UserError: no engine answers.
        """
        if not self.answers():
            raise UserError("no Docker engine answers", "start it, or run without --runner docker")
        name = f"chandlery-{run_id[-40:]}-{uuid.uuid4().hex[:8]}"
        stated = [entry["name"] for entry in container.get("env", [])]
        passed = dict.fromkeys([*stated, "_KFP_RUNTIME", "KFP_RETRY_INDEX", *_OURS])
        argv = ["docker", "run", "--rm", "--name", name, "--network", "host"]
        argv += ["--user", f"{os.getuid()}:{os.getgid()}", "--label", f"chandlery.run={run_id}"]
        for variable in passed:
            if variable in environment:
                argv += ["--env", variable]  # the value goes through the environment, not the command line
        for folder in dict.fromkeys(shared):
            folder.mkdir(parents=True, exist_ok=True)
            argv += ["--volume", f"{folder}:{folder}"]
        argv += ["--entrypoint", words[0], str(container["image"]), *words[1:]]
        try:
            return await run_command(argv, environment, "/", log, started)
        finally:
            if asyncio.current_task() is not None and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                with contextlib.suppress(subprocess.SubprocessError, OSError):
                    subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=PATIENCE)
