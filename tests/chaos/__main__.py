"""`python -m tests.chaos`: rounds of work, fault, the same command again, and a look at everything."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path

from chandlery import addresses, platform
from chandlery.errors import ChandleryError

from . import invariants
from .faults import hit, small_disk
from .house import ROOT, House, kill
from .package import make_package, submission_of
from .plan import Round, plan
from .proxy import Proxy
from .traffic import Traffic
from .works import MODEL, work_of

DISK_MEBIBYTES = 1024
# For a command to end in: disturbed, one way or another; again, completed. A loaded machine is ten times slower.
FIRST_SECONDS, AGAIN_SECONDS = 240.0, 300.0
LIFE_FACTOR = 4
MOST_FAILURES = 5  # failed rounds after which there is no point in going on

# Seconds that the preparation and each work take undisturbed on two processors with nothing else to do. How long the
# preparation took tells how slow this machine is; later what was seen last counts.
PREPARATION = 20.0
USUAL = {
    "write": 2.0,
    "commit": 4.0,
    "checkout": 4.0,
    "search": 3.0,
    "register": 4.0,
    "aliases": 3.0,
    "release": 4.0,
    "roll": 5.0,
    "restart": 6.0,
    "life": 40.0,
}


def tell(text: str, end: str = "\n") -> None:
    """Say something of a round; what the package itself says while it is looked at goes to a log."""
    print(text, end=end, file=sys.__stdout__, flush=True)


class Chaos:
    """All rounds of one call.

    Args:
        house: the platform.
        seed: seed of the plan.
        rounds: rounds of the plan.
        no_disk: why no disk can be filled; empty when one can.
    """

    def __init__(self, house: House, seed: int, rounds: int, no_disk: str) -> None:
        self._house = house
        self._seed = seed
        self._rounds = rounds
        self._no_disk = no_disk
        self._ledger = invariants.Ledger()
        self._usual = dict(USUAL)
        self.failures = 0
        self.happened: Counter[str] = Counter()

    def prepare(self, *, life: bool) -> None:
        """Bring the platform up, with two versions of a model and two deployments."""
        from chandlery import data
        from chandlery.registry.register import register

        house, began = self._house, time.monotonic()
        platform.laptop().up(house.home, deadline=300)
        data.commit(__file__, "written")
        for number in (1, 2):
            digest = f"{number:0>64}"
            make_package(house.base / f"package-{number}", digest)
            register(submission_of(house.base / f"package-{number}", MODEL, digest))
        for name, replicas in (("letters", 1), ("pairs", 2)):
            self._deploy(name, replicas)
        if life:
            script = ROOT / "examples" / "digits" / "data.py"
            subprocess.run(
                [sys.executable, str(script), str(house.base / "digits")], check=True, capture_output=True
            )
        slowness = max(1.0, (time.monotonic() - began) / PREPARATION)
        self._usual = {work: slowness * seconds for work, seconds in USUAL.items()}

    def _deploy(self, name: str, replicas: int) -> None:
        from chandlery.deployments.deployment import apply, wait_ready
        from chandlery.deployments.spec import ServingSpec, Variant

        store = platform.open_resources()
        try:
            variants = (Variant("1", "standin:?", 100),)
            apply(store, ServingSpec(name, "default", "chaos", variants, replicas=replicas))
            wait_ready(store, name, "default", 120)
        finally:
            store.close()

    def play(self, turn: Round) -> bool:
        """Play one round; tell whether all was well."""
        if turn.fault == "disk" and self._no_disk:
            tell(f"round {turn.number}: {turn}: skipped: {self._no_disk}")
            self.happened["skipped"] += 1
            return True
        began = time.monotonic()
        folder = self._house.base / f"round-{turn.number}"
        folder.mkdir()
        happened, wrong = "nothing", []
        try:
            happened, wrong = self._play(turn, folder)
        except (ChandleryError, AssertionError) as error:
            wrong = [f"the test itself was refused: {error}"]
        seconds = time.monotonic() - began
        self.happened["missed" if happened.startswith("missed") else turn.fault] += 1
        tell(f"round {turn.number}: {turn}: {happened}; {seconds:.1f} s")
        if wrong:
            self._tell(turn, wrong, folder)
            return False
        shutil.rmtree(folder)
        return True

    def _play(self, turn: Round, folder: Path) -> tuple[str, list[str]]:
        house = self._house
        work = work_of(house, turn, folder)
        log = folder / "first.log"
        with ExitStack() as stack:
            network, proxies = stack.enter_context(self._network(turn))
            traffic = stack.enter_context(Traffic(self._url("letters")))
            more = (
                {"CHANDLERY_RUN_ID": f"chaos-{turn.number}"} if work.words[0] == "tests.chaos.worker" else {}
            )
            first = house.start(work.words, log, {**network, **more})
            end = time.monotonic() + turn.moment * self._usual[turn.work]
            while first.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
            happened = hit(house, turn, proxies, lambda: first.poll() is None)
            factor = LIFE_FACTOR if turn.work == "life" else 1
            wrong = self._wait(first, factor * FIRST_SECONDS, "disturbed")
            began = time.monotonic()
            again = house.start(work.words, folder / "again.log", {**network, **more})
            wrong += self._wait(again, factor * AGAIN_SECONDS, "same")
            if again.returncode != 0:
                wrong.append(f"the same command again ended with {again.returncode}")
            elif first.returncode != 0:
                self._usual[turn.work] = time.monotonic() - began
        for name in ("first.log", "again.log"):
            if "Traceback" in (folder / name).read_text(errors="replace"):
                wrong.append(f"{name} holds a traceback: an error that nobody foresaw")
        wrong += invariants.check(house, self._ledger, random.Random(turn.seed))
        if not wrong:
            wrong += work.check()
        if traffic.failed and _bystander(turn):
            wrong.append(f"requests failed: {traffic.failed}")
        return happened, wrong

    def _wait(self, process: subprocess.Popen[bytes], seconds: float, which: str) -> list[str]:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return [f"the {which} command did not end within {seconds:.0f} s"]
        return []

    @contextmanager
    def _network(self, turn: Round) -> Iterator[tuple[dict[str, str], dict[str, Proxy]]]:
        """Put a proxy between the work and each system that may be cut off from it."""
        if turn.fault != "cut":
            yield {}, {}
            return
        system = turn.target.split(":")[0]
        points = addresses.endpoints()
        with ExitStack() as stack:
            if system == "data":
                port = stack.enter_context(self._pachd())
            else:
                port = int((points.mlflow if system == "mlflow" else points.gateway).rsplit(":", 1)[1])
            proxy = Proxy(port)
            stack.callback(proxy.close)
            variable = addresses.VARIABLES[system]
            scheme = "grpc" if system == "data" else "http"
            yield {variable: f"{scheme}://127.0.0.1:{proxy.port}"}, {system: proxy}

    @contextmanager
    def _pachd(self) -> Iterator[int]:
        from chandlery.processes.ports import free_port, is_open

        port = free_port()
        words = ["chandlery.cli.main", "pachd", "serve", "--address", f"127.0.0.1:{port}"]
        server = self._house.start(words, self._house.base / "pachd.log")
        limit = time.monotonic() + 60
        while not is_open(port):
            if time.monotonic() > limit or server.poll() is not None:
                raise AssertionError(f"pachd does not serve: see {self._house.base / 'pachd.log'}")
            time.sleep(0.05)
        try:
            yield port
        finally:
            server.terminate()
            server.wait(30)

    def _url(self, deployment: str) -> str:
        return f"{addresses.endpoints().gateway}/seldon/default/{deployment}/api/v1.0/predictions"

    def _tell(self, turn: Round, wrong: list[str], folder: Path) -> None:
        self.failures += 1
        shutil.copytree(self._house.home / "platform" / "logs", folder / "logs", dirs_exist_ok=True)
        tell(f"FAILED round {turn.number} of seed {self._seed} with {self._rounds} rounds: {turn}")
        for line in wrong:
            tell(f"  {line}")
        tell(f"  logs: {folder}")
        tell(f"  replay: make chaos ROUNDS={self._rounds} SEED={self._seed} ONLY={turn.number}")


def _bystander(turn: Round) -> bool:
    """Tell whether the fault hit nobody who stands between a caller and the server that answers."""
    between = ("gateway", "server", "everything")
    return turn.work != "restart" and not (turn.fault == "kill" and turn.target in between)


def main() -> int:
    """Play the rounds; returns 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20261124)
    parser.add_argument(
        "--only", default="", help="numbers of the rounds to play, with commas between; all by default"
    )
    options = parser.parse_args()
    chosen = {int(number) for number in options.only.split(",") if number}
    turns = [one for one in plan(options.seed, options.rounds) if not chosen or one.number in chosen]
    base = Path(tempfile.mkdtemp(prefix="chandlery-chaos-"))
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left then either
    with (
        open(base / "driver.log", "w") as log,
        redirect_stdout(log),
        small_disk(base / "disk", DISK_MEBIBYTES) as problem,
    ):
        house = House(base, base / "disk" / "home")
        for name in [name for name in os.environ if name.startswith(("CHANDLERY_", "MLFLOW_"))]:
            del os.environ[name]
        os.environ.update(house.environment())
        no_disk = f"no small disk can be mounted here ({problem})" if problem else ""
        chaos = Chaos(house, options.seed, options.rounds, no_disk)
        try:
            chaos.prepare(life=any(turn.work == "life" for turn in turns))
            tell(f"ready after {time.monotonic() - began:.1f} s")
            for turn in turns:
                if not chaos.play(turn) and chaos.failures >= MOST_FAILURES:
                    tell(f"{MOST_FAILURES} rounds failed: giving up")
                    break
            chaos.failures += _end(house)
        finally:
            for some in house.processes().values():
                for process in some:
                    kill(process)
    seconds = time.monotonic() - began
    told = ", ".join(f"{count} {what}" for what, count in sorted(chaos.happened.items()))
    tell(f"seed {options.seed}: {sum(chaos.happened.values())} rounds in {seconds:.0f} s ({told})", end=": ")
    tell(f"{chaos.failures} FAILED" if chaos.failures else "all well")
    if not chaos.failures:
        shutil.rmtree(base)
    return 1 if chaos.failures else 0


def _end(house: House) -> int:
    platform.laptop().down(house.home)
    left = [f"{kind} {process.pid}" for kind, some in house.processes().items() for process in some]
    if left:
        tell(f"FAILED: `chandlery down` left {', '.join(left)}")
    return len(left) > 0


if __name__ == "__main__":
    sys.exit(main())
