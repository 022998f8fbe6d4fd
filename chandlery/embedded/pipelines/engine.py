"""Runs a compiled pipeline: which task runs when, as Argo decides it for the workflow that KFP compiles the pipeline to.

- A task starts when all tasks that it depends on have succeeded; when one of them was skipped or failed, it is skipped.
- A task that fails lets the running ones of its DAG end, but none of that DAG begin any more; the DAG has failed then.
- A task behind a condition that does not hold is skipped, which is no failure.
- An exit task runs when those that it depends on have ended, however they did, and after a termination too.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from chandlery.embedded.pipelines import inputs, package, settings
from chandlery.embedded.pipelines.execution import (
    CACHED,
    CANCELED,
    FAILED,
    GOOD,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    Execution,
    output_artifacts,
    output_parameter,
)
from chandlery.embedded.pipelines.inputs import RunFacts
from chandlery.embedded.pipelines.journal import Journal
from chandlery.embedded.pipelines.machine import Machine
from chandlery.embedded.pipelines.package import ROOT, Package, Spec
from chandlery.embedded.pipelines.work import USERS_MISTAKE, Work, is_of_this_catalog, label, reason
from chandlery.errors import ChandleryError, PlatformError, UserError

LONGEST_BACKOFF = 1.0  # seconds: on one machine there is no other that has to recover first

Tell = Callable[..., None]


class Engine:
    """Runs one package once."""

    def __init__(
        self,
        pipeline: Package,
        arguments: Mapping[str, Any],
        facts: RunFacts,
        work: Work,
        machine: Machine,
        journal: Journal,
        tell: Tell,
        *,
        caching: bool | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            pipeline: what to run.
            arguments: its inputs by name.
            facts: what tasks may ask about the run.
            work: does the work of tasks.
            machine: what tasks share.
            journal: what an earlier engine did of the same run is not done again.
            tell: called with an event's name and its fields.
            caching: whether tasks may be found in the cache; None: as each task states it.

        Raises:
            UserError: an input is missing, unknown or of another type.
        """
        self._package = pipeline
        self._facts = facts
        self._work = work
        self._machine = machine
        self._journal = journal
        self._tell = tell
        self._caching = caching
        self._canceled = False
        self._active: dict[
            asyncio.Task[None], bool
        ] = {}  # work under way, and whether it belongs to an exit task
        self.root = Execution(ROOT, pipeline.name, pipeline.root)
        self.root.parameters = inputs.of_root(pipeline.root, arguments)

    async def run(self) -> Execution:
        """Run to the end; returns the root's execution, whose state says how it ended."""
        self.root.started = time.time()
        await self._dag(self.root, is_exit=False)
        self._end(self.root)
        return self.root

    def cancel(self) -> None:
        """End the run: what runs is ended, nothing begins, exit tasks still run; a second time they are ended too."""
        second, self._canceled = self._canceled, True
        for task, is_exit in self._active.items():
            if second or not is_exit:
                task.cancel()

    def outputs(self) -> dict[str, Any]:
        """Return what the pipeline itself puts out: values, and addresses of artifacts."""
        declared = self._package.root["dag"].get("outputs", {})
        found = {key: output_parameter(self.root, key) for key in declared.get("parameters", {})}
        for key in declared.get("artifacts", {}):
            addresses = [artifact["uri"] for artifact in output_artifacts(self.root, key)]
            found[key] = addresses[0] if len(addresses) == 1 else addresses
        return {key: value for key, value in found.items() if value not in (None, [])}

    def first_failure(self) -> Execution | None:
        """Return the task that failed first; None when none did."""
        failed = [each for each in walk(self.root) if each.state == FAILED and not _is_above(each)]
        return min(failed, key=lambda each: each.ended) if failed else None

    async def _dag(self, dag: Execution, *, is_exit: bool) -> None:
        members = package.tasks(dag.component["dag"])
        ended: dict[str, asyncio.Task[None]] = {}
        began = asyncio.Event()

        async def member(name: str, task: Spec) -> None:
            await began.wait()
            needs = package.dependencies(task)
            if needs:
                await asyncio.wait([ended[need] for need in needs])
            await self._member(dag, name, task, needs, is_exit=is_exit)

        for name, task in members.items():
            ended[name] = asyncio.create_task(member(name, task))
        began.set()
        await asyncio.gather(*ended.values())
        dag.state = _together([child.state for child in dag.children.values()])

    async def _member(
        self, dag: Execution, name: str, task: Spec, needs: list[str], *, is_exit: bool
    ) -> None:
        child = Execution(f"{dag.path}/{name}", name, self._package.component(task))
        before = [dag.children[need].state for need in needs]
        dag.children[name] = child
        exits = package.is_exit(task)
        if exits:
            runs = not needs or any(state != SKIPPED for state in before)
        else:
            failed = any(each.state == FAILED for each in dag.children.values())
            runs = all(state in GOOD for state in before) and not failed and (is_exit or not self._canceled)
        if not runs:
            child.state = SKIPPED
            self._tell("task.skipped", task=label(child))
            self._journal.write(child, work=not child.is_dag)
            return
        await self._task(dag, child, task, is_exit=is_exit or exits)

    async def _task(self, dag: Execution, child: Execution, task: Spec, *, is_exit: bool) -> None:
        """Run a task: resolve its inputs, look at its condition, then run its turns, its DAG or its work."""
        child.started = time.time()
        child.state = RUNNING
        try:
            child.parameters, child.artifacts = inputs.of_task(task, child.component, dag, self._facts)
            if not inputs.opened(task, child.parameters):
                child.state = SKIPPED
                self._tell("task.skipped", task=label(child))
            elif package.iterator(task) is not None:
                await self._loop(child, task, is_exit=is_exit)
            else:
                await self._one(child, task, is_exit=is_exit)
        except ChandleryError as error:
            self._fail(child, error)
        self._end(child)

    async def _loop(self, loop: Execution, task: Spec, *, is_exit: bool) -> None:
        items = inputs.items(task, loop.parameters)
        loop.turns = []
        self._journal.write(loop, work=False)
        limit = int(task.get("iteratorPolicy", {}).get("parallelismLimit") or 0) or max(1, len(items))
        gate = asyncio.Semaphore(limit)
        for index, item in enumerate(items):
            turn = Execution(f"{loop.path}[{index}]", loop.name, loop.component)
            turn.parameters, turn.artifacts = inputs.of_turn(task, loop.component, loop, item)
            loop.turns.append(turn)
        failed = asyncio.Event()

        async def one(turn: Execution) -> None:
            async with gate:
                if failed.is_set() or (self._canceled and not is_exit):
                    turn.state = SKIPPED
                    return
                turn.state, turn.started = RUNNING, time.time()
                try:
                    await self._one(turn, task, is_exit=is_exit)
                except ChandleryError as error:
                    self._fail(turn, error)
                if turn.state == FAILED:
                    failed.set()
                self._end(turn)

        await asyncio.gather(*(one(turn) for turn in loop.turns))
        loop.state = _together([turn.state for turn in loop.turns])

    async def _one(self, execution: Execution, task: Spec, *, is_exit: bool) -> None:
        """Run the DAG or the work of one task, or of one turn."""
        if execution.is_dag:
            self._journal.write(execution, work=False)
            await self._dag(execution, is_exit=is_exit)
            return
        done = self._journal.ended(execution.path)
        if done is not None:
            execution.outputs, execution.made = done["outputs"], done["artifacts"]
            execution.state, execution.error, execution.hint = done["state"], done["error"], done["hint"]
            execution.exit_code, execution.started = done["exit_code"], done["started"]
            kind = "task.cached" if execution.state == CACHED else "task.finished"
            seconds = round(done["ended"] - done["started"], 3)
            self._tell(kind, task=label(execution), ok=execution.state in GOOD, seconds=seconds)
            return
        under_way = asyncio.create_task(self._do(execution, task))
        self._active[under_way] = is_exit
        try:
            await under_way
        except asyncio.CancelledError:
            if not under_way.cancelled():
                raise
            execution.state = CANCELED
            self._tell("task.finished", task=label(execution), ok=False)
        finally:
            del self._active[under_way]

    async def _do(self, execution: Execution, task: Spec) -> None:
        executor = self._package.executor(execution.component)
        if "importer" in executor:
            self._tell("task.started", task=label(execution))
            self._work.imported(execution, executor["importer"])
            execution.state = SUCCEEDED
            self._tell("task.finished", task=label(execution), ok=True)
            return
        if "container" not in executor:
            raise UserError(
                f"task {execution.name} has an executor that KFP's backend does not run", "use a component"
            )
        container = executor["container"]
        if self._caching is not None:
            wanted = self._caching and bool(task.get("cachingOptions", {}).get("enableCache"))
            task = {**task, "cachingOptions": {**task.get("cachingOptions", {}), "enableCache": wanted}}
        asked = self._work.executor_input(execution)
        key = self._work.cached(execution, task, container, asked)
        if execution.state == CACHED:
            self._tell("task.cached", task=label(execution))
            return
        async with self._machine.taken(settings.share(container)):
            self._work.cached(execution, task, container, asked)  # another task may have made it meanwhile
            if execution.state == CACHED:
                self._tell("task.cached", task=label(execution))
                return
            execution.started = time.time()
            self._tell("task.started", task=label(execution))
            try:
                await self._attempts(execution, task, container, asked)
            except ChandleryError as error:
                self._fail(execution, error)
            except OSError as error:
                said = f"step {label(execution)}: {error.filename or 'its files'}: {error.strerror}"
                self._fail(execution, PlatformError(said, "make room, and run the same command again"))
        execution.ended = time.time()
        seconds = round(execution.ended - execution.started, 3)
        self._tell("task.finished", task=label(execution), ok=execution.state in GOOD, seconds=seconds)
        if execution.state == SUCCEEDED:
            self._end(execution)
            self._work.keep(
                key, execution
            )  # after the outputs are written down: an entry without them is never seen

    async def _attempts(
        self, execution: Execution, task: Spec, container: Spec, asked: dict[str, Any]
    ) -> None:
        policy = task.get("retryPolicy", {})
        retries = int(policy.get("maxRetryCount") or 0)
        wait = min(_seconds(policy.get("backoffDuration")), LONGEST_BACKOFF)
        for index in range(retries + 1):
            execution.attempts = index + 1
            try:
                code = await self._work.attempt(
                    execution,
                    container,
                    asked,
                    index,
                    lambda process: self._journal.write(execution, process),
                )
            except TimeoutError:
                deadline = settings.deadline(self._package.kubernetes(execution.component)) or 0
                execution.error = f"step {label(execution)} took longer than its deadline of {deadline:.0f} s"
                execution.hint, code = "give it more time, or less to do", 1
            else:
                execution.error = "" if code == 0 else f"step {label(execution)} {reason(code)}"
                execution.hint = "" if code == 0 else f"see {self._work.log_of(execution)}"
            execution.exit_code = code
            if code == 0:
                self._work.collect(execution, asked)
                return
            if index == retries or (code == USERS_MISTAKE and is_of_this_catalog(container)):
                break
            self._tell("task.retried", task=label(execution), attempt=index + 1, seconds=wait)
            await asyncio.sleep(wait)
            wait = min(wait * float(policy.get("backoffFactor") or 1.0), LONGEST_BACKOFF)
        execution.state = FAILED

    def _fail(self, execution: Execution, error: ChandleryError) -> None:
        execution.state = FAILED
        execution.error, execution.hint, execution.exit_code = error.message, error.hint, error.exit_code

    def _end(self, execution: Execution) -> None:
        execution.ended = execution.ended or time.time()
        self._journal.write(execution, work=not execution.is_dag and execution.turns is None)


def walk(execution: Execution) -> list[Execution]:
    """Return an execution and all below it."""
    below = [*execution.children.values(), *(execution.turns or [])]
    return [execution, *(each for child in below for each in walk(child))]


def _is_above(execution: Execution) -> bool:
    return bool(execution.children or execution.turns)


def _together(states: list[str]) -> str:
    """Return the state of a DAG or a loop whose tasks ended so."""
    if FAILED in states:
        return FAILED
    return CANCELED if CANCELED in states else SUCCEEDED


def _seconds(text: Any) -> float:
    return float(str(text).rstrip("s") or 0) if text else 0.0
