"""The process that runs one pipeline to its end: `python -m chandlery.embedded.pipelines FOLDER PARENT`.

`FOLDER/request.json` says what to run. Events are appended to the file that `CHANDLERY_EVENTS` names, the state of tasks to
`FOLDER/tasks.jsonl`, their output to `FOLDER/log.txt`. SIGTERM ends the run: exit tasks still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines import package
from chandlery.embedded.pipelines.cache import Cache
from chandlery.embedded.pipelines.engine import Engine
from chandlery.embedded.pipelines.execution import SUCCEEDED
from chandlery.embedded.pipelines.inputs import RunFacts
from chandlery.embedded.pipelines.journal import Journal
from chandlery.embedded.pipelines.machine import this_machine
from chandlery.embedded.pipelines.work import AUTO, Places, Work
from chandlery.embedded.pipelines.workers import Warm
from chandlery.errors import ChandleryError, PlatformError
from chandlery.files import write_json
from chandlery.progress import report_silently
from chandlery.redaction import redacted_values

AGAIN = "make room, and run the same command again"
PARENT_TICK = 0.5  # seconds between looks at the parent


def die_with_parent(parent: int) -> None:
    """End this process when the parent is gone: a killed `chandlery run` leaves no task behind.

    Args:
        parent: process id of the parent. Given as an argument, because an orphan has another parent.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_TICK)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path, parent: int) -> int:
    """Run what a folder's request asks for; returns 0 when it succeeded, 2 for wrong inputs, else 1."""
    die_with_parent(parent)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    # A retry brings the arguments again; what stays on the disk holds no secret of an address.
    write_json(folder / "request.json", {**request, "arguments": redacted_values(request["arguments"])})
    try:
        return asyncio.run(run(folder, request))
    except ChandleryError as error:
        return tell(error)
    except OSError as error:  # a full disk, most often: the state of a task could not be written down
        return tell(PlatformError(f"{error.filename or folder}: {error.strerror}", AGAIN))


def tell(error: ChandleryError) -> int:
    """Report why the engine ends without having run all; returns the exit code."""
    print(f"error: {error.message}\n{error.hint}", flush=True)
    with contextlib.suppress(OSError):
        report_silently(
            "step.failed", task="", error=error.message, hint=error.hint, exit_code=error.exit_code
        )
    return error.exit_code


async def run(folder: Path, request: dict[str, Any]) -> int:
    """Run a request; returns 0 when it succeeded, else 1.

    Raises:
        UserError: the package or its inputs are wrong; nothing ran.
    """
    pipeline = package.read(Path(request["package"]))
    outputs = Path(request["pipeline_root"])
    places = Places(
        folder=folder,
        outputs=outputs,
        workspace=folder / "workspace",
        environments=Path(request["environments"]),
        directory=request.get("directory") or os.getcwd(),
        home=Path(request["home"]),
    )
    run_id = request["run_id"]
    facts = RunFacts(
        run_id=run_id,
        # KFP names the workflow of a run so; here a run's id may begin with the pipeline's name already.
        name=run_id if run_id.startswith(pipeline.name) else f"{pipeline.name}-{run_id[:5]}",
        display_name=request.get("display_name") or request["run_id"],
        created=request.get("created", ""),
        scheduled=request.get("scheduled") or request.get("created", ""),
        workspace=str(places.workspace),
    )
    places.workspace.mkdir(parents=True, exist_ok=True)
    warm = Warm({**os.environ, "_KFP_RUNTIME": "true"})
    cache = Cache(Path(request["cache_root"]), pipeline.name)
    work = Work(pipeline, facts, places, cache, request.get("runner") or AUTO, warm)
    engine = Engine(
        pipeline,
        request["arguments"],
        facts,
        work,
        this_machine(int(request.get("parallel") or 0)),
        Journal(folder),
        report_silently,
        caching=request.get("caching"),
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, engine.cancel)
    warm.begin()
    try:
        root = await engine.run()
    finally:
        await warm.close()
    failure = engine.first_failure()
    if failure is not None:
        report_silently("run.failed", error=failure.error, hint=failure.hint, path=failure.path)
    report_silently("run.outputs", outputs=engine.outputs())
    return 0 if root.state == SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
