"""A warm interpreter that has kfp's executor loaded and forks itself for each Python task.

Started by the engine with one end of a socket. A message brings two descriptors: the task (JSON) and its log. The answers tell
the process id of the task and, later, its exit code. When the engine is gone, the socket ends, and so do the tasks. The
interpreter itself never imports TensorFlow, whose threads would not survive a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import linecache
import os
import selectors
import signal
import socket
import sys
import types
from typing import Any

LONGEST = 64  # bytes of a message: a number and a line end

_PR_SET_PDEATHSIG = 1


def main(descriptor: int) -> int:
    """Serve the engine at the other end of a socket; returns, in a forked task, its exit code."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)
    warm()
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(
            number, signal.SIG_IGN
        )  # the engine ends the tasks, and this process by closing the socket
    selector = selectors.DefaultSelector()
    selector.register(connection, selectors.EVENT_READ)
    selector.register(woken, selectors.EVENT_READ)
    running: dict[int, int] = {}
    _tell(connection, {"ready": True})
    while True:
        for key, _ in selector.select():
            if key.fileobj is woken:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                continue
            data, descriptors, _, _ = socket.recv_fds(connection, LONGEST, 2)
            if not data:
                for pid in running:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                return 0
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                selector.close()
                for end in (connection, woken, waker):
                    end.close()
                return task(*descriptors)
            running[pid] = int(data)
            for descriptor in descriptors:
                os.close(descriptor)
            _tell(connection, {"task": running[pid], "pid": pid})
        for pid, code in _ended():
            if pid in running:
                _tell(connection, {"task": running.pop(pid), "code": code})


def warm() -> None:
    """Import what every task needs."""
    from chandlery.lean import load_kfp

    load_kfp()
    from kfp.dsl import executor  # noqa: F401


def task(request: int, log: int) -> int:
    """Be a task: its own process group, its own environment and log; returns its exit code.

    Args:
        request: descriptor of the JSON that says what to run.
        log: descriptor that standard output and error go to.
    """
    os.setsid()
    with contextlib.suppress(
        AttributeError
    ):  # Linux has it; elsewhere the engine ends what an interpreter left behind
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with open(request, encoding="utf-8") as file:
        asked = json.load(file)
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.path[1:1] = [path for path in asked["environment"].get("PYTHONPATH", "").split(os.pathsep) if path]
    try:
        os.chdir(asked["directory"])
    except OSError:
        os.chdir("/")  # the folder is gone; a task that does not use it need not know
    from chandlery import errors

    if os.environ.get("CHANDLERY_TASK"):
        errors.end_steps_plainly()
    try:
        execute(asked)
    except Exception as error:
        own = _own_frames(error)
        sys.excepthook(type(error), error.with_traceback(own), own)
        return error.exit_code if isinstance(error, errors.ChandleryError) else 1
    return 0


def execute(asked: dict[str, Any]) -> None:
    """Run the function of a Python component as kfp's executor runs it in a container."""
    from kfp.dsl.executor import Executor

    name, path = "ephemeral_component", asked["file"]
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module
    # A traceback shows lines of the source, and inspect finds it, without a file for each task.
    linecache.cache[path] = (len(asked["source"]), None, asked["source"].splitlines(keepends=True), path)
    exec(compile(asked["source"], path, "exec", dont_inherit=True), module.__dict__)
    function = getattr(module, asked["function"])
    Executor(executor_input=asked["executor_input"], function_to_execute=function).execute()


def _own_frames(error: BaseException) -> types.TracebackType | None:
    """Return the traceback of an error from the component's own module on; all of it when it was not reached."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "ephemeral_component":
            return trace
        trace = trace.tb_next
    return error.__traceback__


def _tell(connection: socket.socket, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode() + b"\n")


def _ended() -> list[tuple[int, int]]:
    found = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
