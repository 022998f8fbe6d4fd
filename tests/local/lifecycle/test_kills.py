"""`kill -9` of anything at any moment, thirty times: the same command again completes, and nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from .conftest import RECIPE, Laptop, asked, release

KILLS = 30
SEED = 20261120

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def ours(home: Path) -> list[psutil.Process]:
    """Every process that belongs to a home, by its environment."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.environ().get("CHANDLERY_HOME") == str(home)
            if inside and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except psutil.Error:
            continue
    return found


def name(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return "gone"
    for word in words:
        if word.startswith("chandlery.") or word.endswith("executor_main"):
            return word
    return Path(words[0]).name if words else "gone"


def test_thirty_kills_later_everything_is_whole(laptop: Laptop, folders: dict[str, Path]) -> None:
    for folder, repo in (("traffic", "digits-traffic"), ("history-1", "digits")):
        laptop.json("run", "commit_dataset", "-p", f"source={folders[folder]}", "-p", f"repo={repo}")
    dice = random.Random(SEED)
    killed: list[str] = []
    seed = 0
    process: subprocess.Popen[str] | None = None
    while len(killed) < KILLS:
        if process is None or process.poll() is not None:
            if process is not None:
                process.communicate()
                if process.returncode == 0:
                    seed += 1  # done in spite of it all: a new piece of work
            process = laptop.start(*release(RECIPE, seed=str(seed), canary_deadline_seconds="60"))
        time.sleep(dice.uniform(0.3, 6.0))
        candidates = ours(laptop.home)
        if not candidates:
            continue
        # By kind first, or the many short-lived ones would crowd out supervisor, gateway and MLflow.
        kind = dice.choice(sorted({name(candidate) for candidate in candidates}))
        victim = dice.choice([candidate for candidate in candidates if name(candidate) == kind])
        try:
            victim.send_signal(signal.SIGKILL)
        except psutil.Error:
            continue
        killed.append(kind)
    assert process is not None
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()

    last = release(RECIPE, seed=str(seed), canary_deadline_seconds="60")
    document = laptop.json(*last, timeout=600)
    assert document["state"] == "succeeded", killed
    again = laptop.json(*last, timeout=300)
    assert again["state"] == "succeeded"

    check_versions(laptop)
    check_commits(laptop)
    check_deployment(laptop)
    assert laptop.call("down", timeout=120).returncode == 0
    left = [(one.pid, name(one)) for one in ours(laptop.home)]
    assert not left, f"orphans {left} after {killed}"


def check_versions(laptop: Laptop) -> None:
    """No model is registered twice, and the champion exists."""
    laptop.call("up", timeout=120)
    champion = asked(laptop.json("lineage", "models:/digits@champion"))
    assert champion["name"].startswith("models:/digits/")
    code = (
        "from chandlery.addresses import require_mlflow; from mlflow import MlflowClient;"
        "c = MlflowClient(require_mlflow());"
        "print('\\n'.join(v.tags.get('chandlery.model_digest', '') for v in c.search_model_versions(\"name='digits'\")))"
    )
    digests = run_python(laptop, code).split()
    assert digests
    assert len(digests) == len(set(digests))


def check_commits(laptop: Laptop) -> None:
    """No commit is open or in error, and every head can be read."""
    code = (
        "from chandlery.platform import open_data; from pachyderm_sdk.api import pfs\n"
        "c = open_data()\n"
        "for r in c.pfs.list_repo():\n"
        "    for i in c.pfs.list_commit(repo=r.repo):\n"
        "        assert i.finished.timestamp() > 0 and not i.error, i\n"
        "    for b in c.pfs.list_branch(repo=r.repo):\n"
        "        files = [f for f in c.pfs.walk_file(file=pfs.File(commit=b.head, path='/')) if f.file_type == 1]\n"
        "        print(r.repo.name, sum(len(c.pfs.pfs_file(f.file).read()) for f in files))\n"
    )
    sizes = dict(line.split() for line in run_python(laptop, code).strip().splitlines())
    assert set(sizes) == {"digits", "digits-traffic"}
    assert all(int(size) > 10_000 for size in sizes.values())


def check_deployment(laptop: Laptop) -> None:
    """One deployment, available, and all of its traffic has somewhere to go."""
    (deployment,) = laptop.json("status")["deployments"]
    assert deployment["name"] == "digits"
    limit = time.monotonic() + 60
    while laptop.json("status")["deployments"][0]["status"].get("state") != "Available":
        assert time.monotonic() < limit
        time.sleep(1)


def run_python(laptop: Laptop, code: str) -> str:
    import sys

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=laptop.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
