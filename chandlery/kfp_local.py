"""KFP's local runner, told to run a component's steps with this interpreter, wherever it is installed."""

from __future__ import annotations

import shlex
from typing import Any


def init(pipeline_root: str, **options: Any) -> None:
    """Call `kfp.local.init` with a runner that uses this interpreter's environment; its path may hold spaces.

    Args:
        pipeline_root: folder that outputs are written to.
        options: other arguments of `kfp.local.init`.
    """
    from kfp import local
    from kfp.local import subprocess_task_handler

    subprocess_task_handler.replace_python_executable = _with_interpreter
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=pipeline_root, **options)


def _with_interpreter(command: list[str], interpreter: str) -> list[str]:
    """Return the command of a lightweight component with this interpreter in its shell script, quoted.

    kfp.local 2.17 puts the path into the script as it is, so that a space in it breaks every step; and it replaces
    `python3` in the arguments too, so that a path such as `lib/python3.11/recipe.py` is no longer one.

    -P keeps the working directory out of the module path, as a step in an image has none of the user's files there: a
    user's `json.py` would take the place of the standard library's.
    """
    return [
        part.replace("python3", f"{shlex.quote(interpreter)} -P")
        if "ephemeral_component.py" in part
        else part
        for part in command
    ]
