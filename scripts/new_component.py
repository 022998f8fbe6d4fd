"""Make a working component: `make new-component FAMILY=data NAME=count_rows`.

Writes component.py, metadata.yaml, the function behind it and a test, and refuses names that are taken.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

COMPONENT = '''"""{name}: say in one line what it does."""

from chandlery.catalog import IMAGE
from kfp import dsl


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def {name}(text: str, report: dsl.Output[dsl.Markdown]) -> str:
    """Say in one line what it does.

    Args:
        text: what it works on.
        report: what it found, for the dashboard.

    Returns:
        the text, in capitals.
    """
    from chandlery.{family}.{name} import {name}

    return {name}(text, report)
'''

CORE = '''"""What the component `{name}` does, importable and testable without KFP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chandlery import provenance
from chandlery.errors import UserError

if TYPE_CHECKING:
    from kfp import dsl


def {name}(text: str, report: dsl.Markdown) -> str:
    """Return `text` in capitals and report its length.

    Raises:
        UserError: `text` is empty.
    """
    if not text:
        raise UserError("{name}: text is empty", "give -p text=...")
    Path(report.path).write_text(f"{{len(text)}} characters\\n", encoding="utf-8")
    report.metadata.update(provenance.current().metadata())
    return text.upper()
'''

METADATA = """name: {name}
family: {family}
summary: Says in one line what it does.
tags: [{family}]
# Equal inputs give equal outputs and nothing else is touched: results are cached.
pure: true
cpu: 100m
cpu_limit: "1"
memory: 256Mi
memory_limit: 512Mi
timeout_seconds: 300
retries: 2
example:
  text: hello
"""

TEST = '''"""The component {name}: its function, and the compiled YAML as it runs on a laptop."""

from pathlib import Path

import pytest
from chandlery.catalog import component
from chandlery.errors import UserError
from chandlery.{family}.{name} import {name}
from kfp import dsl, local


def test_returns_capitals_and_reports_the_length(tmp_path: Path) -> None:
    report = dsl.Markdown(name="report", uri=str(tmp_path / "report.md"))
    assert {name}("hello", report) == "HELLO"
    assert (tmp_path / "report.md").read_text() == "5 characters\\n"


def test_refuses_an_empty_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="text is empty"):
        {name}("", dsl.Markdown(name="report", uri=str(tmp_path / "report.md")))


def test_runs_from_its_compiled_yaml(tmp_path: Path) -> None:
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path))
    assert component("{name}")(text="hello").outputs["Output"] == "HELLO"
'''


def main(family: str, name: str) -> int:
    """Write the files; returns 0, or 2 for a name that cannot be."""
    if not re.fullmatch(r"[a-z]+", family) or not re.fullmatch(r"[a-z]+(_[a-z]+)+", name):
        print(
            "error: give FAMILY=one_word NAME=verb_noun, lower case\nsuch as: make new-component FAMILY=data NAME=count_rows",
            file=sys.stderr,
        )
        return 2
    taken = sorted(path.parent.name for path in (ROOT / "components").glob(f"*/{name}/metadata.yaml"))
    package = ROOT / "chandlery" / family
    core = package / f"{name}.py"
    if taken or core.exists():
        print(f"error: {name} exists already\nchoose another NAME", file=sys.stderr)
        return 2
    folder = ROOT / "components" / family / name
    files = {
        folder / "component.py": COMPONENT,
        folder / "metadata.yaml": METADATA,
        core: CORE,
        ROOT / "tests" / "local" / family / f"test_{name}.py": TEST,
    }
    if not (package / "__init__.py").exists():
        files[package / "__init__.py"] = f'"""The {family} stage."""\n'
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            text if path.name == "__init__.py" else text.format(family=family, name=name), encoding="utf-8"
        )
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*[*sys.argv[1:], "", ""][:2]))
