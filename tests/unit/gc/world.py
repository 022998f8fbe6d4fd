"""A home with everything that leaves garbage, in the forms that the systems really write, and what must stay of it."""

from __future__ import annotations

import json
import os
import random
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from chandlery import data, platform, provenance
from chandlery.data.client import connect
from chandlery.data.references import repo_message
from chandlery.deployments.spec import ServingSpec, Variant, to_seldon
from chandlery.embedded.pipelines.cache import Cache
from chandlery.provenance import Provenance
from chandlery.registry.download import INDEX
from chandlery.resources import EXPERIMENT, SELDON_DEPLOYMENT, TRIAL
from chandlery.runs.record import FAILED, SUCCEEDED, RunRecord, runs_root, save

REPO = "digits"
DAY = 86400.0


class Registry:
    """MLflow's REST answers that a reader of versions sees, at the edge of the network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, dict[str, Any]] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if "model-versions/search" in self.path:
                    body: Any = {"model_versions": list(registry.entries.values())}
                else:
                    body = {"model_version": registry.entries[self.path.rpartition("version=")[2]]}
                sent = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def add(self, run_id: str) -> str:
        version = str(len(list(self.root.glob("*"))) + 1)
        content = f"weights of {version}".encode() * 100
        folder = self.root / version
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.keras").write_bytes(content)
        from hashlib import sha256

        index = {"model/model.keras": {"sha256": sha256(content).hexdigest(), "size": len(content)}}
        (folder / INDEX).write_text(json.dumps(index))
        labels = {
            "chandlery.state": "complete",
            "chandlery.model_digest": "d" * 64,
            "chandlery.run_id": run_id,
        }
        self.entries[version] = {
            "name": "digits",
            "version": version,
            "source": str(folder),
            "tags": [{"key": key, "value": value} for key, value in labels.items()],
        }
        return version

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class World:
    """One home; every method does what a part of the product does, and remembers what it did."""

    def __init__(self, home: Path, registry: Registry) -> None:
        self.home = home
        self.registry = registry
        self.commits: dict[str, dict[str, bytes]] = {}
        self.made_by: dict[str, str] = {}
        self.runs: list[str] = []
        home.mkdir(parents=True)

    # Data

    def commit(self, seed: int, run_id: str = "") -> str:
        from pachyderm_sdk.api import pfs

        content = random.Random(seed).randbytes(20_000 + seed)
        with connect() as client:
            if not self.commits:
                client.pfs.create_repo(repo=repo_message(REPO), update=True)
            record = Provenance(run_id=run_id, data_repo=REPO).description()
            branch = pfs.Branch.from_uri(f"{REPO}@master")
            with client.pfs.commit(branch=branch, description=record) as made:
                made.put_file_from_bytes(f"/file-{seed % 3}", content)
            made.wait()
            before = list(self.commits.values())[-1] if self.commits else {}
            self.commits[made.id] = {**before, f"file-{seed % 3}": content}
            self.made_by[made.id] = run_id
            return str(made.id)

    def drop_last(self) -> str:
        from pachyderm_sdk.api import pfs

        commit = list(self.commits)[-1]
        with connect() as client:
            client.pfs.drop_commit(commit=pfs.Commit(repo=repo_message(REPO), id=commit))
        del self.commits[commit]
        return commit

    def checkout(self, commit: str) -> Path:
        return data.checkout(REPO, commit)

    def checkout_folder(self, commit: str) -> Path:
        return self.home / "artifacts" / "checkouts" / REPO / commit

    # Runs

    def run(
        self, state: str = SUCCEEDED, cached: bool = True, outputs: bool = True, keeps: bool = False
    ) -> str:
        run_id = f"train-{len(self.runs):03d}-{uuid.uuid4().hex[:4]}"
        self.runs.append(run_id)
        folder = self.kfp(run_id)
        if outputs:
            (folder / "train-model" / "model").mkdir(parents=True)
            (folder / "train-model" / "model" / "weights").write_bytes(run_id.encode() * 300)
        if cached:
            path = self.entry(run_id)
            path.parent.mkdir(parents=True, exist_ok=True)
            uri = str(folder / "train-model" / "model")
            cache = Cache(path.parent, "train")
            cache.keep(run_id, {"score": 0.5}, {"model": [{"name": "model", "uri": uri, "metadata": {}}]})
            if not outputs:
                entry = json.loads(path.read_text())
                path.write_text(json.dumps({**entry, "files": [uri]}))
        shown = {"model": str(folder / "train-model" / "model")} if keeps else {}
        save(
            self.home,
            RunRecord(run_id, "train", "x.yaml", "d", {}, state=state, started=time.time(), outputs=shown),
        )
        (runs_root(self.home) / run_id / "log.txt").write_text(run_id)
        notes = self.home / "artifacts" / "runs" / run_id
        notes.mkdir(parents=True)
        (notes / "train_model.json").write_text(json.dumps({"task": "train_model", "time": 1, "values": {}}))
        return run_id

    def kfp(self, run_id: str) -> Path:
        return self.home / "artifacts" / "kfp" / f"train-{run_id}"

    def entry(self, run_id: str) -> Path:
        return self.home / "cache" / "c0de" / f"train-{run_id}.json"

    # Deployments and searches

    def deploy(self, name: str, version: str, run_id: str) -> None:
        spec = ServingSpec(
            name,
            "default",
            "digits",
            (Variant(version, f"models:/digits/{version}", 100),),
            provenance=Provenance(run_id=run_id, model_version=version),
        )
        self._apply(to_seldon(spec))
        for folder in self.logs(name):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "1.jsonl").write_text("{}\n")

    def undeploy(self, name: str) -> None:
        self._delete(SELDON_DEPLOYMENT, name)

    def logs(self, name: str) -> list[Path]:
        return [self.home / "logs" / "servers" / "default" / name, self.home / "requests" / "default" / name]

    def trial(self, name: str) -> Path:
        made = self._apply(
            {
                "apiVersion": TRIAL.api_version,
                "kind": "Trial",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {},
            }
        )
        folder = self.home / "experiments" / "default" / "tune" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "run.json").write_text(json.dumps({"uid": made["metadata"]["uid"]}))
        (folder / "trial.log").write_text("accuracy=0.5\n")
        return folder

    def drop_trial(self, name: str) -> None:
        self._delete(TRIAL, name)

    def experiment(self, name: str, mentions: str) -> None:
        self._apply(
            {
                "apiVersion": EXPERIMENT.api_version,
                "kind": "Experiment",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"data": mentions},
            }
        )

    def _apply(self, document: dict[str, Any]) -> dict[str, Any]:
        store = platform.open_resources()
        try:
            return store.apply(document, owner="test", force=True)
        finally:
            store.close()

    def _delete(self, kind: Any, name: str) -> None:
        store = platform.open_resources()
        try:
            store.delete(kind, name, "default")
        finally:
            store.close()

    # Time, and what is there

    def age(self, seconds: float) -> None:
        """Let time pass: make everything so much older."""
        for folder, folders, files in os.walk(self.home):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                status = os.lstat(path)
                os.utime(path, (status.st_atime - seconds, status.st_mtime - seconds))

    def state(self) -> dict[str, tuple[int, int, int]]:
        """Return every file with size, age and inode: locks and databases apart, which every reader touches."""
        found = {}
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and not path.name.endswith(("lock", "-wal", "-shm", ".sqlite", ".db")):
                status = path.lstat()
                found[str(path)] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found

    def stored(self) -> int:
        """Return the bytes of all files, each once."""
        found = {}
        for path in map(Path, self.state()):
            status = path.lstat()
            found[status.st_ino] = status.st_size
        return sum(found.values())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


__all__ = ["DAY", "FAILED", "REPO", "SUCCEEDED", "Registry", "World", "contents", "provenance"]
