"""The parent of a trial's process; runs as a script on the smallest part of the standard library, to start in milliseconds.

It outlives the controller: it holds the trial's lock while the trial runs, keeps its deadline, and writes down how it
ended, which a controller that was started later could not learn from a process that is not its child.

Arguments: the trial's folder, its working directory, its deadline in seconds (0 for none), the words of its command. Its
environment is the trial's. Files in the trial's folder: `lock` (held while it runs), `process.json`, `trial.log`,
`exit.json`. They are written without the module `json`, which would take as long to import as all else together.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import sys
import time

GRACE_SECONDS = 5.0
ALREADY_RUNNING = 75
ENDED_FROM_OUTSIDE = 143
KILLED_FROM_OUTSIDE = 137
FULL = (errno.ENOSPC, errno.EDQUOT)

_ROOM_BYTES = 64 * 1024
_ROOM_SECONDS = 0.2  # between looks whether there is room again


def has_room(folder: str) -> bool:
    """Return whether the disk of a folder has room for a trial's few bytes; any other problem shows when they are written."""
    probe = os.path.join(folder, f".room.{os.getpid()}")
    try:
        with open(probe, "wb", buffering=0) as out:
            return out.write(bytes(_ROOM_BYTES)) == _ROOM_BYTES
    except OSError as error:
        return error.errno not in FULL
    finally:
        if os.path.exists(probe):
            os.unlink(probe)


def main(folder: str, work: str, deadline_seconds: float, words: list[str]) -> int:
    """Run the command `words`; return its exit code, or why it was not run."""
    lock = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_RUNNING
    if os.path.exists(os.path.join(folder, "exit.json")):
        return 0
    ended: list[bool] = []
    wake = _wake_on_signals(ended)
    _write(folder, "process.json", f'{{"pid": {os.getpid()}}}')
    log = os.open(os.path.join(folder, "trial.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    # The child inherits the lock: while it lives the trial runs, even when this process is killed.
    os.set_inheritable(lock, True)
    try:
        os.chdir(work)
        child = os.posix_spawnp(
            words[0],
            words,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores these, and a program expects them
        )
    except OSError as error:
        os.write(log, f"{words[0]}: {error}\n".encode())
        _write_exit(folder, 127, late=False)
        return 127
    deadline = time.monotonic() + deadline_seconds if deadline_seconds else None
    code, late = _wait(child, ended, wake, deadline)
    if ended:
        # The caller that ends a trial knows why. Nothing is written here, so a trial ended by a shutdown runs again.
        return ENDED_FROM_OUTSIDE
    # One killed from outside (by hand, or for want of memory), or that failed when it could not write, says nothing
    # about its parameters: it runs again.
    killed = not late and (code == -signal.SIGKILL or (code != 0 and not has_room(folder)))
    while not killed:
        try:
            _write_exit(folder, code, late=late)
            break
        except OSError as error:
            if error.errno not in FULL:
                raise
        _sleep(wake, _ROOM_SECONDS)
        if ended:
            return ENDED_FROM_OUTSIDE
    if os.getpgrp() == os.getpid():
        # Processes that the trial started and left behind end with it.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return KILLED_FROM_OUTSIDE if killed else 0


def _wait(child: int, ended: list[bool], wake: int, deadline: float | None) -> tuple[int, bool]:
    """Return the child's exit code, and whether it was ended at its deadline."""
    late, killing = False, float("inf")
    while True:
        pid, state = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(state), late
        now = time.monotonic()
        late = late or (deadline is not None and now >= deadline)
        if (ended or late) and killing == float("inf"):
            os.kill(child, signal.SIGTERM)
            killing = now + GRACE_SECONDS
        elif now >= killing:
            os.kill(child, signal.SIGKILL)
            killing = now + GRACE_SECONDS
        next_ = min(killing, deadline if deadline is not None and not late else killing)
        _sleep(wake, None if next_ == float("inf") else max(0.0, next_ - now))


def _wake_on_signals(ended: list[bool]) -> int:
    """Return a descriptor that becomes readable when a child ends or SIGTERM comes, however the two fall."""
    wake, waker = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(waker, False)
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the pipe
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    return wake


def _sleep(wake: int, seconds: float | None) -> None:
    if select.select([wake], [], [], seconds)[0]:
        os.read(wake, 4096)


def _write_exit(folder: str, code: int, *, late: bool) -> None:
    _write(folder, "exit.json", f'{{"code": {code}, "late": {"true" if late else "false"}}}')


def _write(folder: str, name: str, text: str) -> None:
    partial = os.path.join(folder, f".{name}.{os.getpid()}")
    with open(partial, "w", encoding="utf-8") as out:
        out.write(text)
    os.replace(partial, os.path.join(folder, name))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:]))
