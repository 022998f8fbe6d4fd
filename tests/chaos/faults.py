"""The faults: a kill, a full disk, a cut network. Each hits, and is lifted when its block ends."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from .house import House, kill
from .plan import Round
from .proxy import Proxy

FILLER = "filler"


def hit(house: House, turn: Round, proxies: Mapping[str, Proxy], under_way: Callable[[], bool]) -> str:
    """Let the round's fault happen, and lift it.

    Args:
        house: the platform.
        turn: the round.
        proxies: the network, by system.
        under_way: tells whether the work still runs; a victim that is not there is waited for that long.

    Returns:
        what happened, for the log.
    """
    if turn.fault == "kill":
        return _kill(house, turn, under_way)
    if turn.fault == "disk":
        with full_disk(house.home, int(turn.target)):
            time.sleep(turn.seconds)
        return f"the disk was full for {turn.seconds:.1f} s"
    system, manner = turn.target.split(":")
    proxies[system].cut(manner)
    try:
        time.sleep(turn.seconds)
    finally:
        proxies[system].mend()
    return f"{system} was cut off for {turn.seconds:.1f} s"


def _kill(house: House, turn: Round, under_way: Callable[[], bool]) -> str:
    if turn.target == "everything":
        return f"killed {len(house.kill_everything())} processes"
    while True:
        found: list[psutil.Process] = house.processes().get(turn.target, [])
        if found:
            victim = random.Random(turn.seed).choice(sorted(found, key=lambda one: one.pid))
            return f"killed process {victim.pid}" if kill(victim) else "missed: it ended by itself"
        if not under_way():
            return f"missed: there was no {turn.target}"
        time.sleep(0.02)


@contextlib.contextmanager
def full_disk(folder: Path, left: int) -> Iterator[None]:
    """Fill the disk of `folder` up to `left` bytes with a file that goes away again."""
    path = folder / FILLER
    with open(path, "wb") as filler:
        size = 0
        while True:
            free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize - left
            if free <= 0:
                break
            try:
                os.posix_fallocate(filler.fileno(), size, free)
            except OSError:
                free //= 2  # somebody was faster
                if not free:
                    break
                with contextlib.suppress(OSError):
                    os.posix_fallocate(filler.fileno(), size, free)
            size = os.fstat(filler.fileno()).st_size
    try:
        yield
    finally:
        path.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[str]:
    """Mount a disk of its own at `folder`; yields why that is not possible, empty when it is."""
    folder.mkdir(parents=True)
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)],
            capture_output=True,
            text=True,
        )
        problem = mounted.stderr.strip() if mounted.returncode else ""
    except OSError as error:
        problem = str(error)
    try:
        yield problem
    finally:
        if not problem:
            subprocess.run(["umount", "-l", str(folder)], check=False)
