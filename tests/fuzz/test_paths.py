"""Names, references and addresses as people and other systems write them."""

# ruff: noqa: PT017

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from hypothesis import strategies as st

from chandlery.data import names
from chandlery.data.references import branch_message, repo_message, resolve
from chandlery.data.sources import open_source
from chandlery.deployments.spec import node_name
from chandlery.errors import ChandleryError, UserError
from chandlery.gc import parse_age
from chandlery.platform import open_data
from chandlery.registry.versions import parse as parse_model

from .harness import cases, plain

# Surrogates that no file name has (a document can hold them), and the ones that stand for bytes that are not UTF-8.
TEXT = st.text(st.characters(), max_size=30) | st.text("a/.%\\*?[]{}!()@+^~:0²\n\0 \udcff\ud800", max_size=20)


def test_names_come_back_as_they_were():
    from chandlery.embedded.pachd.store.paths import check_path

    @cases(TEXT, share=0.4)
    def case(text):
        try:
            encoded = names.encode(text)
        except UserError as error:
            plain(str(error))
        else:
            check_path("/" + encoded)
            assert names.decode(encoded) == text
        decoded = names.decode(text)
        assert decoded == text or names.encode(decoded) == text
        with contextlib.suppress(UserError):
            names.folder(text)


def test_references_name_something_or_are_refused(tmp_path):
    client = open_data()
    client.pfs.create_repo(repo=repo_message("digits"))
    before = _tree(tmp_path)

    @cases(
        TEXT | st.from_regex(r"[a-z]{0,3}[\^~.@:/\n]{0,2}[0-9²]{0,40}"),
        st.sampled_from(["digits", "none"]),
        share=0.3,
    )
    def case(text, repo):
        for call in (
            lambda: repo_message(text),
            lambda: branch_message("digits", text),
            lambda: resolve(client, repo, text, timeout=0.1),
            lambda: parse_model(text),
            lambda: parse_age(text),
            lambda: node_name(text),
        ):
            try:
                call()
            except ChandleryError as error:
                plain(str(error))
                assert error.exit_code in (1, 2)
        try:
            message = repo_message(text)
        except UserError:
            pass
        else:
            assert "\n" not in message.name + message.project.name

    assert _tree(tmp_path) == before


def test_sources_are_opened_or_refused(tmp_path):
    (tmp_path / "a").write_text("x")
    schemes = st.sampled_from(
        ["", "", "file://", "http://", "https://", "s3://", "gs://", "ftp://", "://", "http://[", "a:"]
    )

    @cases(schemes, TEXT, share=0.3)
    def case(scheme, text):
        address = scheme + text
        try:
            source = open_source(address)
            local = type(source).__name__ == "LocalSource"
            if local and not os.path.isabs(source.name) and ".." not in source.name:
                for entry in source.entries():
                    names.encode(entry.path)
                    break
        except ChandleryError as error:
            plain(str(error))


def _tree(root: Path) -> list[str]:
    return sorted(str(path) for path in root.rglob("*") if not path.name.endswith(("-wal", "-shm")))
