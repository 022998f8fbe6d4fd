"""The home is this user's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from chandlery import addresses, platform
from chandlery.errors import PlatformError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("opener", [addresses.make_home, platform.open_data, platform.open_resources])
def test_the_home_is_made_for_one_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opener: object
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "a" / "home"))
    opener()  # type: ignore[operator]
    assert mode(tmp_path / "a" / "home") == 0o700


def test_an_open_home_of_an_earlier_release_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir(mode=0o755)
    os.chmod(tmp_path / "home", 0o755)
    addresses.make_home()
    assert mode(tmp_path / "home") == 0o700


def test_a_home_that_cannot_be_made_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(PlatformError, match="CHANDLERY_HOME"):
        addresses.make_home()


def test_a_subfolder_uses_the_home_of_its_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHANDLERY_HOME", raising=False)
    deep = tmp_path / "project" / "a" / "b"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert addresses.home() == deep / ".chandlery"
    (tmp_path / "project" / ".chandlery").mkdir()
    assert addresses.home() == tmp_path / "project" / ".chandlery"
    (tmp_path / "project" / "a" / ".chandlery").write_text("a file is no home")
    assert addresses.home() == tmp_path / "project" / ".chandlery"
    (deep / ".chandlery").mkdir()
    assert addresses.home() == deep / ".chandlery"


def test_a_symbolic_link_as_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path / "link"))
    assert addresses.make_home() == tmp_path / "real"
