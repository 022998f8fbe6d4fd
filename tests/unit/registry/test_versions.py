"""Model URIs and tag filters: what is taken and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from chandlery.errors import PlatformError, RegistryError, UserError
from chandlery.registry import champion
from chandlery.registry.versions import from_api, parse


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/digits/3", ("digits", "3", "")),
        ("digits/3", ("digits", "3", "")),
        ("models:/digits@champion", ("digits", "", "champion")),
        ("digits@champion", ("digits", "", "champion")),
        ("models:/a name@b", ("a name", "", "b")),
        ("models:/user@host/3", None),
    ],
)
def test_parse(uri: str, expected: tuple[str, str, str] | None) -> None:
    if expected is None:
        # '@' separates the alias: a name that holds one cannot be written so.
        assert parse(uri) == ("user", "", "host/3")
    else:
        assert parse(uri) == expected


@pytest.mark.parametrize(
    "uri", ["", "digits", "models:/digits", "models:/digits/", "models:/digits/three", "@x", "a@"]
)
def test_what_is_no_model_uri_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match="not a model URI") as caught:
        parse(uri)
    assert "models:/name/3" in caught.value.hint


def test_a_version_without_our_tags_is_not_complete() -> None:
    info = from_api({"name": "digits", "version": 3, "tags": [{"key": "owner", "value": "us"}]})
    assert (info.version, info.state, info.digest, info.aliases) == ("3", "", "", ())
    assert info.uri == "models:/digits/3"
    assert info.provenance.model_version == "3"


def test_no_tracking_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(PlatformError, match="no mlflow endpoint"):
        champion("digits")


def test_a_tracking_uri_that_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHANDLERY_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(RegistryError, match=r"sqlite:///mlflow\.db") as caught:
        champion("digits")
    assert "http://host:port" in caught.value.hint
