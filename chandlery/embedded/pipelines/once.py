"""Runs a component or a pipeline in this process, for tests and scripts: nothing of it is kept but what it made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines import package
from chandlery.embedded.pipelines.cache import Cache
from chandlery.embedded.pipelines.engine import Engine, walk
from chandlery.embedded.pipelines.execution import SUCCEEDED, Execution
from chandlery.embedded.pipelines.inputs import RunFacts
from chandlery.embedded.pipelines.journal import Journal
from chandlery.embedded.pipelines.machine import this_machine
from chandlery.embedded.pipelines.package import ROOT
from chandlery.embedded.pipelines.work import AUTO, Places, Work
from chandlery.embedded.pipelines.workers import Warm
from chandlery.errors import ChandleryError


class TaskFailedError(ChandleryError):
    """A task of a run failed."""


@dataclass(frozen=True)
class Ran:
    """How a run ended.

    Attributes:
        state: SUCCEEDED, FAILED or CANCELED.
        outputs: what the pipeline puts out: values, and addresses of artifacts.
        tasks: each execution by its path, `root/train-model`.
        error: what was wrong with the first task that failed; empty when none did.
        hint: what to do.
        log: what the tasks printed, each line behind the name of its task.
    """

    state: str
    outputs: dict[str, Any]
    tasks: dict[str, Execution]
    error: str
    hint: str
    log: str

    def check(self) -> Ran:
        """Return this run when it succeeded.

        Raises:
            TaskFailedError: it did not.
        """
        if self.state != SUCCEEDED:
            raise TaskFailedError(self.error or f"the run ended as {self.state}", self.hint)
        return self

    def task(self, name: str) -> Execution:
        """Return the only task whose name in its pipeline is `name`, dashes or underscores alike.

        Raises:
            KeyError: there is none, or several.
        """
        wanted = name.replace("_", "-")
        found = [
            each
            for each in self.tasks.values()
            if each.name == wanted and each.path != ROOT and each.turns is None
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} tasks {wanted}")
        return found[0]


def run_once(
    runnable: Any,
    folder: Path,
    arguments: Mapping[str, Any] | None = None,
    *,
    caching: bool = False,
    parallel: int = 0,
    runner: str = AUTO,
) -> Ran:
    """Run a component or a pipeline.

    Args:
        runnable: a component or a pipeline of kfp, or the path of a compiled one.
        folder: where logs, outputs and, with caching, results are kept.
        arguments: its inputs by name.
        caching: use results of earlier runs in `folder`.
        parallel: tasks at a time; 0: as the machine allows.
        runner: `auto`, `process` or `docker`.

    Raises:
        UserError: it cannot run, or an argument is wrong. A task that fails raises nothing.
    """
    run_id = uuid.uuid4().hex
    own = folder / "runs" / run_id
    own.mkdir(parents=True)
    if not isinstance(runnable, str | Path):
        from kfp import compiler

        path = own / "package.yaml"
        compiler.Compiler().compile(runnable, str(path))
        runnable = path
    pipeline = package.read(Path(runnable))
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    facts = RunFacts(
        run_id, f"{pipeline.name}-{run_id[:5]}", run_id, created, created, str(own / "workspace")
    )
    places = Places(own, folder / "outputs", own / "workspace", folder / "environments", os.getcwd(), folder)
    (own / "workspace").mkdir()
    cache = Cache(folder / "cache", pipeline.name)

    async def run() -> tuple[Engine, Execution]:
        warm = Warm({**os.environ, "_KFP_RUNTIME": "true"})
        work = Work(pipeline, facts, places, cache, runner, warm)
        engine = Engine(
            pipeline,
            arguments or {},
            facts,
            work,
            this_machine(parallel),
            Journal(own),
            lambda event, **fields: None,
            caching=None if caching else False,
        )
        try:
            return engine, await engine.run()
        finally:
            await warm.close()

    engine, root = asyncio.run(run())
    failed = engine.first_failure()
    log = ""
    with contextlib.suppress(FileNotFoundError):
        log = (own / "log.txt").read_text(encoding="utf-8", errors="replace")
    return Ran(
        root.state,
        engine.outputs(),
        {each.path: each for each in walk(root)},
        failed.error if failed else "",
        failed.hint if failed else "",
        log,
    )
