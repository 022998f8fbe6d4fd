"""One call in this fresh process, for every contender alike: `python data_once.py CONTENDER CALL ARGUMENT...`.

Prints, as JSON, the seconds of the call itself (`inside`, without starting Python and importing) and the peak of the
process's memory in MiB (`peak`). Runs in the peers' environment too, so it imports what it measures and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

Call = Callable[[], object]


def ours(call: str, *arguments: str) -> Call:
    """Return `commit SOURCE` or `checkout FOLDER` through the functions that our components call."""
    from chandlery.lean import load_pachyderm
    from chandlery.steps.data.checkout_dataset import checkout_dataset
    from chandlery.steps.data.commit_dataset import commit_dataset

    load_pachyderm()
    (path,) = arguments
    if call == "commit":
        return lambda: commit_dataset(path, "bench", "master", "/", "", False, 3600)
    return lambda: checkout_dataset("bench", "master", "/", 3600, SimpleNamespace(path=path, metadata={}))


def dvc(call: str, *arguments: str) -> Call:
    """Return `init KIND`, `commit PATH` or `checkout PATH` through DVC's Python interface, in the working folder."""
    from dvc.repo import Repo

    (argument,) = arguments
    if call == "init":

        def init() -> None:
            with Repo.init(no_scm=True) as repo, repo.config.edit() as config:
                config["cache"]["type"] = argument.split(",")

        return init
    repo = Repo()
    if call == "commit":
        return lambda: repo.add(argument)
    return lambda: repo.checkout([f"{argument}.dvc"])


def limit(call: str, *arguments: str) -> Call:
    """Return `hashed SOURCE TARGET` (cp and SHA-256), `copied SOURCE TARGET` (cp -r), or `listed FOLDER`."""
    if call == "listed":
        return lambda: sum(1 for _ in _statuses(arguments[0]))
    source, target = arguments

    def copy() -> None:
        subprocess.run(["cp", "-r", source, target], check=True)
        if call == "hashed":
            with open(target, "rb") as file:
                hashlib.file_digest(file, "sha256").hexdigest()

    return copy


def _statuses(folder: str) -> Iterator[os.stat_result]:
    with os.scandir(folder) as found:
        for item in found:
            if item.is_dir():
                yield from _statuses(item.path)
            else:
                yield item.stat()


def _peak() -> float:
    # On Linux ru_maxrss begins with the peak of the process that started this one.
    try:
        with open("/proc/self/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Make the call that the command line names."""
    contender, *arguments = sys.argv[1:]
    call = {"ours": ours, "dvc": dvc, "limit": limit}[contender](*arguments)
    began = time.perf_counter()
    call()
    inside = time.perf_counter() - began
    print("\n" + json.dumps({"inside": inside, "peak": _peak()}))


if __name__ == "__main__":
    main()
