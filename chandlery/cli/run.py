"""`run`: a pipeline, a component or a compiled YAML on this machine, with a live view and a summary."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chandlery import addresses, catalog, platform
from chandlery.cli.arguments import for_dry_run, parse, pin_recipes
from chandlery.cli.display import Display
from chandlery.cli.output import console, print_json, visible
from chandlery.errors import UserError
from chandlery.runs.record import RunRecord, runs_root

RUNNERS = ("auto", "process", "docker")


def run(
    target: str,
    pairs: list[str],
    *,
    caching: bool,
    dry_run: bool,
    verbose: bool,
    as_json: bool,
    parallel: int = 0,
    runner: str = "auto",
) -> int:
    """Run `target` with `-p` pairs; returns the exit code.

    Raises:
        UserError: the target or an argument is wrong; nothing was started.
        ConflictError: another run is in progress in this home.
    """
    if runner not in RUNNERS:
        raise UserError(f"--runner {runner}: no such runner", f"one of {', '.join(RUNNERS)}")
    name, package, entry, spec = _resolve(target)
    declared = catalog.inputs(spec)
    if dry_run and entry:
        declared = for_dry_run(declared, entry.metadata.get("dry_run_inputs", []))
    arguments = pin_recipes(parse(pairs, declared))
    if entry and entry.metadata.get("check"):
        _function(entry.metadata["check"])(arguments)
    if dry_run:
        return _dry_run(entry, name, arguments)
    home = addresses.make_home()
    if entry and entry.kind == "component":
        caching = caching and entry.pure  # kfp compiles a component by itself as if each could be cached
    display = Display(sys.stderr if as_json else sys.stdout, verbose=verbose)
    platform.laptop().up(home, services=_services(spec), progress=display.line)
    from chandlery.runs.launch import launch

    began = time.monotonic()
    with display:
        outcome = launch(
            name,
            package,
            arguments,
            caching=caching,
            parallel=parallel,
            runner=runner,
            on_start=display.start,
            on_event=display.event,
        )
    seconds = time.monotonic() - began
    if as_json:
        print_json(_document(outcome.record, seconds))
    else:
        _summarise(outcome.record, seconds, home)
    if outcome.exit_code:
        message, hint, *said = [*outcome.record.error, "", ""]
        for line in filter(None, said):  # the last lines of a step that is not of this catalog
            print(f"  {visible(line)}", file=sys.stderr)
        print(f"error: {message}", file=sys.stderr)
        if hint:
            print(hint, file=sys.stderr)
        log = runs_root(home) / outcome.record.run_id / "log.txt"
        print(f"log: {log}", file=sys.stderr)
    return outcome.exit_code


def _services(spec: dict[str, Any]) -> set[str]:
    """Return the laptop's services that a package needs: of its systems, without those that run elsewhere."""
    needed = {
        service for system in catalog.systems(spec) for service in platform.laptop().SERVICES_OF[system]
    }
    elsewhere = {name for name in ("mlflow", "gateway") if addresses.is_configured(name)}
    if not addresses.endpoints().resources.startswith("embedded:"):
        elsewhere |= {"deployments", "experiments"}
    return needed - elsewhere


def _resolve(target: str) -> tuple[str, Path, catalog.Entry | None, dict[str, Any]]:
    if target.endswith((".yaml", ".yml")):
        path = Path(target).resolve()
        spec = catalog.load_package(path)
        return str(spec["pipelineInfo"]["name"]).replace("-", "_"), path, None, spec
    entry = catalog.find(target)
    if not entry.package.is_file():
        raise UserError(f"{entry.name} has no compiled {entry.package.name}", "run `make golden`")
    return entry.name, entry.package, entry, catalog.load_package(entry.package)


def _dry_run(entry: catalog.Entry | None, name: str, arguments: dict[str, Any]) -> int:
    hook = entry.metadata.get("dry_run", "") if entry else ""
    if not hook:
        offered = [e.name for e in catalog.entries() if e.metadata.get("dry_run")]
        raise UserError(f"{name} applies no document", f"--dry-run works for {', '.join(offered)}")
    print(_function(hook)(arguments), end="")
    return 0


def _function(reference: str) -> Callable[[dict[str, Any]], Any]:
    """Return the function that a metadata.yaml names, `package.module:function`."""
    module, _, name = reference.partition(":")
    found: Callable[[dict[str, Any]], Any] = getattr(importlib.import_module(module), name)
    return found


def _document(record: RunRecord, seconds: float) -> dict[str, Any]:
    from chandlery.runs.summary import read_summary

    summary = read_summary(record.run_id)
    return {
        "run_id": record.run_id,
        "state": record.state,
        "seconds": round(seconds, 1),
        "tasks": record.tasks,
        "error": record.error,
        "outputs": record.outputs,
        "summary": asdict(summary) if summary else {},
    }


def _summarise(record: RunRecord, seconds: float, home: Path) -> None:
    from rich.table import Table
    from rich.text import Text

    from chandlery.runs.summary import read_summary

    states = [task["state"] for task in record.tasks.values()]
    cached = states.count("cached")
    line = (
        f"{record.pipeline} {record.state} in {seconds:.1f} s: {len(states)} step{'s' * (len(states) != 1)}"
    )
    if cached:
        line += f", {cached} from the cache"
    print(f"\n{line}")
    summary = read_summary(record.run_id)
    facts = {**summary.facts, "report": summary.report} if summary else record.outputs
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in facts.items():
        table.add_row(Text(key), Text(visible(value)))
    if facts:
        console().print(table)
    if summary and summary.curl:
        print(f"\n{summary.curl}")
