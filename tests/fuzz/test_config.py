"""chandlery.toml and the environment, as a person fills them in."""

# ruff: noqa: E501, PT017

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import strategies as st

from chandlery import addresses, platform
from chandlery.data.client import close
from chandlery.errors import ChandleryError
from chandlery.registry.reader import RegistryReader

from .harness import cases, plain

TEXT = st.text(st.characters(blacklist_characters="\0"), max_size=25)
NAMES = st.sampled_from(
    ["data", "resources", "mlflow", "gateway", "prometheus", "artifacts", "namespace", "x", "DATA"]
)
VALUES = st.one_of(
    st.builds(
        "".join,
        st.tuples(
            st.sampled_from(
                ["embedded://", "embedded:", "grpc://", "grpcs://", "unix://", "kubernetes://", "http://", "https://[", "s3://", "", "://"]
            ),
            st.sampled_from(["", "/tmp/none/such", "a:b", "host:99999999", "host:-1", "[::1", "h:1/x?y#z", "/dev/null/x", " "]) | TEXT,
        ),
    ),
    TEXT,
)  # fmt: skip


def use() -> None:
    """Do what commands do first with the endpoints."""
    points = addresses.endpoints()
    for field in ("data", "resources", "mlflow", "gateway", "prometheus", "artifacts", "namespace"):
        assert isinstance(getattr(points, field), str)
    for call in (
        _open_data,
        platform.open_resources,
        _open_reader,
        addresses.require_gateway,
        platform.open_garbage,
    ):
        try:
            opened = call()
        except ChandleryError as error:
            plain(str(error))
        else:
            if hasattr(opened, "close"):
                opened.close()


def _open_data() -> None:
    close(platform.open_data())


def _open_reader() -> None:
    with RegistryReader():
        pass


@pytest.fixture
def no_kubernetes(monkeypatch, tmp_path):
    import kubernetes  # noqa: F401  # what is imported once is no part of a case

    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))


def test_any_environment(monkeypatch, tmp_path, no_kubernetes):
    @cases(
        st.dictionaries(st.sampled_from(sorted(addresses.VARIABLES.values())), VALUES, max_size=3), share=0.2
    )
    def case(variables):
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                try:
                    patched.setenv(name, value)
                except (ValueError, UnicodeEncodeError):
                    return  # no process can be given that
            inside = not any(
                v.startswith("embedded:") and not v.startswith("embedded:///tmp/none")
                for v in variables.values()
            )
            if inside:
                use()
            else:
                addresses.endpoints()


def test_any_configuration(monkeypatch, tmp_path, no_kubernetes):
    toml = st.builds(
        lambda pairs, noise, at: "\n".join(["[endpoints]", *(f"{k} = {v}" for k, v in pairs)])[: at or None] + noise,
        st.lists(
            st.tuples(
                NAMES,
                VALUES.map(lambda v: '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"')
                | st.sampled_from(["1", "true", "nan", "[]", "{}", "1979-05-27", '"x"', "''", "-0.0", "[[1]]"]),
            ),
            max_size=3,
        ),
        st.sampled_from(["", "", "", "\n[endpoints]", "\nendpoints = 1", "\n[[endpoints]]", "\n[endpoints.data]\na=1", "\n\x00", "=", "\ufeff"]),
        st.sampled_from([0, 0, 0, 5, 20]),
    )  # fmt: skip
    whole = st.sampled_from(
        ["endpoints = 1", "[[endpoints]]", "endpoints = 'x'", "", "\ufeff[endpoints]"]
    ).map(str.encode)
    path = Path(addresses.CONFIG_FILE)

    @cases(toml.map(lambda t: t.encode("utf-8", "surrogatepass")) | whole | st.binary(max_size=40), share=0.7)
    def case(content):
        path.write_bytes(content)
        try:
            addresses.endpoints()
        except ChandleryError as error:
            plain(str(error))
            assert error.exit_code == 2

    path.unlink()


def test_any_file_of_the_platform(tmp_path):
    folder = addresses.home() / "platform"
    folder.mkdir(parents=True)
    values = st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"[]", b"1", b"null", b'{"mlflow": 1}', b'{"mlflow": null, "x": []}', b'"a"']),
    )

    @cases(values, share=0.1)
    def case(content):
        (folder / "endpoints.json").write_bytes(content)
        addresses.endpoints()

    assert os.listdir(folder) == ["endpoints.json"]
