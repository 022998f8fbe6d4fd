"""Why a run failed, read from its log: for steps that are not of this catalog, and so say nothing of it themselves."""

from __future__ import annotations

import re
from pathlib import Path

LINES = 12  # of a failed step that are shown
READ = 256 * 1024  # bytes of the end of a log that are read

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(r"^\s*$|\[KFP Executor|^-{20,}$|^Got executor_input|^\d\d:\d\d:\d\d\.\d+ - ")
_RUNNER = re.compile(r'File "(<frozen runpy>|[^"]*/kfp/dsl/[^"]*)", line')
_ERROR = re.compile(r"^[\w.]*(Error|Exception|Exit|Interrupt|Warning)\b.*|^[\w.]+: .+")
_MODULE = re.compile(r"No module named '([^']+)'")


def explain(log: Path, path: str, reason: list[str], code: int) -> tuple[list[str], list[str]]:
    """Return what to report of a run that failed without a word of its own.

    Args:
        log: the log of the step that failed; of the run, when none did.
        path: the step, as the engine names it; empty when none failed.
        reason: what the engine says of it: what was wrong, and what to do.
        code: exit code of the engine.

    Returns:
        two lines, what was wrong and what to do, and the last lines that the failed step printed; these may be none.
    """
    said = _said(_lines(log))
    if not path:
        last = said[-1].strip() if said else f"it ended with code {code}"
        return [f"the run failed before its first step: {last}", f"see {log}"], said[:-1][-LINES:]
    name = path.rsplit("/", 1)[-1].replace("-", "_")
    printed = [line for line in reversed(said) if _ERROR.match(line)] or said[-1:]
    if not printed:
        return reason, []
    if printed[0].startswith("error: "):  # the engine's own words on a step that could not start
        return reason, []
    return [f"step {name} failed: {printed[0].strip()}", _advice(printed[0])], said[-LINES:]


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


def _said(lines: list[str]) -> list[str]:
    """Return what a step printed, without the lines and the frames of kfp's executor."""
    said: list[str] = []
    depth = 0
    frame = 0  # indentation of a frame of the executor in a traceback; 0 outside
    for line in lines:
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
