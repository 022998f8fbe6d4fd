"""Container components run in their image where a Docker engine answers, as this user, and leave nothing behind."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chandlery.embedded.pipelines.docker import Docker
from chandlery.embedded.pipelines.once import run_once
from tests.local.pipelines import flows

pytestmark = pytest.mark.slow
IMAGE = "chandlery-test-busybox:1"


@pytest.fixture(scope="module", autouse=True)
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An image of busybox alone, made without a registry."""
    busybox = shutil.which("busybox")
    if busybox is None or not Docker().answers():
        pytest.skip(
            "needs a Docker engine that answers, and a static busybox (Debian: docker.io, busybox-static)"
        )
    archive = tmp_path_factory.mktemp("image") / "busybox.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in ("sh", "printf", "wc", "sleep"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    subprocess.run(["docker", "import", str(archive), IMAGE], check=True, capture_output=True)
    yield
    subprocess.run(["docker", "rmi", "--force", IMAGE], check=False, capture_output=True)


def left() -> str:
    return subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", "label=chandlery.run"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_a_command_runs_in_its_image(tmp_path: Path) -> None:
    count = flows.counting(IMAGE)
    assert run_once(count, tmp_path / "a b", {"text": "a b'c"}).check().task("count").outputs == {"size": 5}
    assert left() == ""


def test_a_deadline_ends_the_container(tmp_path: Path) -> None:
    from kfp import dsl, kubernetes

    sleeper = flows.sleeping(IMAGE)

    @dsl.pipeline(name="late")
    def late():  # type: ignore[no-untyped-def]
        kubernetes.set_timeout(sleeper(), seconds=1)

    assert "took longer than its deadline" in run_once(late, tmp_path).error
    assert left() == ""


def test_an_image_that_is_not_there_fails_the_step(tmp_path: Path) -> None:
    ran = run_once(flows.echo, tmp_path, {"text": "x"}, runner="docker")
    assert ran.state == "FAILED"
    assert left() == ""
