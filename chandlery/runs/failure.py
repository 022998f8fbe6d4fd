"""Why a run failed, read from its log: for steps that are not of this catalog, and so say nothing of it themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LINES = 12  # of a failed step that are shown
READ = 256 * 1024  # bytes of the end of a log that are read

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_STARTED = re.compile(r"Executing task '([^']+)'")
_ENDED = re.compile(r"Task '([^']+)' finished with status")
_NOISE = re.compile(r"^\s*$|\[KFP Executor|^-{20,}$|^Got executor_input|^\d\d:\d\d:\d\d\.\d+ - ")
_RUNNER = re.compile(r'File "(<frozen runpy>|[^"]*/kfp/dsl/[^"]*)", line')
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt|Warning)\b.*|^[\w.]+: .+")
_MODULE = re.compile(r"No module named '([^']+)'")


def explain(log: Path, tasks: Mapping[str, Mapping[str, Any]], code: int) -> tuple[list[str], list[str]]:
    """Return what to report of a run that failed without a word of its own.

    Args:
        log: the run's log.
        tasks: state of each task by name, as the run's record has it.
        code: exit code of the process that ran it.

    Returns:
        two lines, what was wrong and what to do, and the last lines that the failed step printed; these may be none.
    """
    lines = _lines(log)
    failed = [name for name, entry in tasks.items() if entry.get("state") in ("failed", "running")]
    if not failed:
        said = [line for line in lines if not _NOISE.search(line)][-LINES:]
        reason = said[-1].strip() if said else f"it ended with code {code}"
        return [f"the run failed before its first step: {reason}", f"see {log}"], said[:-1]
    name = failed[-1]
    said = _of_task(lines, name) or _of_task(lines, "")
    reason = next(
        (line for line in reversed(said) if _ERROR.match(line)), said[-1] if said else "it printed nothing"
    )
    return [f"step {name} failed: {reason.strip()}", _advice(reason)], said[-LINES:]


def _advice(reason: str) -> str:
    module = _MODULE.search(reason)
    if module:
        return f"install {module[1]} in this environment (on a cluster: packages_to_install or the image of the component)"
    if "ContainerSpec" in reason or ("container" in reason.lower() and "component" in reason.lower()):
        return "on this machine steps run as Python functions, without containers: use @dsl.component"
    return "correct the component, and run again"


def _lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - READ))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [_COLOR.sub("", line) for line in text.splitlines()]


def _of_task(lines: list[str], name: str) -> list[str]:
    """Return what a task printed, without kfp's own lines; of an empty name, all that follows the last start."""
    said: list[str] = []
    inside = not name
    depth = 0
    frame = 0  # indentation of a frame of the runner's own in a traceback; 0 outside
    for line in lines:
        started = _STARTED.search(line)
        if started:
            inside, said, depth = not name or started[1].replace("-", "_") == name, [], 0
            continue
        if _ENDED.search(line):
            if inside and name and said:
                break
            continue
        if not inside:
            continue
        # kfp prints the executor's input as indented JSON.
        text = line.strip()
        if depth or text == "{":
            depth += text.count("{") - text.count("}")
            continue
        indentation = len(line) - len(line.lstrip())
        if _RUNNER.search(line):
            frame = indentation
            continue
        if frame and indentation > frame:
            continue
        frame = 0
        if not _NOISE.search(line):
            said.append(text if line.startswith("    ") else line.rstrip())
    return said
