"""A password for the laptop's MLflow, by choice: HTTP basic authentication in front of MLflow's application."""

from __future__ import annotations

import base64
import hmac
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from chandlery.addresses import MLFLOW_AUTH_VARIABLE, MLFLOW_USER, mlflow_password, password_file
from chandlery.errors import UserError
from chandlery.files import write_text

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/health", "/version")  # what says nothing of what is kept


def choose(home: Path) -> None:
    """Make or remove the password, as `CHANDLERY_MLFLOW_AUTH` says; unset, all stays as it is.

    Raises:
        UserError: the variable has another value than `basic` or `off`.
    """
    wanted = os.environ.get(MLFLOW_AUTH_VARIABLE, "")
    path = password_file(home)
    if wanted not in ("", "basic", "off"):
        raise UserError(f"{MLFLOW_AUTH_VARIABLE}={wanted}: no such choice", "set it to basic or off")
    if wanted == "off":
        path.unlink(missing_ok=True)
    elif wanted == "basic" and not mlflow_password(home):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, secrets.token_urlsafe(24) + "\n", mode=0o600)


class Guard:
    """Lets a request through to MLflow when it brings the user and the password."""

    def __init__(self, app: App, home: Path) -> None:
        """Guard `app` with the password of a home, as long as it has one: switching on and off needs no restart."""
        self._app = app
        self._home = home
        self._seen = (-1, -1)
        self._expected = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 to who does not sign in."""
        if scope["type"] == "lifespan" or scope.get("path") in OPEN:
            await self._app(scope, receive, send)
            return
        expected = self._current()
        if not expected:
            await self._app(scope, receive, send)
            return
        given = dict(scope.get("headers", [])).get(b"authorization", b"")
        kind, _, rest = given.partition(b" ")
        if hmac.compare_digest(kind.lower() + b" " + rest.strip(), expected):
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        body = b'{"error_code": "UNAUTHENTICATED", "message": "sign in: user and password of this MLflow"}'
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"www-authenticate", b'Basic realm="mlflow"'),
        ]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _current(self) -> bytes:
        """Return what the header must be; empty when there is no password."""
        try:
            found = password_file(self._home).stat()
        except OSError:
            return b""
        if self._seen != (found.st_mtime_ns, found.st_ino):
            pair = f"{MLFLOW_USER}:{mlflow_password(self._home)}".encode()
            self._expected = b"basic " + base64.b64encode(pair)
            self._seen = (found.st_mtime_ns, found.st_ino)
        return self._expected
