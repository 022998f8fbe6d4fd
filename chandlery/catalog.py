"""Finds and describes components and pipelines by name, from the folders beside the code or inside the wheel."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from chandlery import __version__
from chandlery.errors import InvalidDocumentError, NotFoundError
from chandlery.numbers import whole

# The tag is the package version, never moved; registry and digest can be set when compiling. The name holds
# "python" because kfp's laptop runner warns about any image that does not.
IMAGE = f"chandlery/chandlery-python:{__version__}"

# The families of components, in the order of a model's life: folders of components/ and of chandlery/steps/.
FAMILIES = ("data", "search", "training", "registry", "serving", "run")

# What a component may talk to: Pachyderm, Katib, MLflow, Seldon behind its gateway.
SYSTEMS = ("data", "experiments", "mlflow", "deployments")

# A name at one level of indentation, and its text up to the next one or an empty line.
DESCRIBED = re.compile(r"^ {4}(\w+): (.+?)(?=\n {4}\w+: |\n\n|\n\w|\Z)", re.DOTALL | re.MULTILINE)

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml is ten times faster


@dataclass(frozen=True)
class Entry:
    """A component or a pipeline of the catalog.

    Attributes:
        name: its one name: folder, function, metadata, and KFP name (with dashes).
        kind: component or pipeline.
        family: component family; empty for pipelines.
        folder: where its source, compiled YAML and metadata are.
        metadata: the parsed metadata.yaml.
    """

    name: str
    kind: Literal["component", "pipeline"]
    family: str
    folder: Path
    metadata: dict[str, Any]

    @property
    def summary(self) -> str:
        """One line about what it does."""
        return str(self.metadata.get("summary", ""))

    @property
    def pure(self) -> bool:
        """Same inputs, same outputs, nothing else touched: results may be cached."""
        return bool(self.metadata.get("pure", False))

    @property
    def systems(self) -> tuple[str, ...]:
        """The systems that it talks to, of `SYSTEMS`."""
        return tuple(self.metadata.get("systems") or ())

    @property
    def package(self) -> Path:
        """The compiled YAML, which is the published form."""
        return self.folder / f"{self.kind}.yaml"

    @property
    def source(self) -> Path:
        """The Python file that defines it."""
        return self.folder / f"{self.kind}.py"


@dataclass(frozen=True)
class Input:
    """One input of a compiled component or pipeline."""

    name: str
    type: str
    artifact: bool
    required: bool
    default: Any
    description: str


@dataclass(frozen=True)
class Output:
    """One output of a compiled component or pipeline."""

    name: str
    type: str
    artifact: bool
    description: str


def assets(name: str) -> Path:
    """Return a folder of published documents (`components`, `pipelines`, `katib`, `seldon`).

    In a checkout they lie beside the package, in a wheel inside it.
    """
    package = Path(__file__).parent
    inside = package / "_assets" / name
    return inside if inside.is_dir() else package.parent / name


@cache
def entries() -> tuple[Entry, ...]:
    """Return the whole catalog: components by family and name, then pipelines."""
    found = []
    for path in sorted(assets("components").glob("*/*/metadata.yaml")):
        found.append(_read("component", path, path.parent.parent.name))
    for path in sorted(assets("pipelines").glob("*/metadata.yaml")):
        found.append(_read("pipeline", path, ""))
    return tuple(found)


def find(name: str) -> Entry:
    """Return the entry of a name; dashes count as underscores.

    Raises:
        NotFoundError: there is none; suggests the closest names.
    """
    wanted = name.replace("-", "_")
    by_name = {entry.name: entry for entry in entries()}
    if wanted in by_name:
        return by_name[wanted]
    close = difflib.get_close_matches(wanted, by_name, n=3)
    hint = f"did you mean {', '.join(close)}?" if close else "`chandlery list` shows all names"
    raise NotFoundError(f"no component or pipeline named {name!r}", hint)


def component(name: str) -> Callable[..., Any]:
    """Return a component or pipeline, from its compiled YAML, to call inside a KFP pipeline function."""
    from kfp import components

    loaded: Callable[..., Any] = components.load_component_from_file(str(find(name).package))
    return loaded


def load_package(path: Path) -> dict[str, Any]:
    """Read the pipeline spec of a compiled YAML (its first document).

    Raises:
        InvalidDocumentError: the file is not one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise NotFoundError(
            f"{path}: {error.strerror}", "give a catalog name or a compiled YAML file"
        ) from error
    try:
        spec = next(iter(yaml.load_all(text, Loader=Loader)), None)
    except yaml.YAMLError as error:
        raise InvalidDocumentError(
            f"{path}: not valid YAML: {error}".replace("\n", " "), "compile it again"
        ) from error
    if not isinstance(spec, dict) or "root" not in spec or "pipelineInfo" not in spec:
        raise InvalidDocumentError(
            f"{path} is not a compiled pipeline or component", "make one with kfp's compiler"
        )
    return spec


def inputs(spec: dict[str, Any]) -> list[Input]:
    """Return the inputs of a compiled package: required ones first, then in the order of their names."""
    definitions = spec["root"].get("inputDefinitions", {})
    found = []
    for name, value in definitions.get("parameters", {}).items():
        optional = bool(value.get("isOptional")) or "defaultValue" in value
        found.append(
            Input(
                name,
                value["parameterType"],
                False,
                not optional,
                _default(value),
                value.get("description", ""),
            )
        )
    for name, value in definitions.get("artifacts", {}).items():
        kind = value.get("artifactType", {}).get("schemaTitle", "")
        found.append(Input(name, kind, True, not value.get("isOptional"), None, value.get("description", "")))
    return sorted(found, key=lambda item: (not item.required, item.name))


def _default(parameter: dict[str, Any]) -> Any:
    # JSON has one kind of number, and kfp's compiler writes it as a float.
    if parameter["parameterType"] == "NUMBER_DOUBLE":
        return parameter.get("defaultValue", "")
    return _whole(parameter.get("defaultValue", ""))


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return whole(value)


def outputs(spec: dict[str, Any]) -> list[Output]:
    """Return the outputs of a compiled package in the order of their names."""
    definitions = spec["root"].get("outputDefinitions", {})
    found = []
    for name, value in definitions.get("parameters", {}).items():
        found.append(Output(name, value["parameterType"], False, value.get("description", "")))
    for name, value in definitions.get("artifacts", {}).items():
        kind = value.get("artifactType", {}).get("schemaTitle", "")
        found.append(Output(name, kind, True, value.get("description", "")))
    return sorted(found, key=lambda item: item.name)


def described(entry: Entry, items: list[Output]) -> list[Output]:
    """Return outputs with the descriptions of the source's docstring, which kfp's YAML does not keep."""
    tree = ast.parse(entry.source.read_text(encoding="utf-8"))
    function = next((n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == entry.name), None)
    text = (ast.get_docstring(function) or "") if function else ""
    # `name: what it is` in the sections Args (artifacts that a step writes) and Returns.
    texts = {name: " ".join(what.split()) for name, what in DESCRIBED.findall(text)}
    return [replace(item, description=item.description or texts.get(item.name, "")) for item in items]


def systems(spec: dict[str, Any]) -> set[str]:
    """Return the systems that the catalog's components in a compiled package talk to.

    A component of another origin does not name its systems; it adds none.
    """
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    variables = [v for e in executors for v in e.get("container", {}).get("env", ())]
    names = {v["value"] for v in variables if v["name"] == "CHANDLERY_TASK"}
    # A component compiled by itself, or loaded from its file, has no such variable: its code names the step.
    for executor in executors:
        for part in executor.get("container", {}).get("command", ()):
            names.update(re.findall(r"from chandlery\.steps\.\w+\.(\w+) import", str(part)))
    return {system for entry in entries() if entry.name in names for system in entry.systems}


def images(spec: dict[str, Any]) -> list[str]:
    """Return the container images that a compiled package runs, sorted, each once."""
    executors = spec.get("deploymentSpec", {}).get("executors", {}).values()
    return sorted({e["container"]["image"] for e in executors if "container" in e})


def _read(kind: Literal["component", "pipeline"], path: Path, family: str) -> Entry:
    metadata = yaml.load(path.read_text(encoding="utf-8"), Loader=Loader) or {}
    return Entry(path.parent.name, kind, family, path.parent, metadata)
