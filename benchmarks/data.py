"""Committing and checking out data: ours beside DVC, and beside what copying alone takes.

Every call is made in a fresh process, by the function behind the command: `commit_dataset` and `checkout_dataset` of ours, `Repo.add`
and `Repo.checkout` of DVC. What is compared is the time of the whole process, start included, as a step or a command has
it; the time of the call inside it is told too. Sources and folders are made anew for each run, which is not counted, so that
nothing is committed that is there already; they are in the page cache for everybody, and the disk has nothing left to write
when a call begins. Nothing is deleted before a row is done: ext4 passes over every inode that was deleted in the last minutes
when it looks for a free one, and creating 20,000 files took 20 s instead of 1 after 60,000 had been deleted.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from benchmarks.environment import environment
from benchmarks.harness import LIMIT, OURS, PEER, Aim, Contender, Figure, Figures, Row, Run, Setting

ROOT = Path(__file__).parents[1]
ONCE = Path(__file__).with_name("data_once.py")
CALL_SECONDS = 1800.0
MIB = 2**20
SMALL_FILES = 20_000
SMALL_BYTES = 4096
TOUCHED = 10
LARGE_BYTES = 200_000_000
HUGE_BYTES = 5_000_000_000
BLOCK = MIB
OLD_ENOUGH = 2.5  # seconds after which a file counts as settled, for us and for DVC

Seconds = dict[str, float]
Make = Callable[[Path, int], Path]


def large(folder: Path, seed: int, size: int) -> Path:
    """Write one file of random bytes and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "large.bin"
    block = bytearray(random.Random(seed).randbytes(BLOCK))
    with file.open("wb") as out:
        for at in range(0, size, BLOCK):
            block[:8] = at.to_bytes(8, "little")  # no two blocks alike, without the cost of random bytes
            out.write(block[: size - at])
    return file


def small(folder: Path, seed: int, files: int, size: int) -> Path:
    """Write many files of random bytes, 200 to a folder, and return the folder above."""
    rng = random.Random(seed)
    for at in range(files):
        path = folder / "small" / f"{at // 200:03d}" / f"{at:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
    return folder / "small"


def touch(folder: Path, seed: int, size: int) -> None:
    """Write other bytes into ten of the files."""
    rng = random.Random(seed)
    files = sorted(folder.rglob("*.bin"))
    for path in rng.sample(files, TOUCHED):
        path.write_bytes(rng.randbytes(size))


def once(python: Path | str, *arguments: str, folder: Path, **variables: str) -> Seconds:
    """Make one call in a process of its own and return its seconds: `whole`, and `inside` it; and its `peak` in MiB."""
    # What making the source and the call before left to the kernel would be written in the middle of this one.
    os.sync()
    began = time.perf_counter()
    done = subprocess.run(
        [python, ONCE, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "", **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=CALL_SECONDS,
    )
    whole = time.perf_counter() - began
    return {"whole": whole, **json.loads(done.stdout.splitlines()[-1])}


def fresh(folder: Path) -> Path:
    """Make a folder that is not there yet, and return it."""
    folder.mkdir(parents=True)
    return folder


def both(commit: Seconds, checkout: Seconds) -> Figures:
    """Return the figures of one run."""
    return {
        "both": commit["whole"] + checkout["whole"],
        "commit": commit["whole"],
        "checkout": checkout["whole"],
        "both, inside": commit["inside"] + checkout["inside"],
        "commit, inside": commit["inside"],
        "checkout, inside": checkout["inside"],
        "peak": max(commit["peak"], checkout["peak"]),
    }


def _ours(scratch: Path, make: Make) -> Contender:
    @contextmanager
    def opened() -> Iterator[Run]:
        def run(number: int) -> Figures:
            folder = fresh(scratch / "ours" / str(number))
            source = make(folder / "source", number)
            home = {"CHANDLERY_HOME": str(folder / "home")}
            commit = once(sys.executable, "ours", "commit", str(source), folder=ROOT, **home)
            checkout = once(sys.executable, "ours", "checkout", str(folder / "out"), folder=ROOT, **home)
            return both(commit, checkout)

        yield run

    return Contender("chandlery", OURS, opened, {name: version(name) for name in ("pachyderm-sdk", "grpcio")})


def _dvc(scratch: Path, make: Make, name: str, links: str) -> Contender:
    peers = environment("peers-data")

    @contextmanager
    def opened() -> Iterator[Run]:
        def run(number: int) -> Figures:
            folder = fresh(scratch / "dvc" / links / str(number))
            variables = peers.variables(DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(folder / "site"))
            repo = folder / "repo"
            repo.mkdir()
            once(peers.python, "dvc", "init", links, folder=repo, **variables)
            path = make(repo, number)
            commit = once(peers.python, "dvc", "commit", path.name, folder=repo, **variables)
            path.rename(folder / "committed")
            checkout = once(peers.python, "dvc", "checkout", path.name, folder=repo, **variables)
            return both(commit, checkout)

        yield run

    return Contender(name, PEER, opened, peers.versions("dvc"))


def _copying(scratch: Path, make: Make, name: str, call: str) -> Contender:
    @contextmanager
    def opened() -> Iterator[Run]:
        def run(number: int) -> Figures:
            folder = fresh(scratch / "limit" / str(number))
            source = make(folder / "source", number)
            there, back = str(folder / "there"), str(folder / "back")
            commit = once(sys.executable, "limit", call, str(source), there, folder=folder)
            checkout = once(sys.executable, "limit", call, there, back, folder=folder)
            return both(commit, checkout)

        yield run

    return Contender(name, LIMIT, opened)


def _one_large(setting: Setting) -> list[Contender]:
    def make(folder: Path, seed: int) -> Path:
        return large(folder, seed, 4 * MIB if setting.quick else LARGE_BYTES)

    return [
        _ours(setting.scratch, make),
        _dvc(setting.scratch, make, "DVC", "reflink,copy"),
        _dvc(setting.scratch, make, "DVC, hard links", "hardlink,copy"),
        _copying(setting.scratch, make, "cp and SHA-256", "hashed"),
    ]


def _many_small(setting: Setting) -> list[Contender]:
    def make(folder: Path, seed: int) -> Path:
        return small(folder, seed, 200 if setting.quick else SMALL_FILES, SMALL_BYTES)

    return [
        _ours(setting.scratch, make),
        _dvc(setting.scratch, make, "DVC", "reflink,copy"),
        _dvc(setting.scratch, make, "DVC, hard links", "hardlink,copy"),
        _copying(setting.scratch, make, "cp -r", "copied"),
    ]


def _recommit(setting: Setting) -> list[Contender]:
    files = 200 if setting.quick else SMALL_FILES

    @contextmanager
    def ours() -> Iterator[Run]:
        folder = fresh(setting.scratch / "ours")
        sources = {times: small(folder / str(times), 0, files, times * SMALL_BYTES) for times in (1, 4)}
        homes = {times: {"CHANDLERY_HOME": str(folder / f"home-{times}")} for times in sources}
        time.sleep(OLD_ENOUGH)
        for times, source in sources.items():
            once(sys.executable, "ours", "commit", str(source), folder=ROOT, **homes[times])

        def run(number: int) -> Figures:
            took = {}
            for times, source in sources.items():
                touch(source, number, times * SMALL_BYTES)
                took[times] = once(sys.executable, "ours", "commit", str(source), folder=ROOT, **homes[times])
            return {
                "recommit": took[1]["whole"],
                "recommit, inside": took[1]["inside"],
                "with four times the bytes": took[4]["inside"] / took[1]["inside"],
            }

        yield run

    @contextmanager
    def dvc() -> Iterator[Run]:
        peers = environment("peers-data")
        folder = fresh(setting.scratch / "dvc")
        repo = folder / "repo"
        repo.mkdir()
        variables = peers.variables(DVC_NO_ANALYTICS="1", DVC_SITE_CACHE_DIR=str(folder / "site"))
        once(peers.python, "dvc", "init", "reflink,copy", folder=repo, **variables)
        path = small(repo, 0, files, SMALL_BYTES)
        time.sleep(OLD_ENOUGH)
        once(peers.python, "dvc", "commit", path.name, folder=repo, **variables)

        def run(number: int) -> Figures:
            touch(path, number, SMALL_BYTES)
            took = once(peers.python, "dvc", "commit", path.name, folder=repo, **variables)
            return {"recommit": took["whole"], "recommit, inside": took["inside"]}

        yield run

    @contextmanager
    def listing() -> Iterator[Run]:
        path = small(fresh(setting.scratch / "listing"), 0, files, SMALL_BYTES)

        def run(number: int) -> Figures:
            took = once(sys.executable, "limit", "listed", str(path), folder=path)
            return {"recommit": took["whole"], "recommit, inside": took["inside"]}

        yield run

    return [
        Contender("chandlery", OURS, ours, {"pachyderm-sdk": version("pachyderm-sdk")}),
        Contender("DVC", PEER, dvc, environment("peers-data").versions("dvc")),
        Contender("looking at every file", LIMIT, listing),
    ]


def _huge(setting: Setting) -> list[Contender]:
    @contextmanager
    def opened() -> Iterator[Run]:
        source = large(setting.scratch / "source", 0, 64 * MIB if setting.quick else HUGE_BYTES)

        def run(number: int) -> Figures:
            folder = fresh(setting.scratch / "ours" / str(number))
            home = {"CHANDLERY_HOME": str(folder / "home")}
            commit = once(sys.executable, "ours", "commit", str(source), folder=ROOT, **home)
            shutil.rmtree(folder)  # large, but few files
            return {"peak": commit["peak"], "commit": commit["whole"]}

        yield run

    return [Contender("chandlery", OURS, opened, {"pachyderm-sdk": version("pachyderm-sdk")})]


_FIGURES = (
    *(Figure(name, "s") for name in ("both", "commit", "checkout")),
    *(Figure(f"{name}, inside", "s") for name in ("both", "commit", "checkout")),
    Figure("peak", "MiB"),
)
_COUNTED = (
    "Whole processes, Python's start and imports included; `inside`: the call alone. DVC as it comes copies on checkout, as we do into "
    "the cache of checkouts, from where a step gets hard links that are read-only. The disk is idle when a call begins, and no file "
    "has been deleted before."
)

ROWS = (
    Row(
        "data-large",
        "commit and checkout, one 200 MB file",
        contenders=_one_large,
        figures=_FIGURES,
        aims=(
            Aim("both", at_most=1 / 3, against="DVC", text=">= 3x as fast as DVC"),
            Aim("both, inside", at_most=1 / 3, against="DVC", text=">= 3x as fast as DVC, inside"),
            Aim("both, inside", at_most=2, against="cp and SHA-256", text="<= 2x cp and SHA-256, inside"),
            Aim("both", at_most=2, against="cp and SHA-256", text="<= 2x cp and SHA-256"),
        ),
        notes=_COUNTED,
    ),
    Row(
        "data-small",
        "commit and checkout, 20,000 files of 4 KB",
        contenders=_many_small,
        figures=_FIGURES,
        aims=(Aim("both", at_most=1 / 3, against="DVC", text=">= 3x as fast as DVC"),),
        notes=_COUNTED,
    ),
    Row(
        "data-recommit",
        "commit again after touching 10 of 20,000 files",
        contenders=_recommit,
        figures=(
            Figure("recommit", "s"),
            Figure("recommit, inside", "s"),
            Figure("with four times the bytes", ""),
        ),
        aims=(
            Aim("with four times the bytes", at_most=1.25, text="the same with 4x the bytes (<= 1.25x)"),
            Aim("recommit", at_most=1, against="DVC", text="no slower than DVC"),
        ),
        notes="`with four times the bytes`: the call with 20,000 files of 16 KB against that with 4 KB, both ours.",
    ),
    Row(
        "data-memory",
        "memory of committing 5 GB",
        contenders=_huge,
        figures=(Figure("peak", "MiB"), Figure("commit", "s")),
        aims=(Aim("peak", at_most=256),),
        notes="The peak resident set of the process that commits.",
        warm_up=False,
    ),
)
