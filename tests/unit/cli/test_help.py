"""`--help` ends with examples that are commands; for `run NAME` it shows that entry's inputs; a slip suggests the nearest."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from chandlery import catalog
from chandlery.cli.main import app
from chandlery.errors import ChandleryError, NotFoundError, UserError

ROOT = get_command(app)


def every(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield each command and group with the words that lead to it."""
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from every(inner, (*path, name))


COMMANDS = dict(every(ROOT))


def shown(*words: str) -> str:
    done = CliRunner().invoke(app, [*words, "--help"])
    if isinstance(done.exception, ChandleryError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def examples_of(text: str) -> list[str]:
    """Return the commands at the end of a help text; a backslash continues one."""
    end = text.partition("Examples:\n")[2].replace("\\\n", " ")
    return [" ".join(line.partition("  #")[0].split()) for line in end.splitlines() if line.strip()]


def parsed(line: str) -> None:
    """Parse a command line as the program would, and run nothing."""
    words = shlex.split(line.partition(" < ")[0])
    assert words.pop(0) == "chandlery"
    command: Any = ROOT
    while getattr(command, "commands", None):
        assert words, line
        command = command.commands[words.pop(0)]
    context = command.make_context("example", [], resilient_parsing=True)
    context.resilient_parsing = False  # or its parser passes over an option that there is not
    given, _, _ = command.make_parser(context).parse_args(list(words))
    required = [p.name for p in command.params if p.required]
    assert given.get("help") or not [name for name in required if given.get(name) is None], line


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_ends_with_examples_of_that_command(path: tuple[str, ...]) -> None:
    found = examples_of(shown(*path))
    assert found
    for line in found:
        assert line.startswith(" ".join(("chandlery", *path))), line
        parsed(line)


def test_an_example_that_is_no_command_would_be_seen() -> None:
    with pytest.raises(Exception, match="no-such-option"):
        parsed("chandlery list --no-such-option")
    with pytest.raises(AssertionError):
        parsed("chandlery predict digits")


@pytest.mark.parametrize("entry", catalog.entries(), ids=lambda entry: entry.name)
def test_help_of_an_entry_shows_each_input_with_type_default_and_description(entry: catalog.Entry) -> None:
    text = shown("run", entry.name)
    flat = "".join(text.split())  # a line also breaks after a hyphen
    assert "".join(entry.summary.split()) in flat
    for item in catalog.inputs(catalog.load_package(entry.package)):
        assert re.search(rf"^  {item.name} <.+>", text, re.MULTILINE), item.name
        if not item.artifact:
            assert "".join(item.description.split()) in flat, item.name
    assert "--no-cache" in text
    assert "Examples:" in text


def test_types_and_defaults_are_as_they_are_typed() -> None:
    flat = " ".join(shown("run", "run-canary").split())
    assert "model_name <text> registered model. [required]" in flat
    assert "minimum_requests <whole number>" in flat
    assert "[default: [5, 25, 50, 100]]" in flat
    assert "[default: empty]" in flat
    assert "challenger <Model> an artifact of another step" in " ".join(
        shown("run", "compare_models").split()
    )


def test_the_entry_is_found_wherever_it_stands() -> None:
    assert CliRunner().invoke(app, ["run", "--no-cache", "--help", "train_model"]).output == shown(
        "run", "train_model"
    )
    assert "Run a pipeline or component" in shown("run")
    package = catalog.find("commit_dataset").package
    assert "source <text>" in shown("run", str(package))


@pytest.mark.parametrize(
    ("words", "error", "says"),
    [
        (["run", "trian_model", "--help"], NotFoundError, "did you mean train_model"),
        (["run", "train_and_deply"], NotFoundError, "did you mean train_and_deploy"),
        (["show", "run_canari"], NotFoundError, "did you mean run_canary"),
        (["run", "deploy_model", "-p", "modelname=digits"], UserError, "did you mean model_name?"),
        (["run", "train_and_deploy", "-p", "guardrail=[wrong]"], UserError, "did you mean guardrails?"),
    ],
)
def test_a_slip_suggests_the_nearest(words: list[str], error: type[ChandleryError], says: str) -> None:
    caught = CliRunner().invoke(app, words).exception
    assert isinstance(caught, error)
    assert says in caught.hint
    assert caught.exit_code == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [(["rnu"], "'run'"), (["release", "promot"], "'promote'"), (["list", "--jsn"], "--json")],
)
def test_a_slip_in_a_command_or_option_too(words: list[str], says: str) -> None:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 2
    assert re.search(rf"(Did you mean|Possible options:) {says}", done.output)
