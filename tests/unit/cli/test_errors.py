"""What the command line says of a disk that is full, wherever it was met."""

from __future__ import annotations

import errno

import pytest

from chandlery.cli import main as cli


def raising(error: OSError) -> None:
    raise error


def test_a_full_disk_is_two_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/home/run.json")
    monkeypatch.setattr(cli, "app", lambda: raising(full))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "error: no room on the disk of /home/run.json: No space left on device",
        "free space, then run the same command again to carry on",
    ]


def test_another_error_of_the_system_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda: raising(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input/output"):
        cli.main()
