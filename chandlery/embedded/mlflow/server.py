"""The laptop's MLflow server: MLflow's own application on SQLite and a folder, in one process.

`mlflow server` is three layers: a launcher that imports all of MLflow and makes the database, a server process that does it
again, and a job runner with its consumers for features that nothing here uses. This does what the launcher does, then
serves MLflow's application in the same process.
"""

from __future__ import annotations

import argparse
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

from chandlery.addresses import MLFLOW_FOLDER
from chandlery.processes import PYTHON


def start_server_command(home: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Return the command that serves MLflow on `127.0.0.1:port`, and the environment variables to add.

    Artifacts go through the server (`mlflow-artifacts:/`, which names no host), so they stay valid when the server comes
    back on another port. It is up when `GET /health` answers 200.

    Args:
        home: home folder; the database and the artifacts lie in its folder `mlflow`.
        port: port to listen on.
    """
    command = [
        *PYTHON,
        "chandlery.embedded.mlflow.server",
        "--folder",
        str(home / MLFLOW_FOLDER),
        "--port",
        str(port),
    ]
    environment = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    return command, environment


def serve(folder: Path, port: int) -> None:
    """Serve MLflow on `127.0.0.1:port` until SIGTERM; the database is made or upgraded first."""
    folder.mkdir(parents=True, exist_ok=True)
    database = f"sqlite:///{folder.resolve()}/mlflow.db"
    artifacts = (folder / "artifacts").resolve().as_uri()
    os.environ.update(start_server_command(folder.parent, port)[1])
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID"):
        os.environ.pop(name, None)  # meant for clients; the server would take itself for one
    # What `mlflow server` hands to its server process (mlflow.server._run_server of 3.17).
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": database,
            "_MLFLOW_SERVER_REGISTRY_STORE": database,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": artifacts,
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
            "_MLFLOW_SGI_NAME": "uvicorn",
        }
    )
    import uvicorn
    from mlflow.server.handlers import initialize_backend_stores

    initialize_backend_stores(database, database, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app

    from chandlery.embedded.mlflow.password import Guard

    uvicorn.run(Guard(app, folder.parent), host="127.0.0.1", port=port, log_level="warning")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run as `python -m chandlery.embedded.mlflow.server`."""
    parser = argparse.ArgumentParser(prog="python -m chandlery.embedded.mlflow.server", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the database and the artifacts")
    parser.add_argument("--port", type=int, required=True)
    chosen = parser.parse_args(arguments)
    serve(chosen.folder, chosen.port)


if __name__ == "__main__":
    main()
