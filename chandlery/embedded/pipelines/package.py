"""A compiled pipeline: its PipelineSpec and its platform document, checked before anything of it runs.

KFP checks on a cluster what its compiler, Argo and the drivers happen to look at. Here everything is looked at first: a task
whose component, executor, producer or input is missing ends the command before its first step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from chandlery.errors import InvalidDocumentError, NotFoundError

Spec = Mapping[str, Any]

SCHEMA = (2, 1)  # newest version of the schema that is understood
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
EXIT = "ALL_UPSTREAM_TASKS_COMPLETED"
ROOT = "root"

_KINDS = ("componentInputParameter", "runtimeValue", "taskOutputParameter", "taskFinalStatus")


@dataclass(frozen=True)
class Package:
    """A compiled pipeline.

    Attributes:
        name: name of the pipeline, as KFP has it: lower case, with dashes.
        spec: the PipelineSpec, as its JSON form.
        platform: Kubernetes settings by executor label.
    """

    name: str
    spec: Spec
    platform: Mapping[str, Spec] = field(default_factory=dict)

    @property
    def root(self) -> Spec:
        """The component of the whole pipeline."""
        root: Spec = self.spec[ROOT]
        return root

    def component(self, task: Spec) -> Spec:
        """Return the component of a task."""
        found: Spec = self.spec["components"][task["componentRef"]["name"]]
        return found

    def executor(self, component: Spec) -> Spec:
        """Return how a component that is no DAG is executed: `container` or `importer`."""
        found: Spec = self.spec["deploymentSpec"]["executors"][component["executorLabel"]]
        return found

    def kubernetes(self, component: Spec) -> Spec:
        """Return the Kubernetes settings of a component; empty when it has none."""
        return self.platform.get(component.get("executorLabel", ""), {})


def read(path: Path) -> Package:
    """Read a compiled pipeline from a file.

    Raises:
        NotFoundError: there is no such file.
        InvalidDocumentError: it is not a compiled pipeline, or one that cannot run.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror}", "give a compiled YAML file") from error
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(f"{path} is not a text", "give a compiled YAML file") from error
    return parse(text, str(path))


def parse(text: str, where: str = "the package") -> Package:
    """Read a compiled pipeline from its YAML or JSON text.

    Args:
        text: one document, or two: the PipelineSpec and the platform's.
        where: what to call it in an error.

    Raises:
        InvalidDocumentError: it is not a compiled pipeline, or one that cannot run.
    """
    try:
        documents = [document for document in yaml.load_all(text, Loader=LOADER) if document is not None]
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidDocumentError(
            f"{where}: not valid YAML: {error}".replace("\n", " "), "compile it again"
        ) from error
    spec = documents[0] if documents else None
    if isinstance(spec, dict) and isinstance(spec.get("pipelineSpec"), dict):
        spec = spec["pipelineSpec"]  # a PipelineJob, as older compilers write it
    if not isinstance(spec, dict) or not isinstance(spec.get(ROOT), dict) or "pipelineInfo" not in spec:
        raise InvalidDocumentError(
            f"{where} is not a compiled pipeline or component", "make one with kfp's compiler"
        )
    platform = documents[1] if len(documents) > 1 and isinstance(documents[1], dict) else {}
    package = Package(_name(spec, where), spec, _executors(platform))
    try:
        _check(package, where)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidDocumentError(
            f"{where} is not a PipelineSpec: {error!r} is missing or of another kind", "compile it again"
        ) from error
    return package


def tasks(dag: Spec) -> Mapping[str, Spec]:
    """Return the tasks of a DAG by name."""
    found: Mapping[str, Spec] = dag.get("tasks", {})
    return found


def is_exit(task: Spec) -> bool:
    """Return whether a task runs when those that it depends on have ended, however they ended."""
    return bool(task.get("triggerPolicy", {}).get("strategy") == EXIT)


def dependencies(task: Spec) -> list[str]:
    """Return the tasks of the same DAG that must end before this one starts: the stated ones and those it reads from."""
    found = dict.fromkeys(task.get("dependentTasks", []))
    inputs = task.get("inputs", {})
    for spec in inputs.get("parameters", {}).values():
        producer = spec.get("taskOutputParameter") or spec.get("taskFinalStatus")
        if producer:
            found[producer["producerTask"]] = None
    for spec in inputs.get("artifacts", {}).values():
        if "taskOutputArtifact" in spec:
            found[spec["taskOutputArtifact"]["producerTask"]] = None
    return list(found)


def iterator(task: Spec) -> Spec | None:
    """Return the iterator of a loop over parameters; None for a task that is no loop."""
    found: Spec | None = task.get("parameterIterator")
    return found


def _name(spec: Spec, where: str) -> str:
    info = spec["pipelineInfo"]
    name = str(info.get("name") or "") if isinstance(info, dict) else ""
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,126}[a-z0-9])?", name):
        raise InvalidDocumentError(
            f"{where}: {name!r} is no name of a pipeline",
            "use at most 128 lower-case letters, digits and dashes, with a letter or a digit at both ends",
        )
    return name


def _executors(platform: Spec) -> Mapping[str, Spec]:
    found: Any = platform
    for key in ("platforms", "kubernetes", "deploymentSpec", "executors"):
        found = found.get(key, {}) if isinstance(found, dict) else {}
    return {label: spec for label, spec in found.items() if isinstance(spec, dict)}


def _leave_out_dead_inputs(package: Package) -> None:
    """Drop inputs of nested DAGs that come from nowhere and that nothing inside reads.

    kfp 2.17 compiles such an input for a field of a fixed loop's item (`item.a`) when the loop is inside an exit handler.
    """
    for _, component in _dags(package):
        given = component.get("inputDefinitions", {}).get("parameters", {})
        for task in tasks(component["dag"]).values():
            target = package.spec.get("components", {}).get(task.get("componentRef", {}).get("name"), {})
            inputs = task.get("inputs", {}).get("parameters", {})
            for name in list(inputs):
                source = inputs[name].get("componentInputParameter")
                if source is not None and source not in given and "dag" in target and not reads(target, name):
                    del inputs[name]
                    target.get("inputDefinitions", {}).get("parameters", {}).pop(name, None)


def reads(component: Spec, name: str) -> bool:
    """Return whether a task of a DAG reads the DAG's input `name`."""
    for task in tasks(component.get("dag", {})).values():
        for spec in task.get("inputs", {}).get("parameters", {}).values():
            if spec.get("componentInputParameter") == name:
                return True
    return False


def _check(package: Package, where: str) -> None:
    version = str(package.spec.get("schemaVersion", "2.1.0"))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not numbers or (int(numbers[1]), int(numbers[2])) > SCHEMA:
        raise InvalidDocumentError(
            f"{where} has schema version {version}; this release understands {SCHEMA[0]}.{SCHEMA[1]}",
            "compile it with kfp 2.17, or install a newer release",
        )
    if "dag" not in package.root:
        raise InvalidDocumentError(f"{where}: its root is not a DAG", "compile it again")
    _leave_out_dead_inputs(package)
    for name, component in _dags(package):
        _check_dag(package, name, component, where)
    _check_nesting(package, where)


def _dags(package: Package) -> Iterator[tuple[str, Spec]]:
    yield ROOT, package.root
    for name, component in package.spec.get("components", {}).items():
        if "dag" in component:
            yield name, component


def _check_dag(package: Package, name: str, component: Spec, where: str) -> None:
    members = tasks(component["dag"])
    components = package.spec.get("components", {})
    executors = package.spec.get("deploymentSpec", {}).get("executors", {})

    def wrong(task: str, what: str) -> InvalidDocumentError:
        return InvalidDocumentError(f"{where}: task {task}{what}", "compile the pipeline again")

    if not any(not is_exit(task) for task in members.values()):
        raise InvalidDocumentError(f"{where}: {name} has no task that is not an exit task", "add one")
    for key, task in members.items():
        reference = task.get("componentRef", {}).get("name", "")
        if reference not in components:
            raise wrong(key, f" is of component {reference!r}, which is not there")
        target = components[reference]
        if "dag" not in target and target.get("executorLabel") not in executors:
            raise wrong(key, f" has executor {target.get('executorLabel')!r}, which is not there")
        if "artifactIterator" in task:
            raise wrong(key, " loops over a list of artifacts, which KFP 2.17 does not run either")
        for producer in dependencies(task):
            if producer not in members:
                raise wrong(key, f" depends on {producer!r}, which is not a task of {name}")
            if producer == key:
                raise wrong(key, " depends on itself")
        _check_inputs(key, task, component, target, wrong)
    _check_order(name, members, where)


def _check_inputs(key: str, task: Spec, parent: Spec, target: Spec, wrong: Any) -> None:
    given = parent.get("inputDefinitions", {})
    inputs = task.get("inputs", {})
    items = (iterator(task) or {}).get("itemInput")
    for name, spec in inputs.get("parameters", {}).items():
        if not any(kind in spec for kind in _KINDS):
            raise wrong(key, f": its input {name} has no source that is known")
        source = spec.get("componentInputParameter")
        if source is not None and source not in given.get("parameters", {}):
            raise wrong(key, f" reads the input {source!r}, which its pipeline does not have")
    for spec in inputs.get("artifacts", {}).values():
        source = spec.get("componentInputArtifact")
        if source is not None and source not in given.get("artifacts", {}):
            raise wrong(key, f" reads the artifact {source!r}, which its pipeline does not have")
    for name, spec in target.get("inputDefinitions", {}).get("parameters", {}).items():
        required = not spec.get("isOptional") and spec.get("defaultValue") is None
        if (
            required
            and name not in inputs.get("parameters", {})
            and name != items
            and spec.get("parameterType") != "TASK_CONFIG"
        ):
            raise wrong(key, f" is not given the input {name}")
    for name, spec in target.get("inputDefinitions", {}).get("artifacts", {}).items():
        if not spec.get("isOptional") and name not in inputs.get("artifacts", {}):
            raise wrong(key, f" is not given the artifact {name}")


def _check_order(name: str, members: Mapping[str, Spec], where: str) -> None:
    waiting = {key: set(dependencies(task)) for key, task in members.items()}
    while waiting:
        free = {key for key, needs in waiting.items() if not needs & waiting.keys()}
        if not free:
            raise InvalidDocumentError(
                f"{where}: tasks of {name} wait for each other: {', '.join(sorted(waiting))}",
                "break the cycle",
            )
        for key in free:
            del waiting[key]


def _check_nesting(package: Package, where: str) -> None:
    """Refuse a component that contains itself; the nesting is otherwise walked without a guard."""
    done: set[str] = set()

    def visit(name: str, component: Spec, above: tuple[str, ...]) -> None:
        if name in above:
            raise InvalidDocumentError(
                f"{where}: {name} contains itself", "a pipeline cannot call itself: use a loop"
            )
        if name in done or "dag" not in component:
            return
        for task in tasks(component["dag"]).values():
            reference = task["componentRef"]["name"]
            visit(reference, package.spec["components"][reference], (*above, name))
        done.add(name)

    visit(ROOT, package.root, ())
