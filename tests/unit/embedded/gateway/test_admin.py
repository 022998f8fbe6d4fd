"""The gateway's administration is a socket of its owner's: no port that a web page or another user could reach."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from chandlery.embedded.gateway import envoy
from chandlery.embedded.gateway.place import LONGEST_SOCKET, Place, prepare_admin
from chandlery.errors import PlatformError


def test_envoy_gets_a_socket_and_no_port_for_its_administration(tmp_path: Path) -> None:
    place = Place(tmp_path)
    admin = envoy.bootstrap(place, 8000)["admin"]
    assert admin == {"address": {"pipe": {"path": str(tmp_path / "gateway" / "admin.sock"), "mode": 0o600}}}
    assert "socket_address" not in json.dumps(admin)


def test_a_long_home_gets_a_short_socket_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/tmp")
    place = Place(tmp_path / ("deep" * 30))
    assert len(os.fsencode(place.admin)) <= LONGEST_SOCKET
    assert place.admin != Place(tmp_path / ("deep" * 31)).admin
    try:
        prepare_admin(place)
        assert stat.S_IMODE(place.admin.parent.stat().st_mode) == 0o700
        place.admin.parent.chmod(0o755)
        with pytest.raises(PlatformError, match="not a folder of yours alone"):
            prepare_admin(place)
    finally:
        place.admin.parent.rmdir()


def test_a_socket_that_was_left_is_removed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    prepare_admin(place)
    place.admin.write_text("left by a killed gateway")
    prepare_admin(place)
    assert not place.admin.exists()
