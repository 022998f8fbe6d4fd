"""The parent of a trial's process; runs as a script on the standard library alone, so that it starts in milliseconds.

It outlives the controller: it holds the trial's lock while the trial runs, keeps its deadline, and writes down how it
ended, which a controller that was started later could not learn from a process that is not its child.

Files in the trial's folder: `run.json` (given), `lock` (held while it runs), `process.json`, `trial.log`, `exit.json`.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 5.0
ALREADY_RUNNING = 75


def main(folder: str) -> int:
    """Run the command of `run.json` in `folder`; return its exit code."""
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_RUNNING
    if os.path.exists(os.path.join(folder, "exit.json")):
        return 0
    with open(os.path.join(folder, "run.json"), encoding="utf-8") as text:
        run = json.load(text)
    ended: list[bool] = []
    wake = _wake_on_signals(ended)
    _write(folder, "process.json", {"pid": os.getpid(), "attempt": run["attempt"]})
    with open(os.path.join(folder, "trial.log"), "wb") as log:
        try:
            process = subprocess.Popen(
                run["words"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=run["folder"],
                env={**os.environ, "PYTHONUNBUFFERED": "1", **run["environment"]},
                # The child inherits the lock: while it lives the trial runs, even when this process is killed.
                pass_fds=(lock,),
            )
        except OSError as error:
            log.write(f"{run['words'][0]}: {error}\n".encode())
            log.flush()
            _write(folder, "exit.json", {"code": 127, "reason": ""})
            return 127
    deadline = time.monotonic() + run["deadline_seconds"] if run["deadline_seconds"] else None
    reason = ""
    while process.poll() is None:
        if ended:
            # Whoever ends a trial knows why; nothing is written, so a trial ended by a shutdown runs again.
            _end(process)
            return 143
        if deadline is not None and time.monotonic() > deadline:
            reason = f"it was active longer than {run['deadline_seconds']:g} s"
            _end(process)
            continue
        _sleep(wake, deadline)
    if ended:
        return 143
    _write(folder, "exit.json", {"code": process.returncode, "reason": reason})
    if os.getpgrp() == os.getpid():
        # What the trial started and left behind goes with it.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return 0


def _wake_on_signals(ended: list[bool]) -> int:
    """Return a descriptor that becomes readable when a child ends or SIGTERM comes, however the two fall."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the pipe
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    return wake


def _sleep(wake: int, deadline: float | None) -> None:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    if select.select([wake], [], [], left)[0]:
        os.read(wake, 4096)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _write(folder: str, name: str, value: dict[str, object]) -> None:
    partial = os.path.join(folder, f".{name}.{os.getpid()}")
    with open(partial, "w", encoding="utf-8") as out:
        json.dump(value, out)
    os.replace(partial, os.path.join(folder, name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
