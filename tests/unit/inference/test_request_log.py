"""Protects: the request log keeps every line, in bounded files, and never costs an answer."""

from __future__ import annotations

import json

from chandlery.inference.request_log import KEPT, RequestLog


def test_rotation_bounds_what_is_kept(tmp_path):
    log = RequestLog(tmp_path, "v3", {"predictor": "v3"}, rotate_bytes=300)
    for number in range(40):
        log.add(str(number), 1, 200)
        log.flush()
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT + 1
    assert all(path.stat().st_size <= 300 for path in files)
    assert json.loads(log.path.read_text().splitlines()[-1])["request_id"] == "39"


def test_unwritable_folder_is_reported_once(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    log = RequestLog(tmp_path / "file", "v3", {})
    for _ in range(3):
        log.add("a", 1, 200)
        log.flush()
    assert capsys.readouterr().out.count("request log") == 1


def test_without_a_folder_nothing_is_kept():
    log = RequestLog(None, "v3", {})
    log.add("a", 1, 200)
    log.flush()
    assert log.path is None
