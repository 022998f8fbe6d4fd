"""Does the work of one task as KFP's launcher does: what it is to make, its process, what it made."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandlery.embedded.pipelines import commands, environments, settings, values
from chandlery.embedded.pipelines.cache import Cache, fingerprint
from chandlery.embedded.pipelines.commands import PythonComponent
from chandlery.embedded.pipelines.docker import Docker
from chandlery.embedded.pipelines.execution import CACHED, SUCCEEDED, Execution
from chandlery.embedded.pipelines.inputs import RunFacts
from chandlery.embedded.pipelines.package import Package, Spec
from chandlery.embedded.pipelines.workers import Log, Started, Warm, WorkerLostError, run_command
from chandlery.errors import PlatformError, UserError
from chandlery.provenance import TASK_VARIABLE
from chandlery.runs.tasks import log_file

AUTO, PROCESS, DOCKER = "auto", "process", "docker"
RUNNERS = (AUTO, PROCESS, DOCKER)
STUBS = "argostub/"  # images of tasks that KFP's driver does itself
USERS_MISTAKE = (
    2  # exit code of a component of this catalog whose user was wrong: another attempt would be too
)


@dataclass(frozen=True)
class Places:
    """Where a run finds and leaves things.

    Attributes:
        folder: the run's own folder: logs, journal.
        outputs: folder of what tasks make, of all runs.
        workspace: folder that the tasks of the run share.
        environments: cached environments of components that ask for packages.
        directory: working directory of tasks.
        home: home folder of the platform, which a container sees too.
    """

    folder: Path
    outputs: Path
    workspace: Path
    environments: Path
    directory: str
    home: Path


class Work:
    """Does the work of a run's tasks."""

    def __init__(
        self, package: Package, facts: RunFacts, places: Places, cache: Cache | None, runner: str, warm: Warm
    ) -> None:
        """Work for one run; without a cache nothing is found again."""
        self._package = package
        self._facts = facts
        self._places = places
        self._cache = cache
        self._runner = runner
        self._warm = warm
        self._docker = Docker()

    def imported(self, execution: Execution, importer: Spec) -> None:
        """Put out an artifact that exists already.

        Raises:
            UserError: it has no address.
        """
        known = commands.placeholders(
            {"inputs": {"parameterValues": execution.parameters}, "outputs": {}},
            _defaults(execution.component),
        )
        address = importer.get("artifactUri", {})
        if "runtimeParameter" in address:
            uri = values.text_of(execution.parameters.get(address["runtimeParameter"]))
        else:
            uri = values.text_of(address.get("constant"))
        if not uri:
            raise UserError(f"task {execution.name}: the artifact to import has no address", "give its URI")
        names = execution.component.get("outputDefinitions", {}).get("artifacts", {})
        for name in names:
            artifact = {
                "name": f"{self._facts.run_id}/{execution.path}/{name}"
                if importer.get("reimport")
                else f"imported/{uri}",
                "uri": uri,
                "type": importer.get("typeSchema", {}),
                "metadata": _filled(importer.get("metadata", {}), known),
            }
            execution.made[name] = [artifact]

    def executor_input(self, execution: Execution) -> dict[str, Any]:
        """Return what a task is given and where it puts what it makes, as KFP's driver words it."""
        component = execution.component
        parts = [part.replace("/", "-") for part in execution.path.split("/")[1:]]
        root = self._places.outputs / self._facts.run_id / ".".join(parts)[-100:] / uuid.uuid4().hex[:12]
        outputs = component.get("outputDefinitions", {})
        return {
            "inputs": {
                "parameterValues": values.plain(execution.parameters),
                "artifacts": {name: {"artifacts": found} for name, found in execution.artifacts.items()},
            },
            "outputs": {
                "parameters": {
                    name: {"outputFile": str(root / "parameters" / name)}
                    for name in outputs.get("parameters", {})
                },
                "artifacts": {
                    name: {
                        "artifacts": [
                            {
                                "name": name,
                                "uri": str(root / name),
                                "type": spec.get("artifactType", {}),
                                "metadata": values.plain(spec.get("metadata", {})),
                            }
                        ]
                    }
                    for name, spec in outputs.get("artifacts", {}).items()
                },
                "outputFile": str(root / "output_metadata.json"),
            },
        }

    def cached(self, execution: Execution, task: Spec, container: Spec, asked: Mapping[str, Any]) -> str:
        """Take a task's outputs from the cache, if they are there; returns the key to keep them under, or nothing."""
        if self._cache is None or not task.get("cachingOptions", {}).get("enableCache"):
            return ""
        key = fingerprint(task, execution.component, container, asked)
        found = self._cache.find(key)
        if found is not None:
            execution.outputs, execution.made = found
            execution.state = CACHED
        return key

    async def attempt(
        self, execution: Execution, container: Spec, asked: dict[str, Any], index: int, started: Started
    ) -> int:
        """Run a task's process once; returns its exit code, negative for a signal.

        Args:
            execution: the task.
            container: its executor.
            asked: its executor input.
            index: number of earlier attempts.
            started: called with its process.

        Raises:
            UserError: it cannot run on this machine.
            TimeoutError: its deadline has passed.
        """
        kubernetes = self._package.kubernetes(execution.component)
        for part in ("parameters", "artifacts"):
            for listed in asked["outputs"][part].values():
                place = listed["outputFile"] if part == "parameters" else listed["artifacts"][0]["uri"]
                Path(place).parent.mkdir(parents=True, exist_ok=True)
        defaults = _defaults(execution.component)
        known = commands.placeholders(asked, defaults)
        environment = settings.environment(
            container, kubernetes, execution.parameters, known, self._names(execution)
        )
        environment |= {"KFP_RETRY_INDEX": str(index), "_KFP_RUNTIME": "true"}
        if is_of_this_catalog(container) and not _states(container, TASK_VARIABLE):
            # A component by itself, or one that was loaded from its file into somebody's pipeline.
            environment.setdefault(TASK_VARIABLE, execution.name.replace("-", "_"))
        log = Log(self.log_of(execution), self._places.folder / "log.txt", label(execution))
        descriptor = log.open()
        try:
            async with asyncio.timeout(settings.deadline(kubernetes)):
                return await self._process(execution, container, asked, environment, descriptor, started)
        except BaseException as error:
            if isinstance(error, UserError):
                os.write(descriptor, f"error: {error.message}\n{error.hint}\n".encode())
            raise
        finally:
            os.close(descriptor)
            await log.close()

    def collect(self, execution: Execution, asked: Mapping[str, Any]) -> None:
        """Read what a task made; nothing it was to put out may be missing.

        Raises:
            UserError: an output parameter is missing or of another type.
        """
        outputs = asked["outputs"]
        try:
            said = json.loads(Path(outputs["outputFile"]).read_text(encoding="utf-8"))
        except FileNotFoundError:
            said = {}
        except (OSError, ValueError) as error:
            raise UserError(
                f"task {execution.name} left outputs that cannot be read: {error}", "correct it"
            ) from error
        found = values.plain(said.get("parameterValues") or {})
        declared = execution.component.get("outputDefinitions", {}).get("parameters", {})
        for name, spec in outputs["parameters"].items():
            if name in found:
                continue
            try:
                text = Path(spec["outputFile"]).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(
                    f"task {execution.name} put out no parameter {name}", "return it, or write it to its file"
                ) from error
            found[name] = values.value_of(text, declared[name]["parameterType"], name)
        execution.outputs = found
        execution.made = {}
        for name, listed in outputs["artifacts"].items():
            artifact = dict(listed["artifacts"][0])
            for changed in (said.get("artifacts") or {}).get(name, {}).get("artifacts", [])[:1]:
                artifact["uri"] = changed.get("uri") or artifact["uri"]
                artifact["metadata"] = {**artifact["metadata"], **(changed.get("metadata") or {})}
                _bring(changed.get("custom_path") or changed.get("customPath") or "", artifact["uri"])
            artifact["name"] = f"{self._facts.run_id}/{execution.path}/{name}"
            execution.made[name] = [artifact]
        execution.state = SUCCEEDED

    def keep(self, key: str, execution: Execution) -> None:
        """Remember a task's outputs under the key that `cached` gave."""
        if key and self._cache is not None:
            self._cache.keep(key, execution.outputs, execution.made)

    def log_of(self, execution: Execution) -> Path:
        """Return the file that a task's output is appended to."""
        return log_file(self._places.folder, execution.path)

    async def _process(
        self,
        execution: Execution,
        container: Spec,
        asked: dict[str, Any],
        environment: dict[str, str],
        log: int,
        started: Started,
    ) -> int:
        python = commands.python_component(container)
        if str(container.get("image", "")).startswith(STUBS):
            raise UserError(
                f"task {execution.name} makes or deletes a volume, which only a cluster has",
                "run the pipeline there, or hand data on as artifacts",
            )
        if self._runner == DOCKER or (python is None and self._runner == AUTO and self._docker.answers()):
            words = commands.command_line(container, asked, _defaults(execution.component))
            return await self._docker.run(
                container,
                words,
                environment,
                log,
                started,
                (self._places.home, self._places.outputs),
                self._facts.run_id,
            )
        if python is None and self._runner == AUTO:
            raise UserError(
                f"task {execution.name} runs a command of the image {container.get('image')}, and no Docker engine answers",
                "start Docker, or run the command as a process of this machine: --runner process",
            )
        if python is None:
            words = commands.command_line(container, asked, _defaults(execution.component))
            try:
                return await run_command(words, environment, self._places.directory, log, started)
            except OSError as error:
                raise UserError(
                    f"task {execution.name}: {words[0]}: {error.strerror}",
                    "install it, or use --runner docker",
                ) from error
        interpreter = await asyncio.to_thread(
            environments.interpreter, python, self._places.environments, log
        )
        if interpreter == sys.executable:
            return await self._in_warm(execution, python, asked, environment, log, started)
        return await self._in(interpreter, execution, python, asked, environment, log, started)

    async def _in_warm(
        self,
        execution: Execution,
        python: PythonComponent,
        asked: dict[str, Any],
        environment: dict[str, str],
        log: int,
        started: Started,
    ) -> int:
        request = {
            "source": python.source,
            "function": python.function,
            "file": str(self.log_of(execution).with_name(commands.SOURCE_FILE)),
            "executor_input": asked,
            "environment": environment,
            "directory": self._places.directory,
        }
        try:
            return await self._warm.run(request, log, started)
        except WorkerLostError as error:
            raise PlatformError(
                "the interpreter that runs Python tasks was killed", "run again: finished tasks are kept"
            ) from error

    async def _in(
        self,
        interpreter: str,
        execution: Execution,
        python: PythonComponent,
        asked: dict[str, Any],
        environment: dict[str, str],
        log: int,
        started: Started,
    ) -> int:
        file = self.log_of(execution).with_name(commands.SOURCE_FILE)
        file.write_text(python.source, encoding="utf-8")
        words = [interpreter, "-P", "-u", "-m", commands.EXECUTOR, "--component_module_path", str(file)]
        words += ["--executor_input", json.dumps(asked), "--function_to_execute", python.function]
        return await run_command(words, environment, self._places.directory, log, started)

    def _names(self, execution: Execution) -> dict[str, str]:
        facts = self._facts
        pod = f"{facts.name}-{execution.name}"
        return {
            "metadata.labels['pipeline/runid']": facts.run_id,
            "metadata.name": pod,
            "metadata.uid": pod,
            "metadata.namespace": "kubeflow",
        }


def label(execution: Execution) -> str:
    """Return a task's name for people: as in the pipeline's source, with the turns of the loops around it."""
    name = execution.path.rsplit("/", 1)[-1].partition("[")[0]
    return name.replace("-", "_") + execution.index


def is_of_this_catalog(container: Spec) -> bool:
    """Return whether a container runs a component of this catalog."""
    if _states(container, TASK_VARIABLE):
        return True
    return any("from chandlery.steps." in str(part) for part in container.get("command", []))


def _states(container: Spec, variable: str) -> bool:
    return any(entry.get("name") == variable for entry in container.get("env", []))


def reason(code: int) -> str:
    """Return what an exit code says, as the end of a sentence."""
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"was ended by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"ended with code {code}"


def _bring(custom: str, uri: str) -> None:
    """Copy what a component wrote to a path of its own choice to where the artifact belongs."""
    if (
        not custom
        or "://" in uri
        or not os.path.exists(custom)
        or os.path.realpath(custom) == os.path.realpath(uri)
    ):
        return
    if os.path.isdir(custom):
        shutil.copytree(custom, uri, dirs_exist_ok=True)
    else:
        shutil.copyfile(custom, uri)


def _defaults(component: Spec) -> dict[str, Any]:
    declared = component.get("inputDefinitions", {}).get("parameters", {})
    return {
        name: spec["defaultValue"] for name, spec in declared.items() if spec.get("defaultValue") is not None
    }


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return commands.filled(value, known)
    if isinstance(value, Mapping):
        return {key: _filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    return values.plain(value)
