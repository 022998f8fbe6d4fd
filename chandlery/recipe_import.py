"""Imports a recipe's files as a package of their own, so that two versions of one recipe live side by side.

A recipe's file may import its neighbours as a script does (`from churn import Churn`): in the files of a recipe, and
only there, such an import is read as a relative one. So a neighbour takes the place of no module that the package or
its libraries import, and each version of a recipe has its own neighbours. Modules of the standard library
and of the libraries that recipes are made of (`LIBRARIES`) come first: a file `numpy.py` beside a recipe is not what the
recipe means by `import numpy`.

A recipe in a package may also import by the package's own name (`from churn.features import age` in `churn/recipe.py`). That
too leads to its own files: a model's copy of them does not depend on the package being installed.
"""

from __future__ import annotations

import ast
import importlib
import sys
import types
from collections.abc import Sequence
from importlib.machinery import FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path

_PREFIX = "_chandlery_recipe_"
# What recipes are made of. A fixed list, so that a model's recipe means the same wherever it is loaded.
LIBRARIES = frozenset(
    (
        "chandlery",
        "keras",
        "matplotlib",
        "numpy",
        "pandas",
        "pyarrow",
        "scipy",
        "skops",
        "sklearn",
        "tensorflow",
        "xgboost",
    )
)
PACKAGE = "package.txt"  # beside a copy of a recipe's files: the dotted name of the package that they are


def package_of(source: Path) -> str:
    """Return the dotted name of the package that a recipe's folder is, or was before it was copied; empty for none."""
    try:
        return (source / PACKAGE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        parts: list[str] = []
        while (source / "__init__.py").is_file() and source.name.isidentifier():
            parts.insert(0, source.name)
            source = source.parent
        return ".".join(parts)


def import_recipe(source: Path, entry: str, digest: str) -> types.ModuleType:
    """Import a recipe's own file, and with it the neighbours that it imports.

    Args:
        source: folder whose Python files belong to the recipe.
        entry: path of the recipe's own file, relative to `source`.
        digest: digest of the source; each has a package of its own.

    Raises:
        Exception: what the recipe's files raise.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    package = _PREFIX + digest
    if package not in sys.modules:
        parent = types.ModuleType(package)
        parent.__path__ = [str(source)]
        sys.modules[package] = parent
    name = ".".join([package, *Path(entry).with_suffix("").parts])
    # Python recognises stale bytecode by size and second of change only: a recipe edited and run at once could run as
    # it was, under the new digest. And a folder that is only read, a model package above all, stays as it is.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        sys.dont_write_bytecode = writes


class _Finder:
    """Finds the modules of recipes' packages."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(_PREFIX) or not path:
            return None
        for folder in path:
            spec = FileFinder(folder, (_Loader, [".py"])).find_spec(fullname)
            if spec is not None and spec.loader is not None:
                return spec
        return None


class _Loader(SourceFileLoader):
    """Compiles a file of a recipe, its imports of neighbours made relative."""

    def source_to_code(  # type: ignore[override]
        self, data: bytes, path: str, *, _optimize: int = -1
    ) -> types.CodeType:
        tree = ast.parse(data, filename=path)
        package = self.name if Path(path).name == "__init__.py" else self.name.rpartition(".")[0]
        root = self.name.partition(".")[0]
        folder = Path(sys.modules[root].__path__[0])
        own = package_of(folder)
        if own and own.partition(".")[0] not in sys.stdlib_module_names | LIBRARIES:
            tree = _Own(own, root).visit(tree)
        tree = _Relative(_neighbours(folder), level=package.count(".") + 1).visit(tree)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True, optimize=_optimize)


def _neighbours(folder: Path) -> set[str]:
    names = {path.stem for path in folder.glob("*.py")}
    names |= {path.parent.name for path in folder.glob("*/__init__.py")}
    return names - sys.stdlib_module_names - LIBRARIES


class _Own(ast.NodeTransformer):
    """Makes imports by the package's own name imports of the recipe's files.

    Args:
        own: dotted name of the package.
        root: name under which the recipe's files are imported.
    """

    def __init__(self, own: str, root: str) -> None:
        self._own = own
        self._root = root

    def _moved(self, name: str) -> str | None:
        if name != self._own and not name.startswith(f"{self._own}."):
            return None
        return self._root + name[len(self._own) :]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        moved = self._moved(node.module) if node.module and not node.level else None
        if moved is not None:
            node.module = moved
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt] | ast.stmt:
        made: list[ast.stmt] = []
        for alias in node.names:
            moved = self._moved(alias.name)
            if moved is None:
                made.append(ast.Import([alias]))
            elif alias.asname:
                made.append(ast.Import([ast.alias(moved, alias.asname)]))
            elif "." in self._own:
                return node  # `import team.churn` binds team, which is not the recipe's
            else:
                # `import churn.features` binds churn.
                made += [ast.Import([ast.alias(moved)]), ast.Import([ast.alias(self._root, self._own)])]
        return [ast.copy_location(statement, node) for statement in made]


class _Relative(ast.NodeTransformer):
    """Makes absolute imports of neighbours relative.

    Args:
        neighbours: names of the modules and packages beside the recipe.
        level: dots from the importing module up to the folder of the recipe.
    """

    def __init__(self, neighbours: set[str], level: int) -> None:
        self._neighbours = neighbours
        self._level = level

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if not node.level and node.module and node.module.partition(".")[0] in self._neighbours:
            node.level = self._level
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt] | ast.stmt:
        own = [alias for alias in node.names if alias.name.partition(".")[0] in self._neighbours]
        if not own:
            return node
        others = [alias for alias in node.names if alias not in own]
        made: list[ast.stmt] = [ast.Import(others)] if others else []
        for alias in own:
            parent, _, last = alias.name.rpartition(".")
            first = alias.name.partition(".")[0]
            if parent:  # `import a.b` binds a, and imports a.b
                name = alias.asname or f"_{last}_imported"
                made.append(ast.ImportFrom(parent, [ast.alias(last, name)], self._level))
            if not (parent and alias.asname):
                made.append(ast.ImportFrom(None, [ast.alias(first, alias.asname)], self._level))
        return [ast.copy_location(statement, node) for statement in made]
