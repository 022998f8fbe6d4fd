"""The order of the floors, as data: an import goes down, lazy ones included, and nothing imports in a circle."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGE = "chandlery"

# From the roof to the ground. A module imports from floors below its own; `chandlery/__init__.py` is the ground.
# A stage knows one system; where systems meet is a step. So steps stand above all stages.
FLOORS = (
    {"cli"},
    {"steps", "reproduce", "lineage", "gc", "server", "compiler"},
    {"canary"},
    {"training", "deployments", "inference"},  # these use data and registry, never one another
    {"data", "search", "registry"},
    {"platform"},
    {"embedded"},
    {"runs", "composition"},
    {"resources", "model"},
    {"example"},
    {"recipe", "catalog", "report"},
    {"state", "tables"},
    {"addresses", "provenance", "processes", "frameworks"},
    {"errors", "files", "lean"},
    {"arrays", "schema", "numbers", "progress", "protobuf", "variables", "extras", "recipe_import"},
    {"redaction"},
)
HEIGHT = {room: -index for index, floor in enumerate(FLOORS) for room in floor}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted((ROOT / PACKAGE).rglob("*.py"))}


def imported(path: Path) -> Iterator[str]:
    """Yield the modules of the package that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            while name not in MODULES and "." in name:
                name = name.rpartition(".")[0]
            if name in MODULES:
                yield name


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return a circle of a graph, empty when it has none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(name) for name in error.args[1]]
    return []


def test_every_room_stands_on_a_floor() -> None:
    rooms = {room(module) for module in MODULES} - {PACKAGE}
    assert rooms == set(HEIGHT)


@pytest.mark.parametrize("module", [m for m in MODULES if m != PACKAGE])
def test_imports_go_down(module: str) -> None:
    own = HEIGHT[room(module)]
    others = {name for name in imported(MODULES[module]) if name != PACKAGE and room(name) != room(module)}
    upward = sorted(name for name in others if HEIGHT[room(name)] >= own)
    assert not upward, "move the code to where both floors may use it, or hand it in as an argument"


def test_no_file_imports_itself_through_others() -> None:
    graph = {
        module: {name for name in imported(path) if name != module and not module.startswith(f"{name}.")}
        for module, path in MODULES.items()
    }
    assert not circle(graph)


FOLDERS = sorted({module.rpartition(".")[0] for module in MODULES if "." in module})


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_room_imports_itself_through_others(folder: str) -> None:
    """The children of a folder, packages taken as one, import in no circle."""

    def child(module: str) -> str:
        return module.removeprefix(f"{folder}.").partition(".")[0]

    graph: dict[str, set[str]] = defaultdict(set)
    for module, path in MODULES.items():
        if module.startswith(f"{folder}."):
            graph[child(module)] |= {
                child(name)
                for name in imported(path)
                if name.startswith(f"{folder}.") and child(name) != child(module)
            }
    assert not circle(graph)
