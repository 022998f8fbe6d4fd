"""The network of the chaos test: what it cuts is cut, what it mends goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import HANG, REFUSE, RESET, Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_echo, args=(server,), daemon=True).start()
        made = Proxy(server.getsockname()[1])
        yield made
        made.close()


def _echo(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection,), daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(1024):
            connection.sendall(data)


def _open(proxy: Proxy) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    connection.sendall(b"before")
    assert connection.recv(10) == b"before"
    return connection


@pytest.mark.parametrize("manner", [REFUSE, RESET])
def test_a_cut_ends_what_is_open_and_what_is_new_until_it_is_mended(proxy: Proxy, manner: str) -> None:
    with _open(proxy) as connection:
        proxy.cut(manner)
        with pytest.raises(ConnectionError):
            connection.recv(10)
    with pytest.raises(ConnectionError):
        _open(proxy)
    proxy.mend()
    _open(proxy).close()


def test_what_hangs_goes_on_when_it_is_mended(proxy: Proxy) -> None:
    with _open(proxy) as connection:
        proxy.cut(HANG)
        connection.sendall(b"during")
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(10)
        proxy.mend()
        connection.settimeout(10)
        assert connection.recv(10) == b"during"
