"""Run one replica until SIGTERM: `python -m chandlery.inference`.

Exit codes: 0 drained and stopped, 1 the model does not load or the port is taken, 2 the settings are wrong.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from chandlery.errors import ChandleryError, PlatformError
from chandlery.inference.cores import cores
from chandlery.inference.settings import Settings, from_environment
from chandlery.inference.workers import CHOICE_VARIABLE, WORKER_VARIABLE, Supervisor, write_choice
from chandlery.lean import load_tensorflow
from chandlery.progress import report


def main() -> int:
    """Bind, load, serve, drain; return the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets at length
    # One call at a time: to hand the parts of a small network from thread to thread takes as long as to compute them.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # A GPU's memory as it is needed: others use the device too. Where there is none it means nothing.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    worker = os.environ.get(WORKER_VARIABLE, "")
    try:
        settings = from_environment(os.environ)
        if settings.workers != 1 and not worker:
            return _supervise(settings)
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(settings.threads or cores()))
        listener = bind(settings.host, settings.port, shared=bool(worker))
        if settings.grpc_port and not worker:
            bind(settings.host, settings.grpc_port, "PREDICTIVE_UNIT_GRPC_SERVICE_PORT").close()
    except ChandleryError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    from chandlery.inference.model import ChandleryModel

    try:
        model = ChandleryModel(settings=settings)
        if model.needs_tensorflow():
            load_tensorflow()
        model.load()
    except ChandleryError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    from chandlery.inference.process import serve
    from chandlery.processes.descriptors import raise_descriptor_limit

    raise_descriptor_limit()
    port = listener.getsockname()[1]
    report(
        "server.ready",
        f"serving {model.name} version {model.version} on http://{settings.host}:{port}",
        port=port,
    )
    choice = os.environ.get(CHOICE_VARIABLE)
    if choice:
        write_choice(Path(choice), model.call_seconds)
    serve(model, settings, listener, int(worker or 0))
    report("server.stopped", "stopped")
    return 0


def _supervise(settings: Settings) -> int:
    # Without sharing first: with it, a port that another server of ours has would be shared in silence.
    probe = bind(settings.host, settings.port)
    port = probe.getsockname()[1]
    probe.close()
    if settings.grpc_port:
        bind(settings.host, settings.grpc_port, "PREDICTIVE_UNIT_GRPC_SERVICE_PORT").close()
    reserved = bind(settings.host, port, shared=True)
    return Supervisor(settings.workers, port, dict(os.environ), reserved).run()


def bind(
    host: str, port: int, variable: str = "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", shared: bool = False
) -> socket.socket:
    """Take the port before the model is loaded, so that a taken one shows at once.

    Args:
        host: address or name to listen on.
        port: port; 0: the system chooses.
        variable: what sets the port, for the message.
        shared: other workers of this server listen on the port too.

    Raises:
        PlatformError: the port is taken or the address is not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP; without it
    # every second answer of a connection waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PlatformError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            f"stop what listens there, or set {variable}",
        ) from error
    return listener


if __name__ == "__main__":
    sys.exit(main())
