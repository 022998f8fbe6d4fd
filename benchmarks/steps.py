"""Ten empty steps in a row, run by us and by others: what an orchestrator costs, and how long until it does something.

Each step's body appends the time to a file, so every orchestrator is measured by the same clock at the same place.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.harness import OURS, PEER, Aim, Contender, Figure, Figures, Open, Role, Row, Run, Setting

STEPS = 10
SECONDS = 300.0  # that ten empty steps may take
ATTEMPTS = 3  # a loaded machine may take longer than one `up` waits; the next joins what it started
STAMPS = "STAMPS"
HERE = Path(__file__).parent
CHANDLERY = "import sys; from chandlery.cli.main import main; sys.argv[0] = 'chandlery'; sys.exit(main())"
BARE = """
import sys
from kfp import components, local
local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=sys.argv[2])
components.load_component_from_file(sys.argv[1])()
"""


@dataclass(frozen=True)
class Flow:
    """Ten empty steps as one orchestrator takes them.

    Attributes:
        name: of the contender.
        role: ours or peer.
        command: that runs them all.
        variables: its environment.
        folder: where it runs.
        versions: of the orchestrator.
    """

    name: str
    role: Role
    command: Sequence[str | Path]
    variables: Mapping[str, str]
    folder: Path
    versions: Mapping[str, str]

    def run(self, number: int) -> tuple[float, float, list[float]]:
        """Run the flow; returns when it began and ended and when each step's body ran, seconds since the epoch.

        Raises:
            RuntimeError: it failed, or not every step ran once.
        """
        stamps = self.folder / f"stamps-{number}-{time.time_ns()}"
        began = time.time()
        done = subprocess.run(
            list(self.command),
            cwd=self.folder,
            env={**self.variables, STAMPS: str(stamps)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        ended = time.time()
        times = [float(line) for line in stamps.read_text().split()] if stamps.exists() else []
        if done.returncode or len(times) != STEPS:
            raise RuntimeError(
                f"{self.name}: code {done.returncode}, {len(times)} steps: {done.stdout.decode()[-1500:]}"
            )
        return began, ended, times


def write_package(path: Path) -> None:
    """Compile ten empty steps, each after the one before, to the YAML that bare kfp.local and we both run."""
    from kfp import compiler, dsl

    @dsl.component(base_image="python:3.11", install_kfp_package=False)
    def do_nothing():  # type: ignore[no-untyped-def]  # kfp cannot read a postponed annotation
        import os
        import time

        with open(os.environ["STAMPS"], "a") as file:
            file.write(f"{time.time()}\n")

    @dsl.pipeline(name="ten-steps")
    def ten_steps():  # type: ignore[no-untyped-def]
        before = None
        for _ in range(STEPS):
            task = do_nothing()
            task.set_caching_options(False)
            if before is not None:
                task.after(before)
            before = task

    compiler.Compiler().compile(ten_steps, str(path))


def kfp_flows(setting: Setting) -> list[Flow]:
    """Return the flows of ours and of bare kfp.local: the same YAML, the same Python."""
    folder = setting.scratch / "flows"
    folder.mkdir(exist_ok=True)
    package = folder / "ten_steps.yaml"
    write_package(package)
    own = {**os.environ, "CHANDLERY_HOME": str(folder / "home")}
    kfp = {"kfp": version("kfp")}
    return [
        Flow(
            "chandlery run",
            OURS,
            [sys.executable, "-c", CHANDLERY, "run", package, "--no-cache"],
            own,
            folder,
            {"chandlery": version("chandlery"), **kfp},
        ),
        Flow(
            "bare kfp.local", PEER, [sys.executable, "-c", BARE, package, folder / "root"], own, folder, kfp
        ),
    ]


def zenml_flow(setting: Setting) -> Flow:
    """Return ZenML's flow: its local orchestrator with SQLite store."""
    peers = environment("peers-steps")
    folder = setting.scratch / "zenml"
    folder.mkdir(exist_ok=True)
    variables = peers.variables(
        ZENML_CONFIG_PATH=str(folder / "config"), ZENML_ANALYTICS_OPT_IN="false", AUTO_OPEN_DASHBOARD="false"
    )
    command = [peers.python, HERE / "peers-steps" / "zenml_steps.py"]
    return Flow("zenml, local", PEER, command, variables, folder, peers.versions("zenml"))


def metaflow_flow(setting: Setting) -> Flow:
    """Return Metaflow's flow: its local runtime and datastore."""
    peers = environment("peers-steps")
    folder = setting.scratch / "metaflow"
    folder.mkdir(exist_ok=True)
    variables = peers.variables(
        METAFLOW_USER="bench",
        METAFLOW_HOME=str(folder / "settings"),
        METAFLOW_DEFAULT_METADATA="local",
        METAFLOW_DEFAULT_DATASTORE="local",
    )
    command = [peers.python, HERE / "peers-steps" / "metaflow_steps.py", "--no-pylint", "run"]
    return Flow("metaflow, local", PEER, command, variables, folder, peers.versions("metaflow"))


@contextmanager
def platform(home: str) -> Iterator[None]:
    """Keep the laptop platform of a home up."""
    variables = {**os.environ, "CHANDLERY_HOME": home}
    command = [sys.executable, "-c", CHANDLERY]
    try:
        for _ in range(ATTEMPTS):
            up = subprocess.run(
                [*command, "up"], env=variables, check=False, capture_output=True, text=True, timeout=180
            )
            if not up.returncode:
                break
        else:
            raise RuntimeError(f"chandlery up: {up.stderr[-400:]}")
        yield
    finally:
        subprocess.run([*command, "down"], env=variables, check=False, stdout=subprocess.DEVNULL, timeout=180)


def _overhead(flow: Flow) -> Open:
    def run(number: int) -> Figures:
        began, ended, times = flow.run(number)
        return {"each step": (times[-1] - times[0]) / (STEPS - 1), "all of it": ended - began}

    @contextmanager
    def opened() -> Iterator[Run]:
        if flow.role == OURS:
            with platform(flow.variables["CHANDLERY_HOME"]):
                yield run
        else:
            yield run

    return opened


def _contenders(setting: Setting) -> list[Contender]:
    flows = [*kfp_flows(setting), metaflow_flow(setting), zenml_flow(setting)]
    return [Contender(flow.name, flow.role, _overhead(flow), flow.versions) for flow in flows]


ROWS = (
    Row(
        "step-overhead",
        "a pipeline of ten empty steps, one after the other, nothing cached",
        _contenders,
        (Figure("each step", "s"), Figure("all of it", "s")),
        (Aim("each step", at_most=1.1, against="bare kfp.local"),),
        notes="Each step: from one step's body to the next, nine intervals of a run. All of it: the command from start to "
        "end. The platform is up; chandlery and bare kfp.local run the same YAML with the same Python.",
    ),
)
