"""Starts the processes of tasks: Python components in a warm interpreter that forks, all else as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chandlery.processes import PYTHON, ProcessId, identify, signal_group
from chandlery.redaction import redacted

GRACE = 10.0  # seconds between the request to end and the kill
LOG_BYTES = 64 * 2**20  # of a task's output that are kept

Started = Callable[[ProcessId], None]


class WorkerLostError(Exception):
    """The warm interpreter ended, and with it the tasks that it had forked."""


class Warm:
    """The engine's side of the warm interpreter, which is started when it is first needed, and again when it was lost."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Give the interpreter this environment; each task brings its own."""
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._waiting: dict[int, tuple[asyncio.Future[int], asyncio.Future[int]]] = {}
        self._count = 0

    def begin(self) -> None:
        """Start the interpreter, if it does not run; it loads while other things happen."""
        if self._process is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*PYTHON, "chandlery.embedded.pipelines.worker", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # signals of the terminal are the engine's to handle
            )
        ours.setblocking(False)
        self._socket = ours
        self._ready = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read(ours, self._ready))

    async def run(self, request: Mapping[str, Any], log: int, started: Started) -> int:
        """Run a Python task; returns its exit code, negative for a signal.

        Args:
            request: `source`, `function`, `file`, `executor_input`, `environment`, `directory`.
            log: descriptor for its output.
            started: called with its process.

        Raises:
            WorkerLostError: the interpreter ended before the task did.
        """
        self.begin()
        assert self._socket is not None
        assert self._ready is not None
        await asyncio.shield(self._ready)
        loop = asyncio.get_running_loop()
        self._count += 1
        began, ended = loop.create_future(), loop.create_future()
        self._waiting[self._count] = (began, ended)
        memory = _nameless()
        try:
            with open(memory, "w", encoding="utf-8", closefd=False) as file:
                json.dump(request, file)
            os.lseek(memory, 0, os.SEEK_SET)
            try:
                socket.send_fds(self._socket, [f"{self._count}".encode()], [memory, log])
            except OSError as error:
                raise WorkerLostError from error
        finally:
            os.close(memory)
        try:
            pid = await asyncio.shield(began)
        except asyncio.CancelledError:
            await _end(await began, ended)  # it is being forked: what has no process yet cannot be ended
            raise
        process = identify(pid)
        started(process)
        try:
            return int(await asyncio.shield(ended))
        except asyncio.CancelledError:
            await _end(process.pid, ended)
            raise

    async def close(self) -> None:
        """End the interpreter; tasks that still run are killed."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._socket is not None:
            self._socket.close()
        if self._reader is not None:
            self._reader.cancel()
        try:
            await asyncio.to_thread(process.wait, GRACE)
        except subprocess.TimeoutExpired:
            process.kill()

    async def _read(self, connection: socket.socket, ready: asyncio.Future[None]) -> None:
        loop = asyncio.get_running_loop()
        rest = b""
        with contextlib.suppress(OSError):
            while data := await loop.sock_recv(connection, 65536):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(json.loads(line), ready)
        self._lost(ready)

    def _take(self, message: dict[str, Any], ready: asyncio.Future[None]) -> None:
        if "ready" in message:
            ready.set_result(None)
            return
        began, ended = self._waiting[message["task"]]
        if "pid" in message:
            began.set_result(message["pid"])
        else:
            del self._waiting[message["task"]]
            if not ended.done():
                ended.set_result(message["code"])

    def _lost(self, ready: asyncio.Future[None]) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.poll()
        waiting, self._waiting = self._waiting, {}
        futures: list[asyncio.Future[Any]] = [ready]
        for pair in waiting.values():
            futures.extend(pair)
        for future in futures:
            if not future.done():
                future.set_exception(WorkerLostError())
                future.exception()  # not every one is awaited


def _nameless() -> int:
    """Return a descriptor for a task's request: arguments may hold secrets, so no file of a name holds them."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("task")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


async def run_command(
    argv: Sequence[str], environment: Mapping[str, str], directory: str, log: int, started: Started
) -> int:
    """Run a command without a shell; returns its exit code, negative for a signal.

    Raises:
        OSError: there is no such program.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=dict(environment),
        cwd=directory if os.path.isdir(directory) else "/",
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    started(identify(process.pid))
    waiter = asyncio.ensure_future(process.wait())
    try:
        return await asyncio.shield(waiter)
    except asyncio.CancelledError:
        await _end(process.pid, waiter)
        raise


async def _end(group: int, ended: asyncio.Future[int]) -> None:
    """End a process group: a request first, then, after a while, a kill; what ignores both can only be left."""
    signal_group(group, signal.SIGTERM)
    for number in (signal.SIGKILL, 0):
        done, _ = await asyncio.wait([ended], timeout=GRACE)
        if number:
            signal_group(group, signal.SIGKILL)
        if done:
            return


class Log:
    """A task's output on disk, without the secrets of addresses, and no longer than is of use."""

    def __init__(self, path: Path, run: Path, name: str) -> None:
        """Write to `path`, and to the log of the whole run, there with `name` before each line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._own, self._run = path.open("ab", buffering=0), run.open("ab", buffering=0)
        self._name = f"{name} | ".encode()
        self._left = LOG_BYTES
        self._rest = b""
        self._done: asyncio.Future[None] | None = None
        self._read = -1

    def open(self) -> int:
        """Return the descriptor that the task's process writes to; the caller closes it."""
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        loop.add_reader(self._read, self._take)
        return write

    async def close(self, patience: float = 1.0) -> None:
        """Wait for what was written, but not for a process that the task left behind; then close the files."""
        if self._done is not None:
            await asyncio.wait([self._done], timeout=patience)
            self._stop()
        self._own.close()
        self._run.close()

    def _take(self) -> None:
        try:
            data = os.read(self._read, 1 << 20)
        except BlockingIOError:
            return
        if not data:
            self._stop()
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._keep(b"".join(line + b"\n" for line in lines))
        if len(self._rest) > 1 << 20:  # a line without an end
            self._keep(self._rest)
            self._rest = b""

    def _stop(self) -> None:
        if self._read < 0:
            return
        asyncio.get_running_loop().remove_reader(self._read)
        os.close(self._read)
        self._read = -1
        self._keep(self._rest + b"\n" if self._rest else b"")
        self._rest = b""
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _keep(self, data: bytes) -> None:
        if not data or self._left <= 0:
            return
        text = redacted(data.decode(errors="replace")).encode()[: self._left]
        self._left -= len(text)
        if self._left <= 0:
            text += f"\n(the output is longer than {LOG_BYTES >> 20} MiB; the rest is not kept)\n".encode()
        with contextlib.suppress(OSError):  # a full disk: the task goes on, its output is lost
            self._own.write(text)
            self._run.write(b"".join(self._name + line for line in text.splitlines(keepends=True)))
