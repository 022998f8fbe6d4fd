"""How long a command line takes to answer, and to start the first step of a run."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import steps
from benchmarks.environment import Environment, environment
from benchmarks.harness import OURS, PEER, Aim, Contender, Figure, Figures, Open, Row, Run, Setting

SECONDS = 120.0  # that a command may take
HELP, LIST, RUN = "--help", "list", "run, until the first step starts"


def _contenders(setting: Setting) -> list[Contender]:
    ours, bare = steps.kfp_flows(setting)
    zenml = steps.zenml_flow(setting)
    peers = environment("peers-steps")
    chandlery = [sys.executable, "-c", steps.CHANDLERY]
    kfp = [str(Path(sys.executable).with_name("kfp"))]
    zen = [str(peers.bin / "zenml")]
    return [
        Contender("chandlery", OURS, _ours(chandlery, ours), ours.versions),
        Contender("kfp", PEER, _answers({HELP: [*kfp, "--help"]}, bare), bare.versions),
        Contender("torchx", PEER, _torchx(peers, setting.scratch), peers.versions("torchx")),
        Contender(
            "zenml",
            PEER,
            _answers({HELP: [*zen, "--help"], LIST: [*zen, "pipeline", "list"]}, zenml),
            zenml.versions,
        ),
    ]


def _answers(commands: Mapping[str, Sequence[str]], flow: steps.Flow) -> Open:
    @contextmanager
    def opened() -> Iterator[Run]:
        def run(number: int) -> Figures:
            found = {
                name: _seconds(command, flow.variables, flow.folder) for name, command in commands.items()
            }
            began, _, times = flow.run(number)
            return {**found, RUN: times[0] - began}

        yield run

    return opened


def _ours(command: Sequence[str], flow: steps.Flow) -> Open:
    @contextmanager
    def opened() -> Iterator[Run]:
        commands = {HELP: [*command, "--help"], LIST: [*command, "list"]}
        with steps.platform(flow.variables["CHANDLERY_HOME"]), _answers(commands, flow)() as run:
            yield run

    return opened


def _torchx(peers: Environment, scratch: Path) -> Open:
    program = str(peers.bin / "torchx")
    variables = peers.variables()
    folder = scratch / "torchx"

    def run(number: int) -> Figures:
        stamps = folder / f"stamps-{number}"
        write = f"import time; open({str(stamps)!r}, 'w').write(str(time.time()))"
        launched = [program, "run", "--scheduler", "local_cwd", "utils.python", "-c", write]
        began = time.time()
        subprocess.run(launched, cwd=folder, env=variables, check=True, capture_output=True, timeout=SECONDS)
        return {
            HELP: _seconds([program, "--help"], variables, folder),
            LIST: _seconds([program, "builtins"], variables, folder),
            RUN: float(stamps.read_text()) - began,
        }

    @contextmanager
    def opened() -> Iterator[Run]:
        folder.mkdir(exist_ok=True)
        yield run

    return opened


def _seconds(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(
        list(command),
        cwd=folder,
        env=dict(variables),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[-2:])}: code {done.returncode}: {done.stderr.decode()[-400:]}")
    return seconds


ROWS = (
    Row(
        "command-line",
        "how long a command line takes to answer, and to start a step",
        _contenders,
        (Figure(HELP, "s"), Figure(LIST, "s"), Figure(RUN, "s")),
        (Aim(HELP, at_most=0.3), Aim(LIST, at_most=0.7), Aim(RUN, at_most=2.0)),
        notes="Whole processes, files in the page cache. list: `torchx builtins`, `zenml pipeline list`; kfp has no catalog without a "
        "server. run: from the start of the command to the body of the first step; chandlery with the platform up, "
        "kfp a script with bare kfp.local, torchx `run --scheduler local_cwd utils.python`, zenml a script with its local stack. "
        "torchx starts a process and no pipeline.",
    ),
)
