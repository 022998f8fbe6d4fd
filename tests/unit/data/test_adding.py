"""The hand-made message of an upload is, to the SDK and on the wire, the SDK's own."""

from __future__ import annotations

import betterproto
from hypothesis import given, settings
from hypothesis import strategies as st
from pachyderm_sdk.api import pfs

from chandlery.data.adding import AddFile


@settings(deadline=None)
@given(st.text(min_size=1, max_size=200), st.binary(max_size=300))
def test_it_is_written_as_the_sdk_writes_it(path: str, raw: bytes) -> None:
    theirs = pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=raw))
    assert pfs.ModifyFileRequest.SerializeToString(AddFile(path, raw)) == bytes(theirs)
    assert pfs.ModifyFileRequest().parse(bytes(AddFile(path, raw))) == theirs


def test_it_is_read_as_the_sdk_reads_it() -> None:
    ours = AddFile("/a", b"1")
    assert isinstance(ours, pfs.ModifyFileRequest)
    name, body = betterproto.which_one_of(ours, "body")
    assert (name, body.path, body.datum) == ("add_file", "/a", "")
    assert betterproto.which_one_of(body, "source") == ("raw", b"1")
