"""The commands that README and docs show exist, with the options that they show; the cheap ones are run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from chandlery.cli.main import app

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted(ROOT.glob("components/*/*/README.md")),
    *sorted(ROOT.glob("pipelines/*/README.md")),
    *sorted(ROOT.glob("examples/*/README.md")),
]
CHEAP = (
    "chandlery list",
    "chandlery show",
    "chandlery compile",
    "chandlery run tune_hyperparameters --dry-run",
)
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def commands() -> list[tuple[str, str]]:
    """Return page and command of every `chandlery` and `make` command in a fenced block of shell."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                text = line.partition("  #")[0].strip()
                if text.startswith(("chandlery ", "make ")):
                    found.append((page.relative_to(ROOT).as_posix(), " ".join(text.split())))
    return found


COMMANDS = commands()


def test_the_pages_show_commands() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("page", "text"), COMMANDS)
def test_a_command_that_a_page_shows_exists(page: str, text: str) -> None:
    words = shlex.split(text)
    if words[0] == "make":
        assert words[1] in TARGETS
        return
    command = get_command(app)
    context = command.make_context("chandlery", [], resilient_parsing=True)
    inner = command.get_command(context, words[1])  # type: ignore[attr-defined]
    assert inner is not None, words[1]
    while getattr(inner, "commands", None):
        words = words[1:]
        inner = inner.commands[words[1]]  # type: ignore[attr-defined]
    context = inner.make_context(words[1], [], resilient_parsing=True)
    context.resilient_parsing = False  # or its parser passes over an option that there is not
    inner.make_parser(context).parse_args(words[2:])


@pytest.mark.slow
@pytest.mark.parametrize(("page", "text"), [c for c in COMMANDS if c[1].startswith(CHEAP)])
def test_a_cheap_command_that_a_page_shows_works(page: str, text: str, tmp_path: Path) -> None:
    words = shlex.split(text)[1:]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "chandlery.cli.main",
            *words,
            *(["-o", str(tmp_path / "out.yaml")] if words[0] == "compile" else []),
        ],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "CHANDLERY_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
