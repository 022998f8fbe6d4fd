"""Recipes by reference: found, pinned, snapshotted, and refused with two clear lines."""

from pathlib import Path

import pytest

from chandlery.errors import RecipeError
from chandlery.recipe import guarded, load_recipe, load_snapshot, pin, snapshot

SOURCE = """
from chandlery.recipe import Column, Recipe
from .neighbour import ANSWER

class Tiny(Recipe):
    task = "regression"
    schema = (Column("x"), Column("y"))
    target = "y"
    objective = "mae"
    answer_value = ANSWER
    def load(self, root): raise ValueError("no luck")
    def featurize(self, rows): return rows["x"][:, None].astype("float32")
    def build(self, parameters, features): ...
    def metrics(self, truth, outputs): return {"mae": 0.0}
    def answer(self, outputs): return {"y": outputs[:, 0]}
    def wrong(self, prediction, truth): return False

class NotARecipe: ...
class Unfinished(Recipe): ...
class WrongTask(Tiny):
    task = "ranking"
class WrongTarget(Tiny):
    target = "z"
class WrongType(Tiny):
    schema = (Column("x", "datetime64[D]"), Column("y"))
class UnknownType(Tiny):
    schema = (Column("x", "string"), Column("y"))
class Twice(Tiny):
    schema = (Column("x"), Column("x"), Column("y"))
class WrongSlice(Tiny):
    slices = ("x", "route")
"""


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("ANSWER = 42\n")
    path = tmp_path / "tiny.py"
    path.write_text(SOURCE)
    return path


def test_a_file_recipe_imports_its_neighbour(recipe_file: Path) -> None:
    loaded = load_recipe(f"{recipe_file}:Tiny")
    assert loaded.recipe.answer_value == 42
    assert loaded.class_name == "Tiny"
    assert loaded.reference == f"{recipe_file}:Tiny@{loaded.digest}"


def test_a_package_recipe_has_the_same_contract(recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = recipe_file.parent / "team" / "models"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "tiny.py").write_text(SOURCE)
    (package / "neighbour.py").write_text("ANSWER = 43\n")
    monkeypatch.syspath_prepend(str(recipe_file.parent))
    assert load_recipe("team.models.tiny:Tiny").recipe.answer_value == 43


def test_a_pinned_reference_refuses_changed_source(recipe_file: Path) -> None:
    pinned = pin(f"{recipe_file}:Tiny")
    assert load_recipe(pinned).reference == pinned
    (recipe_file.parent / "neighbour.py").write_text("ANSWER = 41\n")
    with pytest.raises(RecipeError, match="was asked for"):
        load_recipe(pinned)


def test_an_edit_within_the_same_second_takes_effect(recipe_file: Path) -> None:
    assert load_recipe(f"{recipe_file}:Tiny").recipe.answer_value == 42
    # Same size, same second: what Python's bytecode cache cannot tell apart.
    (recipe_file.parent / "neighbour.py").write_text("ANSWER = 17\n")
    assert load_recipe(f"{recipe_file}:Tiny").recipe.answer_value == 17
    assert not (recipe_file.parent / "__pycache__").exists()


def test_a_snapshot_stands_alone(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    loaded = load_recipe(f"{recipe_file}:Tiny")
    folder = tmp_path_factory.mktemp("package") / "recipe"
    reference = snapshot(loaded, folder)
    again = load_snapshot(folder, reference)
    assert (again.digest, again.recipe.answer_value) == (loaded.digest, 42)
    (folder / "neighbour.py").write_text("ANSWER = 7\n")
    assert load_snapshot(folder, reference).recipe.answer_value == 7
    assert loaded.recipe.answer_value == 42, "two versions of a recipe live side by side"


@pytest.mark.parametrize(
    ("suffix", "words"),
    [
        ("tiny.py:Nobody", "no Recipe class named 'Nobody'"),
        ("tiny.py:NotARecipe", "no Recipe class named 'NotARecipe'"),
        ("tiny.py:Unfinished", "cannot be made"),
        ("tiny.py:WrongTask", "task is 'ranking'"),
        ("tiny.py:WrongTarget", "target 'z' is not in its schema"),
        ("tiny.py:WrongType", r"column 'x' has the type 'datetime64\[D\]'\ndeclare it str: dates and times"),
        ("tiny.py:UnknownType", r"column 'x' has the type 'string'\nvalid: bool, float16"),
        ("tiny.py:Twice", "column 'x' is there twice"),
        ("tiny.py:WrongSlice", "slices has 'route', which is not in its schema"),
        ("absent.py:Tiny", "no file"),
        ("tiny.py", "is not a reference"),
        ("broken.py:Tiny", "cannot be loaded: ZeroDivisionError"),
    ],
)
def test_what_cannot_be_loaded_says_why(recipe_file: Path, suffix: str, words: str) -> None:
    (recipe_file.parent / "broken.py").write_text("1 / 0\n")
    with pytest.raises(RecipeError, match=words) as caught:
        load_recipe(f"{recipe_file.parent}/{suffix}")
    assert caught.value.exit_code == 2
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("reference", ["no_such_package.module:Tiny", "also-not:Tiny"])
def test_an_unknown_module_is_refused(reference: str) -> None:
    with pytest.raises(RecipeError):
        load_recipe(reference)


def test_a_method_that_raises_is_named(recipe_file: Path) -> None:
    recipe = load_recipe(f"{recipe_file}:Tiny").recipe
    with pytest.raises(RecipeError, match=r"Tiny\.load raised ValueError: no luck"):
        guarded(recipe, "load", recipe_file.parent)


ABSOLUTE = [
    "from neighbour import ANSWER",
    "import neighbour; ANSWER = neighbour.ANSWER",
    "import neighbour as other, json; ANSWER = other.ANSWER",
    "from parts.deep import ANSWER",
    "import parts.deep; ANSWER = parts.deep.ANSWER",
    "import parts.deep as deep; ANSWER = deep.ANSWER",
    "from parts import deep; ANSWER = deep.ANSWER",
    "from parts.above import ANSWER",
]


def write_parts(folder: Path, statement: str, answer: int) -> Path:
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "__init__.py").touch()
    (folder / "neighbour.py").write_text(f"ANSWER = {answer}\n")
    (folder / "parts" / "deep.py").write_text(f"ANSWER = {answer}\n")
    (folder / "parts" / "above.py").write_text("from neighbour import ANSWER\n")
    path = folder / "tiny.py"
    path.write_text(SOURCE.replace("from .neighbour import ANSWER", statement))
    return path


@pytest.mark.parametrize("statement", ABSOLUTE)
def test_a_recipe_imports_its_neighbours_as_a_script_does(tmp_path: Path, statement: str) -> None:
    """Two versions side by side have their own neighbours, and a snapshot needs nothing of the folder."""
    first = load_recipe(f"{write_parts(tmp_path / 'first', statement, 1)}:Tiny")
    second = load_recipe(f"{write_parts(tmp_path / 'second', statement, 2)}:Tiny")
    assert (first.recipe.answer_value, second.recipe.answer_value) == (1, 2)
    reference = snapshot(first, tmp_path / "kept")
    (tmp_path / "first").rename(tmp_path / "gone")
    assert load_snapshot(tmp_path / "kept", reference).recipe.answer_value == 1


def test_a_neighbour_takes_the_place_of_no_other_module(tmp_path: Path) -> None:
    (tmp_path / "secrets.py").write_text("raise RuntimeError('not the standard library')\n")
    (tmp_path / "orjson.py").write_text("VALUE = 5\n")
    path = tmp_path / "tiny.py"
    path.write_text(
        SOURCE.replace("from .neighbour import ANSWER", "import secrets, orjson; ANSWER = orjson.VALUE")
    )
    assert load_recipe(f"{path}:Tiny").recipe.answer_value == 5
    import orjson

    assert orjson.loads(b"1") == 1


def test_a_neighbour_imported_in_a_method_is_found(tmp_path: Path) -> None:
    path = write_parts(tmp_path / "lazy", "ANSWER = 0", 7)
    path.write_text(
        path.read_text().replace(
            'raise ValueError("no luck")', "\n        from neighbour import ANSWER\n        return ANSWER"
        )
    )
    assert load_recipe(f"{path}:Tiny").recipe.load(tmp_path) == 7


def test_a_missing_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tiny.py"
    path.write_text(SOURCE.replace("from .neighbour import ANSWER", "import not_installed_at_all"))
    with pytest.raises(RecipeError, match="imports not_installed_at_all") as caught:
        load_recipe(f"{path}:Tiny")
    assert "install not_installed_at_all" in caught.value.hint
