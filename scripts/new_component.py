"""Make a working component: `make new-component FAMILY=data NAME=count_rows`.

Writes the shell components/<family>/<name>/component.py with its metadata.yaml, the step
chandlery/steps/<family>/<name>.py and a test of both. A name that is taken is refused.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from chandlery.catalog import FAMILIES

ROOT = Path(__file__).resolve().parent.parent

COMPONENT = '''"""{name}: say in one line what it does."""

from kfp import dsl

from chandlery.catalog import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def {name}(text: str, report: dsl.Output[dsl.Markdown]) -> str:
    """Say in one line what it does.

    Args:
        text: what it works on.
        report: what it found, for the dashboard.

    Returns:
        Output: the text, in capitals.
    """
    from chandlery.steps.{family}.{name} import {name}

    return {name}(text, report)
'''

STEP = '''"""The body of `{name}`."""

from __future__ import annotations

from pathlib import Path

from chandlery import provenance
from chandlery.errors import UserError
from chandlery.files import write_text
from chandlery.steps.artifacts import Artifact


def {name}(text: str, report: Artifact) -> str:
    """Return `text` in capitals and report its length.

    Args:
        text: what it works on.
        report: Markdown artifact to write.

    Raises:
        UserError: `text` is empty.
    """
    if not text:
        raise UserError("{name}: text is empty", "give -p text=...")
    write_text(Path(report.path), f"{{len(text)}} characters\\n")
    report.metadata.update(provenance.current().metadata())
    return text.upper()
'''

METADATA = """name: {name}
family: {family}
summary: Says in one line what it does.
tags: [{family}]
# Equal inputs give equal outputs and nothing else is touched: results are cached.
pure: true
# What it talks to, of: data, experiments, mlflow, deployments. A laptop starts what these need, and no more.
systems: []
cpu: 100m
cpu_limit: "1"
memory: 256Mi
memory_limit: 512Mi
timeout_seconds: 300
retries: 2
example:
  text: hello
"""

TEST = '''"""The component {name}: its step, and the compiled YAML as it runs on a laptop."""

from pathlib import Path

import pytest
from kfp import dsl

from chandlery.catalog import component
from chandlery.embedded.pipelines.once import run_once
from chandlery.errors import UserError
from chandlery.steps.{family}.{name} import {name}


def test_returns_capitals_and_reports_the_length(tmp_path: Path) -> None:
    report = dsl.Markdown(name="report", uri=str(tmp_path / "report.md"))
    assert {name}("hello", report) == "HELLO"
    assert (tmp_path / "report.md").read_text() == "5 characters\\n"


def test_refuses_an_empty_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="text is empty"):
        {name}("", dsl.Markdown(name="report", uri=str(tmp_path / "report.md")))


def test_runs_from_its_compiled_yaml(tmp_path: Path) -> None:
    ran = run_once(component("{name}"), tmp_path, {{"text": "hello"}}).check()
    assert ran.outputs["Output"] == "HELLO"
'''


def main(family: str, name: str) -> int:
    """Write the files; returns 0, or 2 for a name that cannot be."""
    if family not in FAMILIES:
        print(f"error: there is no family {family!r}\nfamilies: {', '.join(FAMILIES)}", file=sys.stderr)
        return 2
    if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name):
        print(
            f"error: NAME={name!r} is not a verb and a noun in lower case\n"
            f"such as: make new-component FAMILY={family} NAME=count_rows",
            file=sys.stderr,
        )
        return 2
    taken = sorted(path.parent.name for path in (ROOT / "components").glob(f"*/{name}/metadata.yaml"))
    step = ROOT / "chandlery" / "steps" / family / f"{name}.py"
    if taken or step.exists():
        print(f"error: {name} exists already\nchoose another NAME", file=sys.stderr)
        return 2
    folder = ROOT / "components" / family / name
    files = {
        folder / "component.py": COMPONENT,
        folder / "metadata.yaml": METADATA,
        step: STEP,
        ROOT / "tests" / "unit" / "steps" / family / f"test_{name}.py": TEST,
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(family=family, name=name), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*[*sys.argv[1:], "", ""][:2]))
