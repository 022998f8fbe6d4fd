"""The network between a step and one system: a TCP proxy on loopback that can refuse, reset or hang."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading

OPEN, REFUSE, RESET, HANG = "open", "refuse", "reset", "hang"


class Proxy:
    """Forwards connections to a port on loopback.

    Args:
        target: port of the system.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._manner = OPEN
        self.port = 0
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    def cut(self, manner: str) -> None:
        """Refuse (nobody listens, connections are reset), reset (each as soon as it is made), or hang (not a byte)."""
        self._do(self._cut(manner))

    def mend(self) -> None:
        """Let everything through again; what hung goes on."""
        self._do(self._mend())

    def close(self) -> None:
        """End it."""
        self._do(self._cut(REFUSE))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _do(self, work: asyncio._CoroutineLike[None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self, manner: str) -> None:
        self._manner = manner
        if manner == HANG:
            self._flowing.clear()
            return
        if manner == REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            _reset(writer)

    async def _mend(self) -> None:
        self._manner = OPEN
        self._flowing.set()
        if self._server is None:
            await self._listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._manner in (REFUSE, RESET):
            _reset(writer)
            return
        await self._flowing.wait()
        try:
            there, away = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            _reset(writer)
            return
        self._writers |= {writer, away}
        try:
            await asyncio.gather(self._pump(reader, away), self._pump(there, writer))
        finally:
            self._writers -= {writer, away}
            for one in (writer, away):
                with contextlib.suppress(OSError, RuntimeError):
                    one.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    taken: socket.socket = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        # Lingering for no time makes the kernel answer with a reset.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    writer.transport.abort()
