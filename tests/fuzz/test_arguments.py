"""The command line, in process: two lines and an exit code, whatever is typed."""

# ruff: noqa: E501, PT017

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import pytest
from hypothesis import strategies as st

from chandlery import catalog
from chandlery.cli import arguments
from chandlery.cli import main as command
from chandlery.errors import ChandleryError

from .harness import JUNK, cases, plain

ROOT = Path(__file__).parents[2]
ENTRIES = {entry.name: catalog.inputs(catalog.load_package(entry.package)) for entry in catalog.entries()}
WORDS = st.sampled_from(
    [*ENTRIES, "-p", "--json", "--dry-run", "--help", "-", "--", "-n", "0", "-1", "recipe=", "=", "a=b", "@", "none", "/", "..", "last", "x.yaml",
     "models:/digits/1", "digits@master", "examples/digits/recipe.py:Digits", "repo=digits", "model_name=digits", "version=1", "\ud800", "ä", "a" * 3000]
)  # fmt: skip
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


def typed(*words: str) -> tuple[int, str]:
    """Run the command line as a process would, with these words; return its exit code and all that it printed."""
    out = io.StringIO()
    before = sys.argv
    sys.argv = ["chandlery", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                command.main()
            except SystemExit as end:
                return int(end.code or 0), out.getvalue()
        return 0, out.getvalue()
    finally:
        sys.argv = before


def test_any_value_of_any_input():
    inputs = sorted({(name, item.name) for name, items in ENTRIES.items() for item in items})
    texts = st.sampled_from([str(junk)[:400] for junk in JUNK]) | TEXT
    yamls = st.sampled_from(["[", "{a: 1}", "!!python/object:os.system x", "2020-01-01", "&a [*a]", "? x", "{[1]: 2}", "[.nan]", "a: b: c", "- 1", "{1: 2}", "!!set {a}", "*x", "!x y"])  # fmt: skip

    @cases(st.sampled_from(inputs), texts | yamls, st.lists(TEXT, max_size=1), share=0.65)
    def case(which, text, more):
        entry, name = which
        declared = [item for item in ENTRIES[entry] if not item.artifact]
        try:
            found = arguments.parse([f"{name}={text}", *more], declared)
        except ChandleryError as error:
            plain(str(error))
            assert error.exit_code == 2
        else:
            assert name in found


def test_any_recipe_reference(monkeypatch):
    monkeypatch.chdir(ROOT)
    parts = st.sampled_from(
        ["examples/digits/recipe.py", ":", "Digits", "@", "os", "chandlery.recipe", "Recipe", ".", "..", "/", "a" * 5000, "0" * 16, "no.such", "", " ", "\n"]
    )  # fmt: skip

    @cases(
        st.lists(parts, max_size=5).map("".join)
        | TEXT.map(lambda t: t + ":Digits")
        | TEXT.map(lambda t: t + ".py:Digits"),
        share=0.25,
    )
    def case(reference):
        try:
            arguments.pin_recipes({"recipe": reference})
        except ChandleryError as error:
            plain(str(error))
            assert error.exit_code == 2


@pytest.fixture
def still(tmp_path, monkeypatch):
    """Fail when a command would start something or ask a network."""

    def never(*_, **__):
        raise AssertionError("a command that was given nonsense started something")

    monkeypatch.setattr("subprocess.Popen.__init__", never)
    monkeypatch.setattr("chandlery.platform.laptop", never)


def test_any_words(still, tmp_path):
    commands = st.sampled_from(
        ["show", "run", "compile", "logs", "predict", "lineage", "gc", "list", "pachd", "x", "--version"]
    )

    @cases(commands, st.lists(WORDS | TEXT, max_size=5), share=0.1)
    def case(name, words):
        if name in ("logs",) and {"-f", "--follow"} & set(words):
            return
        if name == "run" and "--dry-run" not in words:
            words = [*words, "--dry-run"]
        if name == "gc":
            words = [*words, "--dry-run"]
        if name == "pachd" and words[:1] == ["serve"]:
            return
        code, said = typed(name, *words)
        assert code in (0, 1, 2), (code, said)
        assert "Traceback" not in said
        assert said or code == 0

    left = {path.name for path in (tmp_path / "home").rglob("*")} if (tmp_path / "home").exists() else set()
    assert not {name for name in left if "run.json" in name}
