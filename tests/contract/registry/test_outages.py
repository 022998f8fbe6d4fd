"""MLflow away: a clear error in bounded time, or, when it comes back in time, nothing at all."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from chandlery.errors import RegistryError
from chandlery.provenance import Provenance
from chandlery.registry import champion, client, download, tracking, version_info, versions
from chandlery.registry.aliases import promote
from chandlery.registry.register import register

pytestmark = pytest.mark.slow


def _track() -> None:
    with tracking.run("train", key="k", record=Provenance()):
        pass


@pytest.mark.parametrize(
    "act",
    [
        lambda: champion("m"),
        lambda: version_info("m", "1"),
        lambda: download("m", "champion"),
        lambda: promote("m", "1"),
        _track,
    ],
    ids=["champion", "version_info", "download", "promote", "tracking"],
)
def test_nobody_listens(
    act: Callable[[], Any], point_to: Any, free: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"http://127.0.0.1:{free()}"
    point_to(address)
    client.open_client()  # its import is not what is timed here
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(RegistryError) as caught:
        act()
    assert time.monotonic() - started < 5
    assert address in caught.value.message
    assert "chandlery up" in caught.value.hint
    assert str(caught.value).count("\n") == 1


def test_a_server_that_accepts_and_never_answers(point_to: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 1.0)
    monkeypatch.setattr(client, "ANSWER_SECONDS", 2.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        point_to(f"http://127.0.0.1:{listener.getsockname()[1]}")
        for act in (lambda: champion("m"), _track):
            started = time.monotonic()
            with pytest.raises(RegistryError, match="does not answer"):
                act()
            assert time.monotonic() - started < 8


def test_down_in_the_middle_and_back(
    fragile: Any, submit: Any, point_to: Any, free: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(fragile.address)
    monkeypatch.setattr(client, "DEADLINE_SECONDS", 90.0)
    given = submit()

    def bounce() -> None:
        fragile.kill()
        fragile.start()

    with tracking.run("train", key="k", record=given.record) as run:
        other = threading.Thread(target=bounce)
        other.start()
        for step in range(40):
            run.log_metrics({"loss": 1.0 / (step + 1)}, step=step)
            time.sleep(0.01)
        done = register(given)
        other.join(90)
    assert done.version == "1"
    assert [info.version for info in versions(given.name, incomplete=True)] == ["1"]
    assert len(client.open_client().get_metric_history(run.id, "loss")) == 40


def test_down_for_good_in_the_middle_and_back_on_another_port(
    fragile: Any, submit: Any, point_to: Any, free: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    point_to(fragile.address)
    before, given = submit("b"), submit()
    register(before)
    with monkeypatch.context() as fault:
        fault.setattr(client, "DEADLINE_SECONDS", 1.0)
        # After the upload, before the version.
        fault.setattr("chandlery.registry.register._log_metrics", lambda *_: fragile.kill())
        with pytest.raises(RegistryError, match="does not answer"):
            register(given)
    fragile.port = free()
    fragile.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", fragile.address)
    assert [info.version for info in versions(given.name, incomplete=True)] == ["1"]
    assert register(given).version == "2"
    # What was registered at the old address is still found.
    assert (download(before.name, "1") / "model.keras").read_bytes() == (
        before.package / "model.keras"
    ).read_bytes()
