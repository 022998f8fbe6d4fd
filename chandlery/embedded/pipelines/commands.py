"""What a task executes: placeholders filled in, and a lightweight Python component told from other commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chandlery.embedded.pipelines.values import plain, text_of
from chandlery.errors import InvalidDocumentError

SOURCE_FILE = "ephemeral_component.py"
EXECUTOR = "kfp.dsl.executor_main"
EXECUTOR_INPUT = "{{$}}"

_INSTALL = re.compile(r"-m pip install (.+?)(?:&&|\|\||$)", re.MULTILINE)
_FLAGS_WITH_VALUES = ("--index-url", "--extra-index-url", "--trusted-host", "--find-links", "-i", "-f")


@dataclass(frozen=True)
class PythonComponent:
    """A lightweight Python component, which needs no shell and no image to run.

    Attributes:
        source: module that holds the function.
        function: its name.
        requirements: what it asks pip for, kfp included, in the order of its commands.
        options: options that it gives to pip: indexes, trusted hosts.
        image: image that it would run in on a cluster.
    """

    source: str
    function: str
    requirements: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    image: str = ""


def python_component(container: Mapping[str, Any]) -> PythonComponent | None:
    """Return the Python component that a container's command starts; None when it is another command.

    KFP compiles such a component to a shell script that writes the function's module and starts kfp's executor on it.
    """
    command = [str(part) for part in container.get("command", [])]
    arguments = [str(part) for part in container.get("args", [])]
    scripts = [part for part in command if SOURCE_FILE in part and EXECUTOR in part]
    if len(scripts) != 1 or command[-1] == scripts[0]:
        return None
    function = _option(arguments, "--function_to_execute")
    if not function or _option(arguments, "--executor_input") != EXECUTOR_INPUT:
        return None
    requirements: list[str] = []
    options: list[str] = []
    for line in (match[1] for part in command[:-1] for match in _INSTALL.finditer(part)):
        words = iter(shlex.split(line))
        for word in words:
            if word in _FLAGS_WITH_VALUES:
                options += [word, next(words, "")]
            elif word.startswith("-"):
                options += [word] if "=" in word else []
            elif word not in ('"$0"', "$0", "$@") and word not in requirements:
                requirements.append(word)
    return PythonComponent(
        command[-1], function, tuple(requirements), tuple(options), str(container.get("image", ""))
    )


def command_line(
    container: Mapping[str, Any], executor_input: Mapping[str, Any], defaults: Mapping[str, Any]
) -> list[str]:
    """Return the command of a container component with its placeholders filled in.

    Args:
        container: its `command` and `args`.
        executor_input: what the task is given, and where it puts what it makes.
        defaults: default values of the component's inputs.

    Raises:
        InvalidDocumentError: it has neither a command nor arguments.
    """
    known = placeholders(executor_input, defaults)
    text = json.dumps(executor_input)
    present = {
        *executor_input["inputs"].get("artifacts", {}),
        *(
            name
            for name, value in executor_input["inputs"].get("parameterValues", {}).items()
            if value is not None
        ),
        *defaults,
    }
    parts = [
        filled(word, known, text)
        for part in [*container.get("command", []), *container.get("args", [])]
        for word in _words(str(part), present)
    ]
    if not parts:
        raise InvalidDocumentError(
            f"a task of image {container.get('image')} has no command", "state the command of its component"
        )
    return parts


def placeholders(executor_input: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts that stand for a task's inputs and outputs, by placeholder."""
    inputs, outputs = executor_input["inputs"], executor_input["outputs"]
    known: dict[str, str] = {}
    for name, value in {**defaults, **inputs.get("parameterValues", {})}.items():
        known[f"{{{{$.inputs.parameters['{name}']}}}}"] = text_of(value)
    for side, found in (("inputs", inputs), ("outputs", outputs)):
        for name, listed in found.get("artifacts", {}).items():
            for artifact in listed["artifacts"][:1]:
                stem = f"{{{{$.{side}.artifacts['{name}']"
                known[f"{stem}.uri}}}}"] = artifact["uri"]
                known[f"{stem}.path}}}}"] = artifact["uri"].removeprefix("file://")
                known[f"{stem}.name}}}}"] = artifact.get("name", "")
                for key, value in artifact.get("metadata", {}).items():
                    known[f"{stem}.metadata['{key}']}}}}"] = text_of(value)
    for name, spec in outputs.get("parameters", {}).items():
        known[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = spec["outputFile"]
    known["{{$.outputs.output_metadata_uri}}"] = outputs.get("outputFile", "")
    return known


def filled(text: str, known: Mapping[str, str], executor_input: str = "") -> str:
    """Return a text with its placeholders filled in, each once: what is put in is not looked at again."""
    return re.sub(
        r"\{\{\$.*?\}\}(?!\})",
        lambda match: executor_input if match[0] == EXECUTOR_INPUT else known.get(match[0], match[0]),
        text,
    )


def _words(part: str, present: set[str]) -> list[str]:
    """Return what one word of a command stands for: `IfPresent` gives none or several, `Concat` one."""
    if not part.lstrip().startswith(('{"IfPresent"', '{"Concat"')):
        return [part]
    try:
        return _structure(json.loads(part), present)
    except ValueError:
        return [part]


def _structure(node: Any, present: set[str]) -> list[str]:
    if isinstance(node, list):
        return [word for item in node for word in _structure(item, present)]
    if isinstance(node, dict) and "Concat" in node:
        return ["".join(_structure(node["Concat"], present))]
    if isinstance(node, dict) and "IfPresent" in node:
        chosen = node["IfPresent"]
        side = "Then" if chosen.get("InputName") in present else "Else"
        return _structure(chosen.get(side) or [], present)
    return [node if isinstance(node, str) else text_of(plain(node))]


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1] if name in arguments[:-1] else ""
